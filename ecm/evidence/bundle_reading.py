"""Reading a bundle that somebody else may have made: nothing in it is believed unchecked.

Its folder holds the files that its manifest names and no others, each of the stated size and
sha256; its tables have the schemas of this release. Knows files, Parquet and Lance; what rows may
say is known to `bundle_rows`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import lance
import pyarrow as pa
import pyarrow.parquet as pq

from ecm.contracts.result import Space
from ecm.errors import ContractError, StoreCorrupt
from ecm.evidence.bundle import (
    MANIFEST,
    TABLES,
    BundleFile,
    BundleFormat,
    BundleManifest,
    BundleTable,
    damaged,
    read_manifest,
)
from ecm.evidence.bundle_order import portion_rows
from ecm.evidence.faults import file_errors, lance_errors
from ecm.evidence.schema import (
    SCHEMA_VERSION,
    check_schema,
    fixed_schema,
    is_evidence_table,
    is_vector_table,
    vector_schema,
    vector_table,
)

READ_AHEAD: Final = 2
IO_BYTES: Final = 64 << 20

Progress = Callable[[int, int, str], None]
"""Called with what is done, of how much, and what it is."""


class Bundle:
    """A bundle in a local folder. Opening it reads the manifest only."""

    def __init__(self, folder: Path, manifest: BundleManifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Raises as `read_manifest`, and StoreCorrupt for tables this release does not know."""
        manifest = read_manifest(folder)
        if manifest.schema_version != SCHEMA_VERSION:
            raise StoreCorrupt(
                f"the bundle's tables have schema version {manifest.schema_version}, "
                f"this release reads {SCHEMA_VERSION}",
                code="bundle.version",
                hint="use the release that wrote it",
            )
        bundle = cls(folder, manifest)
        for table in manifest.tables:
            bundle.schema_of(table)
            bundle._check_places(table)
        return bundle

    def schema_of(self, table: BundleTable) -> pa.Schema:
        """The schema that rows of a table must have. Raises StoreCorrupt for an unknown table."""
        if not is_vector_table(table.name):
            try:
                return fixed_schema(table.name)
            except ContractError as error:
                raise damaged([f"it has a table {table.name}"]) from error
        if table.space is None or table.transform is None or table.dim is None:
            raise damaged([f"table {table.name} does not say whose vectors it has"])
        space = Space(table.space)
        if vector_table(space, table.transform) != table.name:
            raise damaged([f"table {table.name} is named after another transform"])
        return vector_schema(space, table.transform, table.dim)

    def verify_files(self, report: Progress) -> None:
        """Read every file once. Raises StoreCorrupt that names what is damaged, missing or strange.

        `report` is called with bytes read.
        """
        files = {file.name: file for file in self.manifest.files()}
        with file_errors(f"cannot read {self.folder}"):
            there = set(_names(self.folder))
        problems = [f"{name} is missing" for name in sorted(files.keys() - there)]
        strange = sorted(there - files.keys() - {MANIFEST})
        problems += [f"{name} is not in its manifest" for name in strange]
        total, done = sum(file.size for file in files.values()), 0
        for name in sorted(files.keys() & there):
            problem = self._problem(files[name])
            problems += [problem] if problem else []
            done += files[name].size
            report(done, total, name)
        if problems:
            raise damaged(problems)

    def portions(self, table: BundleTable) -> Iterator[pa.Table]:
        """The rows of a table in their order, all rows of an evidence key in one portion.

        Raises StoreCorrupt for another schema and where the file cannot be decoded.
        """
        schema = self.schema_of(table)
        rows = portion_rows(table.name, schema)
        group = "evidence_key" if is_evidence_table(table.name) else None
        kept: pa.Table | None = None
        for batch in self._batches(table, schema, rows):
            portion = batch if kept is None else pa.concat_tables([kept, batch])
            kept = None
            if group is not None:
                keys = portion[group].to_pylist()
                cut = len(keys) - 1
                while cut and keys[cut - 1] == keys[-1]:
                    cut -= 1
                portion, kept = portion.slice(0, cut), portion.slice(cut)
                if kept.num_rows > rows:
                    raise damaged([f"table {table.name} has too many rows of one evidence key"])
            if portion.num_rows:
                yield portion.combine_chunks()
        if kept is not None:
            yield kept.combine_chunks()

    def _batches(self, table: BundleTable, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
        path = self._path(table)
        with lance_errors(f"cannot read {path}"):
            if self.manifest.file_format is BundleFormat.PARQUET:
                file = pq.ParquetFile(path)
                found, batches = file.schema_arrow, file.iter_batches(batch_size=rows)
            else:
                dataset = lance.dataset(str(path))
                if dataset.base_paths():
                    raise damaged([f"table {table.name} refers to files outside the bundle"])
                found, batches = (
                    dataset.schema,
                    dataset.to_batches(
                        batch_size=rows,
                        batch_readahead=READ_AHEAD,
                        fragment_readahead=READ_AHEAD,
                        io_buffer_size=IO_BYTES,
                    ),
                )
        check_schema(table.name, found, schema)
        while True:
            with lance_errors(f"cannot read {path}"):
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch]).cast(schema)

    def _path(self, table: BundleTable) -> Path:
        return self.folder / TABLES / f"{table.name}.{self.manifest.file_format.value}"

    def _check_places(self, table: BundleTable) -> None:
        """The files of a table lie where its name says, since that is what will be opened."""
        place = f"{TABLES}/{table.name}.{self.manifest.file_format.value}"
        single = self.manifest.file_format is BundleFormat.PARQUET
        for file in table.files:
            if file.name != place if single else not file.name.startswith(f"{place}/"):
                raise damaged([f"{file.name} is not a place for table {table.name}"])

    def _problem(self, file: BundleFile) -> str | None:
        path = self.folder / file.name
        with file_errors(f"cannot read {path}"):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(handle, "rb") as stream:
                size = os.fstat(handle).st_size
                if size != file.size:
                    return f"{file.name} has {size} bytes instead of {file.size}"
                found = hashlib.file_digest(stream, "sha256")
        if found.hexdigest() != file.sha256:
            return f"{file.name} does not have the checksum in its manifest"
        return None


def _names(folder: Path) -> Iterator[str]:
    """Every file below, by its name in the bundle. Raises StoreCorrupt for links and the like."""
    waiting = [(folder, "")]
    while waiting:
        place, prefix = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append((Path(entry.path), f"{name}/"))
                elif stat.S_ISREG(mode):
                    yield name
                else:
                    raise damaged([f"{name} is not a regular file"])
