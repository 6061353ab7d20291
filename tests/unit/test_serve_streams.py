"""Long answers to clients that read slowly or not at all, at the ASGI seam over a real ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message

from ecm.ledger import LedgerConfig, open_ledger
from tests.ledger_tasks import chunk, open_job

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Access
    from serve.api import new_api
    from serve.confine import Roots
    from serve.door import Door
    from serve.ledger_api import ledger_routes
    from serve.streams import StreamBounds

TENANTS = ("a", "b", "c")
PATIENT = StreamBounds(stalled_seconds=60.0)


class Reader:
    """A client of one streamed answer that takes `reads` messages and then reads no more."""

    def __init__(self, door: Door, tenant: str, reads: int = 10_000) -> None:
        self.messages: list[Message] = []
        self.stuck = asyncio.Event()
        self._reads = reads
        api = new_api()
        api.include_router(ledger_routes(lambda _: door))
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"x-api-key", tenant.encode()),
        ]
        path = "/v1/ledger/skipped"
        scope = {
            "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "asgi": {"version": "3.0"},
        }  # fmt: skip
        self._body = [json.dumps({"job_id": f"job of {tenant}"}).encode()]
        self.answered = asyncio.create_task(api(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if self._body:
            return {"type": "http.request", "body": self._body.pop(), "more_body": False}
        await asyncio.Event().wait()
        raise AssertionError

    async def _send(self, message: Message) -> None:
        if len(self.messages) == self._reads:
            self.stuck.set()
            await asyncio.Event().wait()
        self.messages.append(message)

    async def whole(self) -> tuple[int, dict[str, str], list[object]]:
        """Status, headers and the lines of the answer."""
        await asyncio.wait_for(self.answered, 30)
        head, *rest = self.messages
        headers = {name.decode(): value.decode() for name, value in head["headers"]}
        body = b"".join(each["body"] for each in rest)
        return head["status"], headers, [json.loads(line) for line in body.splitlines()]

    async def stop(self) -> None:
        self.answered.cancel()
        await asyncio.gather(self.answered, return_exceptions=True)


@pytest.fixture
def config(tmp_path: Path) -> LedgerConfig:
    made = LedgerConfig(url=f"sqlite://{tmp_path}/ledger.db")
    with open_ledger(made) as ledger:
        for tenant in TENANTS:
            open_job(ledger, f"job of {tenant}", tenant)
            names = [f"file:///{number:05}" for number in range(3000)]
            ledger.record_listing(f"job of {tenant}", chunk([], skipped=names), 0.0)
    return made


@pytest.fixture
def doors(config: LedgerConfig) -> Iterator[list[Door]]:
    made: list[Door] = []
    yield made
    for door in made:
        door.close()


def open_door(config: LedgerConfig, doors: list[Door], bounds: StreamBounds) -> Door:
    keys = {hashlib.sha256(tenant.encode()).hexdigest(): tenant for tenant in TENANTS}
    doors.append(Door(config, Access(keys, "a"), Roots((), lambda: False), bounds=bounds))
    return doors[-1]


async def read_until_free(door: Door, tenant: str) -> list[object]:
    """The answer, as soon as there is a place for it."""
    async with asyncio.timeout(30):
        while True:
            status, _, lines = await Reader(door, tenant).whole()
            if status == 200:
                return lines
            await asyncio.sleep(0)


def test_a_caller_and_all_callers_read_a_few_long_answers_at_once(
    config: LedgerConfig, doors: list[Door]
) -> None:
    async def scene() -> None:
        door = open_door(config, doors, PATIENT)
        slow = [Reader(door, tenant, 2) for tenant in ("a", "a", "b")]
        for reader in slow:
            await asyncio.wait_for(reader.stuck.wait(), 30)
        status, headers, (problem,) = await Reader(door, "a").whole()
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        assert isinstance(problem, dict)
        assert (problem["code"], problem["class"]) == ("ledger.streams", "LedgerUnavailable")
        assert (await Reader(door, "c").whole())[0] == 200
        slow.append(Reader(door, "b", 2))
        await asyncio.wait_for(slow[-1].stuck.wait(), 30)
        assert (await Reader(door, "c").whole())[0] == 503
        for reader in slow:
            await reader.stop()
        assert (await read_until_free(door, "c"))[-1] == {"end": True}

    asyncio.run(scene())


def test_who_does_not_read_on_loses_the_answer_and_its_place(
    config: LedgerConfig, doors: list[Door]
) -> None:
    async def scene() -> None:
        door = open_door(config, doors, StreamBounds(1, 1, stalled_seconds=0.2))
        stuck = Reader(door, "a", 2)
        status, _, lines = await stuck.whole()
        assert (status, {"end": True} in lines) == (200, False)
        assert (await read_until_free(door, "b"))[-1] == {"end": True}

    asyncio.run(scene())


def test_an_answer_that_takes_too_long_ends_with_a_problem(
    config: LedgerConfig, doors: list[Door]
) -> None:
    async def scene() -> None:
        door = open_door(config, doors, StreamBounds(whole_seconds=0.0))
        status, _, lines = await Reader(door, "a").whole()
        assert status == 200
        end = lines[-1]
        assert isinstance(end, dict)
        assert (end["class"], end["code"]) == ("LedgerUnavailable", "ledger.streams")

    asyncio.run(scene())
