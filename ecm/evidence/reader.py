"""Reading one snapshot: candidates by vector and by words, and the rows behind them.

Knows how a snapshot is searched, exactly or through its index, always inside one tenant. A part
that is missing or broken raises; it never answers as if nothing had been found. Knows no fusion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.errors import AxisUnavailable, ContractError, StoreCorrupt
from ecm.evidence.allowed import Allowed
from ecm.evidence.byte_cache import ByteCache
from ecm.evidence.faults import lance_errors
from ecm.evidence.kept_rows import BYTES_PER_ASSET, KeptRows, columns_of
from ecm.evidence.matrix import Scored, TenantMatrix, Vector
from ecm.evidence.pictures import PictureCache
from ecm.evidence.recall import RecallMeter
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS, VECTOR_AXES, SnapshotRef
from ecm.evidence.snapshot_cache import OpenedTable, open_table
from ecm.evidence.snapshot_row import ROW_COLUMNS, SnapshotRow, row_of
from ecm.evidence.store import EvidenceStore, of_assets, of_tenant
from ecm.evidence.tenant_rows import TenantRows, read_rows
from ecm.evidence.text_query import TextQuery
from ecm.evidence.text_search import TextSearch, boosted
from ecm.evidence.vector_search import VectorSearch

__all__ = ["SnapshotReader", "SnapshotRow"]

PICTURE_BYTES: Final = 32 << 20
ROW_BYTES: Final = 256 << 20
"""Of asset ids and row ids by tenant, 244 bytes each; most ids are shared with the matrices."""


class SnapshotReader:
    """One opened snapshot. Read-only and thread-safe; unaffected by later publishing."""

    def __init__(self, store: EvidenceStore, ref: SnapshotRef, table: OpenedTable) -> None:
        dataset = table.dataset
        self.ref = ref
        self._what = f"snapshot {ref.snapshot_id}"
        self._store = store
        self._table = table  # its hold keeps a local copy as long as this reader is in use
        self._dataset = dataset
        self._rows: ByteCache[TenantRows] = ByteCache(ROW_BYTES)
        self._kept: ByteCache[KeptRows] = ByteCache(store.config.rows_cache_bytes)
        self._said_axes = [a for a in VECTOR_AXES if f"{a}_evidence" in dataset.schema.names]
        self._pictures = PictureCache(PICTURE_BYTES)
        with lance_errors(f"cannot read the indices of {self._what}"):
            self._indices = {
                index.name: int(index.num_rows_indexed) for index in dataset.describe_indices()
            }
        self.broken: Mapping[Axis, str] = self._defects()
        partitions = self._partitions()
        self.recall = RecallMeter(partitions)
        self._vectors = VectorSearch(
            dataset,
            ref,
            partitions,
            store.config.exact_search_rows,
            store.config.matrix_cache_bytes,
            self._tenant_rows,
            self.recall,
        )
        present = (*TEXT_COLUMNS, *LATER_TEXT_COLUMNS)
        self._texts = TextSearch(
            dataset,
            [column for column in present if column in dataset.schema.names],
            self._tenant_rows,
            ref.assets,
            self._what,
        )

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
        missing = {"tenant_id", *ROW_COLUMNS} - set(dataset.schema.names)
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
        return self._vectors.matrix(tenant_id, axis)

    def is_exact(self, tenant_id: str) -> bool:
        """Whether the tenant's vectors are searched exactly, from memory."""
        return self._vectors.is_exact(tenant_id)

    def warm_like(self, other: SnapshotReader) -> None:
        """Load what another reader has in memory, before anybody waits for it.

        Raises StoreCorrupt where that cannot be read.
        """
        for tenant_id, axis in other.loaded():
            if axis not in self.broken and self.is_exact(tenant_id):
                self.tenant_matrix(tenant_id, axis).lengths()

    def loaded(self) -> tuple[tuple[str, Axis], ...]:
        """Tenants and axes whose matrices are in memory or on their way there."""
        return self._vectors.loaded()

    def search_vectors(
        self,
        tenant_id: str,
        axis: Axis,
        query: Vector,
        limit: int,
        allowed: Allowed | None = None,
    ) -> Scored:
        """The best (asset id, cosine) of a tenant, best first, ties by asset id.

        Exact for tenants up to `exact_search_rows` assets that fit into memory, else through the
        index; never fewer than there are. `query` is float32 (d,) of any positive length. Only
        assets that are `allowed` are found, None: all.

        Raises AxisUnavailable when the axis, its index or the query's dimension is not right,
        QueryError for a zero or non-finite query, StoreCorrupt, ContractError (malformed tenant).
        """
        self._check_vector_axis(axis)
        _check_limit(limit)
        of_tenant(tenant_id)
        return self._vectors.best(tenant_id, axis, query, limit, allowed)

    def vector_scores(
        self, tenant_id: str, axis: Axis, query: Vector, asset_ids: Collection[str]
    ) -> dict[str, float]:
        """The scores that `search_vectors` gives, of those of some assets that have a vector."""
        self._check_vector_axis(axis)
        return self._vectors.scores(tenant_id, axis, query, asset_ids) if asset_ids else {}

    def vectors_of(
        self, tenant_id: str, axis: Axis, asset_ids: Collection[str]
    ) -> dict[str, Vector]:
        """The vectors, float32 (d,), of those of some assets that have one. Raises as above."""
        self._check_vector_axis(axis)
        return self._vectors.vectors_of(tenant_id, axis, asset_ids)

    def search_text(
        self,
        tenant_id: str,
        text: TextQuery | str,
        boosts: Mapping[str, float],
        limit: int,
        among: Collection[str] | None = None,
        allowed: Allowed | None = None,
    ) -> Scored:
        """The best (asset id, score) for words, best first, ties by asset id.

        The score is the sum over columns of boost times BM25 of the words and those of phrases, so
        that words of one question may be found in different columns. Assets without a phrase in one
        of the columns, or with what is to be absent, are not found. Plain text is a question for
        its words: quotes and operators mean nothing, words count once, only the first 64 do. Text
        without a word finds nothing. `among` and `allowed` limit the answer to some assets; columns
        that a snapshot of an earlier release does not have are left out. BM25 counts words over all
        rows of the snapshot; no other tenant's row is ever returned.

        Raises AxisUnavailable when an index is missing, ContractError for boosts of unknown
        columns or without a positive one, StoreCorrupt.
        """
        self.check(Axis.FTS)
        _check_limit(limit)
        columns, query = boosted(boosts), TextQuery.of(text)
        of_tenant(tenant_id)
        if among is None:
            return self._texts.best(tenant_id, query, columns, limit, allowed)
        some = among if allowed is None else [a for a in among if a in allowed]
        return self._texts.among(tenant_id, query, columns, some)[:limit]

    def field_scores(
        self,
        tenant_id: str,
        text: TextQuery | str,
        columns: Sequence[str],
        asset_ids: Collection[str],
    ) -> dict[str, dict[str, float]]:
        """BM25 of the question's words in each of some columns, of those assets that have any.

        Unboosted: their sum weighted with the boosts is the score of `search_text`, to 6 digits.
        After a search for the same question it costs well under a millisecond (its matches are
        remembered per column), else what that search costs. A column that the snapshot does not
        have has no scores. Raises as `search_text`.
        """
        self.check(Axis.FTS)
        boosted(dict.fromkeys(columns, 1.0))
        of_tenant(tenant_id)
        return self._texts.fields(tenant_id, TextQuery.of(text), columns, asset_ids)

    def saying(self, tenant_id: str, texts: Sequence[str]) -> frozenset[str]:
        """The assets of a tenant that say any of some words or phrases, as `without` means it.

        Looked for in caption, tags, classification, recognised text and what people wrote into the
        file; several words must follow each other. Raises as `search_text`.
        """
        self.check(Axis.FTS)
        of_tenant(tenant_id)
        return self._texts.saying(tenant_id, texts)

    def rows(self, tenant_id: str, asset_ids: Sequence[str]) -> list[SnapshotRow]:
        """The rows of some assets, in the order asked for; those not in the tenant are left out.

        From memory, where the rows of the tenant fit into `rows_cache_bytes`. Raises StoreCorrupt.
        """
        if not asset_ids:
            return []
        if self._keeps_rows(tenant_id):
            ids = self._tenant_rows(tenant_id).ids
            places = [place for place in map(ids.place, asset_ids) if place >= 0]
            return self._kept_rows(tenant_id).rows(places)
        with lance_errors(f"cannot read rows of snapshot {self.ref.snapshot_id}"):
            found = self._dataset.to_table(
                columns=columns_of(self._said_axes), filter=of_assets(tenant_id, asset_ids)
            ).to_pylist()
        rows = {row["asset_id"]: row_of(tenant_id, row, self._said_axes) for row in found}
        return [rows[asset_id] for asset_id in asset_ids if asset_id in rows]

    def warm_rows(self, tenant_id: str) -> None:
        """Load the rows of a tenant, if they would be kept. Raises StoreCorrupt."""
        if self._keeps_rows(tenant_id):
            self._kept_rows(tenant_id)

    def _keeps_rows(self, tenant_id: str) -> bool:
        """Of a tenant without assets nothing is kept, lest any name be."""
        needed = self.ref.tenants.get(tenant_id, 0) * BYTES_PER_ASSET
        return 0 < needed <= self._store.config.rows_cache_bytes

    def _kept_rows(self, tenant_id: str) -> KeptRows:
        return self._kept.get(
            tenant_id,
            lambda: KeptRows(
                tenant_id,
                self._said_axes,
                self.tenant_batches(tenant_id, columns_of(self._said_axes)),
            ),
        )

    def known(self, tenant_id: str, asset_ids: Collection[str]) -> frozenset[str]:
        """Those of some assets that the snapshot shows of a tenant. Raises StoreCorrupt."""
        if not asset_ids:
            return frozenset()
        ids = self._tenant_rows(tenant_id).ids
        return frozenset(asset_id for asset_id in asset_ids if ids.place(asset_id) >= 0)

    def tenant_table(
        self, tenant_id: str, columns: Sequence[str], among: Collection[str] | None = None
    ) -> pa.Table:
        """Columns of the snapshot for every asset of a tenant, or some, in any order of rows.

        Columns that a snapshot of an older release does not have are left out. Raises StoreCorrupt.
        """
        present = [column for column in columns if column in self._dataset.schema.names]
        with lance_errors(f"cannot read snapshot {self.ref.snapshot_id}"):
            return self._dataset.to_table(columns=present, filter=_rows_of(tenant_id, among))

    def tenant_batches(
        self, tenant_id: str, columns: Sequence[str], among: Collection[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Like `tenant_table`, some rows at a time, so that wide columns are never all in memory.

        Raises StoreCorrupt, on the way too.
        """
        present = [column for column in columns if column in self._dataset.schema.names]
        with lance_errors(f"cannot read snapshot {self.ref.snapshot_id}"):
            where = _rows_of(tenant_id, among)
            yield from self._dataset.to_batches(columns=present, filter=where)

    def thumbnail(self, tenant_id: str, asset_id: str) -> bytes | None:
        """The small JPEG of an asset of the store, or None when none was kept."""
        return self._pictures.get(tenant_id, asset_id, self._store.thumbnail)

    def _tenant_rows(self, tenant_id: str) -> TenantRows:
        """The rows of a tenant, kept; of one that has none nothing is kept, lest any name be."""
        if tenant_id not in self.ref.tenants:
            return TenantRows.none()
        return self._rows.get(tenant_id, lambda: read_rows(self._dataset, tenant_id, self._what))

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
        wanted = [*TEXT_COLUMNS, *(c for c in LATER_TEXT_COLUMNS if c in schema.names)]
        short = [c for c in wanted if self._indices.get(c) != self.ref.assets]
        if short and self.ref.assets:
            broken[Axis.FTS] = f"the full-text index of {', '.join(short)} is missing or partial"
        return broken

    def _partitions(self) -> dict[Axis, int]:
        """Partitions of each vector index that holds every row."""
        indexed = [a for a in VECTOR_AXES if self._indices.get(a.value) == self.ref.assets > 0]
        with lance_errors(f"cannot read the indices of {self._what}"):
            models = {axis: self._dataset.get_ivf_model(axis.value) for axis in indexed}
        return {axis: len(model.centroids) for axis, model in models.items()}


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise ContractError(f"limit must be at least 1, not {limit}")


def _rows_of(tenant_id: str, among: Collection[str] | None) -> pc.Expression:
    return of_tenant(tenant_id) if among is None else of_assets(tenant_id, among)
