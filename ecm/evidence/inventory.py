"""What lies in a store, for whoever compares it with the ledger: batches, keys, versions, doubles.

Every function reads single columns of the tables once, a batch of rows at a time. Knows tables;
the ledger is unknown here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ecm.contracts.identity import ContentIdentity
from ecm.evidence.faults import lance_errors
from ecm.evidence.known import KnownKeys, packed
from ecm.evidence.schema import ASSET_VERSIONS, is_evidence_table
from ecm.evidence.store import EvidenceStore

_SCAN_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Doubled:
    """Rows that are there more than once: how many too many, and the ids of some of them."""

    rows: int
    named: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """The rows a batch left in the evidence tables, and when (Unix seconds) the last was made."""

    rows: int
    observed_at: float


@dataclass(frozen=True, slots=True)
class Stated:
    """Somebody's transform that has said something about some asset."""

    tenant_id: str
    task_type: str
    transform: str


@dataclass(frozen=True, slots=True)
class Version:
    """Content seen at a place; `observed_at` in Unix seconds."""

    tenant_id: str
    asset_id: str
    identity: ContentIdentity
    observed_at: float


@dataclass(frozen=True, slots=True)
class Stranger:
    """Evidence that was not expected: its key, its asset, and the batch that brought it."""

    evidence_key: str
    asset_id: str
    task_type: str
    batch_id: str


def doubled_rows(store: EvidenceStore, limit: int) -> Doubled:
    """Evidence ids that some table holds twice; 16 bytes a row of the largest table in memory."""
    rows = 0
    named: list[str] = []
    for name in filter(is_evidence_table, store.tables()):
        parts = [packed(part["evidence_id"].to_pylist()) for part in _scan(store, name, _ID)]
        ids = np.sort(np.concatenate(parts)) if parts else packed(())
        twice = ids[1:][ids[1:] == ids[:-1]]
        rows += len(twice)
        for value in np.unique(twice)[: max(0, limit - len(named))]:
            named.append(f"{_hex(value)} in {name}")
    return Doubled(rows, tuple(named))


def batches_seen(store: EvidenceStore) -> dict[str, BatchSeen]:
    """What every batch has left in the evidence tables, by batch id."""
    rows: Counter[str] = Counter()
    latest: dict[str, float] = {}
    for name in filter(is_evidence_table, store.tables()):
        for part in _scan(store, name, ["batch_id", "observed_at"]):
            summed = part.group_by("batch_id").aggregate(
                [("observed_at", "count"), ("observed_at", "max")]
            )
            for row in summed.to_pylist():
                batch = row["batch_id"]
                rows[batch] += row["observed_at_count"]
                latest[batch] = max(latest.get(batch, 0.0), row["observed_at_max"])
    return {batch: BatchSeen(number, latest[batch]) for batch, number in rows.items()}


def stated(store: EvidenceStore) -> frozenset[Stated]:
    """Every transform that has left evidence, by tenant."""
    columns = ["tenant_id", "task_type", "transform"]
    found: set[Stated] = set()
    for name in filter(is_evidence_table, store.tables()):
        for part in _scan(store, name, columns):
            rows = part.group_by(columns).aggregate([]).to_pylist()
            found.update(Stated(**row) for row in rows)
    return frozenset(found)


def tenants(store: EvidenceStore) -> tuple[str, ...]:
    """Every tenant of whom content was seen at some place, sorted."""
    found: set[str] = set()
    if store.has_table(ASSET_VERSIONS):
        for part in _scan(store, ASSET_VERSIONS, ["tenant_id"]):
            found.update(part["tenant_id"].unique().to_pylist())
    return tuple(sorted(found))


def versions(store: EvidenceStore, chunk_rows: int) -> Iterator[Sequence[Version]]:
    """Where content was seen, in chunks of at most so many rows, as of the present version."""
    if not store.has_table(ASSET_VERSIONS):
        return
    columns = ["tenant_id", "asset_id", "uri", "size", "mtime_ns", "etag", "observed_at"]
    for part in _scan(store, ASSET_VERSIONS, columns, chunk_rows):
        yield [_version(row) for row in part.to_pylist()]


def strangers(store: EvidenceStore, known: KnownKeys, tenant_id: str) -> Iterator[Stranger]:
    """A tenant's evidence whose key is not among those known, each key once a table."""
    columns = ["tenant_id", "evidence_key", "asset_id", "task_type", "batch_id"]
    for name in filter(is_evidence_table, store.tables()):
        last = ""
        for part in _scan(store, name, columns):
            keys = part["evidence_key"].to_pylist()
            for place in np.flatnonzero(~known.contains(keys)):
                row = part.slice(int(place), 1).to_pylist()[0]
                if row["tenant_id"] == tenant_id and row["evidence_key"] != last:
                    last = row["evidence_key"]
                    yield Stranger(last, row["asset_id"], row["task_type"], row["batch_id"])


_ID: Final = ["evidence_id"]


def _scan(
    store: EvidenceStore, name: str, columns: list[str], rows: int = _SCAN_ROWS
) -> Iterator[pa.Table]:
    dataset = store.dataset(name)
    with lance_errors(f"cannot read table {name}"):
        batches = dataset.to_batches(columns=columns, batch_size=rows)
    while True:
        with lance_errors(f"cannot read table {name}"):
            batch = next(batches, None)
        if batch is None:
            return
        yield pa.Table.from_batches([batch])


def _version(row: dict[str, Any]) -> Version:
    identity = ContentIdentity(
        uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
    )
    return Version(row["tenant_id"], row["asset_id"], identity, row["observed_at"])


def _hex(value: np.bytes_) -> str:
    """The digits of a packed key; numpy cuts zero bytes off its end."""
    return bytes(value).ljust(16, b"\0").hex()
