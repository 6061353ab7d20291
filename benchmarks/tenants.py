"""Does every tenant find its own, however large it is and whoever its neighbours are?

    python -m benchmarks.tenants [--dim 256] [--neighbour 200000] [--sizes 40,500,5000,50000,500000]
                                 [--exact-rows 1000000] [--repeats 100]

Two stores hold the same tenants. In one a neighbour lies exactly where the questions are, in the
other it is as large but far from them. Tenants with more rows than `--exact-rows`, or too many for
`evidence.matrix_cache_bytes`, are searched through the index. Prints per tenant: recall@50 against
an exact search of questions near its pictures and of random ones, rows returned, rows of others
among them, the median time in both stores, asked in turn, and the median ratio; of words too. Ends
with 1 when a recall is below 0.99, a row is foreign, or the numbers of rows differ.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecm.contracts.search import Axis
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.recall import AT, WANTED, recall_of
from ecm.evidence.store import EvidenceStore
from tests.plain_snapshots import Vectors, clustered, plain_id, plain_snapshot, unit

CENTRES = 300
SPREAD = 1.0
QUESTIONS = 20
WARM = 12
NEIGHBOUR = "neighbour"
MATRIX_BYTES = 4 << 30
WORDS = ("dog", "sea", "castle", "street", "portrait", "flower", "train")


@dataclass(frozen=True)
class Store:
    """A reader as a service has it, and one that searches everything exactly."""

    served: SnapshotReader
    exact: SnapshotReader


def caption(number: int) -> str:
    return f"a {WORDS[number % len(WORDS)]} and a {WORDS[number % 5]} of roll {number % 997}"


def made(
    config: EvidenceConfig, name: str, dim: int, rows: Mapping[str, int], beside: Vectors
) -> Store:
    """Tenants around the first half of all centres; the neighbour's are `beside` them or not."""
    rng = np.random.default_rng(3)
    store = EvidenceStore.create(config, 0.0)
    own = centres(dim)[: CENTRES // 2]
    parts: dict[str, Iterable[Vectors]] = {
        tenant: clustered(rng, count, beside if tenant == NEIGHBOUR else own, SPREAD)
        for tenant, count in rows.items()
    }
    began = time.perf_counter()
    ref = plain_snapshot(store, name, dim, parts, caption)
    print(f"{ref.assets} rows written and indexed in {time.perf_counter() - began:.0f} s")
    exactly = config.model_copy(
        update={"exact_search_rows": 10**9, "matrix_cache_bytes": MATRIX_BYTES}
    )
    exact = SnapshotReader.open(EvidenceStore.open(exactly), ref)
    return Store(SnapshotReader.open(store, ref), exact)


def centres(dim: int) -> Vectors:
    return unit(np.random.default_rng(1).standard_normal((CENTRES, dim)))


def name_of(size: int) -> str:
    return f"t{size}"


def questions(dim: int) -> dict[str, list[Vectors]]:
    rng = np.random.default_rng(5)
    near = centres(dim)[rng.integers(0, CENTRES // 2, QUESTIONS)]
    noise = rng.standard_normal((QUESTIONS, dim)) / np.sqrt(dim)
    return {
        "near": list(unit(near + 0.5 * noise)),
        "random": list(unit(rng.standard_normal((QUESTIONS, dim)))),
    }


def asked(ask: Callable[[SnapshotReader, int], object], stores: list[Store], repeats: int) -> str:
    """Median milliseconds in both stores, asked in turn, and the median of their ratios."""
    times: list[list[float]] = [[], []]
    ask(stores[0].served, 0), ask(stores[1].served, 0)
    for turn in range(repeats):
        for place in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            ask(stores[place].served, turn)
            times[place].append((time.perf_counter() - began) * 1000)
    dense, empty = (float(np.median(each)) for each in times)
    ratio = float(np.median(np.array(times[0]) / np.array(times[1])))
    return f"dense {dense:.2f} ms, empty {empty:.2f} ms, ratio {ratio:.2f}"


def measured(size: int, dim: int, stores: list[Store], repeats: int) -> bool:
    """Print what was found of one tenant; whether all of it is as it should be."""
    tenant, right = name_of(size), True
    way = "from memory" if stores[0].served.is_exact(tenant) else "through the index"
    print(f"{tenant:8} is searched {way}")
    own = {plain_id(tenant, number) for number in range(size)}
    for kind, asked_for in questions(dim).items():
        for query in asked_for[:WARM]:
            for store in stores:
                store.served.search_vectors(tenant, Axis.VV, query, AT)
                store.served.recall.wait()
        for store, beside in zip(stores, ("dense", "empty"), strict=True):
            recalls, counts, foreign = [], set(), 0
            for query in asked_for:
                found = store.served.search_vectors(tenant, Axis.VV, query, AT)
                truth = store.exact.search_vectors(tenant, Axis.VV, query, AT)
                recalls.append(recall_of(found, truth))
                counts.add(len(found))
                foreign += sum(asset_id not in own for asset_id, _ in found)
            mean = float(np.mean(recalls))
            right &= mean >= WANTED and counts == {min(AT, size)} and not foreign
            print(
                f"{tenant:8} {kind:6} {beside}: recall@{AT} {mean:.4f} (lowest {min(recalls):.2f}),"
                f" rows {sorted(counts)}, foreign {foreign}"
            )
        ask = lambda reader, turn, each=asked_for: reader.search_vectors(  # noqa: E731
            tenant, Axis.VV, each[turn % QUESTIONS], AT
        )
        print(f"{tenant:8} {kind:6} p50: {asked(ask, stores, repeats)}", flush=True)
    rows = [
        len(store.served.search_text(tenant, "dog", {"caption": 1.0}, size)) for store in stores
    ]
    right &= rows[0] == rows[1]
    words = asked(
        lambda reader, turn: reader.search_text(
            tenant, f"{WORDS[turn % 7]} roll {turn}", {"caption": 1.0}, AT
        ),
        stores,
        min(repeats, 100),
    )
    print(f"{tenant:8} words  p50: {words}; rows {rows}", flush=True)
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--neighbour", type=int, default=200_000)
    parser.add_argument("--sizes", default="40,500,5000,50000,500000")
    parser.add_argument("--exact-rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    middle = CENTRES // 2
    with tempfile.TemporaryDirectory() as folder:
        every = centres(options.dim)
        rows = {**{name_of(size): size for size in sizes}, NEIGHBOUR: options.neighbour}
        config = EvidenceConfig(uri=folder, exact_search_rows=options.exact_rows)
        stores = [
            made(
                config.model_copy(update={"uri": str(Path(folder) / name)}),
                name,
                options.dim,
                rows,
                beside,
            )
            for name, beside in (("dense", every[:middle]), ("empty", every[middle:]))
        ]
        right = [measured(size, options.dim, stores, options.repeats) for size in sizes]
        for store, beside in zip(stores, ("dense", "empty"), strict=True):
            print(f"measured by the service itself, {beside}: {store.served.recall.counts()}")
    return 0 if all(right) else 1


if __name__ == "__main__":
    sys.exit(main())
