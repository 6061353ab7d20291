"""SIGKILL while a re-scan puts on record what is gone and what is back."""

from __future__ import annotations

import os
from dataclasses import replace

import pyarrow.compute as pc

from ecm.evidence.store import EvidenceStore
from tests.fault_harness import STRUCK, Chain
from tests.faults.conftest import MakeChain


def sightings(chain: Chain) -> list[tuple[str, str]]:
    """Names and states, in the order of the looks."""
    store = EvidenceStore.open(chain.order.profile().evidence)
    if not store.has_table("asset_sightings"):
        return []
    rows = store.read("asset_sightings", ["uri", "state", "observed_at"])
    ordered = rows.take(pc.sort_indices(rows, [("observed_at", "ascending"), ("uri", "ascending")]))
    return [(row["uri"].rsplit("/", 1)[1], row["state"]) for row in ordered.to_pylist()]


def test_every_place_is_told_once_whenever_the_run_is_killed(make_chain: MakeChain) -> None:
    chain = make_chain("sqlite")
    chain.grow()
    before = chain.finish()["assets"]
    deleted, moved = (chain.photos / f"0001-{name}.png" for name in "bc")
    data, status = deleted.read_bytes(), deleted.stat()
    deleted.unlink()
    moved.rename(chain.photos / "elsewhere.png")
    for point in ("rescan.gone", "rescan.recorded", "snapshot.built"):
        assert chain.run(replace(chain.order, crash=point)) == STRUCK
    assert chain.finish()["assets"] == before - 1
    told = [("0001-b.png", "gone"), ("0001-c.png", "gone")]
    assert sightings(chain) == told

    deleted.write_bytes(data)
    os.utime(deleted, ns=(status.st_atime_ns, status.st_mtime_ns))
    for point in ("rescan.gone", "rescan.recorded"):
        assert chain.run(replace(chain.order, crash=point)) == STRUCK
    assert chain.finish()["assets"] == before
    assert sightings(chain) == [*told, ("0001-b.png", "present")]
    assert not chain.recomputed
