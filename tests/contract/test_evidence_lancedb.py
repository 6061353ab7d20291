"""The store is a LanceDB database too: another engine than ours opens, queries and extends it.

lancedb carries a Lance engine of its own, of another version than the pylance that writes here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import MV, OCR, START, VISION, VV, X, everything, vector_of

SEEDS = tuple(range(20))
POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    made = EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)
    envelopes = [envelope for seed in SEEDS for envelope in everything(seed, f"harbour {seed}")]
    EvidenceCommitter(made).append("batch-1", envelopes)
    return made


@pytest.fixture
def reader(store: EvidenceStore) -> SnapshotReader:
    return SnapshotReader.open(store, SnapshotStore(store).build(POLICY, START))


def opened(folder: str, table: str) -> Any:
    return lancedb.connect(folder).open_table(table)


def test_lancedb_reads_every_table_with_our_counts(store: EvidenceStore) -> None:
    folder = f"{store.config.uri}/tables"
    for name, rows in store.counts().items():
        assert opened(folder, name).count_rows() == rows


def test_lancedb_finds_the_same_neighbours(store: EvidenceStore, reader: SnapshotReader) -> None:
    folder = f"{store.config.uri}/snapshots/{reader.ref.snapshot_id}"
    query = vector_of(Space.VV, "some query")
    theirs = opened(folder, "search_materialized").search(query, vector_column_name="vv")
    found = theirs.distance_type("cosine").select(["asset_id", "_distance"]).limit(5).to_list()
    ours = reader.search_vectors("t", Axis.VV, query, 5)
    assert [row["asset_id"] for row in found] == [asset_id for asset_id, _ in ours]
    scores = [1 - row["_distance"] for row in found]
    assert np.allclose(scores, [score for _, score in ours], atol=1e-5)


def test_lancedb_searches_our_full_text_index(store: EvidenceStore, reader: SnapshotReader) -> None:
    folder = f"{store.config.uri}/snapshots/{reader.ref.snapshot_id}"
    table = opened(folder, "search_materialized")
    found = table.search("harbour", query_type="fts", fts_columns="tags").limit(50).to_list()
    ours = reader.search_text("t", "harbour", {"tags": 1.0}, 50)
    assert len(ours) == len(SEEDS)
    assert {hit["asset_id"] for hit in found} == {asset_id for asset_id, _ in ours}


def test_we_read_what_lancedb_appended(store: EvidenceStore) -> None:
    table = opened(f"{store.config.uri}/tables", "assets")
    rows = table.to_arrow().slice(0, 1)
    table.add(rows)
    assert store.counts()["assets"] == len(SEEDS) + 1
