"""Reading again what a listing takes for unchanged: whether its bytes are still those on record.

A file may rot, or be written to with its size and date kept. Reads with a few threads, a few files
ahead, a piece at a time. Knows the listing and the store; queues nothing and writes no evidence.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from ecm.contracts.identity import ContentIdentity
from ecm.delivery.listed import ListedPlaces, RowsOnDisk
from ecm.delivery.rescan import Look
from ecm.errors import EcmError
from ecm.evidence.places import compared
from ecm.evidence.store import EvidenceStore
from ecm.images.reading import ResourceHash, hash_resource

AHEAD: Final = 8
"""Files in hand per thread."""

NAMED: Final = 20
CHUNK: Final = 500

ALTERED: Final = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("asset_id", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64()),
        pa.field("etag", pa.string()),
        pa.field("at", pa.float64(), nullable=False),
    ]
)
"""A place whose bytes are others: what lies there now, and when (Unix seconds) that was seen."""


@dataclass(slots=True)
class Verified:
    """Running totals: files and bytes read, and files by what was found.

    `changed` became another version between listing and reading: the next listing tells.
    """

    files: int = 0
    bytes_read: int = 0
    altered: int = 0
    changed: int = 0
    unreadable: int = 0
    named: list[str] = field(default_factory=list)

    def problems(self) -> tuple[str, ...]:
        """What disagrees or could not be read, by name as far as NAMED go, and how many more."""
        more = self.altered + self.unreadable - len(self.named)
        rest = (f"{more} more files disagree or cannot be read",) if more else ()
        return (*self.named, *rest)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A file to be read, and the content that is on record for it."""

    identity: ContentIdentity
    asset_id: str


class ContentCheck:
    """Reads what is taken for unchanged. One thread runs it; any may look at `totals`."""

    def __init__(
        self, store: EvidenceStore, listed: ListedPlaces, look: Look, threads: int
    ) -> None:
        self._store = store
        self._listed = listed
        self._look = look
        self._threads = threads
        self._altered = RowsOnDisk(listed.file.with_name("altered.parquet"), ALTERED)
        self.totals = Verified()

    def run(self, stop: threading.Event) -> Iterator[Sequence[ContentIdentity]]:
        """Read everything unchanged of the complete listing, until stopped.

        Yields, a chunk at a time, identities under which altered files are to be queued. Raises
        ContractError for a listing that is not complete, StoreCorrupt, ResourceExhausted.
        """
        chunk: list[ContentIdentity] = []
        pending: deque[tuple[_Asked, Future[ResourceHash]]] = deque()
        with (
            compared(
                self._store,
                self._look.tenant_id,
                self._listed.scopes(),
                self._listed.file,
                self._look.at,
            ) as found,
            ThreadPoolExecutor(self._threads, thread_name_prefix="verify") as readers,
        ):
            try:
                for asked in _asked(found.unchanged()):
                    if stop.is_set():
                        return
                    pending.append((asked, readers.submit(hash_resource, asked.identity)))
                    if len(pending) >= AHEAD * self._threads:
                        chunk += self._judged(*pending.popleft())
                    if len(chunk) >= CHUNK:
                        yield chunk
                        chunk = []
                while pending and not stop.is_set():
                    chunk += self._judged(*pending.popleft())
            finally:
                for _, reading in pending:
                    reading.cancel()
        self._altered.close()
        if chunk:
            yield chunk

    def altered(self) -> Iterator[pa.RecordBatch]:
        """Rows of ALTERED, when the run is over."""
        return self._altered.read()

    def _judged(self, asked: _Asked, reading: Future[ResourceHash]) -> list[ContentIdentity]:
        """Count one file; the identity to queue it under when its bytes are others."""
        recorded = asked.identity
        self.totals.files += 1
        try:
            read = reading.result()
        except EcmError as error:
            self.totals.unreadable += 1
            self._name(f"cannot verify {recorded.uri}: {error.message}")
            return []
        self.totals.bytes_read += read.identity.size
        if read.identity != recorded:
            self.totals.changed += 1
            return []
        if read.content_hash == asked.asset_id:
            return []
        self.totals.altered += 1
        self._name(
            f"{recorded.uri} has the size and date on record, but other bytes: sha256 "
            f"{read.content_hash[:16]}, not {asked.asset_id[:16]}"
        )
        place = recorded.model_dump()
        self._altered.add([{**place, "asset_id": read.content_hash, "at": time.time()}])
        return [altered_identity(recorded, read.content_hash)]

    def _name(self, problem: str) -> None:
        if len(self.totals.named) < NAMED:
            self.totals.named.append(problem)


def altered_identity(identity: ContentIdentity, content_hash: str) -> ContentIdentity:
    """What tells bytes that are others from those on record, where size and date do not.

    A resource of its own in the ledger: what was said about the former bytes stays accounted for.
    """
    mark = f"sha256:{content_hash[:32]}"
    etag = mark if identity.etag is None else f"{identity.etag[:200]}+{mark}"
    return identity.model_copy(update={"etag": etag})


def _asked(found: Iterator[pa.RecordBatch]) -> Iterator[_Asked]:
    for part in found:
        for row in part.to_pylist():
            yield _Asked(ContentIdentity(**_place(row)), row["asset_id"])


def _place(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("uri", "size", "mtime_ns", "etag")}
