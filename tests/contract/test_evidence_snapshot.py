"""Snapshots choose, are whole or not there, and can be published and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.identity import digest
from ecm.contracts.result import Outputs, ResultEnvelope, Space, TextStatement
from ecm.contracts.search import Axis
from ecm.errors import SnapshotNotFound, StoreCorrupt
from ecm.evidence.choice import chosen
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy, TenantPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    MV,
    OCR,
    START,
    VISION,
    VV,
    X,
    content_of,
    embedded,
    envelope,
    everything,
    failed,
    ocr,
    vector_of,
    vision,
)

NEW = digest("new vision")
POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)


def _captions(store: EvidenceStore, policy: SnapshotPolicy, now: float) -> dict[str, str | None]:
    reader = SnapshotReader.open(store, SnapshotStore(store).build(policy, now))
    rows = reader.rows("t", [content_of(seed) for seed in "abcdef"])
    return {Path(row.uris[0]).stem: row.caption for row in rows}


def test_a_snapshot_shows_all_that_was_said_and_names_it(store: EvidenceStore) -> None:
    batch = [*everything("a", "dog", "golden retriever"), ocr("b", "STOP", "here"), vision("c")]
    batch.append(envelope("a", linked=True, uri="file:///trip/Old Album/copy.jpg"))
    EvidenceCommitter(store).append("b1", batch)
    ref = SnapshotStore(store).build(POLICY, START)
    assert (ref.assets, ref.tenants) == (3, {"t": 3})
    assert ref.dims == {Axis.VV: 8, Axis.X: 4, Axis.MV: 6}
    assert ref.transforms[Axis.VV] == (VV,)
    assert ref.measurements.coverage["vv"] == pytest.approx(1 / 3)
    assert set(ref.measurements.indexed_rows.values()) == {3}

    a, b, c = SnapshotReader.open(store, ref).rows("t", [content_of(s) for s in "abc"])
    assert a.uris == ("file:///photos/a.jpg", "file:///trip/Old Album/copy.jpg")
    assert a.name == "photos a trip Old Album copy"
    assert (a.width, a.height, a.format) == (640, 480, "JPEG")
    assert (a.caption, a.caption_composed) == ("a photo of dog and golden retriever", True)
    assert (a.tags, a.classification) == (("dog", "golden retriever"), ("dog",))
    stored = store.sql("SELECT evidence_id FROM evidence_text WHERE text <> ''")
    assert {s.evidence_id for s in a.statements + b.statements} == set(
        stored["evidence_id"].to_pylist()
    )
    assert {axis: said.transform for axis, said in a.vectors.items()} == {
        Axis.VV: VV,
        Axis.X: X,
        Axis.MV: MV,
    }
    assert (b.ocr, b.caption, b.vectors) == ("STOP\nhere", None, {})
    assert (c.caption, c.statements) == (None, ())


def test_unchanged_evidence_and_policy_give_the_same_snapshot(store: EvidenceStore) -> None:
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    committer.append("b1", everything("a", "dog"))
    first = snapshots.build(POLICY, START)
    snapshots.publish(first.snapshot_id, START)
    assert snapshots.build(POLICY, START + 60) == first
    assert snapshots.published() == first
    other = snapshots.build(POLICY.model_copy(update={"others": "never"}), START + 61)
    committer.append("b2", everything("b", "dog"))
    third = snapshots.build(POLICY, START + 62)
    assert [ref.snapshot_id for ref in snapshots.list()] == [
        third.snapshot_id,
        other.snapshot_id,
        first.snapshot_id,
    ]
    assert snapshots.published() == first


def test_the_policy_decides_then_confidence_then_recency(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    old = [vision(s, f"old {s}", observed_at=START) for s in "ab"]
    new = [vision(s, f"new {s}", transform=NEW, observed_at=START + 9) for s in "bc"]
    later = [vision("d", "later d", observed_at=START + 9)]
    later += [vision("d", "earlier d", transform=NEW, observed_at=START)]
    committer.append("b1", old)
    committer.append("b2", [*new, *later])

    def policy(*fts: str, others: str = "last") -> SnapshotPolicy:
        return SnapshotPolicy(transforms={Axis.FTS: fts}, others=others)

    preferred = {"a": "old a", "b": "old b", "c": "new c", "d": "later d"}
    assert _captions(store, policy(VISION), START) == preferred
    assert _captions(store, policy(NEW, VISION), START)["b"] == "new b"
    only = {seed: caption for seed, caption in preferred.items() if seed != "c"}
    assert _captions(store, policy(VISION, others="never"), START) == only
    assert _captions(store, policy(), START) == preferred | {"b": "new b"}
    surer = vision("b", "", ("sure",), transform=digest("surer"), observed_at=START - 9)
    committer.append("b3", [surer])
    row = SnapshotReader.open(store, SnapshotStore(store).build(policy(), START)).rows(
        "t", [content_of("b")]
    )[0]
    assert (row.caption, row.tags) == ("new b", ("sure",))


def test_what_is_not_sure_enough_or_too_old_is_left_out(store: EvidenceStore) -> None:
    sure, old = ("dog", "sea", "sky"), {"observed_at": START - 9}  # 0.9, 0.85, 0.8
    unsaid = envelope("c", outputs=Outputs(caption=TextStatement(text="no confidence")))
    batch = [vision("a", "", sure), unsaid, vision("d", "", sure, tenant="u")]
    EvidenceCommitter(store).append("b1", [*batch, *everything("b", "dog", **old)])

    def tags(**changes: Any) -> dict[str, tuple[str, ...]]:
        policy = POLICY.model_copy(update=changes)
        ref = SnapshotStore(store).build(policy, START)
        reader = SnapshotReader.open(store, ref)
        rows = [
            *reader.rows("t", [content_of(s) for s in "abc"]),
            *reader.rows("u", [content_of("d")]),
        ]
        return {Path(row.uris[0]).stem: row.tags for row in rows}

    everything_ = {"a": sure, "b": ("dog",), "c": (), "d": sure}
    assert tags() == everything_
    assert tags(min_confidence=0.85) == everything_ | {"a": sure[:2], "d": sure[:2]}
    assert tags(evidence_since=START) == {k: v for k, v in everything_.items() if k != "b"}
    assert tags(min_confidence=0.95) == {"b": (), "c": ()}
    own = {"u": TenantPolicy(min_confidence=0)}
    assert tags(min_confidence=0.85, tenants=own)["d"] == sure
    listed = {"u": TenantPolicy(transforms={Axis.FTS: (NEW,)}, others="never")}
    assert set(tags(tenants=listed)) == set("abc")


def test_vectors_come_from_the_first_listed_transform_that_has_any(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", [embedded("a"), embedded("b", Space.VV, X)])
    snapshots = SnapshotStore(store)
    for transforms, seed in (((VV,), "a"), ((X, VV), "b"), ((NEW, VV), "a")):
        ref = snapshots.build(SnapshotPolicy(transforms={Axis.VV: transforms}), START)
        found = SnapshotReader.open(store, ref).tenant_matrix("t", Axis.VV)
        assert found.asset_ids == [content_of(seed)]
        assert found.vectors.tolist() == [vector_of(Space.VV, seed).tolist()]
    assert snapshots.build(SnapshotPolicy(transforms={Axis.VV: (NEW,)}), START).dims == {}


def test_a_file_with_new_bytes_no_longer_shows_the_old_ones(store: EvidenceStore) -> None:
    committer = EvidenceCommitter(store)
    place = {"uri": "file:///photos/same.jpg"}
    committer.append("b1", [vision("old", "old", **place), vision("kept", "kept", **place)])
    committer.append("b2", [envelope("kept", linked=True, uri="file:///copy.jpg")])
    committer.append("b3", [vision("new", "new", observed_at=START + 5, **place)])
    ref = SnapshotStore(store).build(POLICY, START)
    rows = SnapshotReader.open(store, ref).rows(
        "t", [content_of(s) for s in ("old", "kept", "new")]
    )
    assert [(row.caption, row.uris) for row in rows] == [
        ("kept", ("file:///copy.jpg",)),
        ("new", ("file:///photos/same.jpg",)),
    ]
    assert ref.measurements.superseded == 1
    committer.append("b4", [failed("broken", observed_at=START + 9, **place)])
    assert SnapshotStore(store).build(POLICY, START).assets == 1


def test_an_empty_store_gives_an_empty_snapshot_that_answers(store: EvidenceStore) -> None:
    ref = SnapshotStore(store).build(POLICY, START)
    assert (ref.assets, ref.tenants, ref.dims) == (0, {}, {})
    reader = SnapshotReader.open(store, ref)
    assert reader.search_text("t", "dog", {"tags": 1.0}, 5) == []


def test_publishing_and_rolling_back(store: EvidenceStore) -> None:
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    assert snapshots.published() is None
    with pytest.raises(SnapshotNotFound):
        snapshots.rollback(START)
    refs = []
    for number in range(3):
        committer.append(f"b{number}", everything(number, "dog"))
        refs.append(snapshots.build(POLICY, START + number))
        snapshots.publish(refs[-1].snapshot_id, START + number)
        snapshots.publish(refs[-1].snapshot_id, START + number)
    assert snapshots.published() == refs[2]
    assert snapshots.rollback(START + 10) == refs[1]
    assert snapshots.rollback(START + 11) == refs[0]
    assert snapshots.published() == refs[0]
    with pytest.raises(SnapshotNotFound, match="nothing was published"):
        snapshots.rollback(START + 12)
    snapshots.publish(refs[2].snapshot_id, START + 13)
    assert SnapshotStore(EvidenceStore.open(store.config)).published() == refs[2]
    assert store.sql("SELECT count(*) AS n FROM search_materialized")["n"].to_pylist() == [3]
    for wrong in ("s-20260101T000000Z-00000000", "../../etc", ""):
        with pytest.raises(SnapshotNotFound):
            snapshots.publish(wrong, START)
    assert snapshots.published() == refs[2]


def test_an_open_reader_keeps_its_snapshot_when_another_is_published(store: EvidenceStore) -> None:
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    committer.append("b1", everything("a", "dog"))
    first = snapshots.publish(snapshots.build(POLICY, START).snapshot_id, START)
    reader = SnapshotReader.open(store, first)
    committer.append("b2", everything("b", "dog"))
    second = snapshots.publish(snapshots.build(POLICY, START + 1).snapshot_id, START + 1)
    for opened, assets in ((reader, 1), (SnapshotReader.open(store, second), 2)):
        assert len(opened.search_text("t", "dog", {"tags": 1.0}, 10)) == assets
        assert len(opened.search_vectors("t", Axis.VV, vector_of(Space.VV, "b"), 10)) == assets


def test_what_has_no_reference_is_not_a_snapshot(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    snapshots = SnapshotStore(store)
    ref = snapshots.build(POLICY, START)
    reference = Path(store.storage.location(f"snapshots/{ref.snapshot_id}/ref.json"))
    whole = reference.read_bytes()
    reference.unlink()
    assert snapshots.list() == ()
    again = snapshots.build(POLICY, START)
    assert again.snapshot_id == ref.snapshot_id
    assert snapshots.list() == (again,)
    for damage in (whole[:-20], json.dumps(json.loads(whole) | {"format_version": 9}).encode()):
        reference.write_bytes(damage)
        with pytest.raises(StoreCorrupt, match=ref.snapshot_id):
            snapshots.list()
    foreign = json.dumps(json.loads(whole) | {"store_id": "other"}).encode()
    reference.write_bytes(foreign)
    with pytest.raises(StoreCorrupt, match="another store"):
        snapshots.publish(ref.snapshot_id, START)


def test_damaged_evidence_stops_the_build_and_leaves_what_is_published(
    store: EvidenceStore,
) -> None:
    committer, snapshots = EvidenceCommitter(store), SnapshotStore(store)
    committer.append("b1", everything("a", "dog"))
    first = snapshots.publish(snapshots.build(POLICY, START).snapshot_id, START)
    committer.append("b2", everything("b", "dog"))
    for name in store.tables():
        if "_vv_" in name:
            for data in (Path(store.storage.location(f"tables/{name}.lance")) / "data").iterdir():
                data.write_bytes(data.read_bytes()[:30])
    with pytest.raises(StoreCorrupt):
        snapshots.build(POLICY, START + 1)
    assert snapshots.published() == first
    assert snapshots.list() == (first,)
    (Path(store.storage.root) / "published.json").write_bytes(b"{")
    with pytest.raises(StoreCorrupt, match=r"published\.json") as damaged:
        snapshots.published()
    assert "ecm repair" in damaged.value.hint, "publishing reads it, too"


def test_a_vector_that_is_not_what_was_committed_stops_the_build(store: EvidenceStore) -> None:
    batch = [embedded(seed) for seed in "abc"]
    name = f"evidence_vectors_vv_{VV[:12]}"
    EvidenceCommitter(store).append("b1", [vision(seed, "dog") for seed in "abc"])
    table = tables_of(batch, "b2")[name]
    place = table.schema.get_field_index("checksum")
    false = pa.array(["0" * 64] * 3)
    spoilt = table.set_column(place, table.schema.field(place), false)
    EvidenceCommitter(store).append_rows(name, spoilt, "b2")
    with pytest.raises(StoreCorrupt, match="not that of evidence"):
        SnapshotStore(store).build(POLICY, START)
    assert SnapshotStore(store).list() == ()


_SAYERS = [VISION, NEW, digest("third")]


def _statements(draw: st.DrawFn) -> list[ResultEnvelope]:
    made = {}
    for _ in range(draw(st.integers(1, 8))):
        seed, transform = draw(st.integers(0, 2)), draw(st.sampled_from(_SAYERS))
        tags = tuple(draw(st.lists(st.sampled_from("pqrs"), max_size=3, unique=True)))
        at = START + draw(st.integers(0, 3))
        made[seed, transform] = vision(seed, "", tags, transform=transform, observed_at=at)
    return list(made.values())


@settings(max_examples=15, deadline=None)
@given(st.composite(_statements)(), st.permutations(_SAYERS).map(lambda p: tuple(p[:2])))
def test_tags_are_those_of_the_first_listed_transform_that_has_any(
    batch: list[ResultEnvelope], listed: tuple[str, ...]
) -> None:
    """The choice against a few lines of Python over the same tables."""
    tables: dict[str, pa.Table] = tables_of(batch, "b1")
    policy = SnapshotPolicy(transforms={Axis.FTS: listed}, others="never")
    with chosen(policy, tables, {}) as choice:
        rows = [row for part in choice.batches() for row in part.to_pylist()]
    expected = {}
    for envelope_ in sorted(batch, key=lambda e: -_place(listed, e.transform)):
        if envelope_.transform in listed:
            asset_id = envelope_.resource_fingerprint.content_hash
            expected.setdefault(asset_id, None)
            if envelope_.outputs.tags:
                # Sure is said three times, half sure twice: the full text index counts words.
                expected[asset_id] = ", ".join(
                    tag.label
                    for tag in envelope_.outputs.tags
                    for _ in range(int(3 * (tag.confidence or 0) + 0.5))
                )
    assert {row["asset_id"]: row["tags"] for row in rows} == expected


def _place(listed: tuple[str, ...], transform: str) -> int:
    return listed.index(transform) if transform in listed else len(listed)
