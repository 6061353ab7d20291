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
from ecm.images.listing import Found, Skipped, source_root

ROWS_PER_GROUP: Final = 20_000


class ListedPlaces:
    """What sources list, in the order they do. One thread writes; read `file` when complete.

    `sources` as they were given; each is listed completely, or `complete` is never called.
    """

    def __init__(self, folder: Path, sources: Sequence[str]) -> None:
        self.file = folder / "listed.parquet"
        self.sources = tuple(sources)
        self._roots = {source: source_root(source) for source in sources}
        self._files: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self.is_complete = False

    def add(self, entries: Iterable[Found | Skipped]) -> None:
        """Note entries. Raises ResourceExhausted when the disk is full."""
        roots = set(self._roots.values())
        for entry in entries:
            if entry.uri in roots:
                self._files.add(entry.uri)
            self._rows.append(_row(entry))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write()

    def complete(self) -> None:
        """All sources have been listed to their end. Raises as `add`."""
        self._write()
        self.close()
        self.is_complete = True

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with file_errors("cannot keep the listing"):
                writer.close()

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

    def _write(self) -> None:
        """One row group; an empty listing leaves an empty file."""
        with file_errors("cannot keep the listing"):
            if self._writer is None:
                self._writer = pq.ParquetWriter(self.file, LISTED, compression="zstd")
            if self._rows:
                self._writer.write_table(pa.Table.from_pylist(self._rows, schema=LISTED))
        self._rows = []


@contextmanager
def listing_on_disk(runs: Path, run_id: str, sources: Sequence[str]) -> Iterator[ListedPlaces]:
    """The listing of `sources`, in a folder of the run below `runs`, which is one store's.

    The caller holds the right to commit to that store: whoever left something in `runs` is dead.
    Raises SourceError for a source that is not there, ResourceExhausted, ConfigError.
    """
    folder = runs / run_id
    shutil.rmtree(runs, ignore_errors=True)
    with file_errors(f"cannot write to {folder}"):
        folder.mkdir(parents=True)
    listed = ListedPlaces(folder, sources)
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
