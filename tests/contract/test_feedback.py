"""Feedback in a store, on a disk and on S3: durable, once, and nobody's name in it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ecm.contracts.feedback import Click, Dwell, FeedbackReport, Impression, Shown, StoredEvent
from ecm.errors import StoreCorrupt, StoreUnavailable
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.feedback import DamagedBatch, FeedbackStore
from ecm.evidence.storage import Storage, open_storage
from ecm.evidence.store import EvidenceStore

AT = 1_790_000_000.0
DAY = 86_400.0
ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def config(evidence_config: Callable[..., EvidenceConfig]) -> EvidenceConfig:
    made = evidence_config()
    EvidenceStore.create(made, AT)
    return made


@pytest.fixture
def storage(config: EvidenceConfig) -> Storage:
    return open_storage(config)


@pytest.fixture
def feedback(storage: Storage) -> FeedbackStore:
    return FeedbackStore(storage)


def click(number: int, at: float = AT, **more: str) -> Click:
    said = {"event_id": f"click-{number:04}", **more}
    return Click(at=at, query_id="q-1", asset_id=ONE, rank=1, **said)


def stored(feedback: FeedbackStore, tenant: str, *events: Click | Dwell | Impression) -> int:
    return len(feedback.add([feedback.sealed(tenant, event) for event in events]))


def read(feedback: FeedbackStore, tenant: str, since: float = 0.0) -> list[str]:
    found = list(feedback.events(tenant, since))
    return [event.event_id for event in found if isinstance(event, StoredEvent)]


def test_what_was_told_is_read_again_whoever_reads_it(
    feedback: FeedbackStore, storage: Storage
) -> None:
    shown = Impression(
        at=AT,
        query_id="q-1",
        snapshot_id="s-1",
        ranking="0123456789abcdef",
        query="a dog, 'quoted' \n and é",
        shown=(Shown(asset_id=ONE, rank=1), Shown(asset_id=TWO, rank=2)),
    )
    looked = Dwell(at=AT + 9, query_id="q-1", asset_id=TWO, seconds=2.5)
    assert stored(feedback, "t", looked, shown, click(1, AT + 5)) == 3
    found = list(FeedbackStore(storage).events("t"))
    assert [event.kind for event in found if isinstance(event, StoredEvent)] == [
        "impression", "click", "dwell",
    ]  # fmt: skip
    first = found[0]
    assert isinstance(first, StoredEvent)
    assert (first.query, first.shown, first.tenant_id) == (shown.query, shown.shown, "t")


def test_telling_it_again_adds_nothing(feedback: FeedbackStore, storage: Storage) -> None:
    unnamed = Dwell(at=AT, query_id="q-1", asset_id=ONE, seconds=1)
    assert stored(feedback, "t", unnamed, click(1)) == 2
    assert stored(feedback, "t", click(1), unnamed) == 0
    assert len(storage.children("feedback/events/t/2026-09-21")) == 1
    assert stored(feedback, "t", click(1), click(2)) == 2  # in other company: another object
    assert sorted(read(feedback, "t"))[-2:] == ["click-0001", "click-0002"]
    assert len(read(feedback, "t")) == 3


def test_many_writers_of_the_same_add_it_once(feedback: FeedbackStore, storage: Storage) -> None:
    events = [feedback.sealed("t", click(number)) for number in range(20)]
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda _: len(FeedbackStore(storage).add(events)), range(4)))
    assert sorted(added) == [0, 0, 0, 20]
    assert len(read(feedback, "t")) == 20


def test_no_name_of_anybody_is_stored_and_marks_are_the_same_everywhere(
    feedback: FeedbackStore, storage: Storage
) -> None:
    said = {"unit": "mary@example.org", "session": "mary@example.org"}
    one = feedback.sealed("t", click(1, **said))
    again = FeedbackStore(storage).sealed("t", click(2, **said))
    other = feedback.sealed("u", click(3, **said))
    assert one.unit == again.unit
    assert len({one.unit, one.session, other.unit, other.session}) == 4
    feedback.add([one, again, other])
    for tenant in ("t", "u"):
        for name in storage.children(f"feedback/events/{tenant}/2026-09-21"):
            assert b"mary" not in (
                storage.read(f"feedback/events/{tenant}/2026-09-21/{name}") or b""
            )


def test_tenants_and_days_lie_apart(feedback: FeedbackStore) -> None:
    stored(feedback, "t", click(1), click(2, AT + DAY))
    stored(feedback, "u", click(3))
    assert feedback.tenants() == ("t", "u")
    assert feedback.days("t") == ("2026-09-21", "2026-09-22")
    assert read(feedback, "u") == ["click-0003"]
    assert read(feedback, "t", AT + 1) == ["click-0002"]
    assert read(feedback, "nobody") == []
    assert feedback.forget_before("2026-09-22") == 2
    assert (read(feedback, "t"), read(feedback, "u")) == (["click-0002"], [])


@pytest.mark.parametrize("damage", ["cut", "changed", "elsewhere"])
def test_a_damaged_batch_is_told_and_the_rest_is_read(
    feedback: FeedbackStore, storage: Storage, damage: str
) -> None:
    stored(feedback, "t", click(1), click(2))
    folder = "feedback/events/t/2026-09-21"
    (name,) = storage.children(folder)
    data = storage.read(f"{folder}/{name}") or b""
    if damage == "elsewhere":
        storage.put(f"feedback/events/u/2026-09-21/{name}", data)
    else:
        worse = data[: data.index(b"\n") + 1] if damage == "cut" else data.replace(b"q-1", b"q-2")
        storage.put(f"{folder}/{name}", worse)
    whose = "u" if damage == "elsewhere" else "t"
    stored(feedback, whose, click(3))
    found = list(feedback.events(whose))
    assert [type(each) for each in found] == [DamagedBatch, StoredEvent]
    assert name in str(found[0])


def test_a_damaged_salt_marks_nobody(storage: Storage) -> None:
    storage.put("feedback/salt", b"short")
    with pytest.raises(StoreCorrupt):
        FeedbackStore(storage).sealed("t", click(1, unit="mary"))


def test_nothing_is_written_where_there_is_no_store_yet(
    evidence_config: Callable[..., EvidenceConfig],
) -> None:
    config = evidence_config()
    feedback = FeedbackStore(open_storage(config))
    with pytest.raises(StoreUnavailable):
        feedback.add([feedback.sealed("t", click(1))])
    EvidenceStore.create(config, AT)  # is not hindered by what feedback has left
    assert stored(feedback, "t", click(1)) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    told=st.lists(
        st.lists(
            st.tuples(st.sampled_from("tu"), st.integers(1, 6), st.integers(0, 2)), max_size=8
        ),
        max_size=6,
    )
)
def test_law_each_event_is_read_once_however_it_was_told(
    told: list[list[tuple[str, int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = EvidenceConfig(uri=str(tmp_path_factory.mktemp("law")))
    EvidenceStore.create(config, AT)
    feedback = FeedbackStore(open_storage(config))
    for report in told:
        feedback.add(
            [
                feedback.sealed(tenant, click(number * 10 + day, AT + day * DAY))
                for tenant, number, day in report
            ]
        )
    for tenant in "tu":
        wanted = {
            f"click-{n * 10 + day:04}" for report in told for who, n, day in report if who == tenant
        }
        found = read(feedback, tenant)
        assert sorted(found) == sorted(wanted)


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "click", "at": 1.0, "query_id": "q", "asset_id": "x", "rank": 1},
        {"kind": "click", "at": 1.0, "query_id": "q", "asset_id": ONE, "rank": 0},
        {"kind": "click", "at": float("nan"), "query_id": "q", "asset_id": ONE, "rank": 1},
        {"kind": "click", "at": 1e13, "query_id": "q", "asset_id": ONE, "rank": 1},
        {"kind": "click", "at": 1.0, "query_id": "a b", "asset_id": ONE, "rank": 1},
        {"kind": "dwell", "at": 1.0, "query_id": "q", "asset_id": ONE, "seconds": -1},
        {"kind": "dwell", "at": 1.0, "query_id": "q", "asset_id": ONE, "seconds": 1, "user": "m"},
        {"kind": "bought", "at": 1.0, "query_id": "q", "asset_id": ONE},
        {"kind": "impression", "at": 1.0, "query_id": "q", "snapshot_id": "s", "ranking": "0" * 16},
        {
            "kind": "impression",
            "at": 1.0,
            "query_id": "q",
            "snapshot_id": "s",
            "ranking": "0" * 16,
            "shown": [{"asset_id": ONE, "rank": 1}, {"asset_id": ONE, "rank": 2}],
        },
    ],
)
def test_an_event_that_means_nothing_is_refused(event: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeedbackReport.model_validate({"events": [event]})
