"""Words that stand in files, from the envelope to the snapshot, the history and a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ecm.contracts.result import ImageFacts, ResultEnvelope, Written, WrittenKind, WrittenSource
from ecm.contracts.search import Axis
from ecm.delivery.affected import beyond_repair
from ecm.errors import StoreCorrupt
from ecm.evidence.asset_words import words_in_file
from ecm.evidence.bundle_rekeying import rekeyed
from ecm.evidence.bundle_rows import Claims, RowChecks
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.examination import examine
from ecm.evidence.examiners import Here
from ecm.evidence.history import asset_history
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.row_checks import RowFault, check_rows
from ecm.evidence.schema import ASSET_WORDS, ASSETS
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.sql import answer
from ecm.evidence.store import EvidenceStore
from tests.damaged import truncated
from tests.evidence_envelopes import START, VISION, VV, content_of, embedded, envelope, vision

POLICY = SnapshotPolicy(transforms={Axis.FTS: (VISION,), Axis.VV: (VV,)})
EXIF, IPTC, XMP = WrittenSource.EXIF, WrittenSource.IPTC, WrittenSource.XMP


def word(kind: WrittenKind, source: WrittenSource, text: str) -> Written:
    return Written(kind=kind, source=source, text=text)


def taken(source: WrittenSource, at: float) -> Written:
    return Written(kind=WrittenKind.TAKEN, source=source, text="2021-05-03T10:11:12", taken_at=at)


def facts(*words: Written) -> ImageFacts:
    return ImageFacts(width=640, height=480, format="JPEG", written=words)


SWANS = facts(
    word(WrittenKind.DESCRIPTION, EXIF, "Two swans"),
    word(WrittenKind.KEYWORD, IPTC, "swan"),
    word(WrittenKind.KEYWORD, IPTC, "lake"),
    taken(EXIF, 1620036672.0),
    word(WrittenKind.DESCRIPTION, XMP, "two SWANS"),
    word(WrittenKind.TITLE, XMP, "Zürich"),
)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)


def add(store: EvidenceStore, batch: str, *envelopes: ResultEnvelope) -> None:
    EvidenceCommitter(store).append(batch, envelopes)


def shown(store: EvidenceStore, seed: object = "a") -> dict[str, Any]:
    snapshots = SnapshotStore(store)
    ref = snapshots.build(POLICY, START + len(snapshots.list()))
    return next(row for row in _rows(store, ref) if row["asset_id"] == content_of(seed))


def _rows(store: EvidenceStore, ref: SnapshotRef) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.open_lance(ref.table, ref.version).to_table().to_pylist()
    return rows


def test_words_are_kept_once_and_shown_by_snapshot_and_history(store: EvidenceStore) -> None:
    add(store, "b1", vision("a", "a bird", ("bird",)))
    assert ASSET_WORDS not in store.tables()
    assert shown(store)["user"] is None
    add(store, "b2", embedded("a", image=SWANS, run_id="run-2"))
    again = embedded("a", image=SWANS, run_id="run-3", uri="file:///copy.jpg")
    add(store, "b3", again, vision("b", "", ("sea",)))
    assert store.counts()[ASSET_WORDS] == 6
    row = shown(store)
    assert row["user"] == "Zürich\nTwo swans\nswan\nlake"
    assert row["taken_at"] == 1620036672.0
    assert shown(store, "b")["user"] is None
    story = asset_history(store, "t", content_of("a"), {})
    assert [(w.kind.value, w.text, w.run_id) for w in story.written] == [
        ("title", "Zürich", "run-2"),
        ("description", "Two swans", "run-2"),
        ("description", "two SWANS", "run-2"),
        ("keyword", "swan", "run-2"),
        ("keyword", "lake", "run-2"),
        ("taken", "2021-05-03T10:11:12", "run-2"),
    ]
    assert words_in_file(store, "u", content_of("a")) == ()


def test_words_that_come_later_are_stepped_to(store: EvidenceStore) -> None:
    seeds = [f"n{number}" for number in range(12)]
    add(store, "b1", *(vision(seed, "", ("sea",)) for seed in seeds))
    snapshots = SnapshotStore(store)
    first = snapshots.build(POLICY, START)
    add(store, "b2", embedded("n3", image=facts(word(WrittenKind.TITLE, XMP, "waves"))))
    add(store, "b3", vision("n4", "", ("sea",), image=SWANS, transform="f" * 64))
    step = snapshots.build(POLICY, START + 1)
    assert step.table != first.table  # an axis has come, so that this one is anew
    add(store, "b4", vision("n5", "", ("sea",), image=SWANS, transform="e" * 64))
    step = snapshots.build(POLICY, START + 2)
    anew = snapshots.build_anew(POLICY, START + 3)
    assert step.lineage.steps == 1
    by_id = [sorted(_rows(store, r), key=lambda row: row["asset_id"]) for r in (step, anew)]
    assert by_id[0] == by_id[1]
    swans = "Zürich\nTwo swans\nswan\nlake"
    assert sorted(row["user"] for row in by_id[0] if row["user"]) == [swans, swans, "waves"]


def test_which_time_counts_when_a_file_has_two(store: EvidenceStore) -> None:
    add(store, "b", vision("a", "", ("sea",), image=facts(taken(XMP, 5.0), taken(EXIF, 9.0))))
    assert shown(store)["taken_at"] == 9.0


def test_words_belong_to_their_tenant(store: EvidenceStore) -> None:
    add(store, "b", vision("a", "", ("sea",), image=SWANS), vision("a", "", ("sea",), tenant="u"))
    found = answer(store, "SELECT count(*) AS n FROM asset_words", "u").table
    assert found["n"].to_pylist() == [0]
    found = answer(store, "SELECT count(*) AS n FROM asset_words", "t").table
    assert found["n"].to_pylist() == [6]


def test_envelopes_without_words_are_what_they_were() -> None:
    said = vision("a", "a bird", ("bird",))
    assert "written" not in said.model_dump_json()
    assert said.result_checksum == (
        "27eadb35bce8fe40368db567e403fe5c81efef16d74a1107e39b91c44c439e01"
    )
    rows = tables_of([embedded("a", image=SWANS)], "b")[ASSETS].to_pylist()
    assert "written" not in rows[0]


def test_altered_words_are_noticed_and_a_bundle_with_them_is_refused() -> None:
    table = tables_of([embedded("a", image=SWANS)], "b")[ASSET_WORDS]
    batch = table.to_batches()[0]
    assert check_rows(ASSET_WORDS, batch).by_kind == {}
    for column, value, kinds in (
        ("text", "three swans", {RowFault.KEY}),
        ("text", "", {RowFault.KEY, RowFault.TEXT}),
        ("kind", "poem", {RowFault.KEY, RowFault.TEXT}),
        ("source", "rumour", {RowFault.KEY, RowFault.TEXT}),
        ("taken_at", 3.0, {RowFault.KEY, RowFault.TEXT}),
    ):
        values = batch[column].to_pylist()
        changed = pa.array([value, *values[1:]], batch.schema.field(column).type)
        place = batch.schema.get_field_index(column)
        wrong = table.set_column(place, batch.schema.field(column), changed)
        faults = check_rows(ASSET_WORDS, wrong.combine_chunks().to_batches()[0])
        assert set(faults.by_kind) == kinds, column
        assert [int(mask.sum()) for mask in faults.by_kind.values()] == [1] * len(kinds)
        with pytest.raises(StoreCorrupt):
            RowChecks(ASSET_WORDS, Claims({"t"}, START + 1, ())).check(wrong)
    mine = rekeyed(ASSET_WORDS, table, {"t": "u"}, "import-1")
    assert check_rows(ASSET_WORDS, mine.combine_chunks().to_batches()[0]).by_kind == {}
    theirs = tables_of([embedded("a", image=SWANS, tenant="u")], "b")[ASSET_WORDS]
    assert mine["words_id"].to_pylist() == theirs["words_id"].to_pylist()


def test_lost_words_are_named_as_nothing_a_task_is_asked_for(store: EvidenceStore) -> None:
    add(store, "b1", vision("a", "", ("sea",), image=SWANS))
    add(store, "b2", vision("b", "", ("sea",), image=SWANS))
    metadata = store.dataset(ASSET_WORDS).get_fragments()[0].metadata
    truncated(
        Path(store.storage.location(f"tables/asset_words.lance/data/{metadata.files[0].path}"))
    )
    exam = examine(store, Here(store), lambda *_: None)
    assert {damage.table for damage in exam.damages} == {ASSET_WORDS}
    assert list(beyond_repair(exam)) == ["6 rows of asset_words, until their files are read again"]


def test_an_envelope_says_a_time_only_with_when_it_was_taken() -> None:
    with pytest.raises(ValueError, match="exactly for when"):
        Written(kind=WrittenKind.TITLE, source=EXIF, text="x", taken_at=3.0)
    with pytest.raises(ValueError, match="exactly for when"):
        Written(kind=WrittenKind.TAKEN, source=EXIF, text="x")
    sealed = envelope("a", image=SWANS)
    assert ResultEnvelope.model_validate_json(sealed.model_dump_json(by_alias=True)) == sealed
