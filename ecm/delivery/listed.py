"""A listing on disk, entry by entry, to be compared with the store when it is complete.

Memory is bounded by one row group. Lies in a folder of its own, which is removed when it is left;
what killed runs left beside it is removed at the next. Knows entries of listings; the store is
unknown here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from ecm.errors import ContractError
from ecm.evidence.faults import file_errors
from ecm.evidence.places import LISTED, Scope
from ecm.images.listing import Found, Skipped, former_root, source_root

ROWS_PER_GROUP: Final = 20_000


class RowsOnDisk:
    """Rows of a schema in a Parquet file, written in groups. One thread writes."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._file = file
        self._schema = schema
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows. Raises ResourceExhausted when the disk is full."""
        self._rows.extend(rows)
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write()

    def close(self) -> None:
        """Write what is left and end the file: one of no rows, if there were none."""
        self._write()
        self.abandon()

    def abandon(self) -> None:
        """End the file as it is."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with file_errors(f"cannot write {self._file}"):
                writer.close()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The rows of a file that was closed."""
        with file_errors(f"cannot read {self._file}"):
            yield from pq.ParquetFile(self._file).iter_batches(ROWS_PER_GROUP)

    def _write(self) -> None:
        with file_errors(f"cannot write {self._file}"):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
            if self._rows:
                self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


class ListedPlaces:
    """What sources list, in the order they do. One thread writes; read `file` when complete.

    `sources` as they were given; each is listed completely, or `complete` is never called. `lost`
    are sources that are not there any more, and so hold nothing.
    """

    def __init__(self, folder: Path, sources: Sequence[str], lost: Sequence[str] = ()) -> None:
        self.file = folder / "listed.parquet"
        self.is_complete = False
        self._rows = RowsOnDisk(self.file, LISTED)
        self._roots = {source: source_root(source) for source in sources}
        self._roots |= {source: former_root(source) for source in lost}
        self._files: set[str] = set()

    def add(self, entries: Iterable[Found | Skipped]) -> None:
        """Note entries. Raises ResourceExhausted when the disk is full."""
        noted = list(entries)
        self._files.update({entry.uri for entry in noted} & set(self._roots.values()))
        self._rows.add(map(_row, noted))

    def complete(self) -> None:
        """All sources have been listed to their end. Raises as `add`."""
        self._rows.close()
        self.is_complete = True

    def close(self) -> None:
        """Let go of the file, complete or not."""
        self._rows.abandon()

    def scopes(self) -> tuple[Scope, ...]:
        """What the complete listing covers: sources within others are parts of them.

        Raises ContractError before the listing is complete.
        """
        if not self.is_complete:
            raise ContractError("the listing is not complete", "listing.partial")
        scopes: list[Scope] = []
        by_root = {root: source for source, root in reversed(self._roots.items())}
        for root in sorted(by_root, key=lambda root: (len(root), root)):
            if not any(scope.holds(root) for scope in scopes):
                scopes.append(Scope(by_root[root], root, exact=root in self._files))
        return tuple(scopes)


@contextmanager
def listing_on_disk(
    runs: Path, run_id: str, sources: Sequence[str], lost: Sequence[str] = ()
) -> Iterator[ListedPlaces]:
    """The listing of `sources`, in a folder of the run below `runs`, which is one store's.

    The caller holds the right to commit to that store: whoever left something in `runs` is dead.
    Raises SourceError for a source that is not there, ResourceExhausted, ConfigError.
    """
    folder = runs / run_id
    shutil.rmtree(runs, ignore_errors=True)
    with file_errors(f"cannot write to {folder}"):
        folder.mkdir(parents=True)
    listed = ListedPlaces(folder, sources, lost)
    try:
        yield listed
    finally:
        listed.close()
        shutil.rmtree(folder, ignore_errors=True)


def _row(entry: Found | Skipped) -> dict[str, Any]:
    if isinstance(entry, Skipped):
        return {"uri": entry.uri, "found": False}
    seen = entry.identity
    return {
        "uri": seen.uri,
        "size": seen.size,
        "mtime_ns": seen.mtime_ns,
        "etag": seen.etag,
        "found": True,
    }
