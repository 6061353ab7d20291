"""Reading one snapshot: candidates by vector and by words, and the rows behind them.

Knows how a snapshot is searched, exactly or through its index, always inside one tenant. A part
that is missing or broken raises; it never answers as if nothing had been found. Knows no fusion.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lance.query import BooleanQuery, MatchQuery, Occur

from ecm.contracts.search import Axis
from ecm.errors import AxisUnavailable, ContractError, QueryError, StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.matrix import SCORE_DIGITS, MatrixCache, TenantMatrix, Vector, assembled
from ecm.evidence.pictures import PictureCache
from ecm.evidence.refs import TEXT_COLUMNS, VECTOR_AXES, SnapshotRef
from ecm.evidence.schema import TextKind
from ecm.evidence.snapshot_cache import OpenedTable, open_table
from ecm.evidence.statement import Statement
from ecm.evidence.store import EvidenceStore, of_assets, of_tenant

MAX_TERMS: Final = 64
MAX_TIED: Final = 4_000
"""Answers looked at so that equal scores are cut by asset id; beyond, the index decides."""
NPROBES: Final = 20
PICTURE_BYTES: Final = 32 << 20
SPARE: Final = 32
"""Neighbours asked for beyond the limit, so that ties at the end are cut by asset id."""

_TERM: Final = re.compile(r"[^\W_]+")
_ROW_COLUMNS: Final = (
    "asset_id",
    "uris",
    "name",
    "width",
    "height",
    "format",
    "caption",
    "caption_composed",
    "tags",
    "classification",
    "ocr",
    "statements",
)
Scored = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class VectorEvidence:
    """Which row of evidence, run and transform a vector came from."""

    evidence_id: str
    run_id: str
    transform: str


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One asset as the snapshot shows it; `tags` and `classification` are labels in their order."""

    tenant_id: str
    asset_id: str
    uris: tuple[str, ...]
    name: str
    width: int | None
    height: int | None
    format: str | None
    caption: str | None
    caption_composed: bool
    tags: tuple[str, ...]
    classification: tuple[str, ...]
    ocr: str | None
    statements: tuple[Statement, ...]
    vectors: Mapping[Axis, VectorEvidence]


class SnapshotReader:
    """One opened snapshot. Read-only and thread-safe; unaffected by later publishing."""

    def __init__(self, store: EvidenceStore, ref: SnapshotRef, table: OpenedTable) -> None:
        dataset = table.dataset
        self.ref = ref
        self._store = store
        self._table = table  # its hold keeps a local copy as long as this reader is in use
        self._dataset = dataset
        self._exact_rows = store.config.exact_search_rows
        self._cache = MatrixCache(store.config.matrix_cache_bytes)
        self._pictures = PictureCache(PICTURE_BYTES)
        with lance_errors(f"cannot read the indices of snapshot {ref.snapshot_id}"):
            self._indices = {
                index.name: int(index.num_rows_indexed) for index in dataset.describe_indices()
            }
        self.broken: Mapping[Axis, str] = self._defects()

    @classmethod
    def open(cls, store: EvidenceStore, ref: SnapshotRef) -> SnapshotReader:
        """Open the table of a reference; of a store on object storage a local copy of it.

        Raises StoreCorrupt when it is missing, damaged, or has other rows than the reference says.
        A defect of one axis only is kept in `broken` and raised when that axis is asked.
        """
        table = open_table(store, ref)
        dataset = table.dataset
        with lance_errors(f"cannot read snapshot {ref.snapshot_id}"):
            rows = int(dataset.count_rows())
        missing = {"tenant_id", *_ROW_COLUMNS} - set(dataset.schema.names)
        if rows != ref.assets or missing:
            raise StoreCorrupt(
                f"snapshot {ref.snapshot_id} is damaged: {rows} rows instead of {ref.assets}"
                + (f", without {', '.join(sorted(missing))}" if missing else ""),
                hint="publish another snapshot or build a new one",
            )
        return cls(store, ref, table)

    def tenants(self) -> dict[str, int]:
        """Assets per tenant."""
        return dict(self.ref.tenants)

    def check(self, axis: Axis) -> None:
        """Raises AxisUnavailable when the axis cannot answer, saying why."""
        if axis in self.broken:
            raise AxisUnavailable(f"{axis}: {self.broken[axis]}", code=f"axis.{axis.value}")

    def tenant_matrix(self, tenant_id: str, axis: Axis) -> TenantMatrix:
        """All vectors of a tenant on an axis, cached within `matrix_cache_bytes`.

        Raises AxisUnavailable, StoreCorrupt, ContractError (malformed tenant).
        """
        self._check_vector_axis(axis)
        where = of_tenant(tenant_id)
        return self._cache.get((tenant_id, axis), lambda: self._loaded(axis, where))

    def warm_like(self, other: SnapshotReader) -> None:
        """Load what another reader has in memory, before anybody waits for it.

        Raises StoreCorrupt where that cannot be read.
        """
        for tenant_id, axis in other.loaded():
            if axis not in self.broken and self._is_small(tenant_id):
                self.tenant_matrix(tenant_id, axis)

    def loaded(self) -> tuple[tuple[str, Axis], ...]:
        """Tenants and axes whose matrices are in memory or on their way there."""
        held = frozenset(self._cache.keys())
        every = ((tenant_id, axis) for tenant_id in self.ref.tenants for axis in VECTOR_AXES)
        return tuple(each for each in every if each in held)

    def search_vectors(self, tenant_id: str, axis: Axis, query: Vector, limit: int) -> Scored:
        """The best (asset id, cosine) of a tenant, best first, ties by asset id.

        Exact for tenants up to `exact_search_rows` assets, through the index above, with exact
        distances of what it finds. `query` is float32 (d,) of any positive length.

        Raises AxisUnavailable when the axis, its index or the query's dimension is not right,
        QueryError for a zero or non-finite query, StoreCorrupt.
        """
        self._check_vector_axis(axis)
        unit = self._unit(axis, query)
        _check_limit(limit)
        if self._is_small(tenant_id):
            return self.tenant_matrix(tenant_id, axis).top(unit, limit)
        if self._indices.get(axis.value) != self.ref.assets:
            raise AxisUnavailable(
                f"{axis}: the vector index is missing or does not hold every row",
                code=f"axis.{axis.value}",
                hint="build a new snapshot",
            )
        found = self._neighbours(tenant_id, axis, unit, limit, use_index=True)
        if len(found) < limit:
            found = self._neighbours(tenant_id, axis, unit, limit, use_index=False)
        return found

    def vectors_of(
        self, tenant_id: str, axis: Axis, asset_ids: Collection[str]
    ) -> dict[str, Vector]:
        """The vectors, float32 (d,), of those of some assets that have one. Raises as above."""
        self._check_vector_axis(axis)
        where = of_assets(tenant_id, asset_ids)
        if not self._is_small(tenant_id):
            matrix = self._loaded(axis, where)
        else:
            matrix = self.tenant_matrix(tenant_id, axis)
        found = {asset_id: matrix.vector(asset_id) for asset_id in asset_ids}
        return {asset_id: vector for asset_id, vector in found.items() if vector is not None}

    def search_text(
        self,
        tenant_id: str,
        text: str,
        boosts: Mapping[str, float],
        limit: int,
        among: Collection[str] | None = None,
    ) -> Scored:
        """The best (asset id, score) for plain text, best first, ties by asset id.

        The score is the sum over columns of boost times BM25, so that words of one question may be
        found in different columns. Text is split into words here: quotes and operators mean
        nothing, words count once, only the first MAX_TERMS do. Text without a word finds nothing.
        `among` limits the answer to some assets.

        Raises AxisUnavailable when an index is missing, ContractError for boosts of unknown
        columns or without a positive one, StoreCorrupt.
        """
        self.check(Axis.FTS)
        _check_limit(limit)
        columns = _boosted(boosts)
        where = of_tenant(tenant_id) if among is None else of_assets(tenant_id, among)
        terms = _terms(text)
        if not terms or not self.ref.assets or (among is not None and not among):
            return []
        words = " ".join(terms)
        query = BooleanQuery(
            [(Occur.SHOULD, MatchQuery(words, column, boost=b)) for column, b in columns.items()]
        )

        def best(count: int) -> pa.Table:
            with lance_errors(f"cannot search the text of snapshot {self.ref.snapshot_id}"):
                return self._dataset.scanner(
                    columns=["asset_id", "_score"],
                    full_text_query=query,
                    filter=where,
                    prefilter=True,
                    limit=count,
                ).to_table()

        return _with_all_ties(best, limit)

    def rows(self, tenant_id: str, asset_ids: Sequence[str]) -> list[SnapshotRow]:
        """The rows of some assets, in the order asked for; those not in the tenant are left out."""
        if not asset_ids:
            return []
        axes = [axis for axis in VECTOR_AXES if f"{axis}_evidence" in self._dataset.schema.names]
        columns = [*_ROW_COLUMNS, *(f"{axis}_evidence" for axis in axes)]
        with lance_errors(f"cannot read rows of snapshot {self.ref.snapshot_id}"):
            found = self._dataset.to_table(
                columns=columns, filter=of_assets(tenant_id, asset_ids)
            ).to_pylist()
        rows = {row["asset_id"]: _row(tenant_id, row, axes) for row in found}
        return [rows[asset_id] for asset_id in asset_ids if asset_id in rows]

    def tenant_table(self, tenant_id: str, columns: Sequence[str]) -> pa.Table:
        """Columns of the snapshot for every asset of a tenant, in any order of rows.

        Columns that a snapshot of an older release does not have are left out. Raises StoreCorrupt.
        """
        present = [column for column in columns if column in self._dataset.schema.names]
        with lance_errors(f"cannot read snapshot {self.ref.snapshot_id}"):
            return self._dataset.to_table(columns=present, filter=of_tenant(tenant_id))

    def tenant_batches(self, tenant_id: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Like `tenant_table`, some rows at a time, so that wide columns are never all in memory.

        Raises StoreCorrupt, on the way too.
        """
        present = [column for column in columns if column in self._dataset.schema.names]
        with lance_errors(f"cannot read snapshot {self.ref.snapshot_id}"):
            yield from self._dataset.to_batches(columns=present, filter=of_tenant(tenant_id))

    def thumbnail(self, tenant_id: str, asset_id: str) -> bytes | None:
        """The small JPEG of an asset of the store, or None when none was kept."""
        return self._pictures.get(tenant_id, asset_id, self._store.thumbnail)

    def _is_small(self, tenant_id: str) -> bool:
        return self.ref.tenants.get(tenant_id, 0) <= self._exact_rows

    def _check_vector_axis(self, axis: Axis) -> None:
        if axis not in VECTOR_AXES:
            raise ContractError(f"{axis} is not a vector axis")
        self.check(axis)

    def _defects(self) -> dict[Axis, str]:
        broken: dict[Axis, str] = {}
        schema = self._dataset.schema
        for axis in VECTOR_AXES:
            if axis not in self.ref.dims:
                broken[axis] = "the snapshot has no vectors on this axis"
            elif axis.value not in schema.names:
                broken[axis] = "its column is missing from the snapshot"
            elif schema.field(axis.value).type != pa.list_(pa.float32(), self.ref.dims[axis]):
                broken[axis] = f"its column is not a vector of dimension {self.ref.dims[axis]}"
        short = [c for c in TEXT_COLUMNS if self._indices.get(c) != self.ref.assets]
        if short and self.ref.assets:
            broken[Axis.FTS] = f"the full-text index of {', '.join(short)} is missing or partial"
        return broken

    def _unit(self, axis: Axis, query: Vector) -> Vector:
        if query.shape != (self.ref.dims[axis],):
            raise AxisUnavailable(
                f"{axis}: the query has shape {query.shape}, the snapshot ({self.ref.dims[axis]},)",
                code=f"axis.{axis.value}",
                hint="the query model is not the one that made this snapshot",
            )
        length = float(np.linalg.norm(query.astype(np.float64)))
        if not np.isfinite(length) or length == 0:
            raise QueryError(f"{axis}: the query vector is zero or not finite")
        return (query / length).astype(np.float32)

    def _loaded(self, axis: Axis, where: pc.Expression) -> TenantMatrix:
        dim = self.ref.dims[axis]
        with lance_errors(f"cannot read {axis} of snapshot {self.ref.snapshot_id}"):
            ids = self._dataset.to_table(columns=["asset_id"], filter=where)["asset_id"]
            batches = self._dataset.to_batches(columns=["asset_id", axis.value], filter=where)
            parts = (_vectors_in(batch, axis, dim) for batch in batches)
            return assembled(ids.to_pylist(), parts, dim)

    def _neighbours(
        self, tenant_id: str, axis: Axis, unit: Vector, limit: int, *, use_index: bool
    ) -> Scored:
        nearest = {"column": axis.value, "q": unit, "k": limit + SPARE, "metric": "cosine"}
        nearest |= {"use_index": use_index, "minimum_nprobes": NPROBES, "refine_factor": 2}
        with lance_errors(f"cannot search {axis} of snapshot {self.ref.snapshot_id}"):
            found = self._dataset.scanner(
                columns=["asset_id", "_distance"],
                nearest=nearest,
                filter=of_tenant(tenant_id),
                prefilter=True,
            ).to_table()
        scores = 1.0 - found["_distance"].to_numpy().astype(np.float64)
        return _ordered(found["asset_id"].to_pylist(), scores.tolist())[:limit]


def _vectors_in(batch: pa.RecordBatch, axis: Axis, dim: int) -> tuple[list[str], Vector]:
    """The asset ids and vectors, float32 (n, dim), of the rows that have one."""
    there = batch.filter(pc.is_valid(batch[axis.value])) if batch[axis.value].null_count else batch
    return there["asset_id"].to_pylist(), there[axis.value].flatten().to_numpy().reshape(-1, dim)


def _with_all_ties(best: Callable[[int], pa.Table], limit: int) -> Scored:
    """Ask again for more if not all that tie with the last one wanted are in; cut by asset id."""
    count = 2 * limit + SPARE
    while True:
        table = best(count)
        found = _ordered(table["asset_id"].to_pylist(), table["_score"].to_pylist())
        whole = len(found) < count or found[limit - 1][1] > found[-1][1]
        if whole or count >= MAX_TIED:
            return found[:limit]
        count = MAX_TIED


def _ordered(asset_ids: list[str], scores: list[float]) -> Scored:
    pairs = ((a, round(s, SCORE_DIGITS)) for a, s in zip(asset_ids, scores, strict=True))
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def _terms(text: str) -> list[str]:
    """The distinct words of plain text, lower case, in order."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return list(dict.fromkeys(_TERM.findall(plain)))[:MAX_TERMS]


def _boosted(boosts: Mapping[str, float]) -> dict[str, float]:
    wrong = [c for c, b in boosts.items() if c not in TEXT_COLUMNS or not 0 <= b < float("inf")]
    columns = {column: float(boost) for column, boost in boosts.items() if boost}
    if wrong or not columns:
        raise ContractError(
            f"no boosts for text columns: {dict(boosts)!r}",
            hint=f"give numbers above 0 for some of {', '.join(TEXT_COLUMNS)}",
        )
    return columns


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ContractError(f"limit must be at least 1, not {limit}")


def _row(tenant_id: str, row: dict[str, Any], axes: Sequence[Axis]) -> SnapshotRow:
    statements = tuple(Statement.of(said) for said in row["statements"])
    vectors = {
        axis: VectorEvidence(**row[f"{axis}_evidence"]) for axis in axes if row[f"{axis}_evidence"]
    }
    labels = {
        kind: tuple(said.text for said in statements if said.kind == kind)
        for kind in (TextKind.TAG, TextKind.CLASSIFICATION)
    }
    plain = ("asset_id", "name", "width", "height", "format", "caption", "caption_composed", "ocr")
    return SnapshotRow(
        tenant_id=tenant_id,
        uris=tuple(row["uris"]),
        tags=labels[TextKind.TAG],
        classification=labels[TextKind.CLASSIFICATION],
        statements=statements,
        vectors=vectors,
        **{name: row[name] for name in plain},
    )
