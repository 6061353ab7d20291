"""The ledger's methods over HTTP: `POST /v1/ledger/{operation}`, one route for all of them.

Knows whose ledger a caller gets and whose clock counts; what an operation does is known to the
ledger, how it looks on the wire to `ecm.ledger.wire`. No annotation here is a string: Serve copies
what it serves.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ecm.errors import EcmError, LedgerUnavailable
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.ledger.records import ListingChunk
from ecm.ledger.wire import PATH, Operation, operation_of, pages
from serve.api import PROBLEMS, Failed
from serve.confine import Roots
from serve.edge import Access, Caller
from serve.problem import Problem, ledger_problem
from serve.streams import Lines, StreamBounds, Streams

JSON = "application/json"
ELSEWHERE = ("cross-site", "same-site")


class Door:
    """The ledger as callers of this service may use it. Opened when the first of them comes.

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
    ) -> None:
        self.access = access
        self.streams = Streams(bounds or StreamBounds())
        self.roots = roots
        self._config = config
        self._clock = clock
        self._opening = threading.Lock()
        self._opened: Ledger | None = None

    def caller(self, request: Request, named: str | None = None) -> Caller:
        """Who asks. Raises Failed with 401 or 403.

        Without keys a browser's page from elsewhere would speak for the person at it: refused.
        """
        if self.access.open and request.headers.get("sec-fetch-site") in ELSEWHERE:
            raise Failed(Problem(403, "access.origin", "a page of another site may not ask this"))
        caller = self.access.caller_of(request.headers, named)
        if isinstance(caller, Problem):
            raise Failed(caller)
        return caller

    def ledger(self, caller: Caller) -> Ledger:
        """The caller's ledger; blocks while it is opened. Raises as `open_ledger`."""
        with self._opening:
            if self._opened is None:
                self._opened = open_ledger(self._config)
        return self._opened if caller.scope is None else self._opened.scoped(caller.scope)

    def now(self, ledger: Ledger, said: float = 0.0) -> float:
        """The time of an operation."""
        return ledger.now() if self._clock is None else self._clock(said)

    def close(self) -> None:
        with self._opening:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    async def do(self, caller: Caller, work: Callable[[Ledger], Any]) -> Any:
        """The result of blocking work on the caller's ledger. Raises Failed."""
        try:
            return await asyncio.to_thread(lambda: work(self.ledger(caller)))
        except EcmError as error:
            raise Failed(ledger_problem(error)) from error


def ledger_routes(door_of: Callable[[Request], Door]) -> APIRouter:
    """The route of all operations; `door_of` finds the door of the replica that is asked."""
    router = APIRouter()

    @router.post(PATH + "/{operation}", responses=PROBLEMS, tags=["ledger"])
    async def operate(request: Request, operation: str) -> Response:
        """One method of the ledger: its arguments by name in, its answer out, both as JSON.

        For programs that hold a ledger through HTTP; people and producers have the routes under
        /v1/jobs, /v1/tasks and /v1/queue. What the service's own clock says is the time; a `now`
        that is sent counts for nothing.
        """
        door = door_of(request)
        caller = door.caller(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise Failed(Problem(415, "request.type", f"the body must be {JSON}"))
        body = await request.body()
        return await door.do(caller, lambda ledger: _answer(door, caller, ledger, operation, body))

    return router


def _answer(door: Door, caller: Caller, ledger: Ledger, name: str, body: bytes) -> Response:
    """Decode, check, do, encode: all that may block or take long."""
    operation = operation_of(name)
    arguments = operation.decode(body)
    if "now" in arguments:
        arguments["now"] = door.now(ledger, arguments["now"])
    if not caller.operator:
        door.roots.check(_uris(arguments))
    answer = operation.call(ledger, arguments)
    if not operation.streams:
        return Response(operation.encode_answer(answer), media_type=JSON)
    lines = _lines(operation, door.streams, caller.scope, pages(answer))
    first = next(lines)  # here, so that what cannot be listed is a problem and no broken answer
    return Lines(first, lines, door.streams.bounds.stalled_seconds)


def _uris(arguments: dict[str, Any]) -> Iterator[str]:
    """What a listing wants to have read."""
    for value in arguments.values():
        if isinstance(value, ListingChunk):
            yield from (found.identity.uri for found in value.found)


def _lines(
    operation: Operation, streams: Streams, whose: str | None, listed: Iterator[list[Any]]
) -> Generator[bytes, None, None]:
    """A page a line, and a last line that says how it ended: without it the answer broke off.

    Raises what the first page raises, LedgerUnavailable when too many are being read.
    """
    with streams.taken(whose) as over:
        yield operation.encode_answer(next(listed)) + b"\n"
        try:
            for page in listed:
                if time.monotonic() > over:
                    raise LedgerUnavailable(
                        f"read for more than {streams.bounds.whole_seconds:g} s", "ledger.streams"
                    )
                yield operation.encode_answer(page) + b"\n"
        except EcmError as error:
            yield ledger_problem(error).response().body + b"\n"
            return
    yield b'{"end":true}\n'
