"""Which rows of a snapshot are a tenant's, by asset. Knows ids of rows; reads no other column."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.errors import StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.ordered_ids import OrderedIds, Places
from ecm.evidence.store import of_tenant

RowIds = npt.NDArray[np.uint64]

_BYTES_PER_ROW: Final = 16


class TenantRows:
    """The assets of a tenant in order, and their rows. Immutable.

    `rows` uint64 (n,) are Lance's row ids, in the order of `ids`.
    """

    def __init__(self, asset_ids: list[str], rows: RowIds) -> None:
        order = sorted(range(len(asset_ids)), key=asset_ids.__getitem__)
        self.ids = OrderedIds(asset_ids[place] for place in order)
        self.rows: RowIds = rows[order]
        self._by_row = np.argsort(self.rows, kind="stable").astype(np.int32)
        self._sorted: RowIds = self.rows[self._by_row]

    @classmethod
    def none(cls) -> TenantRows:
        """Of a tenant without assets."""
        return cls([], np.empty(0, dtype=np.uint64))

    @property
    def nbytes(self) -> int:
        return self.ids.nbytes + (8 + _BYTES_PER_ROW) * len(self.ids)

    def places_of(self, rows: RowIds) -> Places:
        """The places of rows of this tenant, in the order given. Raises StoreCorrupt for others."""
        if not len(rows):
            return np.empty(0, dtype=np.intp)
        if not len(self._sorted):
            raise _foreign()
        found = np.minimum(np.searchsorted(self._sorted, rows), len(self._sorted) - 1)
        if not np.array_equal(self._sorted[found], rows):
            raise _foreign()
        return self._by_row[found].astype(np.intp)


def read_rows(dataset: Any, tenant_id: str, what: str) -> TenantRows:
    """The rows of a tenant. Raises StoreCorrupt, ContractError (malformed tenant)."""
    where = of_tenant(tenant_id)
    with lance_errors(f"cannot read {what}"):
        table: pa.Table = dataset.to_table(columns=["asset_id"], filter=where, with_row_id=True)
    return TenantRows(table["asset_id"].to_pylist(), table["_rowid"].to_numpy().astype(np.uint64))


def _foreign() -> StoreCorrupt:
    return StoreCorrupt(
        "an index of the snapshot names rows that are not the tenant's",
        hint="build a new snapshot",
    )
