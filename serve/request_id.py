"""The name of a request: taken from its caller where it is a sane one, made else.

It stands in the answer's header, in every problem, in the line of the access log and in the trail.
"""

import re
import uuid
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER = "X-Request-Id"
SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,127}\Z")

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_id() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


class Named:
    """Middleware that gives every request its id, as `request.state.request_id`.

    Serve's proxy makes an id where a request has none, passes it on, and says back in the answer
    what it passed on. So an id that came with the request is not said a second time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came = Headers(scope=scope).get(HEADER, "")
        name = came if SANE.match(came) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name

        async def named(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and name != came:
                MutableHeaders(scope=message)[HEADER] = name
            await send(message)

        token = _current.set(name)
        try:
            await self._app(scope, receive, named)
        finally:
            _current.reset(token)
