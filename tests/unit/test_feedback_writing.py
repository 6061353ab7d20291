"""How an ingress replica brings feedback into the store: together, soon, and told when durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ecm.contracts.feedback import Click, FeedbackReceipt, StoredEvent
from ecm.errors import Overloaded, StoreUnavailable
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.evidence.store import EvidenceStore
from serve.feedback_writing import (
    BATCH_CALLERS,
    BATCH_EVENTS,
    MAX_CALLERS,
    FeedbackWriter,
)

AT = 1_790_000_000.0
DAY = 86_400.0
FOR_EVER = 3600.0


@pytest.fixture
def feedback(tmp_path: Path) -> FeedbackStore:
    config = EvidenceConfig(uri=str(tmp_path / "store"))
    EvidenceStore.create(config, AT)
    return FeedbackStore(open_storage(config))


def lines(folder: Path) -> list[int]:
    """How many events each batch of a store has."""
    return [path.read_bytes().count(b"\n") for path in folder.rglob("*.jsonl")]


def clicks(first: int, count: int, at: float = AT) -> list[Click]:
    return [
        Click(event_id=f"click-{n:06}", at=at, query_id="q", asset_id="1" * 64, rank=1)
        for n in range(first, first + count)
    ]


def ids(feedback: FeedbackStore, tenant: str = "t") -> list[str]:
    found = feedback.events(tenant)
    return [event.event_id for event in found if isinstance(event, StoredEvent)]


def test_what_comes_together_is_written_together_and_told_apart(
    feedback: FeedbackStore, tmp_path: Path
) -> None:
    async def tell() -> list[FeedbackReceipt]:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=0.3)
        return await asyncio.gather(
            writer.add("t", clicks(0, 3)),
            writer.add("t", clicks(2, 3)),
            writer.add("t", [*clicks(0, 1), *clicks(9, 1, AT - 31 * DAY), *clicks(8, 1, AT + DAY)]),
        )

    receipts = asyncio.run(tell())
    assert sum(each.stored for each in receipts) == 5
    assert sum(each.repeated for each in receipts) == 2
    assert [each.outside for each in receipts] == [0, 0, 2]
    assert lines(tmp_path) == [5]
    assert len(ids(feedback)) == 5


def test_a_full_batch_waits_for_nobody(feedback: FeedbackStore) -> None:
    async def tell() -> FeedbackReceipt:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=FOR_EVER)
        async with asyncio.timeout(60):
            return await writer.add("t", clicks(0, BATCH_EVENTS))

    assert asyncio.run(tell()).stored == BATCH_EVENTS
    assert len(ids(feedback)) == BATCH_EVENTS


def test_many_callers_wait_for_nobody_and_too_many_are_told_to_come_again(
    feedback: FeedbackStore,
) -> None:
    async def tell(callers: int, linger: float) -> list[FeedbackReceipt | BaseException]:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=linger)
        telling = (writer.add("t", clicks(number, 1)) for number in range(callers))
        async with asyncio.timeout(60):
            return await asyncio.gather(*telling, return_exceptions=True)

    assert all(
        isinstance(each, FeedbackReceipt) for each in asyncio.run(tell(BATCH_CALLERS, FOR_EVER))
    )
    # How many are written together here is chance: those that are left wait for no company.
    told = asyncio.run(tell(2 * MAX_CALLERS, 0.01))
    assert sum(isinstance(each, FeedbackReceipt) for each in told) == MAX_CALLERS
    assert sum(isinstance(each, Overloaded) for each in told) == MAX_CALLERS


def test_what_is_told_again_in_other_company_is_not_written_again(
    feedback: FeedbackStore, tmp_path: Path
) -> None:
    async def tell() -> tuple[FeedbackReceipt, FeedbackReceipt, FeedbackReceipt]:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=0.0)
        first = await writer.add("t", clicks(0, 2))
        second = await writer.add("t", clicks(0, 3))
        return first, second, await writer.add("t", clicks(1, 2))

    first, second, third = asyncio.run(tell())
    assert (first.stored, first.repeated) == (2, 0)
    assert (second.stored, second.repeated) == (1, 2)
    assert (third.stored, third.repeated) == (0, 2)
    assert sorted(lines(tmp_path)) == [1, 2]


def test_what_nobody_waits_for_is_written_when_the_replica_ends(feedback: FeedbackStore) -> None:
    async def tell() -> None:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=FOR_EVER)
        for click in clicks(0, 3):
            await writer.note("t", click)
        assert ids(feedback) == []
        await asyncio.to_thread(writer.close)

    asyncio.run(tell())
    assert len(ids(feedback)) == 3


def test_a_store_that_cannot_be_reached_is_told_and_tried_again(feedback: FeedbackStore) -> None:
    away = [True]

    def store_of() -> FeedbackStore:
        if away.pop() if away else False:
            raise StoreUnavailable("the store is away")
        return feedback

    async def tell() -> FeedbackReceipt:
        writer = FeedbackWriter(store_of, 30, lambda: AT, linger=0.0)
        with pytest.raises(StoreUnavailable):
            await writer.add("t", clicks(0, 2))
        return await writer.add("t", clicks(0, 2))

    assert asyncio.run(tell()).stored == 2


def test_a_store_that_is_lost_while_it_is_written_fails_everybody_who_waits(
    feedback: FeedbackStore, tmp_path: Path
) -> None:
    async def tell() -> list[FeedbackReceipt | BaseException]:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=0.0)
        await writer.add("t", clicks(0, 1))
        (tmp_path / "store").rename(tmp_path / "elsewhere")
        failed = await asyncio.gather(
            writer.add("t", clicks(1, 1)), writer.add("u", clicks(2, 1)), return_exceptions=True
        )
        (tmp_path / "elsewhere").rename(tmp_path / "store")
        return [*failed, await writer.add("t", clicks(1, 1))]

    one, two, again = asyncio.run(tell())
    assert isinstance(one, StoreUnavailable)
    assert isinstance(two, StoreUnavailable)
    assert isinstance(again, FeedbackReceipt)
    assert again.stored == 1


def test_more_than_can_wait_is_told_to_come_again(feedback: FeedbackStore) -> None:
    async def tell() -> None:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: AT, linger=FOR_EVER, most=3)
        await writer.note("t", clicks(0, 1)[0])
        await writer.note("t", clicks(1, 1)[0])
        with pytest.raises(Overloaded) as full:
            await writer.add("t", clicks(2, 2))
        assert full.value.code == "feedback.full"

    asyncio.run(tell())


def test_what_is_kept_no_longer_is_removed_once_a_day(feedback: FeedbackStore) -> None:
    now = [AT]

    async def tell() -> None:
        writer = FeedbackWriter(lambda: feedback, 30, lambda: now[0], linger=0.0)
        await writer.add("t", clicks(0, 1))
        await writer.add("u", clicks(0, 1))
        now[0] = AT + 31 * DAY
        await writer.add("t", clicks(1, 1, now[0]))

    asyncio.run(tell())
    assert ids(feedback, "t") == ["click-000001"]
    assert ids(feedback, "u") == []
