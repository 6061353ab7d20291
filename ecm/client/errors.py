"""What can come of asking a service: its refusals and failures as errors, by what to do about them.

ClientError          base; what the service's problem says, as attributes
├── Refused          400, 413, 415, 422: the request is wrong; asking again changes nothing
├── NotAllowed       401, 403: no key, not this key, or not this tenant
├── NotThere         404, 410
├── OutOfDate        409: a cursor whose snapshot is gone; begin again
├── Busy             429, 503: come again after `retry_after` seconds
├── NoAnswer         the service was not reached, or broke off
├── Garbled          an answer that is none of this service, or not what was asked for
└── Failed           anything else: the service's log says how
"""

from __future__ import annotations

from typing import Any

from ecm.errors import EcmError, TerminalError, TransientError


class ClientError(EcmError):
    """A request that was not answered as wished.

    Args:
        message: one line for a person; the problem's `detail`.
        code: for programs, as `query.cursor_stale`.
        hint: what to do about it, or empty.
        status: of HTTP; None when there was no answer.
        retry_after: seconds after which to come again, where the service says so.
        request_id: what the service calls this request in its log.
    """

    default_code = "client"

    def __init__(
        self,
        message: str,
        code: str = "",
        hint: str = "",
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message, code, hint)
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id

    def __reduce__(self) -> tuple[Any, ...]:
        said = (self.message, self.code, self.hint)
        return type(self), (*said, self.status, self.retry_after, self.request_id)

    @property
    def detail(self) -> str:
        """What the problem says, for people."""
        return self.message


class Refused(ClientError, TerminalError):
    """The request is wrong."""


class NotAllowed(ClientError, TerminalError):
    """No key, not this key, or not this tenant."""


class NotThere(ClientError, TerminalError):
    """No such thing, or another tenant's."""


class OutOfDate(ClientError, TerminalError):
    """It was right before: begin again."""


class Busy(ClientError, TransientError):
    """Come again after `retry_after` seconds."""


class NoAnswer(ClientError, TransientError):
    """The service was not reached, or broke off."""

    default_code = "client.no_answer"


class Garbled(ClientError, TerminalError):
    """Not an answer of this service, or not of what was asked for."""

    default_code = "client.garbled"


class Failed(ClientError):
    """The service failed."""


CLASS_OF_STATUS: dict[int, type[ClientError]] = {
    400: Refused,
    401: NotAllowed,
    403: NotAllowed,
    404: NotThere,
    409: OutOfDate,
    410: NotThere,
    413: Refused,
    415: Refused,
    422: Refused,
    429: Busy,
    503: Busy,
}
