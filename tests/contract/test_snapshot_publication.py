"""Publishing, going back, what is on record of it, and what two snapshots differ in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.errors import SnapshotNotFound, SnapshotRejected
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.difference import AxisChange, TenantChange, difference
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.publication import REMEMBERED, publish, publish_despite_measurements, rollback
from ecm.evidence.refs import (
    Publication,
    Published,
    Shortfall,
    SnapshotRef,
    read_published,
    remove_ref,
    write_published,
    write_ref,
)
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    START,
    VISION,
    VV,
    X,
    content_of,
    embedded,
    envelope,
    ocr,
    vision,
)
from tests.snapshot_stores import copied, grown, ids_of, served


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four snapshots of a growing store, the last one published."""
    folder = tmp_path_factory.mktemp("publication") / "store"
    grown(folder, 4)
    return folder


@pytest.fixture
def store(template: Path, tmp_path: Path) -> EvidenceStore:
    return copied(template, tmp_path / "store")


def _log(store: EvidenceStore) -> list[str]:
    published = read_published(store)
    assert published is not None
    return [one.snapshot_id for one in published.publications()]


def test_going_back_to_a_named_one_and_forward_again(store: EvidenceStore) -> None:
    made = ids_of(store)
    assert rollback(store, START + 10, made[1]).snapshot_id == made[1] == served(store)
    with pytest.raises(SnapshotNotFound, match="not published before"):
        rollback(store, START + 11, made[3])
    assert publish(store, made[3], START + 12).snapshot_id == made[3] == served(store)
    assert rollback(store, START + 13).snapshot_id == made[1]
    assert _log(store) == [*made, made[1], made[3], made[1]]


def test_going_back_passes_over_what_was_removed(store: EvidenceStore) -> None:
    made = ids_of(store)
    remove_ref(store, made[2])
    remove_ref(store, made[1])
    with pytest.raises(SnapshotNotFound):
        rollback(store, START + 10, made[2])
    assert rollback(store, START + 11).snapshot_id == made[0] == served(store)


def test_what_a_release_without_a_record_published_is_on_record(store: EvidenceStore) -> None:
    made = ids_of(store)
    old = [Publication(snapshot_id=one, at=START) for one in made]
    write_published(store, Published(current=old[3], history=tuple(old[:3])))
    assert _log(store) == made
    publish(store, made[0], START + 10)
    assert _log(store) == [*made, made[0]]


def test_the_record_does_not_grow_for_ever(store: EvidenceStore) -> None:
    made = ids_of(store)
    for number in range(REMEMBERED + 5):
        publish(store, made[number % 2], START + 10 + number)
    published = read_published(store)
    assert published is not None
    assert len(published.history) == len(published.log) == REMEMBERED


def test_what_does_not_measure_up_is_published_only_by_who_says_so(store: EvidenceStore) -> None:
    ref = SnapshotStore(store).list()[0]
    short = Shortfall(measurement="coverage vv", value=0.1, limit=0.5, message="vv covers 10%")
    failed = ref.model_copy(
        update={
            "snapshot_id": "s-20270101T000000Z-00000000",
            "measurements": ref.measurements.model_copy(update={"shortfalls": (short,)}),
        }
    )
    write_ref(store, failed)
    with pytest.raises(SnapshotRejected, match="vv covers 10%"):
        publish(store, failed.snapshot_id, START + 10)
    assert served(store) == ref.snapshot_id
    publish_despite_measurements(store, failed.snapshot_id, START + 11)
    assert served(store) == failed.snapshot_id


def _built(store: EvidenceStore, vv: str, now: float) -> SnapshotRef:
    policy = SnapshotPolicy(transforms={Axis.FTS: (VISION,), Axis.VV: (vv,)})
    return SnapshotStore(store).build(policy, now)


def test_a_difference_names_what_was_added_removed_and_changed(tmp_path: Path) -> None:
    store = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
    committer = EvidenceCommitter(store)
    place = {"uri": "file:///photos/place.jpg"}
    first = [vision(seed, f"a {seed}", ("dog",)) for seed in ("same", "told", "moved")]
    first += [vision("gone", "a gone", **place), vision("theirs", "secret", tenant="other")]
    first += [embedded(seed) for seed in ("same", "told")]
    first += [embedded(seed, Space.VV, X) for seed in ("same", "moved")]
    committer.append("b1", first)
    before = _built(store, VV, START)
    committer.append("b2", [vision("new", "a new", observed_at=START + 1, **place)])
    committer.append("b3", [ocr("told", "STOP"), envelope("moved", linked=True, uri="file:///m")])
    committer.append("b4", [vision("secret two", "secret", tenant="other")])
    after = _built(store, X, START + 2)

    found = difference(store, before, after, "t", 5)
    assert (found.before.assets, found.after.assets) == (4, 4)
    assert found.tenants == {
        "t": TenantChange(before=4, after=4, added=1, removed=1, changed=3),
    }
    assert found.fields == {"caption": 0, "tags": 0, "classification": 0, "ocr": 1, "uris": 1}
    assert found.axes[Axis.VV] == AxisChange(before=(VV,), after=(X,), replaced=1, gained=1, lost=1)
    assert found.axes[Axis.MV] == AxisChange(before=(), after=())
    shown = {(e.kind, e.asset_id): e for e in found.examples}
    assert shown.keys() == {
        ("added", content_of("new")),
        ("removed", content_of("gone")),
        ("changed", content_of("told")),
        ("changed", content_of("moved")),
    }
    told = shown["changed", content_of("told")]
    assert told.before is not None
    assert told.after is not None
    assert (told.fields, told.before.ocr, told.after.ocr) == (("ocr",), None, "STOP")
    assert shown["added", content_of("new")].before is None
    assert "secret" not in found.model_dump_json()

    whole = difference(store, before, after, None, 0)
    assert whole.tenants["other"] == TenantChange(before=1, after=2, added=1, removed=0, changed=0)
    assert (whole.before.assets, whole.after.assets, whole.examples) == (5, 6, ())
    back = difference(store, after, before, "t", 5)
    assert back.tenants["t"] == TenantChange(before=4, after=4, added=1, removed=1, changed=3)
    nothing = difference(store, after, after, None, 5)
    assert not any(t.added + t.removed + t.changed for t in nothing.tenants.values())
