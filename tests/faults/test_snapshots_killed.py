"""A build of a snapshot that is killed anywhere changes nothing that is served or referred to."""

from __future__ import annotations

from typing import Any

import pytest

from ecm.contracts.search import Axis
from ecm.crashpoints import POINTS
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, all_refs, published_ref
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import check_file, files_of
from ecm.evidence.store import EvidenceStore
from tests.fault_harness import STRUCK, Chain, Fault
from tests.fault_victim import TENANT
from tests.faults.conftest import MakeChain

BUILDING = [point for point in POINTS if point.startswith("snapshot.")]


def _store(chain: Chain) -> EvidenceStore:
    return EvidenceStore.open(chain.order.profile().evidence)


def _rows(store: EvidenceStore, ref: SnapshotRef) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = store.open_lance(ref.table, ref.version).to_table().to_pylist()
    return sorted(rows, key=lambda row: (row["tenant_id"], row["asset_id"]))


def _answers(store: EvidenceStore, ref: SnapshotRef) -> list[object]:
    reader = SnapshotReader.open(store, ref)
    rows = _rows(store, ref)
    query = reader.tenant_matrix(TENANT, Axis.VV).vectors[0]
    words = rows[0]["name"]
    return [
        rows,
        reader.search_vectors(TENANT, Axis.VV, query, 1000),
        reader.search_text(TENANT, words, {"name": 1.0}, 1000),
    ]


@pytest.mark.parametrize("point", BUILDING)
def test_what_is_served_answers_the_same_after_a_kill(make_chain: MakeChain, point: str) -> None:
    chain = make_chain("sqlite")
    chain.grow()
    chain.finish()
    store = _store(chain)
    served = published_ref(store)
    assert served is not None
    before = _answers(store, served)
    assert chain.strike(Fault(point)) == STRUCK

    for ref in all_refs(_store(chain)):
        assert SnapshotReader.open(store, ref).broken == SnapshotReader.open(store, served).broken
        assert len(_rows(store, ref)) == ref.assets
        for file in files_of(store, ref).values():
            check_file(store, file)
    assert _answers(_store(chain), served) == before
    if point != "snapshot.published":
        assert published_ref(_store(chain)) == served

    chain.finish()
    store = _store(chain)
    now = published_ref(store)
    assert now is not None
    assert now.assets > served.assets
    anew = SnapshotStore(store).build_anew(now.policy, now.created_at + 60)
    assert _rows(store, now) == _rows(store, anew)
    assert _answers(store, served) == before
