"""The evidence of two sides about the assets they have in common, as streams.

DuckDB joins by asset, within a memory limit and spilling to disk; filters and columns go to Lance.
Knows how evidence is read side by side, and nothing of what is made of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.evidence.choice import duck_errors
from ecm.evidence.faults import lance_errors
from ecm.evidence.relations import Rows
from ecm.evidence.schema import (
    EVIDENCE_MEASURES,
    EVIDENCE_TEXT,
    TextKind,
    fixed_schema,
    is_vector_table,
)
from ecm.evidence.speakers import Speaker
from ecm.evidence.store import EvidenceStore
from ecm.evidence.tallies import Said

SideName = Literal["a", "b"]
SIDES: Final[tuple[SideName, SideName]] = ("a", "b")
MEMORY: Final = "1GiB"

_ROWS: Final = 2048
# DuckDB does not know how many rows Lance has, and might keep the vectors to look up the assets.
_AS_WRITTEN: Final = "SET disabled_optimizers = 'join_order,build_side_probe_side'"
_STATED: Final = """
CREATE TEMP TABLE stated_{side} AS SELECT DISTINCT asset_id FROM ({parts})
"""
_COMMON: Final = """
CREATE TEMP TABLE common AS
SELECT asset_id, row_number() OVER (ORDER BY asset_id) - 1 AS place
FROM stated_a JOIN stated_b USING (asset_id)
"""
# Where a key was stated twice, which is damage, the newest statement counts.
_WORDS: Final = """
CREATE TEMP TABLE words_{side} AS
SELECT asset_id, bool_or(task_type = $vision) AS looked, bool_or(task_type = $ocr) AS read,
    {lists}
FROM text_{side} SEMI JOIN common USING (asset_id)
JOIN (
    SELECT arg_max(evidence_key, (observed_at, evidence_key)) AS evidence_key
    FROM text_{side} GROUP BY asset_id, task_type
) USING (evidence_key)
GROUP BY asset_id
"""
_LIST: Final = """list({column} ORDER BY ordinal) FILTER (kind = '{kind}' AND text <> '')
        AS {kind}_{column}"""
_LISTED: Final = (
    (TextKind.CAPTION, ("text", "confidence", "composed")),
    (TextKind.TAG, ("text", "confidence")),
    (TextKind.CLASSIFICATION, ("text", "confidence", "scheme")),
    (TextKind.OCR, ("text", "confidence")),
)
_PAIRS: Final = """
SELECT asset_id, {columns} FROM words_a AS a JOIN words_b AS b USING (asset_id)
"""
_MEASURES: Final = """
SELECT name, list(b.value - a.value) AS shifts, avg(a.value) AS mean_a, avg(b.value) AS mean_b
FROM (SELECT asset_id, name, arg_max(value, observed_at) AS value
      FROM measures_a WHERE isfinite(value) GROUP BY asset_id, name) AS a
JOIN (SELECT asset_id, name, arg_max(value, observed_at) AS value
      FROM measures_b WHERE isfinite(value) GROUP BY asset_id, name) AS b USING (asset_id, name)
GROUP BY name ORDER BY name
"""
_COMMON_VECTORS: Final = """
CREATE TEMP TABLE places_{space} AS
SELECT asset_id, place FROM common
JOIN (SELECT DISTINCT asset_id FROM {a}) AS a USING (asset_id)
JOIN (SELECT DISTINCT asset_id FROM {b}) AS b USING (asset_id)
"""


@dataclass(frozen=True, slots=True)
class VectorRows:
    """The vectors of one side in one space: the relation that has them, and of what transform."""

    relation: str
    space: Space
    transform: str
    dim: int
    rows: int


@dataclass(frozen=True, slots=True)
class MeasurePair:
    """One named measure over the assets that both sides measured."""

    name: str
    mean_a: float
    mean_b: float
    shifts: Sequence[float]


@dataclass(frozen=True, slots=True)
class Told:
    """What one side has evidence of: how many assets, by which transforms."""

    assets: int
    transforms: frozenset[str]


class Paired:
    """Two sides read together. Not thread-safe; one stream at a time."""

    def __init__(self, duck: Any, vectors: dict[SideName, tuple[VectorRows, ...]]) -> None:
        self._duck = duck
        self._vectors = vectors
        self.common = self._count("SELECT count(*) FROM common")

    def told(self, side: SideName) -> Told:
        marks = {vector.transform for vector in self._vectors[side]}
        with duck_errors("reading transforms"):
            for kind in ("text", "measures"):
                query = f"SELECT DISTINCT transform FROM {kind}_{side}"  # noqa: S608 - names of our own
                marks |= {mark for (mark,) in self._duck.execute(query).fetchall()}
        return Told(self._count(f"SELECT count(*) FROM stated_{side}"), frozenset(marks))  # noqa: S608 - names of our own

    def words(self) -> Iterator[tuple[str, Said, Said]]:
        """(asset id, what a said, what b said) for every asset of which both said something."""
        asked = {"vision": TaskType.VISION.value, "ocr": TaskType.OCR.value}
        lists = ",\n    ".join(
            _LIST.format(kind=kind.value, column=column)
            for kind, columns in _LISTED
            for column in columns
        )
        for side in SIDES:
            with duck_errors("reading words"):
                self._duck.execute(_WORDS.format(side=side, lists=lists), asked)
        for batch in self._batches(_PAIRS.format(columns=_both_columns())):
            columns = {name: batch[name].to_pylist() for name in batch.schema.names}
            for row in range(batch.num_rows):
                a, b = (_said(columns, side, row) for side in SIDES)
                yield columns["asset_id"][row], a, b
        for side in SIDES:
            with duck_errors("reading words"):
                self._duck.execute(f"DROP TABLE words_{side}")

    def measures(self) -> Iterator[MeasurePair]:
        """Each measure that both sides took of some asset, by name."""
        for batch in self._batches(_MEASURES):
            for row in batch.to_pylist():
                yield MeasurePair(row["name"], row["mean_a"], row["mean_b"], row["shifts"])

    def spaces(self) -> Iterator[tuple[VectorRows, VectorRows]]:
        """The vectors of both sides in each space that both have; of several, the most rows."""
        for space in Space:
            a, b = (self._most(side, space) for side in SIDES)
            if a is not None and b is not None:
                yield a, b

    def places(self, a: VectorRows, b: VectorRows) -> npt.NDArray[np.int64]:
        """The places, ascending, of assets in common of which both have a vector in this space."""
        with duck_errors("reading vectors"):
            self._duck.execute(
                _COMMON_VECTORS.format(space=a.space.value, a=a.relation, b=b.relation)
            )
        query = f"SELECT place FROM places_{a.space.value} ORDER BY place"  # noqa: S608 - names of our own
        parts = [batch["place"].to_numpy() for batch in self._batches(query)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def vectors(
        self, rows: VectorRows, among: npt.NDArray[np.int64] | None = None
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """(places (n,), unit vectors (n, d)) of those places, or of some of them, in portions."""
        table = f"places_{rows.space.value}"
        if among is not None:
            self._duck.register("wanted", pa.table({"place": among}))
            table = f"(SELECT * FROM {table} SEMI JOIN wanted USING (place))"  # noqa: S608 - names of our own
        query = f"SELECT place, vector FROM {rows.relation} JOIN {table} USING (asset_id)"  # noqa: S608 - names of our own
        for batch in self._batches(query):
            flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
            yield (
                batch["place"].to_numpy(),
                np.ascontiguousarray(flat.reshape(-1, rows.dim), dtype=np.float32),
            )

    def _most(self, side: SideName, space: Space) -> VectorRows | None:
        here = [rows for rows in self._vectors[side] if rows.space is space]
        return max(here, key=lambda rows: (rows.rows, rows.relation), default=None)

    def _count(self, query: str) -> int:
        with duck_errors("counting assets"):
            return int(self._duck.execute(query).fetchone()[0])

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        with duck_errors("comparing"), self._duck.sql(query).to_arrow_reader(_ROWS) as reader:
            yield from reader


@contextmanager
def paired(store: EvidenceStore, a: Speaker, b: Speaker) -> Iterator[Paired]:
    """Read two sides of a store together.

    Raises StoreCorrupt, StoreUnavailable, ResourceExhausted.
    """
    with tempfile.TemporaryDirectory(prefix="ecm-compare-") as folder, duckdb.connect() as duck:
        with duck_errors("comparing"):
            duck.execute("SET temp_directory = $folder", {"folder": folder})
            duck.execute(f"SET memory_limit = '{MEMORY}'")
            duck.execute(_AS_WRITTEN)
            vectors = {
                side: _register(duck, store, side, who)
                for side, who in zip(SIDES, (a, b), strict=True)
            }
            duck.execute(_COMMON)
        yield Paired(duck, vectors)


def _register(
    duck: Any, store: EvidenceStore, side: SideName, who: Speaker
) -> tuple[VectorRows, ...]:
    where = who.where()
    relations = []
    for table, short in ((EVIDENCE_TEXT, "text"), (EVIDENCE_MEASURES, "measures")):
        rows: Any = fixed_schema(table).empty_table()
        if store.has_table(table):
            rows = Rows(store.dataset(table), where)
        duck.register(f"{short}_{side}", rows)
        relations.append(f"{short}_{side}")
    vectors = []
    for name in filter(is_vector_table, store.tables()):
        dataset = store.dataset(name)
        with lance_errors(f"cannot count table {name}"):
            count = int(dataset.count_rows(filter=where))
        if count:
            marks = {key: value.decode() for key, value in dataset.schema.metadata.items()}
            relation = f"{name}_{side}"
            duck.register(relation, Rows(dataset, where))
            vectors.append(
                VectorRows(
                    relation,
                    Space(marks[b"ecm.space"]),
                    marks[b"ecm.transform"],
                    int(marks[b"ecm.dim"]),
                    count,
                )
            )
    relations += [rows.relation for rows in vectors]
    parts = " UNION ALL ".join(f"SELECT asset_id FROM {name}" for name in relations)  # noqa: S608 - names of our own
    duck.execute(_STATED.format(side=side, parts=parts))
    return tuple(vectors)


def _both_columns() -> str:
    names = [f"{kind.value}_{column}" for kind, columns in _LISTED for column in columns]
    return ", ".join(
        f"{side}.{name} AS {name}_{side}" for side in SIDES for name in ("looked", "read", *names)
    )


def _said(columns: dict[str, list[Any]], side: SideName, row: int) -> Said:
    def cell(name: str) -> Any:
        return columns[f"{name}_{side}"][row] or ()

    captions = cell("caption_text")
    schemes = cell("classification_scheme")
    return Said(
        looked=bool(cell("looked")),
        read=bool(cell("read")),
        caption=captions[0] if captions else "",
        caption_confidence=cell("caption_confidence")[0] if captions else None,
        composed=cell("caption_composed")[0] if captions else False,
        tags=tuple(zip(cell("tag_text"), cell("tag_confidence"), strict=True)),
        classes=tuple(
            zip(cell("classification_text"), cell("classification_confidence"), strict=True)
        ),
        scheme=schemes[0] if schemes else "",
        ocr=tuple(zip(cell("ocr_text"), cell("ocr_confidence"), strict=True)),
    )
