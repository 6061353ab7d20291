"""The ledger's methods over HTTP: `POST /v1/ledger/{operation}`, one route for all of them.

Knows which operations are an administrator's; what an operation does is known to the ledger, how
it looks on the wire to `ecm.ledger.wire`. No annotation here is a string: Serve copies what it
serves.
"""

import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.errors import EcmError, LedgerUnavailable
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import ListingChunk
from ecm.ledger.wire import FOR_OPERATORS, PATH, Operation, operation_of, pages
from serve.access import Caller
from serve.api import PROBLEMS, Failed
from serve.door import Door
from serve.problem import Problem, ledger_problem
from serve.streams import Lines, Streams

JSON = "application/json"
ADMINISTRATIVE = frozenset({*FOR_OPERATORS, "redrive"})
"""Operations that need the scope admin."""
RECORDED = frozenset(
    {"redrive", "requeue_batch", "expire_holder", "expire_right", "tune", "begin_restore"}
)
"""Those of them that a person asks for; the others are how a committer of elsewhere goes on."""


def ledger_routes(door_of: Callable[[Request], Door]) -> APIRouter:
    """The route of all operations; `door_of` finds the door of the replica that is asked."""
    router = APIRouter()

    @router.post(
        PATH + "/{operation}",
        responses=PROBLEMS,
        tags=["ledger"],
        openapi_extra={
            "requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}
        },
    )
    async def operate(request: Request, operation: str) -> Response:
        """One method of the ledger: its arguments by name in, its answer out, both as JSON.

        For programs that hold a ledger through HTTP; people and producers have the routes under
        /v1/jobs, /v1/tasks and /v1/queue. What the service's own clock says is the time; a `now`
        that is sent counts for nothing.
        """
        door = door_of(request)
        scope = Scope.ADMIN if operation in ADMINISTRATIVE else Scope.INGEST
        caller = door.caller(request, scope)
        if request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise Failed(Problem(415, "request.type", f"the body must be {JSON}"))
        body = await request.body()

        def work(ledger: Ledger) -> Response:
            return _answer(door, caller, ledger, operation, body)

        if operation in RECORDED:
            said = body.decode("utf-8", "replace")
            return await door.do(
                caller,
                lambda ledger: door.recorded(
                    request, caller, f"ledger.{operation}", said, lambda: work(ledger)
                ),
            )
        try:
            return await door.do(caller, work)
        except Failed as error:
            if scope is Scope.ADMIN and error.problem.status == 403:
                door.note_refusal(request, error.problem)
            raise

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
    lines = _lines(operation, door.streams, caller.sees, pages(answer))
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
