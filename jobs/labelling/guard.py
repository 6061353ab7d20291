"""Who may use the labelling page: whoever has the address that was printed, from no other page.

Knows HTTP; knows no vote. Three things are asked of every call of the API: a token, which the
printed address carries once and a cookie afterwards; a Host that is this machine, while the server
listens on loopback alone, so that no name of somebody else's leads here; and of whatever changes
something, that it comes from this page.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
MAX_BODY: Final = 16_384
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Owner = TypeVar("Owner")


def new_token() -> str:
    """A token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Tokens(Generic[Owner]):
    """Whose a token is. The cookie has the port in its name: cookies are shared by all ports of a
    host.
    """

    owners: Mapping[str, Owner]
    cookie: str

    def of(self, request: Request) -> Owner | None:
        """The owner of the token in the cookie of a request."""
        return self.owner(request.cookies.get(self.cookie, ""))

    def owner(self, token: str) -> Owner | None:
        """The owner of a token; takes as long whichever it is."""
        found = None
        for known, owner in self.owners.items():
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                found = owner
        return found


class Guarded:
    """Refuses names other than `hosts` (None: any), large bodies, and changes from elsewhere; adds
    security headers.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, marked)

    def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        host = _place(f"//{headers.get('host', '')}")
        if host is None or (self._hosts is not None and host.hostname not in self._hosts):
            return refused(403, "labels.host", "this server does not answer to that name")
        if method in ("GET", "HEAD"):
            return None
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return refused(413, "labels.body", f"a body of at most {MAX_BODY} bytes is taken")
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return refused(415, "labels.body", "the body is not JSON")
        origin = _place(headers.get("origin", f"//{host.netloc}"))
        site = headers.get("sec-fetch-site", "same-origin")
        if origin is None or origin.netloc != host.netloc or site != "same-origin":
            return refused(403, "labels.origin", "only this page itself may do that")
        return None


def _place(text: str) -> SplitResult | None:
    """The parts of an address; None of what is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return None


def refused(status: int, code: str, detail: str) -> JSONResponse:
    """An answer that says no, and why."""
    return JSONResponse({"code": code, "detail": detail}, status)
