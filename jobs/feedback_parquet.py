"""Events of feedback as a Parquet file, for those who evaluate with tables. Knows no store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecm.contracts.feedback import StoredEvent
from ecm.errors import StoreUnavailable

ROWS = 10_000
SCHEMA = pa.schema(
    [
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("at", pa.float64(), nullable=False),
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("unit", pa.string()),
        pa.field("session", pa.string()),
        pa.field("snapshot_id", pa.string()),
        pa.field("ranking", pa.string()),
        pa.field("query_digest", pa.string()),
        pa.field("query", pa.string()),
        pa.field(
            "shown",
            pa.list_(pa.struct([("asset_id", pa.string()), ("rank", pa.int32())])),
            nullable=False,
        ),
        pa.field("asset_id", pa.string()),
        pa.field("rank", pa.int32()),
        pa.field("seconds", pa.float64()),
        pa.field(
            "experiment",
            pa.struct(
                [
                    ("id", pa.string()),
                    ("arm", pa.string()),
                    ("stage", pa.int32()),
                    ("unit", pa.string()),
                    ("teams", pa.string()),
                ]
            ),
        ),
    ]
)
"""A row for each event; what its kind does not have is null. `at` in Unix seconds (UTC)."""


def write_parquet(path: Path, events: Iterable[StoredEvent]) -> int:
    """Put a file of events at `path`, whole or not at all; how many there are.

    Holds ROWS events. Raises StoreUnavailable when it cannot be written.
    """
    written = path.with_name(f".writing-{uuid.uuid4().hex}")
    count = 0
    try:
        with pq.ParquetWriter(written, SCHEMA) as writer:
            coming = iter(events)
            while rows := [_row(event) for event in islice(coming, ROWS)]:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                count += len(rows)
        os.replace(written, path)
    except OSError as error:
        raise StoreUnavailable(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        written.unlink(missing_ok=True)
    return count


def _row(event: StoredEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude={"format_version"})
