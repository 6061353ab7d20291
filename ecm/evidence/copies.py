"""The folder of copied snapshots: what lies there, who reads it, and what has to go.

A record says which files a copy consists of; files are shared between versions of one table and
kept as long as any record names them. Locks of the system (flock) tell readers from leftovers, so
several processes may share the folder and one that died holds nothing. Fetches nothing.

    lock                          taken while records or files come and go
    copies/<key>.json             a record; its time of change is that of the last use
    copies/<key>.reading          locked, shared, by every reader
    copies/<key>.fetching         locked by whoever fetches what is missing
    <store>/<name>                the files, under the names they have in the store
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract
from ecm.evidence.faults import file_errors
from ecm.evidence.storage import check_name, put_file

_RECORDS: Final = "copies"


class CopyRecord(Contract):
    """The files of one copied snapshot, whether all are there yet or not."""

    store_id: str
    snapshot_id: str
    files: dict[str, int] = Field(description="name in the store: bytes")
    checked: dict[str, int] = Field(
        default_factory=dict, description="name: mtime_ns of the file whose checksum was right"
    )

    @property
    def key(self) -> str:
        return f"{self.store_id}.{self.snapshot_id}"


class Hold:
    """Keeps a copy from being removed, in every process, until it is closed or collected."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def close(self) -> None:
        """Let go. Nothing happens the second time."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


class CopyFolder:
    """A folder of copies, of at most `limit` bytes. Processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def place(self, store_id: str, name: str) -> Path:
        """Where a file of a store lies, or will. Raises ContractError for a malformed name."""
        check_name(name)
        return self._folder / store_id / name

    def claim(self, wanted: CopyRecord, now: float) -> Hold | None:
        """Make room for a copy and hold it; None when there is not enough that may go.

        Copies nobody reads go, those last used longest ago first. `now` is in Unix seconds.
        Raises ResourceExhausted, ConfigError (no permission), StoreUnavailable.
        """
        with file_errors(f"cannot use the cache at {self._folder}"), self._locked():
            records = self._records()
            others = {key: record for key, record in records.items() if key != wanted.key}
            for key in self._by_age(others):
                if _bytes_of([*others.values(), wanted]) <= self._limit:
                    break
                if self._remove(key, [*others.values(), wanted]):
                    del others[key]
            if _bytes_of([*others.values(), wanted]) > self._limit:
                return None
            known = {
                name: stamp
                for record in records.values()
                if record.store_id == wanted.store_id
                for name, stamp in record.checked.items()
                if name in wanted.files
            }
            self._write(wanted.model_copy(update={"checked": known}))
            os.utime(self._record(wanted.key), (now, now))
            return Hold(_flock(self._mark(wanted.key, "reading"), fcntl.LOCK_SH))

    @contextmanager
    def fetching(self, key: str) -> Iterator[Path]:
        """Alone in fetching this copy; gives an empty folder for what is not whole yet.

        Waits while another process fetches the same, and raises as `claim`.
        """
        unfinished = self._folder / f"unfinished.{key}"
        with file_errors(f"cannot write to the cache at {self._folder}"):
            descriptor = _flock(self._mark(key, "fetching"), fcntl.LOCK_EX)
        try:
            with file_errors(f"cannot write to the cache at {self._folder}"):
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir(parents=True)
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            os.close(descriptor)

    def checked(self, key: str) -> Mapping[str, int]:
        """The files of a copy whose checksums were right, with the mtime_ns they had then."""
        record = self._read(self._record(key))
        return {} if record is None else record.checked

    def confirm(self, record: CopyRecord, checked: Mapping[str, int], now: float) -> None:
        """All files of a copy are there and right."""
        with file_errors(f"cannot use the cache at {self._folder}"), self._locked():
            self._write(record.model_copy(update={"checked": dict(checked)}))
            os.utime(self._record(record.key), (now, now))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        (self._folder / _RECORDS).mkdir(parents=True, exist_ok=True)
        descriptor = _flock(self._folder / "lock", fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(descriptor)

    def _records(self) -> dict[str, CopyRecord]:
        """All records; one that is damaged names nothing, and its files go with the next sweep."""
        found = {}
        for path in (self._folder / _RECORDS).glob("*.json"):
            record = self._read(path)
            if record is None:
                path.unlink(missing_ok=True)
            else:
                found[record.key] = record
        return found

    def _read(self, path: Path) -> CopyRecord | None:
        try:
            return CopyRecord.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _write(self, record: CopyRecord) -> None:
        put_file(self._record(record.key), record.model_dump_json().encode())

    def _by_age(self, records: Mapping[str, CopyRecord]) -> list[str]:
        return sorted(records, key=lambda key: (self._record(key).stat().st_mtime, key))

    def _remove(self, key: str, records: list[CopyRecord]) -> bool:
        """Remove a copy unless somebody reads it; files that other records name stay."""
        mark = self._mark(key, "reading")
        try:
            descriptor = _flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        try:
            doomed = next(record for record in records if record.key == key)
            kept = {(r.store_id, name) for r in records if r.key != key for name in r.files}
            self._record(key).unlink(missing_ok=True)
            for name in doomed.files:
                if (doomed.store_id, name) not in kept:
                    self._unlink(doomed.store_id, name)
            self._mark(key, "fetching").unlink(missing_ok=True)
            mark.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return True

    def _unlink(self, store_id: str, name: str) -> None:
        """A file and the folders that are empty without it."""
        path = self.place(store_id, name)
        path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == self._folder or any(parent.iterdir() if parent.is_dir() else ()):
                return
            if parent.is_dir():
                parent.rmdir()

    def _record(self, key: str) -> Path:
        return self._folder / _RECORDS / f"{key}.json"

    def _mark(self, key: str, what: str) -> Path:
        return self._folder / _RECORDS / f"{key}.{what}"


def _bytes_of(records: list[CopyRecord]) -> int:
    """Bytes of all files that some records name, each once."""
    sizes = {(r.store_id, name): size for r in records for name, size in r.files.items()}
    return sum(sizes.values())


def _flock(path: Path, operation: int) -> int:
    """A descriptor that holds a lock on a file. Raises BlockingIOError with LOCK_NB, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
