"""From ecm errors to HTTP: one table, and application/problem+json (RFC 9457) for every failure.

Knows statuses and headers; knows no route. What a person can do about it travels as `hint`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from starlette.responses import Response

from ecm.errors import (
    AxisUnavailable,
    EcmError,
    ImageError,
    Overloaded,
    QueryError,
    SnapshotNotFound,
    TransientError,
)

RETRY_SECONDS = 2.0

STATUS_OF_CODE = {
    "query.cursor": 400,
    "query.cursor_stale": 409,
    "query.asset_unknown": 404,
    "input.too_large": 413,
    "decode.unsupported": 415,
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

TITLES = {
    400: "Bad request",
    401: "Key needed",
    403: "Not for this tenant",
    404: "Not found",
    405: "Method not allowed",
    409: "Out of date",
    413: "Too large",
    415: "Not an image format this service reads",
    422: "Cannot be answered",
    500: "Internal error",
    503: "Not available now",
    504: "Too slow",
}


@dataclass(frozen=True)
class Problem:
    """One failure as HTTP tells it: `code` is for programs, `detail` and `hint` are for people."""

    status: int
    code: str
    detail: str
    hint: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        body = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Request failed"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
        }
        return Response(
            json.dumps(body, ensure_ascii=False),
            self.status,
            dict(self.headers),
            media_type="application/problem+json",
        )


def problem_of(error: EcmError) -> Problem:
    """The problem that an error of ecm is to the caller; internal errors keep their words."""
    by_class = next(status for kind, status in STATUS_OF_CLASS if isinstance(error, kind))
    status = STATUS_OF_CODE.get(error.code, by_class)
    if status == 500:
        return Problem(500, error.code, "the service failed; its log says how")
    wait = getattr(error, "retry_after", RETRY_SECONDS)
    headers = {"Retry-After": str(max(1, round(wait)))} if status == 503 else {}
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
