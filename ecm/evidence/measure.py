"""Measuring a finished generation before anything refers to it. Changes nothing.

A snapshot whose indices do not hold every row, or whose vectors do not find themselves, is refused
here rather than noticed by searchers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.errors import StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.matrix import Vector
from ecm.evidence.refs import TEXT_COLUMNS

SAMPLE: Final = 24
SAME: Final = 1e-3
"""Cosine distance below which a neighbour counts as the vector itself (or an equal one)."""


def coverage_of(dataset: Any, axes: Iterable[Axis]) -> dict[str, float]:
    """Share of rows that have each vector and each text column."""
    rows = dataset.count_rows()
    # An axis is counted by its evidence, lest every vector be read for it.
    columns = {axis.value: f"{axis}_evidence.evidence_id" for axis in axes}
    columns |= {name: name for name in TEXT_COLUMNS}
    shares: dict[str, float] = {}
    with lance_errors("cannot measure the snapshot"):
        for name, column in columns.items():
            held = dataset.count_rows(filter=f"{column} IS NOT NULL") if rows else 0
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
    """Per indexed axis, the share of a sample of vectors that the index finds at distance 0.

    Raises StoreCorrupt when it is not all of them: then index and vectors do not fit together.
    """
    indexed = {index.name for index in dataset.describe_indices()}
    found: dict[str, float] = {}
    for axis in (axis for axis in axes if axis.value in indexed):
        with lance_errors(f"cannot search the {axis} axis of the snapshot"):
            vectors = [vector for vector, _ in _sampled(dataset, axis, seed)]
            hits = sum(_finds_itself(dataset, axis, vector) for vector in vectors)
        if hits < len(vectors):
            raise StoreCorrupt(
                f"{axis}: the index finds only {hits} of {len(vectors)} sampled vectors",
                hint="build the snapshot again",
            )
        found[axis.value] = 1.0
    return found


def check_vectors(dataset: Any, sources: Mapping[Axis, Any], seed: int) -> None:
    """Refuse (StoreCorrupt) when sampled vectors are not those of the evidence they name."""
    for axis, source in sources.items():
        with lance_errors(f"cannot compare the {axis} axis of the snapshot with its evidence"):
            sample = _sampled(dataset, axis, seed)
            ids = [evidence_id for _, evidence_id in sample]
            rows = source.to_table(
                columns=["evidence_id", "checksum"], filter=pc.field("evidence_id").isin(ids)
            )
        sums = dict(zip(rows["evidence_id"].to_pylist(), rows["checksum"].to_pylist(), strict=True))
        for vector, evidence_id in sample:
            if hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest() != sums.get(evidence_id):
                raise StoreCorrupt(
                    f"{axis}: a vector of the snapshot is not that of evidence {evidence_id}",
                    hint="build the snapshot again; if it happens again the evidence is damaged",
                )


def _sampled(dataset: Any, axis: Axis, seed: int) -> list[tuple[Vector, str]]:
    """Up to SAMPLE vectors of an axis, float32 (d,), each with the evidence id it is said to be."""
    count = dataset.count_rows()
    places = np.random.default_rng(seed).choice(count, min(SAMPLE, count), replace=False)
    columns = [axis.value, f"{axis}_evidence"]
    rows = dataset.take(sorted(places.tolist()), columns=columns).to_pylist() if count else []
    return [
        (np.array(row[columns[0]], dtype=np.float32), row[columns[1]]["evidence_id"])
        for row in rows
        if row[columns[0]] is not None
    ]


def _finds_itself(dataset: Any, axis: Axis, vector: Vector) -> bool:
    nearest = {"column": axis.value, "q": vector, "k": 1, "metric": "cosine"}
    nearest |= {"minimum_nprobes": 20}
    answer = dataset.scanner(columns=["_distance"], nearest=nearest).to_table()
    return bool(answer.num_rows) and abs(answer["_distance"][0].as_py()) < SAME
