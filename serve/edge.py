"""The HTTP edge around the routes: body limits, security headers, and the tenant of a caller.

Knows HTTP and keys; knows no search.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.problem import Problem

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


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
    """Adds the security headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, marked)


def too_large(limit: int) -> Problem:
    return Problem(413, "input.too_large", f"the request body has more than {limit} bytes")


@dataclass(frozen=True)
class Caller:
    """Who asks: the tenant whose things are made and searched, and what of the ledger is seen.

    `scope` is the one tenant that exists for this caller; None is an operator's, who sees all.
    """

    tenant: str
    scope: str | None
    operator: bool = False


class Access:
    """Whose tenant a caller speaks for.

    `keys` maps the hex sha256 of an API key to a tenant, so that a profile holds no secret, and
    `operators` are those of keys that speak for every tenant. Without any keys every caller is the
    profile's own tenant, and nobody is an operator: whoever reaches the port would be one. Then a
    caller must know this service by an address, as localhost or as `host`: a page of elsewhere
    whose name was made to lead here is told by that name.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        tenant: str,
        operators: Collection[str] = (),
        host: str = "localhost",
    ) -> None:
        self._hosts = {"localhost", host.lower()}
        owners: dict[str, str | None] = {mark.lower(): owner for mark, owner in keys.items()}
        self._keys = {**owners, **{mark.lower(): None for mark in operators}}
        self._tenant = tenant

    @property
    def open(self) -> bool:
        """Whether this service asks for no key."""
        return not self._keys

    def tenant_of(self, headers: Headers, named: str | None = None) -> str | Problem:
        """The tenant, or the problem: 401 without a known key, 403 for another tenant's name or
        for a name that is not this service's.
        """
        caller = self.caller_of(headers, named)
        return caller if isinstance(caller, Problem) else caller.tenant

    def caller_of(self, headers: Headers, named: str | None = None) -> Caller | Problem:
        """Who asks, or the problem as `tenant_of` has it.

        `named` is a tenant that the request itself names; so does the header X-Tenant. An operator
        who names one acts as that tenant.
        """
        names = {name for name in (named, headers.get("x-tenant")) if name is not None}
        owner: str | None = self._tenant
        if self.open:
            if not self._knows_us(headers):
                said = "this service is not known by the name in the Host header"
                return Problem(403, "access.host", said, "ask for localhost or its address")
        else:
            mark = self._mark(headers)
            if mark is None:
                return Problem(
                    401,
                    "access.key",
                    "this service needs an API key",
                    "send it as X-API-Key, or as Authorization: Bearer",
                    {"WWW-Authenticate": 'Bearer realm="ecm"'},
                )
            owner = self._keys[mark]
        if owner is None:
            return self._operator(sorted(names))
        for name in sorted(names - {owner}):
            return Problem(403, "access.tenant", f"this caller may not ask tenant {name!r}")
        return Caller(owner, owner)

    def _operator(self, names: Sequence[str]) -> Caller | Problem:
        if not names:
            return Caller(self._tenant, None, operator=True)
        if len(names) > 1 or not _TENANT.match(names[0]):
            return Problem(422, "access.tenant", f"not the name of one tenant: {names}")
        return Caller(names[0], names[0], operator=True)

    def _knows_us(self, headers: Headers) -> bool:
        """Whether the Host header, if there is one, names an address or a name of this service."""
        said = headers.get("host", "localhost").strip().lower()
        name = said[1 : said.find("]")] if said.startswith("[") else said.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _mark(self, headers: Headers) -> str | None:
        """The digest of the caller's key, if it is a known one."""
        bearer = headers.get("authorization", "")
        key = headers.get("x-api-key") or bearer.removeprefix("Bearer ").strip()
        mark = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for known in self._keys:
            if hmac.compare_digest(known, mark):
                found = known
        return found if key else None
