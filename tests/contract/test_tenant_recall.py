"""Tenants of every size in one store: each finds its own, all of it, whoever its neighbours are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from ecm.contracts.search import Axis
from ecm.evidence import recall, vector_search
from ecm.evidence.allowed import Allowed
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.recall import FIRST_LOOK, recall_of
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.store import EvidenceStore
from tests.plain_snapshots import Vectors, clustered, plain_id, plain_snapshot, unit

DIM = 32
SIZES = {"forty": 40, "hundreds": 500, "thousands": 5_000, "many": 20_000}
WANTED = 50
CAPTIONS = ("a dog", "a dog and a cat", "the sea")


def _caption(number: int) -> str:
    return CAPTIONS[number % len(CAPTIONS)]


class Tenants:
    """A store of all sizes; readers of it that search through the index, and exactly."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(11)
        self.centres = unit(rng.standard_normal((60, DIM)))
        config = EvidenceConfig(uri=str(folder), vector_index_rows=256, exact_search_rows=256)
        self.store = EvidenceStore.create(config, 0.0)
        # `forty` lies in one cluster, where `many` is dense; `hundreds` in two.
        of = {"forty": self.centres[:1], "hundreds": self.centres[:2]}
        parts: dict[str, Iterable[Vectors]] = {
            tenant: clustered(rng, rows, of.get(tenant, self.centres), 0.8)
            for tenant, rows in SIZES.items()
        }
        self.ref: SnapshotRef = plain_snapshot(self.store, "all", DIM, parts, _caption)
        self.indexed = SnapshotReader.open(self.store, self.ref)
        exactly = config.model_copy(update={"exact_search_rows": 10**6})
        crowded = exactly.model_copy(update={"matrix_cache_bytes": 2 << 20})
        self.crowded = SnapshotReader.open(EvidenceStore.open(crowded), self.ref)
        self.exact = SnapshotReader.open(EvidenceStore.open(exactly), self.ref)
        self.near = [
            unit(self.centres[n % 60] + 0.5 * rng.standard_normal(DIM) / np.sqrt(DIM))
            for n in range(20)
        ]
        self.far = [unit(rng.standard_normal(DIM)) for _ in range(20)]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    return Tenants(tmp_path_factory.mktemp("tenants") / "store")


@pytest.mark.parametrize("tenant", SIZES)
def test_every_tenant_finds_its_nearest(tenants: Tenants, tenant: str) -> None:
    mine = {plain_id(tenant, number) for number in range(SIZES[tenant])}
    recalls = []
    for query in (*tenants.near, *tenants.far):
        found = tenants.indexed.search_vectors(tenant, Axis.VV, query, WANTED)
        truth = tenants.exact.search_vectors(tenant, Axis.VV, query, WANTED)
        assert {asset_id for asset_id, _ in found} <= mine
        assert len(found) == len(truth) == min(WANTED, SIZES[tenant])
        scores = dict(truth)
        assert all(score == scores.get(asset_id, score) for asset_id, score in found)
        recalls.append(recall_of(found, truth))
    assert np.mean(recalls) >= 0.99
    words = tenants.indexed.search_text(tenant, "cat", {"caption": 1.0}, SIZES[tenant])
    assert {asset_id for asset_id, _ in words} <= mine
    assert len(words) == sum("cat" in _caption(n) for n in range(SIZES[tenant]))


def test_what_does_not_fit_into_memory_is_searched_through_the_index(tenants: Tenants) -> None:
    exact = {tenant for tenant in SIZES if tenants.crowded.is_exact(tenant)}
    assert exact == {"forty", "hundreds", "thousands"}
    for tenant in SIZES:
        found = tenants.crowded.search_vectors(tenant, Axis.VV, tenants.near[0], WANTED)
        assert found == tenants.exact.search_vectors(tenant, Axis.VV, tenants.near[0], WANTED)
    assert {tenant for tenant, _ in tenants.crowded.loaded()} == exact


def test_even_everything_is_found(tenants: Tenants) -> None:
    found = tenants.indexed.search_vectors("hundreds", Axis.VV, tenants.far[0], 1000)
    truth = tenants.exact.search_vectors("hundreds", Axis.VV, tenants.far[0], 1000)
    assert found == truth
    assert len(found) == SIZES["hundreds"]


def test_answers_do_not_tell_of_neighbours(tenants: Tenants, tmp_path: Path) -> None:
    """The same tenants without the dense neighbour, and with one that is elsewhere."""
    exact, words = {"caption": 1.0}, "cat"
    for place, name in ((None, "alone"), (slice(30, 60), "elsewhere")):
        rng = np.random.default_rng(11)
        centres = unit(rng.standard_normal((60, DIM)))
        config = tenants.store.config.model_copy(update={"uri": str(tmp_path / name)})
        store = EvidenceStore.create(config, 0.0)
        parts: dict[str, Iterable[Vectors]] = {
            "forty": list(clustered(rng, 40, centres[:1], 0.8)),
            "hundreds": list(clustered(rng, 500, centres[:2], 0.8)),
        }
        if place is not None:
            parts["many"] = clustered(rng, 20_000, centres[place], 0.8)
        reader = SnapshotReader.open(store, plain_snapshot(store, name, DIM, parts, _caption))
        for tenant in ("forty", "hundreds"):
            for query in (*tenants.near[:6], *tenants.far[:6]):
                here = reader.search_vectors(tenant, Axis.VV, query, WANTED)
                assert here == tenants.indexed.search_vectors(tenant, Axis.VV, query, WANTED)
            count = len(reader.search_text(tenant, words, exact, 1000))
            assert count == len(tenants.indexed.search_text(tenant, words, exact, 1000))


@pytest.mark.parametrize(
    ("count", "wanted", "exactly"),
    [(1, 50, True), (30, 50, True), (4000, 50, True), (5000, 3000, True), (16_000, 50, False)],
)
def test_what_is_allowed_is_found_in_full(
    tenants: Tenants, count: int, wanted: int, exactly: bool
) -> None:
    chosen = np.random.default_rng(count).choice(SIZES["many"], count, replace=False)
    allowed = Allowed([plain_id("many", int(n)) for n in chosen] + [plain_id("forty", 1)])
    recalls = []
    for query in (*tenants.near[:5], *tenants.far[:5]):
        found = tenants.indexed.search_vectors("many", Axis.VV, query, wanted, allowed)
        truth = tenants.exact.search_vectors("many", Axis.VV, query, wanted, allowed)
        assert len(found) == min(wanted, count)
        assert all(asset_id in allowed for asset_id, _ in found)
        recalls.append(recall_of(found, truth))
        assert found == truth or not exactly
    assert np.mean(recalls) >= 0.99


def test_the_service_measures_its_own_recall(tenants: Tenants) -> None:
    reader = SnapshotReader.open(tenants.store, tenants.ref)
    reader.recall.measure(1.0)
    for query in tenants.near[:6]:
        reader.search_vectors("many", Axis.VV, query, WANTED)
        reader.recall.wait()
    counts = reader.recall.counts()[Axis.VV]
    assert counts.samples == 6
    assert counts.mean >= 0.99
    assert counts.looked == FIRST_LOOK
    reader.search_vectors("forty", Axis.VV, tenants.near[0], WANTED)
    reader.recall.wait()
    assert reader.recall.counts()[Axis.VV].samples == 6, "exact searches need no measuring"


def test_an_index_that_finds_too_little_is_looked_through_further(
    tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_search, "LOOKED_AT", 1)
    monkeypatch.setattr(vector_search, "PROBES", 1)
    monkeypatch.setattr(recall, "FIRST_LOOK", 0.05)
    reader = SnapshotReader.open(tenants.store, tenants.ref)
    reader.recall.measure(0.0)
    truth = [tenants.exact.search_vectors("many", Axis.VV, q, WANTED) for q in tenants.far]

    def found_right() -> float:
        found = []
        for query, right in zip(tenants.far, truth, strict=True):
            found.append(recall_of(reader.search_vectors("many", Axis.VV, query, WANTED), right))
            reader.recall.wait()
        return float(np.mean(found))

    assert found_right() < 0.99
    reader.recall.measure(1.0)
    for _ in range(4):
        found_right()
    assert found_right() >= 0.99
    assert reader.recall.look(Axis.VV) > 0.05
