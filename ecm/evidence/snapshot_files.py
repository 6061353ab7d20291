"""The files of a snapshot: what must lie where, byte for byte, for its version to open and answer.

`snapshots/<id>/files.json` lists, for the version of the table that the snapshot refers to, every
data file, deletion file, index file and the manifest: name inside the store, size and sha256. It
is written before the reference and never changed. `read_files(store, ref)` reads it; `check_file`
compares one file with its entry. Whoever copies a snapshot copies exactly these names: with them
alone `lance.dataset(<table>, version=ref.version)` opens and every index answers. Snapshots of one
generation share files, so a copy that has a name with the right size and sum has it for all.

Knows the layout of a Lance table's folder. Knows nothing of how a snapshot is made or searched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest
from ecm.errors import StoreCorrupt
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import SnapshotRef, folder_of
from ecm.evidence.seals import seal_of
from ecm.evidence.store import EvidenceStore

_FILES: Final = "files.json"
_LAST_VERSION: Final = 2**64 - 1
"""Lance names manifests by their distance to it, so that the newest is listed first."""


class SnapshotFile(Contract):
    """One file of a snapshot: `name` is relative to the store, as `Storage.read` takes it."""

    name: str
    size: int = Field(ge=0, description="bytes")
    sha256: Digest


class SnapshotFiles(Contract):
    """All files of one snapshot, sorted by name."""

    snapshot_id: str
    table: str
    version: int = Field(ge=1)
    files: tuple[SnapshotFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def read_files(store: EvidenceStore, ref: SnapshotRef) -> SnapshotFiles | None:
    """The files of a snapshot; None for one of an earlier release, which lists none.

    Raises StoreCorrupt when the list is damaged, missing or another snapshot's.
    """
    if ref.files_sha256 is None:
        return None
    raw = store.storage.read(_name_of(ref.snapshot_id))
    if raw is None or hashlib.sha256(raw).hexdigest() != ref.files_sha256:
        raise StoreCorrupt(
            f"the list of files of snapshot {ref.snapshot_id} is "
            f"{'missing' if raw is None else 'damaged'}",
            hint="`ecm repair` puts another in its place; or restore it from a copy",
        )
    try:
        return SnapshotFiles.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(
            f"the list of files of snapshot {ref.snapshot_id} is of another release",
            hint="build and publish a new snapshot",
        ) from error


def files_of(store: EvidenceStore, ref: SnapshotRef) -> dict[str, SnapshotFile]:
    """The files of a snapshot by name; none for one of an earlier release. Raises StoreCorrupt."""
    listed = read_files(store, ref)
    return {} if listed is None else {file.name: file for file in listed.files}


def check_file(store: EvidenceStore, file: SnapshotFile) -> None:
    """Read one file and compare. Raises StoreCorrupt when it is missing or has other bytes."""
    found = _described(store, file.name)
    if found != file:
        what = "missing" if not found.size and file.size else "damaged"
        raise StoreCorrupt(
            f"{file.name} of {store.storage.root} is {what}",
            code="snapshot.file",
            hint="publish another snapshot, or build a new one",
        )


def check_sizes(store: EvidenceStore, ref: SnapshotRef) -> None:
    """See that every file is there in its full length, without reading any.

    Raises StoreCorrupt when one is not. Of an earlier release's snapshot nothing is known.
    """
    listed = read_files(store, ref)
    for file in () if listed is None else listed.files:
        size = store.storage.extent(file.name).size
        if size != file.size:
            raise StoreCorrupt(
                f"{file.name} of {store.storage.root} has {size} bytes instead of {file.size}",
                code="snapshot.file",
                hint="publish another snapshot, or build a new one",
            )


def write_files(
    store: EvidenceStore,
    snapshot_id: str,
    table: str,
    dataset: Any,
    known: Mapping[str, SnapshotFile],
) -> str:
    """List the files of a dataset's version for a snapshot; the sha256 of the list.

    Each file is read once, but for those `known` by name from an earlier version: files of a table
    never change. Raises StoreCorrupt when a file is missing, StoreUnavailable.
    """
    names = sorted(set(_names(store, table, dataset)))
    files = tuple(known[name] if name in known else _described(store, name) for name in names)
    empty = [file.name for file in files if not file.size]
    if empty:
        raise StoreCorrupt(f"{empty[0]} is missing from the snapshot just written")
    listed = SnapshotFiles(
        snapshot_id=snapshot_id, table=table, version=int(dataset.version), files=files
    )
    raw = listed.model_dump_json().encode()
    store.storage.put(_name_of(snapshot_id), raw)
    return hashlib.sha256(raw).hexdigest()


def _name_of(snapshot_id: str) -> str:
    return f"{folder_of(snapshot_id)}/{_FILES}"


def _names(store: EvidenceStore, table: str, dataset: Any) -> Iterator[str]:
    with lance_errors(f"cannot list the files of {table}"):
        fragments = [fragment.metadata for fragment in dataset.get_fragments()]
        deletions = [fragment.deletion_file() for fragment in dataset.get_fragments()]
        indices = [s.uuid for index in dataset.describe_indices() for s in index.segments]
        version = int(dataset.version)
    for fragment in fragments:
        yield from (f"{table}/data/{file.path}" for file in fragment.files)
    yield from (f"{table}/{name}" for name in deletions if name)
    for uuid in indices:
        folder = f"{table}/_indices/{uuid}"
        yield from (f"{folder}/{name}" for name in store.storage.children(folder))
    manifests = store.storage.children(f"{table}/_versions")
    for name in (f"{_LAST_VERSION - version}.manifest", f"{version}.manifest"):
        if name in manifests:
            yield f"{table}/_versions/{name}"
            return
    raise StoreCorrupt(f"version {version} of {table} has no manifest")


def _described(store: EvidenceStore, name: str) -> SnapshotFile:
    seal = seal_of(store, name)
    return SnapshotFile(name=name, size=seal.size, sha256=seal.sha256)
