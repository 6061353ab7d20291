"""The store is a LanceDB database too: another engine than ours opens, queries and extends it.

lancedb carries a Lance engine of its own, of another version than the pylance that writes here.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.delivery.maintaining import maintain
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig, MaintenanceConfig
from ecm.evidence.policy import SnapshotPolicy
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
    everything,
    vector_of,
)

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


def test_maintained_by_either_engine_the_other_goes_on(tmp_path: Path) -> None:
    """We compact, index and clean up, lancedb appends and optimises, we commit; in circles."""
    at_once = MaintenanceConfig(versions_seconds=0, orphans_seconds=0)
    store = EvidenceStore.create(
        EvidenceConfig(uri=str(tmp_path / "store"), maintenance=at_once), START
    )
    committer, folder = EvidenceCommitter(store), f"{store.config.uri}/tables"
    for number in range(3):
        for seed in range(3):
            committer.append(f"b{number}-{seed}", everything((number, seed), f"harbour {seed}"))
        done = maintain(
            store, tmp_path / "spool", unquestioned, time.time() + 1, lambda _: None, lambda: False
        )
        assert done.problems == []
        counts = store.counts()
        for name, rows in counts.items():
            table = opened(folder, name)
            assert table.count_rows() == rows
            table.add(store.dataset(name).to_table().slice(0, 1))
            table.optimize(cleanup_older_than=timedelta(milliseconds=1))
        assert store.counts() == {name: rows + 1 for name, rows in counts.items()}
        assert len(store.texts_of("t", [content_of((number, 1))], VISION)) == 1
        assert committer.append(f"again-{number}", everything((number, 0), "harbour 0"))
        assert store.counts() == {name: rows + 1 for name, rows in counts.items()}
        text = opened(folder, "evidence_text")
        found = text.search().where(f"asset_id = '{content_of((number, 2))}'").to_list()
        assert {row["kind"] for row in found} == {"caption", "tag", "classification", "ocr"}
