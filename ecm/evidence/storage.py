"""Where a store's files lie: small objects put atomically, and the locations given to Lance.

The only module of ecm.evidence that touches paths; objects on S3 are `object_storage`'s. Names are
relative, with `/` between parts. Knows nothing of tables or snapshots.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ecm.contracts.identity import uri_path
from ecm.errors import ConfigError, ContractError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.faults import file_errors

OBJECT_SCHEMES: Final = ("s3://", "s3a://")
BLOCK_BYTES: Final = 8 * 2**20

_NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
_SCHEME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_TAKEN: Final = (errno.EEXIST, errno.ENOTEMPTY)
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class Extent:
    """How much lies at a name, in bytes, and when it last changed (Unix seconds; 0: nothing)."""

    size: int
    modified: float


STORE_HEADER: Final = "store.json"
ASIDE: Final = "aside"
"""The folder for what is in the making; whatever lies there long has been given up."""


class Storage(Protocol):
    """What the store needs of the place it lies in."""

    @property
    def root(self) -> str:
        """The place, for messages."""

    @property
    def lance_options(self) -> Mapping[str, str] | None:
        """Storage options for Lance; None on a local disk."""

    def location(self, name: str) -> str:
        """What Lance opens for `name`."""

    def read(self, name: str) -> bytes | None:
        """The bytes of an object, or None when there is none."""

    def blocks(self, name: str) -> Iterator[bytes]:
        """The bytes of an object of any size, BLOCK_BYTES at a time; none if it does not exist."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object so that a reader sees the old bytes or the new, never a part."""

    def put_new(self, name: str, data: bytes) -> bool:
        """Like `put`, but False, with nothing changed, when the object exists already."""

    def move_new(self, source: str, target: str) -> bool:
        """Bring the folder of a new Lance table into place; False when there is one already.

        It appears whole or not at all, and the source is gone in either case.
        """

    def children(self, name: str) -> tuple[str, ...]:
        """Sorted names directly below `name`; empty when it does not exist."""

    def remove(self, name: str) -> None:
        """Remove an object or everything below it; nothing happens when it does not exist."""

    def check_promises(self) -> None:
        """Try whether creating is exclusive here. Raises ConfigError when it is not."""

    def extent(self, name: str) -> Extent:
        """Of an object or everything below a name; what vanishes meanwhile does not count."""


def open_storage(config: EvidenceConfig) -> Storage:
    """The storage of `config.uri`. Raises ConfigError for a relative path or an unknown scheme."""
    uri = config.uri
    if uri.startswith(OBJECT_SCHEMES):
        from ecm.evidence.object_storage import ObjectStorage

        return ObjectStorage(config)
    if config.storage_options:
        raise ConfigError(
            "evidence.storage_options are for object storage only", hint="remove them"
        )
    if uri.startswith("file://"):
        return LocalStorage(Path(uri_path(uri)))
    if _SCHEME.match(uri):
        raise ConfigError(
            f"evidence store at {uri.split('://')[0]}:// is not supported by this release",
            code="config.store_scheme",
            hint="give s3://bucket/prefix, an absolute path or a file:// URI",
        )
    if not Path(uri).is_absolute():
        raise ConfigError(f"evidence store path {uri!r} is relative", hint="give an absolute path")
    return LocalStorage(Path(uri))


class LocalStorage:
    """A folder on a local or shared disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        return str(self._folder)

    @property
    def lance_options(self) -> Mapping[str, str] | None:
        return None

    def location(self, name: str) -> str:
        return str(self._path(name))

    def read(self, name: str) -> bytes | None:
        path = self._path(name)
        with file_errors(f"cannot read {path}"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def blocks(self, name: str) -> Iterator[bytes]:
        path = self._path(name)
        with file_errors(f"cannot read {path}"):
            try:
                with path.open("rb") as file:
                    while block := file.read(BLOCK_BYTES):
                        yield block
            except FileNotFoundError:
                return

    def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with file_errors(f"cannot write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            put_file(path, data)

    def put_new(self, name: str, data: bytes) -> bool:
        path = self._path(name)
        with file_errors(f"cannot write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            written = written_beside(path, data)
            try:
                os.link(written, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS or path.exists():
                    raise
                os.replace(written, path)
            finally:
                written.unlink(missing_ok=True)
            sync_folder(path.parent)
            return True

    def move_new(self, source: str, target: str) -> bool:
        path = self._path(target)
        with file_errors(f"cannot create {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.rename(self._path(source), path)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
                shutil.rmtree(self._path(source))
                return False
            sync_folder(path.parent)
            return True

    def children(self, name: str) -> tuple[str, ...]:
        path = self._path(name) if name else self._folder
        with file_errors(f"cannot list {path}"):
            try:
                return tuple(sorted(os.listdir(path)))
            except (FileNotFoundError, NotADirectoryError):
                return ()

    def remove(self, name: str) -> None:
        path = self._path(name)
        with file_errors(f"cannot remove {path}"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def extent(self, name: str) -> Extent:
        path = self._path(name)
        size, modified = 0, 0.0
        with file_errors(f"cannot measure {path}"):
            for file in (path, *path.rglob("*")):
                try:
                    found = file.stat()
                except FileNotFoundError:
                    continue
                modified = max(modified, found.st_mtime)
                size += found.st_size if stat.S_ISREG(found.st_mode) else 0
        return Extent(size, modified)

    def check_promises(self) -> None:
        name = f"{ASIDE}/probe-{uuid.uuid4().hex}"
        self.put_new(name, b"first")
        try:
            if self.put_new(name, b"second"):
                raise ConfigError(
                    f"files at {self.root} cannot be created exclusively",
                    hint="keep the store on a file system with hard links",
                )
        finally:
            self.remove(name)

    def _path(self, name: str) -> Path:
        check_name(name)
        return self._folder / name


def check_name(name: str) -> None:
    """Raises ContractError for what is not a plain relative name."""
    if not _NAME.match(name):
        raise ContractError(f"not a name inside the store: {name!r}")


def put_file(path: Path, data: bytes) -> None:
    """Atomically write a file that survives a power cut. Raises OSError."""
    put_in_place(written_beside(path, data), path)


def put_in_place(written: Path, path: Path) -> None:
    """Rename a file of `written_beside`, over an older one if need be. Raises OSError."""
    try:
        os.replace(written, path)
    except OSError:
        written.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def written_beside(path: Path, data: bytes) -> Path:
    """The data, synced, under a name of no meaning in the same folder. Raises OSError."""
    written = path.parent / f".writing-{uuid.uuid4().hex}"
    try:
        with written.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        written.unlink(missing_ok=True)
        raise
    return written


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
