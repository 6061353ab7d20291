"""Who asks: from a request's headers to a caller, whose tenant it speaks for, and what it may do.

Knows keys, of the profile and of the file that `ecm keys` writes; knows no route and no ledger.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers

from ecm.access.keys import ApiKey, KeyState, digest_of
from ecm.access.ring import Absence, KeyRing
from ecm.access.scopes import Scope, allowed_by
from ecm.config import Profile
from ecm.contracts.search import SearchRequest
from ecm.errors import StoreCorrupt
from serve.problem import RETRY_SECONDS, Problem

ANYONE = "anyone"
"""The id of every caller of a service without keys."""

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ecm"'}
EVERYTHING = frozenset(Scope)

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")
_OVER = {
    KeyState.EXPIRED: ("access.key_expired", "this API key has expired"),
    KeyState.REVOKED: ("access.key_revoked", "this API key was revoked"),
}


@dataclass(frozen=True)
class Caller:
    """Who asks: the tenant whose things are made and searched, and what of the ledger is seen.

    `sees` is the one tenant that exists for this caller; None is an operator's, who sees all.
    `scopes` are all it may do, `key_id` is what it is called in records: no secret.
    """

    tenant: str
    sees: str | None
    operator: bool = False
    scopes: frozenset[Scope] = EVERYTHING
    key_id: str = ANYONE


@dataclass(frozen=True)
class _Owner:
    """Whose a key is; no tenant: an operator's."""

    tenant: str | None
    scopes: frozenset[Scope]
    key_id: str


def asked_by(caller: Caller, question: SearchRequest) -> SearchRequest:
    """The question as one of the caller's tenant, whatever tenant stood in it.

    The only place where a question gets its tenant: every search of every door passes here.
    """
    return question.model_copy(update={"tenant_id": caller.tenant})


class Access:
    """Whose tenant a caller speaks for, and what it may do.

    `keys` maps the hex sha256 of an API key to a tenant, which may search and ingest, so that a
    profile holds no secret; `operators` are those of keys that speak for every tenant and may do
    everything. `ring` has the keys of the file. Without any keys every caller is the profile's own
    tenant and may do everything there, and nobody is an operator: whoever reaches the port would
    be one. Then a caller must know this service by an address, as localhost or as `host`: a page
    of elsewhere whose name was made to lead here is told by that name.
    """

    def __init__(
        self,
        keys: Mapping[str, str],
        tenant: str,
        operators: Collection[str] = (),
        host: str = "localhost",
        ring: KeyRing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._hosts = {"localhost", host.lower()}
        self._marks = {mark.lower(): _tenants(mark, owner) for mark, owner in keys.items()}
        self._marks |= {mark.lower(): _operators(mark) for mark in operators}
        self._tenant = tenant
        self._ring = ring
        self._clock = clock

    @property
    def open(self) -> bool:
        """Whether this service asks for no key at present."""
        return not self._marks and not self._has_file()

    @property
    def trouble(self) -> str:
        """Why the keys in force are not those of the file; empty when they are."""
        return self._ring.held(self._clock()).trouble if self._ring else ""

    def tenant_of(self, headers: Headers, named: str | None = None) -> str | Problem:
        """The tenant, or the problem: 401 without a known key, 403 for another tenant's name or
        for a name that is not this service's, 503 where no keys could be read.
        """
        caller = self.caller_of(headers, named)
        return caller if isinstance(caller, Problem) else caller.tenant

    def caller_of(self, headers: Headers, named: str | None = None) -> Caller | Problem:
        """Who asks, or the problem as `tenant_of` has it.

        `named` is a tenant that the request itself names; so does the header X-Tenant. An operator
        who names one acts as that tenant.
        """
        names = {name for name in (named, headers.get("x-tenant")) if name is not None}
        owner = self._asker(headers)
        if isinstance(owner, Problem):
            return owner
        if owner.tenant is None:
            return self._operator(owner, sorted(names))
        for name in sorted(names - {owner.tenant}):
            return Problem(403, "access.tenant", f"this caller may not ask tenant {name[:64]!r}")
        return Caller(owner.tenant, owner.tenant, scopes=owner.scopes, key_id=owner.key_id)

    def refusal(self, headers: Headers) -> Problem | None:
        """Why a caller is nobody here, whatever it asks for; None for one who is somebody."""
        found = self._asker(headers)
        return found if isinstance(found, Problem) else None

    def known_as(self, headers: Headers) -> str:
        """What a caller is called in records, whatever it may do."""
        found = self._asker(headers)
        return "unknown" if isinstance(found, Problem) else found.key_id

    def _asker(self, headers: Headers) -> _Owner | Problem:
        if not self.open:
            return self._owner(headers)
        if self._knows_us(headers):
            return _Owner(self._tenant, EVERYTHING, ANYONE)
        said = "this service is not known by the name in the Host header"
        return Problem(403, "access.host", said, "ask for localhost or its address")

    def _has_file(self) -> bool:
        if self._ring is None:
            return False
        held = self._ring.held(self._clock())
        return held.keys is not None or bool(held.trouble)

    def _operator(self, owner: _Owner, names: Sequence[str]) -> Caller | Problem:
        if not names:
            return Caller(self._tenant, None, True, owner.scopes, owner.key_id)
        if len(names) > 1 or not _TENANT.match(names[0]):
            return Problem(
                422, "access.tenant", f"not the name of one tenant: {', '.join(names)[:64]!r}"
            )
        return Caller(names[0], names[0], True, owner.scopes, owner.key_id)

    def _knows_us(self, headers: Headers) -> bool:
        """Whether the Host header, if there is one, names an address or a name of this service."""
        said = headers.get("host", "localhost").strip().lower()
        name = said[1 : said.find("]")] if said.startswith("[") else said.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _owner(self, headers: Headers) -> _Owner | Problem:
        """Whose the caller's key is, if it is a known one and good."""
        said = headers.get("authorization", "")
        scheme, _, rest = said.partition(" ")  # whose case does not matter: RFC 9110, 11.1
        bearer = rest if scheme.lower() == "bearer" else said
        text = headers.get("x-api-key") or bearer.strip()
        found = self._of_profile(text)
        if found is not None:
            return found
        now = self._clock()
        try:
            key = self._ring.find(text, now) if self._ring else None
        except StoreCorrupt:
            # Whoever is not let in is told nothing of files; readiness and the log tell.
            return Problem(
                503,
                "access.keys_file",
                "the keys of this service cannot be read",
                headers={"Retry-After": str(round(RETRY_SECONDS))},
            )
        if key is None:
            return Problem(
                401,
                "access.key",
                "this service needs an API key",
                "send it as X-API-Key, or as Authorization: Bearer",
                CHALLENGE,
            )
        state = key.state(now)
        if state is not KeyState.ACTIVE:
            code, said = _OVER[state]
            challenge = CHALLENGE["WWW-Authenticate"] + ', error="invalid_token"'
            return Problem(401, code, said, "ask for a new one", {"WWW-Authenticate": challenge})
        return _of_file(key)

    def _of_profile(self, text: str) -> _Owner | None:
        """All are compared, in the time that takes: which one is near tells nobody anything."""
        mark, found = digest_of(text), None
        for known, owner in self._marks.items():
            if hmac.compare_digest(known, mark):
                found = owner
        return found if text else None


def keyed_everywhere(profile: Profile) -> Profile:
    """The profile for replicas on any machine: where there is a file of keys here, one that does
    not find it lets nobody in, rather than everybody.
    """
    if profile.serve.keys_file is not None or not profile.keys_file.exists():
        return profile
    served = profile.serve.model_copy(update={"keys_file": profile.keys_file})
    return profile.model_copy(update={"serve": served})


def access_of(profile: Profile) -> Access:
    """The access of a profile's service."""
    served = profile.serve
    absence = Absence.NO_KEYS if served.keys_file is None else Absence.TROUBLE
    return Access(
        served.api_keys,
        profile.tenant,
        served.operator_keys,
        served.host,
        KeyRing(profile.keys_file, absence),
    )


def _of_file(key: ApiKey) -> _Owner:
    return _Owner(key.tenant_id, allowed_by(key.scopes), key.key_id)


def _tenants(mark: str, tenant: str) -> _Owner:
    return _Owner(tenant, allowed_by([Scope.SEARCH, Scope.INGEST]), _id_of(mark))


def _operators(mark: str) -> _Owner:
    return _Owner(None, EVERYTHING, _id_of(mark))


def _id_of(mark: str) -> str:
    """What a key of the profile is called in records: it has no id, and its digest is not told."""
    return f"profile-{hashlib.sha256(mark.lower().encode()).hexdigest()[:10]}"
