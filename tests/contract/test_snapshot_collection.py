"""Collection removes what nobody needs and nothing else, whoever comes in between."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ecm.delivery.maintaining import maintain
from ecm.errors import LeaseLost, SnapshotNotFound, StoreCorrupt
from ecm.evidence.collection import Collected, collect
from ecm.evidence.committer import StillMine, unquestioned
from ecm.evidence.examiners import Here
from ecm.evidence.pins import Pin, PinKeeper, all_pins, condemn, is_condemned, new_reader, pin
from ecm.evidence.policy import SnapshotConfig
from ecm.evidence.publication import publish, rollback
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SNAPSHOTS, read_ref
from ecm.evidence.retention import Retention, survey
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_exam import examine_snapshots
from ecm.evidence.store import EvidenceStore
from ecm.opening import plan_of
from ecm.publishing import materialize
from tests.evidence_envelopes import START
from tests.factories import Indexer, fake_profile, picture
from tests.object_server import ObjectServer
from tests.snapshot_stores import (
    FRESH,
    LATER,
    answers,
    copied,
    grow,
    grown,
    ids_of,
    interrupted,
    orphans,
    served,
)

TIGHT = Retention(newest=1, rollbacks=1, grace=0.0)
TIGHTEST = Retention(newest=1, rollbacks=0, grace=0.0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five snapshots of one policy, then one of another, which is published."""
    folder = tmp_path_factory.mktemp("collection") / "store"
    store = grown(folder, 5)
    grow(store, 5, FRESH)
    return folder


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots, the second one published: a collection as short as can be."""
    folder = tmp_path_factory.mktemp("narrow") / "store"
    grown(folder, 2)
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> EvidenceStore:
    return copied(template, tmp_path / "store")


def gc(
    store: EvidenceStore,
    rule: Retention = TIGHT,
    now: float = LATER,
    confirm: StillMine = unquestioned,
) -> Collected:
    return collect(store, rule, now, confirm, lambda _: None)


def test_the_published_its_rollback_and_the_newest_stay(store: EvidenceStore) -> None:
    made = ids_of(store)
    rollback(store, START + 10)
    rollback(store, START + 11)
    foreseen = survey(store, TIGHT, LATER)
    done = gc(store)
    assert done.snapshots == [ref.snapshot_id for ref in foreseen.doomed]
    assert ids_of(store) == [made[2], made[3], made[5]]
    assert foreseen.needed == {
        made[2]: "rollback may need it",
        made[3]: "published",
        made[5]: "among the newest",
    }
    assert all(answers(store, snapshot_id) for snapshot_id in ids_of(store))
    assert orphans(store) == []
    assert rollback(store, START + 12).snapshot_id == made[2]
    with pytest.raises(SnapshotNotFound, match="nothing was published"):
        rollback(store, START + 13)
    assert gc(store, Retention(newest=9, rollbacks=9, grace=0.0)) == Collected()


def test_the_young_and_what_was_just_served_stay(store: EvidenceStore) -> None:
    made = ids_of(store)
    now = START + 100
    young = survey(store, Retention(newest=1, rollbacks=1, younger_than=98.5, grace=0.0), now)
    assert set(young.needed) == set(made[2:])
    lately = survey(store, Retention(newest=1, rollbacks=1, grace=97.5), now)
    assert set(lately.needed) == set(made[2:])
    assert lately.needed[made[2]] == "served until a moment ago"


def test_a_pin_keeps_what_it_names_until_it_runs_out(store: EvidenceStore) -> None:
    made = ids_of(store)
    keeper = PinKeeper(lambda: store, "a searcher", 100.0)
    assert keeper.keep(frozenset({made[0]}), LATER) == frozenset()
    gc(store, now=LATER + 100)
    assert ids_of(store) == [made[0], *made[4:]]
    assert answers(store, made[0])
    done = gc(store, now=LATER + 1000)
    assert (done.snapshots, done.pins) == ([made[0]], 1)
    assert (all_pins(store), orphans(store)) == ((), [])


def test_what_is_collected_while_it_is_examined_is_not_called_damaged(
    store: EvidenceStore,
) -> None:
    read: list[str] = []

    def told(name: str) -> None:
        read.append(name)
        if len(read) == 2:
            gc(store, TIGHTEST)

    found = examine_snapshots(store, None, Here(store), told)
    assert [exam.problems for exam in found if exam.problems] == []
    assert {exam.snapshot_id for exam in found} >= set(ids_of(store))


def test_what_a_killed_build_left_goes_when_it_is_old(store: EvidenceStore) -> None:
    gc(store, Retention(newest=9, rollbacks=9))
    for name in ("snapshots/s-20260101T000000Z-00000000/part.lance/data/x", "aside/t.lance/data/x"):
        store.storage.put(name, b"12345678")
    assert survey(store, Retention(), START).leftovers == ()
    assert gc(store, Retention(newest=9, rollbacks=9)).bytes_freed == 16
    assert store.storage.children("aside") == ()
    assert orphans(store) == []


def test_what_cannot_be_read_stops_collection_before_it_begins(store: EvidenceStore) -> None:
    made = ids_of(store)
    for name in (f"{SNAPSHOTS}/{made[1]}/ref.json", f"pins/{made[1]}/reader.json"):
        whole = store.storage.read(name)
        store.storage.put(name, b"{")
        with pytest.raises(StoreCorrupt, match=made[1]):
            gc(store)
        store.storage.remove(name)
        if whole is not None:
            store.storage.put(name, whole)
    assert ids_of(store) == made


def test_a_damaged_table_is_left_and_the_others_are_collected(store: EvidenceStore) -> None:
    made = ids_of(store)
    table = read_ref(store, made[5]).table
    store.storage.remove(f"{table}/_versions")
    done = gc(store)
    assert list(done.left) == [table]
    assert ids_of(store) == made[4:]
    assert answers(store, made[4])


def test_a_right_that_is_lost_ends_collection_wherever_it_is(
    template: Path, tmp_path: Path
) -> None:
    for calls in range(40):
        store = copied(template, tmp_path / str(calls))
        left = calls

        def confirm() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise LeaseLost("another has it")

        try:
            gc(store, confirm=confirm)
        except LeaseLost:
            served(store)
            gc(store)
            assert orphans(store) == [], calls
        else:
            assert calls > 8
            return
    pytest.fail("collection never ended")


def test_publishing_at_any_moment_of_a_collection_is_served_or_refused(
    narrow: Path, tmp_path: Path
) -> None:
    refused = []

    def publishing(store: EvidenceStore, at: int) -> int:
        wanted = ids_of(store)[0]

        def act() -> None:
            try:
                publish(store, wanted, LATER)
                refused.append(False)
            except SnapshotNotFound:
                refused.append(True)

        between = interrupted(store, at, act)
        gc(between, TIGHTEST)
        assert served(store) == (ids_of(store)[-1] if refused[-1] else wanted)
        return int(between.storage.passed)  # type: ignore[attr-defined]

    _at_every_step(narrow, tmp_path, publishing)
    assert set(refused) == {True, False}


def test_a_collection_at_any_moment_of_publishing_takes_nothing_from_it(
    narrow: Path, tmp_path: Path
) -> None:
    def collecting(store: EvidenceStore, at: int) -> int:
        wanted = ids_of(store)[0]
        between = interrupted(store, at, lambda: _collected(store))
        try:
            publish(between, wanted, LATER)
        except SnapshotNotFound:
            assert served(store) == ids_of(store)[-1]
        else:
            assert served(store) == wanted
        gc(store, TIGHTEST)
        assert orphans(store) == []
        return int(between.storage.passed)  # type: ignore[attr-defined]

    _at_every_step(narrow, tmp_path, collecting)


def test_a_reader_that_comes_at_any_moment_reads_to_its_end_or_is_turned_away(
    narrow: Path, tmp_path: Path
) -> None:
    def reading(store: EvidenceStore, at: int) -> int:
        wanted = ids_of(store)[0]
        opened: list[SnapshotReader] = []

        def act() -> None:
            keeper = PinKeeper(lambda: store, "a searcher", 100.0)
            ref = read_ref(store, wanted)
            if not keeper.keep(frozenset({wanted}), LATER):
                opened.append(SnapshotReader.open(store, ref))

        between = interrupted(store, at, lambda: _unless_gone(act))
        gc(between, TIGHTEST)
        for reader in opened:
            assert len(reader.search_text("t", "dog", {"tags": 1.0}, 9)) == 1
            assert answers(store, wanted)
        return int(between.storage.passed)  # type: ignore[attr-defined]

    _at_every_step(narrow, tmp_path, reading)


def test_what_an_earlier_collection_condemned_is_finished_unless_it_is_used(
    store: EvidenceStore,
) -> None:
    made = ids_of(store)
    for snapshot_id in (made[5], made[4], made[0]):
        store.storage.put(f"{SNAPSHOTS}/{snapshot_id}/condemned.json", b"{}")
    said = Pin(expires_at=LATER + 1, holder="x")
    for snapshot_id in (made[5], made[0]):
        name = f"pins/{snapshot_id}/{new_reader('x')}.json"
        store.storage.put(name, said.model_dump_json().encode())
    with pytest.raises(SnapshotNotFound, match="being removed"):
        pin(store, made[4], "reader", said)
    done = gc(store, Retention(newest=9, rollbacks=9, grace=0.0))
    assert done.snapshots == [made[4]]
    assert (is_condemned(store, made[5]), is_condemned(store, made[0])) == (False, True)
    assert served(store) == made[5]
    gc(store, Retention(newest=9, rollbacks=9, grace=0.0), now=LATER + 1000)
    assert ids_of(store) == [*made[1:4], made[5]]
    assert orphans(store) == []


def test_building_goes_on_after_a_collection(store: EvidenceStore) -> None:
    gc(store)
    for number in (6, 7):
        grow(store, number)
        assert served(store) == ids_of(store)[-1]
    gc(store)
    assert orphans(store) == []
    assert SnapshotStore(store).published() is not None


def _collected(store: EvidenceStore) -> None:
    gc(store, TIGHTEST)


def _unless_gone(act: Callable[[], None]) -> None:
    try:
        act()
    except SnapshotNotFound:
        return


def _at_every_step(
    template: Path, tmp_path: Path, step: Callable[[EvidenceStore, int], int]
) -> None:
    """Let something else happen before each operation of the storage, until there are no more."""
    at, passed = 0, 1
    while at < passed:
        passed = step(copied(template, tmp_path / str(at)), at)
        shutil.rmtree(tmp_path / str(at))
        at += 1


def test_what_is_condemned_is_not_what_a_build_comes_to(store: EvidenceStore) -> None:
    last = ids_of(store)[-1]
    rollback(store, START + 10)
    condemn(store, last)
    ref = SnapshotStore(store).build(FRESH, START + 11)
    assert ref.snapshot_id != last
    assert publish(store, ref.snapshot_id, START + 12) == ref
    gc(store)
    assert served(store) == ref.snapshot_id
    assert orphans(store) == []


def test_on_object_storage_the_same_goes_and_the_same_stays(object_server: ObjectServer) -> None:
    store = grown(object_server.config(), 4)
    made = ids_of(store)
    keeper = PinKeeper(lambda: store, "a searcher", 100.0)
    assert keeper.keep(frozenset({made[0]}), LATER) == frozenset()
    rollback(store, START + 10)
    assert gc(store, TIGHTEST).snapshots == [made[1]]
    assert (answers(store, made[0]), ids_of(store)) == (True, [made[0], *made[2:]])
    assert gc(store, TIGHTEST, LATER + 1000).snapshots == [made[0]]
    assert served(store) == made[2]
    assert answers(store, made[3])
    assert orphans(store) == []
    assert all_pins(store) == ()


def test_maintenance_sweeps_after_builds_and_keeps_every_snapshot(
    store: EvidenceStore, tmp_path: Path
) -> None:
    gc(store, Retention(newest=9, rollbacks=9))
    made = ids_of(store)
    store.storage.put("snapshots/s-20260101T000000Z-00000000/part.lance/data/x", b"12345678")
    dead = f"pins/{made[0]}/{new_reader('x')}.json"
    store.storage.put(dead, Pin(expires_at=START, holder="x").model_dump_json().encode())
    done = maintain(store, tmp_path, unquestioned, LATER, lambda _: None, lambda: False)
    assert (done.complete, done.problems, done.orphans_removed) == (True, [], 1)
    assert (ids_of(store), orphans(store), all_pins(store)) == (made, [], ())
    store.storage.put(f"{SNAPSHOTS}/{made[0]}/ref.json", b"{")
    done = maintain(store, tmp_path, unquestioned, LATER, lambda _: None, lambda: False)
    assert made[0] in done.problems[0]


def test_whoever_publishes_collects_where_the_profile_says_how_much_to_keep(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    profile = fake_profile(tmp_path)
    indexer, plan = Indexer(profile), plan_of(profile)
    for mark in range(4):
        indexer.add({f"red-{mark}.png": picture("red", mark)})
        indexer.publish()
    store = indexer.store
    made = ids_of(store)
    indexer.add({"red-9.png": picture("red", 9)})
    ref = materialize(store, plan, SnapshotConfig(keep=2))
    assert ids_of(store) == [*made[2:], ref.snapshot_id]
    store.storage.put(f"{SNAPSHOTS}/{made[2]}/ref.json", b"{")
    store.storage.remove(f"{SNAPSHOTS}/{made[3]}/ref.json")
    with pytest.raises(StoreCorrupt, match=made[2]):
        materialize(store, plan, SnapshotConfig(keep=1))
    store.storage.put(f"pins/{made[2]}/reader.json", b"{")
    store.storage.remove(f"{SNAPSHOTS}/{made[2]}/ref.json")
    assert materialize(store, plan, SnapshotConfig(keep=1)) == ref
    assert "not collected" in caplog.text
