"""Snapshots of a store on object storage, searched from copies on a local disk.

Fetches the files that a snapshot lists, those that are missing, several at once; a file takes its
place only when size and sha256 are right. What cannot be copied for want of room is read where it
lies. Knows no search.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lance

from ecm.errors import ConfigError, ResourceExhausted, StoreCorrupt
from ecm.evidence.copies import CopyFolder, CopyRecord, Hold
from ecm.evidence.faults import file_errors, lance_errors
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.snapshot_files import SnapshotFile, SnapshotFiles, read_files
from ecm.evidence.store import EvidenceStore

log = logging.getLogger(__name__)

AT_ONCE: Final = 6
"""Files fetched at once; each keeps some blocks on their way."""


@dataclass(frozen=True)
class OpenedTable:
    """The Lance dataset of a snapshot; `hold` keeps the copy it reads, if it reads one."""

    dataset: Any
    hold: Hold | None = None


def open_table(store: EvidenceStore, ref: SnapshotRef) -> OpenedTable:
    """The table of a snapshot: from the local copy, fetched if need be, else from the store.

    Raises StoreCorrupt when a file is missing or not what the snapshot lists, StoreUnavailable.
    """
    listed = read_files(store, ref) if _is_copied(store) else None
    if listed is None:
        return OpenedTable(store.open_lance(ref.table, ref.version))
    cache = SnapshotCache(store)
    try:
        hold = cache.copy(listed, time.time())
    except (ConfigError, ResourceExhausted) as error:
        log.warning("snapshot %s is read from afar: %s", ref.snapshot_id, error)
        hold = None
    if hold is None:
        return OpenedTable(store.open_lance(ref.table, ref.version))
    with lance_errors(f"cannot open the copy of snapshot {ref.snapshot_id}"):
        path = str(cache.place(ref.table))
        return OpenedTable(lance.dataset(path, version=ref.version), hold)


class SnapshotCache:
    """Copies of the snapshots of one store in `cache_folder`, up to `cache_bytes`."""

    def __init__(self, store: EvidenceStore) -> None:
        config = store.config
        if config.cache_folder is None:
            raise ConfigError("evidence.cache_folder is not set", hint="name a local folder")
        self._store = store
        self._folder = CopyFolder(config.cache_folder, config.cache_bytes)

    def place(self, name: str) -> Path:
        """Where the copy of something in the store lies."""
        return self._folder.place(self._store.header.store_id, name)

    def copy(self, listed: SnapshotFiles, now: float) -> Hold | None:
        """Bring a whole copy about; None, with a warning, when there is no room for it.

        Raises StoreCorrupt when a file is missing from the store or damaged there,
        StoreUnavailable; ResourceExhausted or ConfigError when the folder cannot be written.
        """
        record = CopyRecord(
            store_id=self._store.header.store_id,
            snapshot_id=listed.snapshot_id,
            files={file.name: file.size for file in listed.files},
        )
        hold = self._folder.claim(record, now)
        if hold is None:
            log.warning(
                "snapshot %s (%d bytes) does not fit into evidence.cache_bytes beside those in use",
                listed.snapshot_id,
                listed.size,
            )
            return None
        try:
            self._complete(record, listed, now)
        except BaseException:
            hold.close()
            raise
        return hold

    def _complete(self, record: CopyRecord, listed: SnapshotFiles, now: float) -> None:
        checked = self._folder.checked(record.key)
        if all(self._stamp(file) == checked.get(file.name, -1) for file in listed.files):
            return
        with self._folder.fetching(record.key) as unfinished:
            checked = self._folder.checked(record.key)
            largest_first = sorted(listed.files, key=lambda file: -file.size)
            missing = [file.size for file in largest_first if self._stamp(file) is None]
            mib = sum(missing) / 2**20
            log.info("fetching %d files (%.1f MiB) of %s", len(missing), mib, listed.snapshot_id)
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="snapshot-cache") as pool:
                numbered = enumerate(largest_first)
                stamps = pool.map(
                    lambda one: self._ensured(one[1], checked, unfinished / str(one[0])), numbered
                )
                names = [file.name for file in largest_first]
                found = dict(zip(names, stamps, strict=True))
            self._folder.confirm(record, found, now)

    def _ensured(self, file: SnapshotFile, checked: Mapping[str, int], unfinished: Path) -> int:
        """The mtime_ns of a file that is in its place and right."""
        place = self.place(file.name)
        with file_errors(f"cannot read {place}"):
            stamp = self._stamp(file)
            if stamp is not None and (stamp == checked.get(file.name) or _is_right(place, file)):
                return stamp
        if not self._fetched(file, unfinished) and not self._fetched(file, unfinished):
            raise StoreCorrupt(
                f"{file.name} of {self._store.storage.root} is missing or damaged",
                code="snapshot.file",
                hint="publish another snapshot, or build a new one",
            )
        with file_errors(f"cannot write {place}"):
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(unfinished, place)
            return place.stat().st_mtime_ns

    def _fetched(self, file: SnapshotFile, unfinished: Path) -> bool:
        """Fetch a file; whether it is the one that the snapshot lists."""
        size, sha256 = 0, hashlib.sha256()
        blocks = self._store.storage.blocks(file.name)
        with file_errors(f"cannot write {unfinished}"), unfinished.open("wb") as written:
            for block in blocks:
                size += len(block)
                sha256.update(block)
                written.write(block)
        return size == file.size and sha256.hexdigest() == file.sha256

    def _stamp(self, file: SnapshotFile) -> int | None:
        """The mtime_ns of a copied file that has the right size."""
        try:
            found = self.place(file.name).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns if found.st_size == file.size else None


def _is_copied(store: EvidenceStore) -> bool:
    config = store.config
    remote = store.storage.lance_options is not None
    return remote and config.cache_folder is not None and config.cache_bytes > 0


def _is_right(path: Path, file: SnapshotFile) -> bool:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
