"""Measuring a finished generation before anything refers to it. Changes nothing and judges little.

What can only be damage is refused here rather than noticed by searchers: indices that do not hold
every row, vectors that are not those of the evidence. The rest is numbers, for the gate to judge.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.query import MatchQuery

from ecm.contracts.search import Axis
from ecm.errors import StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.matrix import Vector
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS
from ecm.evidence.store import of_assets

SAMPLE: Final = 24
"""Vectors per axis that are compared and sought."""
TEXT_SAMPLE: Final = 6
"""Assets whose texts are sought, in each column of their own."""
SAME: Final = 1e-3
"""Cosine distance below which a neighbour counts as the vector itself (or an equal one)."""

# Words that every tokenizer keeps: neither so short, long or common that one would drop them.
_WORD: Final = re.compile(r"[^\W_]+")
_LENGTHS: Final = range(3, 31)
_COMMON: Final = frozenset(
    ["and", "are", "but", "for", "into", "not", "such", "that", "the", "their", "then", "there",
     "these", "they", "this", "was", "will", "with"]
)  # fmt: skip
_WORDS_ASKED: Final = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """Which rows are looked at: half of all, half of those new in this build, the last `recent`."""

    seed: int
    recent: int

    def places(self, rows: int, most: int) -> list[int]:
        """Up to `most` row numbers below `rows`, each once, in order; the same each time."""
        random = np.random.default_rng(self.seed)
        recent = min(self.recent, rows)
        fresh = random.choice(recent, min(most // 2, recent), replace=False) + rows - recent
        others = random.choice(rows, min(most, rows), replace=False)
        return sorted(list(dict.fromkeys([*fresh.tolist(), *others.tolist()]))[:most])


def coverage_of(dataset: Any, axes: Iterable[Axis]) -> dict[str, float]:
    """Share of rows that have each vector, each text column, and any words of evidence (`fts`)."""
    rows = dataset.count_rows()
    # An axis is counted by its evidence, lest every vector be read for it.
    columns = {axis.value: f"{axis}_evidence.evidence_id IS NOT NULL" for axis in axes}
    columns |= {name: f"{name} IS NOT NULL" for name in TEXT_COLUMNS}
    said = [columns[name] for name in TEXT_COLUMNS if name != "name"]
    columns[Axis.FTS.value] = " OR ".join(said)
    shares: dict[str, float] = {}
    with lance_errors("cannot measure the snapshot"):
        for name, where in columns.items():
            held = dataset.count_rows(filter=where) if rows else 0
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


def neighbours(dataset: Any, axes: Iterable[Axis], sample: Sample) -> dict[str, float]:
    """Per indexed axis, the share of a sample of vectors that the index finds at distance 0."""
    indexed = {index.name for index in dataset.describe_indices()}
    found: dict[str, float] = {}
    for axis in (axis for axis in axes if axis.value in indexed):
        with lance_errors(f"cannot search the {axis} axis of the snapshot"):
            vectors = [vector for vector, _ in _vectors(dataset, axis, sample)]
            hits = sum(_finds_itself(dataset, axis, vector) for vector in vectors)
        if vectors:
            found[axis.value] = hits / len(vectors)
    return found


def queries(dataset: Any, sample: Sample) -> dict[str, float]:
    """Per text column, the share of a sample of texts whose words find the asset they are of.

    A column is absent when none of the sampled assets has words there that can be asked for.
    """
    asked: dict[str, list[bool]] = {}
    later = [column for column in LATER_TEXT_COLUMNS if column in dataset.schema.names]
    with lance_errors("cannot search the texts of the snapshot"):
        columns = [*TEXT_COLUMNS, *later]
        for row in _rows(dataset, ["tenant_id", "asset_id", *columns], TEXT_SAMPLE, sample):
            where = of_assets(row["tenant_id"], [row["asset_id"]])
            for column in columns:
                words = _askable(row[column] or "")
                if words:
                    query = MatchQuery(" ".join(words), column)
                    scan = dataset.scanner(
                        columns=["asset_id", "_score"],
                        full_text_query=query,
                        filter=where,
                        prefilter=True,
                        limit=1,
                    )
                    asked.setdefault(column, []).append(bool(scan.to_table().num_rows))
    return {column: sum(hits) / len(hits) for column, hits in asked.items()}


def compare_vectors(dataset: Any, sources: Mapping[Axis, Any], sample: Sample) -> int:
    """How many sampled vectors were compared with the checksum of the evidence they name.

    Raises StoreCorrupt when one is another: the snapshot or the evidence is damaged.
    """
    compared = 0
    for axis, source in sources.items():
        with lance_errors(f"cannot compare the {axis} axis of the snapshot with its evidence"):
            drawn = _vectors(dataset, axis, sample)
            ids = pa.array([evidence_id for _, evidence_id in drawn], pa.string())
            rows = source.to_table(
                columns=["evidence_id", "checksum"], filter=pc.field("evidence_id").isin(ids)
            )
        sums = dict(zip(rows["evidence_id"].to_pylist(), rows["checksum"].to_pylist(), strict=True))
        for vector, evidence_id in drawn:
            if hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest() != sums.get(evidence_id):
                raise StoreCorrupt(
                    f"{axis}: a vector of the snapshot is not that of evidence {evidence_id}",
                    hint="build the snapshot again; if it happens again the evidence is damaged",
                )
        compared += len(drawn)
    return compared


def _rows(dataset: Any, columns: list[str], most: int, sample: Sample) -> list[dict[str, Any]]:
    places = sample.places(int(dataset.count_rows()), most)
    return list(dataset.take(places, columns=columns).to_pylist()) if places else []


def _vectors(dataset: Any, axis: Axis, sample: Sample) -> list[tuple[Vector, str]]:
    """Up to SAMPLE vectors of an axis, float32 (d,), each with the evidence id it is said to be."""
    columns = [axis.value, f"{axis}_evidence"]
    return [
        (np.array(row[columns[0]], dtype=np.float32), row[columns[1]]["evidence_id"])
        for row in _rows(dataset, columns, SAMPLE, sample)
        if row[columns[0]] is not None
    ]


def _finds_itself(dataset: Any, axis: Axis, vector: Vector) -> bool:
    nearest = {"column": axis.value, "q": vector, "k": 1, "metric": "cosine"}
    nearest |= {"minimum_nprobes": 20}
    answer = dataset.scanner(columns=["_distance"], nearest=nearest).to_table()
    return bool(answer.num_rows) and abs(answer["_distance"][0].as_py()) < SAME


def _askable(text: str) -> list[str]:
    words = dict.fromkeys(
        word.lower()
        for word in _WORD.findall(text)
        if word.isascii()
        and word.isalpha()
        and len(word) in _LENGTHS
        and word.lower() not in _COMMON
    )
    return list(words)[:_WORDS_ASKED]
