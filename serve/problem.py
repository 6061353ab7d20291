"""From ecm errors to HTTP: one table, and application/problem+json (RFC 9457) for every failure.

Knows statuses and headers; knows no route. What a person can do about it travels as `hint`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.responses import Response

from ecm.errors import (
    AxisUnavailable,
    ContractError,
    EcmError,
    Forbidden,
    ImageError,
    LeaseLost,
    Overloaded,
    QueryError,
    SnapshotNotFound,
    SourceError,
    TransientError,
)
from ecm.ledger.wire import error_members
from serve.request_id import current_id

log = logging.getLogger("ray.serve")

RETRY_SECONDS = 2.0

STATUS_OF_CODE = {
    "query.cursor": 400,
    "query.cursor_stale": 409,
    "query.asset_unknown": 404,
    "input.too_large": 413,
    "decode.unsupported": 415,
    "timeout": 504,
    "ledger.queue_full": 429,
    "ledger.job_unknown": 404,
    "ledger.task_unknown": 404,
    "ledger.batch_unknown": 404,
    "ledger.job": 409,
    "ledger.job_open": 409,
    "ledger.listing_closed": 409,
    "ledger.batch_persisted": 409,
    "ledger.transition": 409,
    "source.root": 403,
}
"""Codes whose status is not that of their class."""

STATUS_OF_CLASS: tuple[tuple[type[EcmError], int], ...] = (
    (QueryError, 422),
    (ImageError, 422),
    (SnapshotNotFound, 503),
    (AxisUnavailable, 503),
    (Overloaded, 503),
    (TransientError, 503),
    (EcmError, 500),
)
"""The first class that an error belongs to decides, unless its code does."""

LEDGER_STATUS_OF_CLASS: tuple[tuple[type[EcmError], int], ...] = (
    (ContractError, 422),
    (SourceError, 422),
    (Forbidden, 403),
    (LeaseLost, 409),
    (Overloaded, 429),
    *STATUS_OF_CLASS,
)
"""The same at the doors of the ledger, whose callers send contracts and hold leases."""

TITLES = {
    400: "Bad request",
    401: "Key needed",
    403: "Not for this caller",
    404: "Not found",
    405: "Method not allowed",
    409: "Out of date",
    410: "Not there any more",
    413: "Too large",
    415: "Not an image format this service reads",
    416: "Outside of it",
    422: "Cannot be answered",
    429: "Too much at once",
    500: "Internal error",
    503: "Not available now",
    504: "Too slow",
}


@dataclass(frozen=True)
class Problem:
    """One failure as HTTP tells it: `code` is for programs, `detail` and `hint` are for people.

    `members` are said beside these.
    """

    status: int
    code: str
    detail: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)

    def response(self) -> Response:
        body = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Request failed"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "request_id": current_id(),
            **self.members,
        }
        return Response(
            json.dumps(body, ensure_ascii=False),
            self.status,
            dict(self.headers),
            media_type="application/problem+json",
        )


def problem_of(error: EcmError) -> Problem:
    """The problem that an error of ecm is to the caller; internal errors keep their words."""
    return _problem(error, STATUS_OF_CLASS)


def ledger_problem(error: EcmError) -> Problem:
    """The same at a door of the ledger; it names the class, so that a client raises it again."""
    return replace(_problem(error, LEDGER_STATUS_OF_CLASS), members=error_members(error))


def _problem(error: EcmError, table: Sequence[tuple[type[EcmError], int]]) -> Problem:
    by_class = next(status for kind, status in table if isinstance(error, kind))
    status = STATUS_OF_CODE.get(error.code, by_class)
    if status == 500:
        log.error("request %s failed: %s [%s]", current_id(), error, error.code)
        return Problem(500, error.code, "the service failed; its log says how")
    wait = getattr(error, "retry_after", RETRY_SECONDS)
    headers = {"Retry-After": str(max(1, round(wait)))} if status in (429, 503) else {}
    return Problem(status, error.code, error.message, error.hint, headers)


def problem_of_call(error: Exception) -> Problem:
    """The problem behind a failed call of another deployment."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, EcmError):
        return problem_of(cause)
    if isinstance(cause, BackPressureError):
        return problem_of(Overloaded("too many searches are waiting", retry_after=RETRY_SECONDS))
    if isinstance(cause, TimeoutError):
        return Problem(504, "timeout", "no answer within the time limit of this service")
    if isinstance(cause, RayActorError | DeploymentUnavailableError):
        return problem_of(TransientError("a part of the service is being restarted", "restarting"))
    return Problem(500, "internal", "the service failed; its log says how")
