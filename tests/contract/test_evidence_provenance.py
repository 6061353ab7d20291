"""What is shown is proved by the rows behind it, and what does not agree is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.search import Axis
from ecm.contracts.task import ModelSpec
from ecm.errors import QueryError, SnapshotNotFound
from ecm.evidence.bundle import ModelNote, WeightFile
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.provenance import Provenance, provenance
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.schema import EVIDENCE_TEXT
from ecm.evidence.snapshot import SnapshotPolicy, SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import MV, START, VISION, VV, X, content_of, everything

NOTE = ModelNote(
    name="tagger",
    spec=ModelSpec(backend="fake", model_id="tagger", revision="7"),
    files=(WeightFile(name="weights", bytes=3, sha256="a" * 64),),
)
POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION,), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)
ASSET = content_of("x")


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    """One asset of tenant t and one of another, indexed and published."""
    made = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
    committer = EvidenceCommitter(made)
    committer.append("b-1", everything("x", "dog", "beach"))
    committer.append("b-2", everything("theirs", "cat", tenant="other"))
    record = RunRecord(
        run_id="run-1", tenant_id="t", job_id="j", config_digest="c" * 64, code_version="9.9",
        started_at=START,
    )  # fmt: skip
    record_run(made, record)
    snapshots = SnapshotStore(made)
    snapshots.publish(snapshots.build(POLICY, START + 1).snapshot_id, START + 2)
    return made


def prove(store: EvidenceStore) -> Provenance:
    return provenance(store, "t", ASSET, {VISION: NOTE})


def test_every_statement_goes_back_to_its_row_run_model_and_bytes(store: EvidenceStore) -> None:
    proof = prove(store)
    assert (proof.verified, proof.problems) == (True, ())
    kinds = {said.kind for said in proof.statements}
    assert kinds == {"caption", "tag", "classification", "vector.vv", "vector.x", "vector.mv"}
    caption = next(said for said in proof.statements if said.kind == "caption")
    assert (caption.table, caption.batch_id, caption.transform) == (EVIDENCE_TEXT, "b-1", VISION)
    assert caption.committed_at is not None
    assert {said.checksum is None for said in proof.statements if "vector" in said.kind} == {False}
    assert [(run.run_id, run.code_version, run.config_digest) for run in proof.runs] == [
        ("run-1", "9.9", "c" * 64)
    ]
    assert {each.transform: each.model for each in proof.models}[VISION] == NOTE
    assert {each.model for each in proof.models if each.transform != VISION} == {None}
    assert (proof.published_at, proof.uris) == (START + 2, ("file:///photos/x.jpg",))
    assert [(place.uri, place.size) for place in proof.places] == [("file:///photos/x.jpg", 123)]


def test_a_row_that_says_something_else_by_now_is_named(store: EvidenceStore) -> None:
    store.dataset(EVIDENCE_TEXT).update(
        {"text": "'a photo of nothing'"}, where=f"kind = 'caption' AND asset_id = '{ASSET}'"
    )
    proof = prove(store)
    assert not proof.verified
    assert [p.split(": ")[1] for p in proof.problems] == [
        "the snapshot has another text than its row"
    ]


def test_a_row_that_is_lost_is_named(store: EvidenceStore) -> None:
    store.dataset(EVIDENCE_TEXT).delete("kind = 'classification'")
    assert [p.split(": ")[1] for p in prove(store).problems] == ["no table has its row of evidence"]


def test_a_vector_that_is_not_its_checksums_is_named(store: EvidenceStore) -> None:
    name = next(name for name in store.tables() if "_vv_" in name)
    store.dataset(name).update({"checksum": f"'{'0' * 64}'"})
    assert [p.split(": ")[1] for p in prove(store).problems] == [
        "its vector is not the one it has a checksum of"
    ]


def test_what_is_not_shown_or_another_tenants_is_unknown(store: EvidenceStore) -> None:
    for asset in (content_of("never"), content_of("theirs")):
        with pytest.raises(QueryError) as unknown:
            provenance(store, "t", asset, {})
        assert unknown.value.code == "query.asset_unknown"


def test_without_a_published_snapshot_nothing_is_shown(tmp_path: Path) -> None:
    empty = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "empty")), START)
    with pytest.raises(SnapshotNotFound):
        provenance(empty, "t", ASSET, {})
