"""Writing a bundle: tables sorted and compacted, hashed, the manifest last, the folder renamed.

Everything is written under a name of no meaning beside the destination, so that an export which is
cut off leaves nothing that passes for a bundle; what a dead one left is removed by the next. Knows
files and tables; what is exported, and what its transforms are, it is told.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lance
import pyarrow as pa
import pyarrow.parquet as pq
from lance.fragment import write_fragments

from ecm.crashpoints import crash_point
from ecm.errors import ConfigError, EcmError, StoreCorrupt
from ecm.evidence.bundle import (
    MANIFEST,
    SNAPSHOT,
    TABLES,
    BundleColumn,
    BundleFile,
    BundleFormat,
    BundleManifest,
    BundleTable,
    BundleTransform,
)
from ecm.evidence.bundle_order import in_order
from ecm.evidence.bundle_rows import Claims, RowChecks
from ecm.evidence.faults import file_errors, lance_errors
from ecm.evidence.quarantine import NOTHING_SHUT_OUT, ShutOut
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.schema import ASSETS, SCHEMA_VERSION, is_evidence_table
from ecm.evidence.storage import put_file, sync_folder
from ecm.evidence.store import EvidenceStore

Report = Callable[[int, str], None]
"""Called with the rows written so far and the table they are of."""


@dataclass(frozen=True)
class Contents:
    """What goes into a bundle: tables at versions, of which tenants, without which batches and
    which quarantined rows.

    A file of a Lance table has at most about `file_bytes`, in memory; Parquet is written a row
    group at a time into one file.
    """

    versions: Mapping[str, int]
    tenants: tuple[str, ...]
    without_batches: frozenset[str] = frozenset()
    file_bytes: int = 128 << 20
    shut_out: ShutOut = NOTHING_SHUT_OUT


@dataclass(frozen=True)
class About:
    """What a manifest says beside its tables; `created_at` in Unix seconds."""

    ecm_version: str
    created_at: float
    transforms: tuple[BundleTransform, ...]
    snapshot: SnapshotRef | None = None


def check_destination(dest: Path) -> None:
    """Raises ConfigError unless `dest` is a new or empty folder in a folder that exists."""
    with file_errors(f"cannot write {dest}"):
        if dest.is_symlink() or (dest.exists() and (not dest.is_dir() or any(dest.iterdir()))):
            raise ConfigError(
                f"{dest} exists and is not an empty folder",
                code="bundle.exists",
                hint="name a new folder",
            )
        if not dest.parent.is_dir():
            raise ConfigError(f"there is no folder {dest.parent}", code="bundle.parent")


def write_bundle(
    store: EvidenceStore,
    contents: Contents,
    about: About,
    file_format: BundleFormat,
    dest: Path,
    report: Report,
) -> BundleManifest:
    """The bundle at `dest`, whole or not at all; its manifest.

    Raises ConfigError for a destination in use, ResourceExhausted, StoreUnavailable, StoreCorrupt.
    """
    dest = dest.absolute()
    check_destination(dest)
    with _workspace(dest) as folder:
        claims = Claims(contents.tenants, about.created_at, about.transforms)
        written = _Writing(store, contents, claims, file_format, folder, report)
        tables = written.tables()
        snapshot = None
        if about.snapshot is not None:
            with file_errors(f"cannot write {folder / SNAPSHOT}"):
                put_file(folder / SNAPSHOT, about.snapshot.model_dump_json().encode())
            snapshot = _hashed(folder, folder / SNAPSHOT)
        crash_point("bundle.written")
        manifest = BundleManifest.named(
            ecm_version=about.ecm_version,
            schema_version=SCHEMA_VERSION,
            store_id=store.header.store_id,
            created_at=about.created_at,
            file_format=file_format,
            tenants=written.assets,
            transforms=about.transforms,
            tables=tables,
            snapshot_id=about.snapshot.snapshot_id if about.snapshot else None,
            snapshot=snapshot,
        )
        with file_errors(f"cannot write {dest}"):
            put_file(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
            crash_point("bundle.described")
            os.rename(folder, dest)
            sync_folder(dest.parent)
    return manifest


class _Writing:
    """The tables of one bundle on their way into its folder."""

    def __init__(
        self,
        store: EvidenceStore,
        contents: Contents,
        claims: Claims,
        file_format: BundleFormat,
        folder: Path,
        report: Report,
    ) -> None:
        self._store = store
        self._contents = contents
        self._claims = claims
        self._format = file_format
        self._folder = folder
        self._report = report
        self._rows = 0
        self.assets = dict.fromkeys(contents.tenants, 0)

    def tables(self) -> tuple[BundleTable, ...]:
        made = [self._table(name) for name in sorted(self._contents.versions)]
        return tuple(table for table in made if table is not None)

    def _table(self, name: str) -> BundleTable | None:
        dataset = self._store.dataset(name, self._contents.versions[name])
        checks = RowChecks(name, self._claims, _damaged_store)
        size = self._contents.file_bytes
        stream = _Stream(name, dataset.schema, self._portions(name, dataset), checks, size)
        if not stream.begin():
            return None
        path = self._folder / TABLES / f"{name}.{self._format.value}"
        with file_errors(f"cannot write {path}"):
            path.parent.mkdir(exist_ok=True)
            _WRITERS[self._format](path, stream)
            files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
            for folder in {file.parent for file in files}:
                sync_folder(folder)
            hashed = tuple(_hashed(self._folder, file) for file in sorted(files))
        marks = {k.decode(): v.decode() for k, v in (dataset.schema.metadata or {}).items()}
        return BundleTable(
            name=name,
            rows=checks.keys.count,
            key_digest=checks.keys,
            columns=tuple(BundleColumn(name=f.name, type=str(f.type)) for f in dataset.schema),
            files=hashed,
            space=marks.get("ecm.space"),
            transform=marks.get("ecm.transform"),
            dim=int(marks["ecm.dim"]) if "ecm.dim" in marks else None,
        )

    def _portions(self, name: str, dataset: Any) -> Iterator[pa.Table]:
        without, shut = self._contents.without_batches, self._contents.shut_out
        for tenant in sorted(self._contents.tenants):
            for whole in in_order(name, dataset, tenant, without):
                portion = shut.without(whole) if shut.ids and is_evidence_table(name) else whole
                if not portion.num_rows:
                    continue
                if name == ASSETS:
                    self.assets[tenant] += portion.num_rows
                self._rows += portion.num_rows
                self._report(self._rows, name)
                yield portion


class _Stream:
    """Portions on their way into a file, checked as an import will check them."""

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        portions: Iterator[pa.Table],
        checks: RowChecks,
        file_bytes: int,
    ) -> None:
        self.name = name
        self.schema = schema
        self._checks = checks
        self._file_bytes = file_bytes
        self._portions = portions
        self._first: pa.Table | None = None

    def begin(self) -> bool:
        """Whether there is anything to write."""
        self._first = next(self._portions, None)
        return self._first is not None

    def batches(self) -> Iterator[pa.RecordBatch]:
        portion = self._first
        self._first = None
        while portion is not None:
            portion = portion.cast(self.schema)
            self._checks.check(portion)
            yield from portion.to_batches()
            portion = next(self._portions, None)

    def pieces(self) -> Iterator[pa.Table]:
        """The batches put together until they are as large as a file may be."""
        held: list[pa.RecordBatch] = []
        size = 0
        for batch in self.batches():
            held.append(batch)
            size += batch.nbytes
            if size >= self._file_bytes:
                yield pa.Table.from_batches(held, self.schema)
                held, size = [], 0
        if held:
            yield pa.Table.from_batches(held, self.schema)


def _damaged_store(problems: list[str]) -> EcmError:
    """A row that no import would take is not exported."""
    return StoreCorrupt(
        f"the store is damaged: {problems[0]}",
        code="export.damaged",
        hint="ecm audit --deep names what is, and how to derive it again",
    )


def _write_lance(path: Path, stream: _Stream) -> None:
    """A file at a time: handed a whole table as a stream Lance holds far more of it."""
    fragments: list[Any] = []
    dataset: Any = None
    for piece in stream.pieces():
        with lance_errors(f"cannot write table {stream.name}"):
            if dataset is None:
                dataset = lance.write_dataset(piece, str(path), schema=stream.schema, mode="create")
            else:
                fragments += write_fragments(piece, dataset, schema=stream.schema, mode="append")
    if fragments:
        with lance_errors(f"cannot write table {stream.name}"):
            appended = lance.LanceOperation.Append(fragments)
            lance.LanceDataset.commit(dataset, appended, read_version=dataset.version)


def _write_parquet(path: Path, stream: _Stream) -> None:
    writer = pq.ParquetWriter(
        path, stream.schema, compression="zstd", use_compliant_nested_type=False
    )
    with lance_errors(f"cannot write table {stream.name}"), writer:
        for batch in stream.batches():
            writer.write_batch(batch)


_WRITERS: Final[Mapping[BundleFormat, Callable[[Path, _Stream], None]]] = {
    BundleFormat.LANCE: _write_lance,
    BundleFormat.PARQUET: _write_parquet,
}


@contextmanager
def _workspace(dest: Path) -> Iterator[Path]:
    """A locked folder beside `dest`, gone afterwards unless it was renamed into place."""
    begun = f".{dest.name}.writing-"
    with file_errors(f"cannot write beside {dest}"):
        for left in dest.parent.glob(f"{begun}*"):
            _remove_if_dead(left)
        folder = dest.parent / f"{begun}{uuid.uuid4().hex}"
        folder.mkdir()
        handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_if_dead(folder: Path) -> None:
    """Whoever writes a bundle holds a lock on its folder for as long as it lives."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    finally:
        os.close(handle)
    shutil.rmtree(folder)


def _hashed(folder: Path, path: Path) -> BundleFile:
    """The file as it is on disk, which is synced. Raises OSError."""
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256")
        size = stream.tell()
        os.fsync(stream.fileno())
    name = path.relative_to(folder).as_posix()
    return BundleFile(name=name, size=size, sha256=found.hexdigest())
