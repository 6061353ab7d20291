"""Rows of a bundle as they are under another tenant and in another batch. Pure: no I/O, no clock.

Keys contain the tenant, so a row that changes hands gets the ids it would have had if the new
tenant's own run had made it; what it says does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from ecm.evidence.row_checks import expected_ids, expected_keys
from ecm.evidence.schema import is_evidence_table, key_column


def rekeyed(name: str, rows: pa.Table, tenants: Mapping[str, str], batch_id: str) -> pa.Table:
    """The same rows of table `name` in a batch, of the tenants that theirs become."""
    if "batch_id" in rows.schema.names:
        rows = _replaced(rows, "batch_id", [batch_id] * rows.num_rows)
    if all(old == new for old, new in tenants.items()):
        return rows
    owners = [tenants[owner] for owner in rows["tenant_id"].to_pylist()]
    batch = _replaced(rows, "tenant_id", owners).combine_chunks().to_batches()[0]
    keys = expected_keys(name, batch)
    rows = _replaced(pa.Table.from_batches([batch]), key_column(name), keys)
    if is_evidence_table(name):
        rows = _replaced(rows, "evidence_id", expected_ids(batch, keys))
    return rows


def _replaced(rows: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    place = rows.schema.get_field_index(name)
    field = rows.schema.field(place)
    return rows.set_column(place, field, pa.array(values, field.type))
