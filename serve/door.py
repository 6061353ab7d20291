"""The door that every request of a person or program passes, and the ledger behind it.

Knows in which order a caller is looked at: where the page came from, key, scope, rate. Knows no
route. What an administrator does, or is refused, is written down before it is answered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request
from starlette.datastructures import Headers

from ecm.access.limits import Limiter, RateLimit, Taken
from ecm.access.scopes import Scope
from ecm.access.trail import MAX_TARGET, DamagedLine, Outcome, Trail, TrailEntry, recorded
from ecm.config import Profile
from ecm.errors import EcmError
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from serve.access import Access, Caller, access_of
from serve.api import Failed
from serve.confine import Roots
from serve.problem import Problem, ledger_problem, problem_of
from serve.streams import StreamBounds, Streams

log = logging.getLogger("ray.serve")

ELSEWHERE = ("cross-site", "same-site")
REFUSALS = RateLimit(rate=1.0, burst=100)
"""Of one key that are written down: nobody fills the disk by being refused."""
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Guards:
    """What a door has beside keys: rates, the trail (None: nothing is written), and clocks."""

    limiter: Limiter = field(default_factory=lambda: Limiter({}))
    trail: Trail | None = None
    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


class Door:
    """The service as its callers may use it. The ledger is opened when the first of them comes.

    `clock` makes the time of an operation from the time its caller says; by default the database's
    clock counts, whatever was said.
    """

    def __init__(
        self,
        config: LedgerConfig,
        access: Access,
        roots: Roots,
        clock: Callable[[float], float] | None = None,
        bounds: StreamBounds | None = None,
        guards: Guards | None = None,
    ) -> None:
        self.access = access
        self.streams = Streams(bounds or StreamBounds())
        self.roots = roots
        self._config = config
        self._clock = clock
        self._guards = guards or Guards()
        self._refusals = Limiter({Scope.ADMIN: REFUSALS})
        self._opening = threading.Lock()
        self._opened: Ledger | None = None
        self._told = ""

    def caller(
        self, request: Request, scope: Scope | None, named: str | None = None, cost: float = 1.0
    ) -> Caller:
        """Who asks for something of a scope. Every route with anybody's things begins here.

        Without a scope it is asked for nothing but who it is.

        `named` is a tenant that the request's body names; `cost` is how many requests this one
        counts for. Raises Failed: 401 unknown, expired or revoked key; 403 without the scope, for
        another tenant's name, from a page of another site; 429 beyond the key's rate.
        """
        try:
            return self._caller(request, scope, named, cost)
        except Failed as error:
            if scope is Scope.ADMIN and error.problem.status == 403:
                self.note_refusal(request, error.problem)
            raise

    def trouble(self) -> str:
        """What is wrong with the keys, for everybody to read; the log gets the words and places."""
        words = self.access.trouble
        if words and words != self._told:
            log.warning("keys in force are not those of the file: %s", words)
        self._told = words
        return "keys in force are not those of the file [access.keys_file]" if words else ""

    def ledger(self, caller: Caller) -> Ledger:
        """The caller's ledger; blocks while it is opened. Raises as `open_ledger`."""
        with self._opening:
            if self._opened is None:
                self._opened = open_ledger(self._config)
        return self._opened if caller.sees is None else self._opened.scoped(caller.sees)

    def now(self, ledger: Ledger, said: float = 0.0) -> float:
        """The time of an operation."""
        return ledger.now() if self._clock is None else self._clock(said)

    def close(self) -> None:
        with self._opening:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    async def do(self, caller: Caller, work: Callable[[Ledger], Answer]) -> Answer:
        """The result of blocking work on the caller's ledger. Raises Failed."""
        try:
            return await asyncio.to_thread(lambda: work(self.ledger(caller)))
        except EcmError as error:
            raise Failed(ledger_problem(error)) from error

    def recorded(
        self, request: Request, caller: Caller, action: str, target: str, work: Callable[[], Answer]
    ) -> Answer:
        """What `work` does, between two lines of the trail; blocks. Raises as `work` does.

        What cannot be written down is not done: then StoreUnavailable.
        """
        if self._guards.trail is None:
            return work()
        begun = self._entry(request, caller, action, target, Outcome.BEGUN)
        return recorded(self._guards.trail, begun, work, self._guards.wall)

    def trail(self, since: float) -> Iterator[TrailEntry | DamagedLine]:
        """What administrators did on this machine, oldest first. Raises StoreUnavailable."""
        if self._guards.trail is not None:
            yield from self._guards.trail.entries(since)

    def note_refusal(self, request: Request, problem: Problem) -> None:
        """An administrator's business was refused to somebody with a key, or to a page of
        elsewhere. Raises Failed when that cannot be written down.
        """
        caller: Caller | None = getattr(request.state, "caller", None)
        who = caller.key_id if caller else self.access.known_as(request.headers)
        taken = self._refusals.take(who, Scope.ADMIN, self._guards.monotonic())
        if taken is not None and not taken.granted:
            return
        target = f"{request.method} {request.url.path}"
        entry = self._entry(request, caller, "refused", target, Outcome.REFUSED)
        try:
            if self._guards.trail is not None:
                self._guards.trail.append(entry.model_copy(update={"detail": problem.code}))
        except EcmError as error:
            raise Failed(problem_of(error)) from error

    def _caller(
        self, request: Request, scope: Scope | None, named: str | None, cost: float
    ) -> Caller:
        """Without keys a browser's page from elsewhere would speak for the person at it."""
        if self.access.open and _of_elsewhere(request.headers):
            raise Failed(Problem(403, "access.origin", "a page of another site may not ask this"))
        caller = self.access.caller_of(request.headers, named)
        if isinstance(caller, Problem):
            raise Failed(caller)
        request.state.caller = caller
        if scope is None:
            return caller
        taken = self._guards.limiter.take(caller.key_id, scope, self._guards.monotonic(), cost)
        if taken is not None:
            request.state.answer_headers = rate_headers(scope, taken)
        if taken is not None and not taken.granted:
            raise Failed(
                Problem(
                    429,
                    "access.rate",
                    f"this key asks more often than {taken.limit.rate:g} times a second",
                    headers={"Retry-After": str(max(1, _up(taken.wait)))},
                )
            )
        if scope not in caller.scopes:
            raise Failed(
                Problem(
                    403,
                    "access.scope",
                    f"this key may not be used for what needs the scope {scope.value}",
                    "ecm keys create makes one that may",
                    {
                        "WWW-Authenticate": f'Bearer realm="ecm", error="insufficient_scope", '
                        f'scope="{scope.value}"'
                    },
                )
            )
        return caller

    def _entry(
        self, request: Request, caller: Caller | None, action: str, target: str, outcome: Outcome
    ) -> TrailEntry:
        return TrailEntry(
            at=self._guards.wall(),
            who=caller.key_id if caller else self.access.known_as(request.headers),
            tenant_id=caller.sees if caller else None,
            action=action,
            target=target[:MAX_TARGET],
            outcome=outcome,
            request_id=str(getattr(request.state, "request_id", ""))[:200],
        )


def door_of(profile: Profile) -> Door:
    """The door of a profile's service, with its keys, roots, rates and trail."""
    access = access_of(profile)
    return Door(
        profile.ledger,
        access,
        Roots(profile.roots, lambda: access.open),
        guards=Guards(Limiter(profile.serve.rate_limits), Trail(profile.trail_file)),
    )


def _of_elsewhere(headers: Headers) -> bool:
    """Whether a browser says that a page of another site asks. It says where from (Sec-Fetch-Site)
    only of services it trusts, as localhost; Origin it sends to any, with all but plain reading.
    """
    if headers.get("sec-fetch-site") in ELSEWHERE:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def rate_headers(scope: Scope, taken: Taken) -> dict[str, str]:
    """What a client may still ask, as draft-ietf-httpapi-ratelimit-headers-10 has it: `q` requests
    in `w` seconds; `r` are left, and all are back in `t` seconds.
    """
    window = max(1, _up(taken.limit.burst / taken.limit.rate))
    return {
        "RateLimit-Policy": f'"{scope.value}";q={taken.limit.burst};w={window}',
        "RateLimit": f'"{scope.value}";r={taken.left};t={_up(taken.full)}',
    }


def _up(seconds: float) -> int:
    return -int(-seconds // 1)
