"""What a snapshot knows of an asset besides words and vectors, and snapshots of before it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.identity import ContentIdentity, digest
from ecm.contracts.result import LabelStatement, Outputs, ResourceFingerprint, ResultEnvelope
from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS, SnapshotRef, folder_of, write_ref
from ecm.evidence.schema import ASSET_SIGHTINGS, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import START, VISION, VV, content_of, embedded, envelope, vision

OTHER, THIRD = digest("other vision"), digest("third vision")
POLICY = SnapshotPolicy(transforms={Axis.FTS: (VISION,), Axis.VV: (VV,)})
NEW = ("size", "taken_at", "modified_at", "added_at", "said_at", "agreement", "path", "user")


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)


def row_of(store: EvidenceStore, seed: object = "a", policy: SnapshotPolicy = POLICY) -> Any:
    """The row of an asset in a snapshot of now; one built anew has the same."""
    snapshots = SnapshotStore(store)
    now = START + 100 + len(snapshots.list())
    rows = [_row(store, ref, seed) for ref in (snapshots.build(policy, now),)]
    rows.append(_row(store, snapshots.build_anew(policy, now), seed))
    assert rows[0] == rows[1]
    return rows[0]


def _row(store: EvidenceStore, ref: SnapshotRef, seed: object) -> Any:
    table = store.open_lance(ref.table, ref.version).to_table()
    return next(row for row in table.to_pylist() if row["asset_id"] == content_of(seed))


def lies(seed: object, uri: str, mtime_ns: int | None, etag: str | None = None) -> dict[str, Any]:
    return {
        "resource_fingerprint": ResourceFingerprint(
            uri=uri, content_hash=content_of(seed), size=123, mtime_ns=mtime_ns, etag=etag
        )
    }


def labels(*said: str, transform: str, kind: str = "tags") -> ResultEnvelope:
    statements = tuple(LabelStatement(label=each, confidence=0.9) for each in said)
    return envelope("a", transform=transform, outputs=Outputs(**{kind: statements}))


def test_times_are_those_of_the_file_the_first_decoding_and_the_newest_evidence(
    store: EvidenceStore,
) -> None:
    add = EvidenceCommitter(store).append
    add("b1", [vision("a", "a dog", ("dog",), **lies("a", "file:///p/a.jpg", 5_000_000_000))])
    first = row_of(store)
    assert (first["size"], first["modified_at"]) == (123, 5.0)
    assert (first["added_at"], first["said_at"]) == (START, START)
    assert (first["taken_at"], first["user"]) == (None, None)
    copy = lies("a", "file:///copies/old/b.jpg", 7_500_000_000)
    add("b2", [embedded("a", observed_at=START + 9, **copy)])
    later = row_of(store)
    assert (later["modified_at"], later["added_at"], later["said_at"]) == (7.5, START, START + 9)
    gone = Seen(
        "t",
        content_of("a"),
        Sighting.GONE,
        ContentIdentity(uri="file:///copies/old/b.jpg", size=123, mtime_ns=7_500_000_000),
        START + 20,
    )
    rows = sighting_rows([gone], "run-2", "look")
    EvidenceCommitter(store).append_rows(ASSET_SIGHTINGS, rows, "look")
    assert row_of(store)["modified_at"] == 5.0


def test_an_object_has_no_time_of_change_and_its_bucket_is_a_folder(store: EvidenceStore) -> None:
    place = lies("a", "s3://photos/Trips/2024%20May/north/far/dogRun.jpg", None, "e1")
    EvidenceCommitter(store).append("b", [vision("a", "a dog", ("dog",), **place)])
    row = row_of(store)
    assert row["modified_at"] is None
    assert row["path"] == "photos Trips 2024 May north far"
    assert row["name"] == "north far dog Run"


def test_agreement_is_the_mean_overlap_of_what_two_transforms_called_it(
    store: EvidenceStore,
) -> None:
    add = EvidenceCommitter(store).append
    add("b1", [labels("Dog", "sea", transform=VISION)])
    assert row_of(store)["agreement"] is None
    add("b2", [labels("terrier", transform=digest("classes"), kind="classification")])
    assert row_of(store)["agreement"] is None
    add("b3", [labels("dog", "beach", "sand", transform=OTHER)])
    assert row_of(store)["agreement"] == pytest.approx(1 / 4)
    add("b4", [labels("DOG", "Sea", transform=THIRD)])
    assert row_of(store)["agreement"] == pytest.approx((1 / 4 + 1 + 1 / 4) / 3)
    apart = POLICY.model_copy(update={"apart": (OTHER,)})
    assert row_of(store, policy=apart)["agreement"] == 1.0


def test_words_of_far_folders_are_found(store: EvidenceStore) -> None:
    place = lies("a", "file:///summer/north/far/dog.jpg", 1)
    EvidenceCommitter(store).append("b", [vision("a", "", ("dog",), **place)])
    ref = SnapshotStore(store).build(POLICY, START)
    dataset = store.open_lance(ref.table, ref.version)
    assert ref.measurements.indexed_rows["path"] == ref.measurements.indexed_rows["user"] == 1
    query = {"query": "summers", "columns": ["path"]}
    assert dataset.scanner(full_text_query=query).to_table().num_rows == 1
    reader = SnapshotReader.open(store, ref)
    assert reader.search_text("t", "summers", {"path": 1.0, "tags": 1.0}, 5)
    assert not reader.search_text("t", "summers", {"name": 1.0}, 5)


def as_before(store: EvidenceStore, ref: SnapshotRef) -> SnapshotRef:
    """The snapshot as the release before these columns would have made it."""
    dataset = store.open_lance(ref.table)
    dataset.drop_columns([name for name in NEW if name in dataset.schema.names])
    then = digest(["recipe-4", ref.policy.model_dump(mode="json")])
    old = ref.model_copy(
        update={
            "version": int(store.open_lance(ref.table).version),
            "policy_digest": then,
            "files_sha256": None,
        }
    )
    store.storage.remove(f"{folder_of(ref.snapshot_id)}/ref.json")
    write_ref(store, old)
    return old


def test_a_snapshot_of_before_opens_and_answers_and_is_not_built_on(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b", [vision("a", "a dog", ("dog",)), embedded("a")])
    snapshots = SnapshotStore(store)
    old = as_before(store, snapshots.build(POLICY, START))
    snapshots.publish(old.snapshot_id, START)
    reader = SnapshotReader.open(store, old)
    assert set(TEXT_COLUMNS) <= set(reader.ref.measurements.indexed_rows)
    assert [a for a, _ in reader.search_text("t", "dog", {"tags": 1.0}, 5)] == [content_of("a")]
    both = reader.search_text("t", "dog photos", {"tags": 1.0, "path": 1.0, "user": 1.0}, 5)
    assert [asset_id for asset_id, _ in both] == [content_of("a")]
    assert reader.tenant_table("t", ["asset_id", *NEW]).column_names == ["asset_id"]
    assert not reader.broken.keys() & {Axis.FTS, Axis.VV}
    new = snapshots.build(POLICY, START + 1)
    assert (new.lineage.base, new.lineage.steps) == (None, 0)
    table = store.open_lance(new.table, new.version)
    assert set(NEW) <= set(table.schema.names)
    assert set(LATER_TEXT_COLUMNS) <= set(new.measurements.indexed_rows)
