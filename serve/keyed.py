"""Whoever has no key is told so before anything is read of what was sent.

Knows which paths are for everybody; whose a key is and what it may do is decided at the door.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.access import Access

API = "/v1/"
FOR_EVERYBODY = frozenset({"/v1/health/live", "/v1/health/ready", "/v1/openapi.json"})


class Keyed:
    """Middleware that refuses requests without a good key, and never asks for their bodies.

    `access_of` finds the access of the replica that is asked; None: there is none to ask.
    """

    def __init__(self, app: ASGIApp, access_of: Callable[[], Access | None]) -> None:
        self._app = app
        self._access_of = access_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith(API) and path not in FOR_EVERYBODY:
            access = self._access_of()
            refused = access.refusal(Headers(scope=scope)) if access is not None else None
            if refused is not None:
                await refused.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)
