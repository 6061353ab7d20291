"""The HTTP edge around the routes: body limits and security headers.

Knows HTTP; knows no key, no route but by its path, and no search.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problem import Problem

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
API_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Of everything but the page and its files: nothing that is answered is a document."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": (
        "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), "
        "geolocation=(), gyroscope=(), hid=(), magnetometer=(), microphone=(), midi=(), "
        "payment=(), publickey-credentials-get=(), serial=(), usb=(), xr-spatial-tracking=()"
    ),
}
PAGE = "/"
PAGE_FILES = "/ui/"


class BodyLimit:
    """Refuses bodies above the limit of their path with 413, before and while they are read.

    `limits` gives bytes per path; every other path takes `default` bytes.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, int], default: int) -> None:
        self._app = app
        self._limits = dict(limits)
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.get(scope["path"], self._default)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared) > limit:
            await too_large(limit).response()(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit:
                raise HTTPException(413, f"the request body has more than {limit} bytes")
            return message

        await self._app(scope, counted, send)


class SecureHeaders:
    """Adds the security headers to every answer, and those that a route has left for it in the
    request's state (`answer_headers`). What a route itself says goes before these.

    What is answered under the API is somebody's own: no cache keeps it unless the route says so.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _headers_of(scope).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, marked)


def _headers_of(scope: Scope) -> Mapping[str, str]:
    path = scope["path"]
    left: Mapping[str, str] = scope["state"].get("answer_headers", {})
    if path == PAGE or path.startswith(PAGE_FILES):
        return {"Content-Security-Policy": PAGE_POLICY, **SECURITY_HEADERS, **left}
    own = {"Content-Security-Policy": API_POLICY, "Cache-Control": "no-store"}
    return {**own, **SECURITY_HEADERS, **left}


def too_large(limit: int) -> Problem:
    return Problem(413, "input.too_large", f"the request body has more than {limit} bytes")
