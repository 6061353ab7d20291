"""Traps of the table format: keys that are null, doubled or indexed, replays, a fenced store."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ecm.contracts.result import Space
from ecm.errors import EcmError, LeaseLost
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.schema import ASSET_VERSIONS, EVIDENCE_TEXT, fixed_schema, vector_table
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import VV, everything, failed, vision


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), 0.0)


def test_an_index_on_the_key_does_not_bring_doubles_back(store: EvidenceStore) -> None:
    batch = [*everything("a", "dog"), *everything("b", "cat")]
    EvidenceCommitter(store).append("b1", batch)
    before = store.counts()
    for name in (EVIDENCE_TEXT, vector_table(Space.VV, VV)):
        store.dataset(name).create_scalar_index("evidence_key", "BTREE")
    for number in range(10):
        EvidenceCommitter(store).append(f"again-{number}", batch)
    assert store.counts() == before


def test_the_same_key_twice_in_a_batch_is_one_row(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", [*everything("a", "dog"), *everything("a", "dog")])
    once = store.counts()
    EvidenceCommitter(store).append("b2", everything("a", "dog"))
    assert store.counts() == once
    assert once["assets"] == once["asset_versions"] == 1


def test_bytes_that_were_never_read_leave_no_row(store: EvidenceStore) -> None:
    """Without a content hash there is no key."""
    for number in range(3):
        EvidenceCommitter(store).append(f"b{number}", [failed("a", content=None)])
    assert store.counts() == {}


def test_a_null_key_is_refused(store: EvidenceStore) -> None:
    schema = fixed_schema(ASSET_VERSIONS)
    row = {field.name: None for field in schema}
    loose = pa.schema([field.with_nullable(True) for field in schema], schema.metadata)
    table = pa.Table.from_pylist([row], schema=loose)
    with pytest.raises((EcmError, TypeError)):
        EvidenceCommitter(store).append_rows(ASSET_VERSIONS, table, "b1")
    assert store.counts().get(ASSET_VERSIONS, 0) == 0


def test_what_began_before_a_fence_is_not_committed_after_it(store: EvidenceStore) -> None:
    """Whoever loses the right between looking at a table and writing to it writes nothing."""
    EvidenceCommitter(store).append("b1", [vision("a", "a dog", ("dog",))])
    before = store.counts()
    asked = 0

    def taken_over() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            EvidenceCommitter(store).fence()
            return
        raise LeaseLost("taken")

    with pytest.raises(LeaseLost):
        EvidenceCommitter(store).append("b2", [vision("b", "a cat", ("cat",))], taken_over)
    with pytest.raises(LeaseLost):
        EvidenceCommitter(store).delete_batch("b1", taken_over)
    assert store.counts() == before


def test_a_fence_changes_no_row_and_keeps_indices(store: EvidenceStore) -> None:
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    store.index_lookups()
    before = store.counts()
    indices = [index.name for index in store.dataset(EVIDENCE_TEXT).describe_indices()]
    EvidenceCommitter(store).fence()
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    assert store.counts() == before
    assert [i.name for i in store.dataset(EVIDENCE_TEXT).describe_indices()] == indices
    EvidenceCommitter(store).append("b2", everything("b", "cat"))
    assert store.counts()["assets"] == before["assets"] + 1
