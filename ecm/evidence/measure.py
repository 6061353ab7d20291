"""Measuring a finished generation before anything refers to it. Changes nothing.

A snapshot whose indices do not hold every row, or whose vectors do not find themselves, is refused
here rather than noticed by searchers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ecm.contracts.search import Axis
from ecm.errors import StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import TEXT_COLUMNS

SAMPLE: Final = 24
SAME: Final = 1e-3
"""Cosine distance below which a neighbour counts as the vector itself (or an equal one)."""


def coverage_of(dataset: Any, axes: Iterable[Axis]) -> dict[str, float]:
    """Share of rows that have each vector and each text column."""
    rows = dataset.count_rows()
    names = [*(axis.value for axis in axes), *TEXT_COLUMNS]
    shares: dict[str, float] = {}
    with lance_errors("cannot measure the snapshot"):
        for name in names:
            held = dataset.count_rows(filter=f"{name} IS NOT NULL") if rows else 0
            shares[name] = held / rows if rows else 0.0
    return shares


def indexed_rows(dataset: Any) -> dict[str, int]:
    """Rows in each index. Raises StoreCorrupt when one does not hold as many as the table."""
    with lance_errors("cannot read the indices of the snapshot"):
        rows = int(dataset.count_rows())
        counts = {i.name: int(i.num_rows_indexed) for i in dataset.describe_indices()}
    short = {name: count for name, count in counts.items() if count != rows}
    if short:
        raise StoreCorrupt(
            f"indices of the snapshot do not hold its {rows} rows: {short}",
            hint="build it again",
        )
    return counts


def neighbours(dataset: Any, axes: Iterable[Axis], seed: int) -> dict[str, float]:
    """Per axis, the share of a sample of vectors whose nearest neighbour is at distance 0.

    Raises StoreCorrupt when it is not all of them: then index and vectors do not fit together.
    """
    found: dict[str, float] = {}
    rows = dataset.count_rows()
    rng = np.random.default_rng(seed)
    sample = sorted(rng.choice(rows, min(SAMPLE, rows), replace=False).tolist()) if rows else []
    for axis in axes:
        with lance_errors(f"cannot search the {axis} axis of the snapshot"):
            column = dataset.take(sample, columns=[axis.value])[axis.value] if sample else []
            vectors = [np.array(v.as_py(), dtype=np.float32) for v in column if v.is_valid]
            hits = sum(_finds_itself(dataset, axis, vector) for vector in vectors)
        if hits < len(vectors):
            raise StoreCorrupt(
                f"{axis}: only {hits} of {len(vectors)} sampled vectors find themselves",
                hint="build the snapshot again",
            )
        if vectors:
            found[axis.value] = hits / len(vectors)
    return found


def _finds_itself(dataset: Any, axis: Axis, vector: pa.Array) -> bool:
    nearest = {"column": axis.value, "q": vector, "k": 1, "metric": "cosine"}
    nearest |= {"minimum_nprobes": 20}
    answer = dataset.scanner(columns=["_distance"], nearest=nearest).to_table()
    return bool(answer.num_rows) and abs(answer["_distance"][0].as_py()) < SAME
