"""The rows of a table in the order of a bundle, a portion at a time, at one version of the table.

By tenant, then asset, then the row's own ids, so that what is said of an asset lies together and
all rows of an evidence key are neighbours. Memory is bounded by portions of keys and of rows, not
by the table. Knows Lance; writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from ecm.evidence.faults import lance_errors
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    THUMBNAILS,
    is_evidence_table,
    is_vector_table,
    key_column,
)
from ecm.evidence.store import of_tenant

PORTION_KEYS: Final = 250_000
PORTION_BYTES: Final = 16 << 20
_SCALE: Final = 1 << 32
_ROW_BYTES: Final = 512
_PICTURE_BYTES: Final = 16 << 10


def row_id_column(name: str) -> str:
    """The column that tells every row of a table from every other."""
    return "evidence_id" if is_evidence_table(name) else key_column(name)


def order_columns(name: str) -> tuple[str, ...]:
    """The columns by which the rows of a table are sorted in a bundle; together they are unique."""
    if name == ANALYSIS_RUNS:
        return ("tenant_id", "run_key")
    if is_evidence_table(name):
        return ("tenant_id", "asset_id", "evidence_key", "evidence_id")
    return ("tenant_id", "asset_id", key_column(name))


def portion_rows(name: str, schema: pa.Schema) -> int:
    """Rows that are held at a time, from how wide they are."""
    width = _ROW_BYTES
    if is_vector_table(name):
        width += 4 * int(schema.field("vector").type.list_size)
    elif name == THUMBNAILS:
        width = _PICTURE_BYTES
    return max(256, min(16_384, PORTION_BYTES // width))


def in_order(
    name: str,
    dataset: Any,
    tenant_id: str,
    without_batches: Collection[str],
    portion_keys: int = PORTION_KEYS,
) -> Iterator[pa.Table]:
    """A tenant's rows of the version that `dataset` shows, sorted, a portion at a time.

    Rows of `without_batches` are left out; about `portion_keys` rows are sorted at a time, which
    changes nothing but memory. Raises as `lance_errors`.
    """
    rows = portion_rows(name, dataset.schema)
    columns = order_columns(name)
    where = of_tenant(tenant_id)
    if without_batches and "batch_id" in dataset.schema.names:
        where &= ~pc.field("batch_id").isin(sorted(without_batches))
    with lance_errors(f"cannot read table {name}"):
        parts = max(1, -(-int(dataset.count_rows(filter=where)) // portion_keys))
    for part in range(parts):
        within = where & _range(columns[1], part, parts)
        with lance_errors(f"cannot read table {name}"):
            keys = dataset.scanner(columns=[*columns, "_rowoffset"], filter=within).to_table()
        order = pc.sort_indices(keys, sort_keys=[(column, "ascending") for column in columns])
        places = keys["_rowoffset"].take(order)
        del keys
        for start in range(0, len(places), rows):
            with lance_errors(f"cannot read table {name}"):
                yield dataset.take(places.slice(start, rows).to_pylist())


def _range(column: str, part: int, parts: int) -> pc.Expression:
    """One of `parts` equal ranges of hex digests."""
    lower = pc.field(column) >= f"{part * _SCALE // parts:08x}"
    if part + 1 == parts:
        return lower
    return lower & (pc.field(column) < f"{(part + 1) * _SCALE // parts:08x}")
