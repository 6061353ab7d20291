"""Reads one resource: its bytes, their hash, and its identity as it is now.

Never waits for anything but a disk or the network: pipes, sockets and devices are refused
unopened. Never follows a symbolic link, so that nothing outside a listed root is read through
one; a path with a link in it is refused (`ecm.images.listing` yields resolved paths only).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ecm.contracts.identity import ContentIdentity, asset_id_of, uri_path
from ecm.errors import NetworkError, SourceError
from ecm.images import objects
from ecm.images.checks import check_bytes
from ecm.images.limits import ImageLimits

_CHUNK = 16 * 2**20
_PIECE = 2**20
_NETWORK_ERRORS = {
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    *(errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO),
}


@dataclass(frozen=True, slots=True)
class ResourceBytes:
    """A resource as read: `content_hash` is the hex sha256 of `data`."""

    data: bytes
    content_hash: str
    identity: ContentIdentity


@dataclass(frozen=True, slots=True)
class ResourceHash:
    """The hex sha256 of a resource, and the identity of the version it is of."""

    content_hash: str
    identity: ContentIdentity


def read_resource(identity: ContentIdentity, limits: ImageLimits) -> ResourceBytes:
    """Reads the resource at `identity.uri`, whatever version of it is there now.

    Raises ImageError `input.too_large` (before reading); SourceError `source.gone`,
    `source.denied`, `source.not_regular`, `source.symlink`, `source.changed` (while it was read),
    `source.unreadable`, `source.scheme`; NetworkError when storage does not answer, network file
    systems included.
    """
    if objects.is_object_uri(identity.uri):
        read = objects.read_object(identity, limits)
        return ResourceBytes(read.data, asset_id_of(read.data), read.identity)
    if not identity.uri.startswith("file:///"):
        raise SourceError(f"cannot read {identity.uri}", "source.scheme", "use file:// or s3://")
    try:
        return _read_file(identity.uri, uri_path(identity.uri), limits)
    except OSError as error:
        raise _source_error(identity.uri, error) from error


def hash_resource(identity: ContentIdentity) -> ResourceHash:
    """Hashes the resource at `identity.uri` as it is now, a piece at a time, whatever its size.

    Raises SourceError and NetworkError as `read_resource` does.
    """
    found = hashlib.sha256()
    if objects.is_object_uri(identity.uri):
        now = objects.stream_object(identity, found.update)
        return ResourceHash(found.hexdigest(), now)
    if not identity.uri.startswith("file:///"):
        raise SourceError(f"cannot read {identity.uri}", "source.scheme", "use file:// or s3://")
    try:
        now = _stream_file(identity.uri, uri_path(identity.uri), found.update)
    except OSError as error:
        raise _source_error(identity.uri, error) from error
    return ResourceHash(found.hexdigest(), now)


def _read_file(uri: str, path: str, limits: ImageLimits) -> ResourceBytes:
    with _opened(uri, path) as (handle, before):
        check_bytes(before.st_size, limits)
        data = _read_whole(handle, before.st_size)
        after = os.fstat(handle)
    now = _identity_of(uri, len(data), before, after)
    return ResourceBytes(data, asset_id_of(data), now)


def _stream_file(uri: str, path: str, take: Callable[[bytes], None]) -> ContentIdentity:
    with _opened(uri, path) as (handle, before):
        got = 0
        while got <= before.st_size and (part := os.read(handle, _PIECE)):
            take(part)
            got += len(part)
        after = os.fstat(handle)
    return _identity_of(uri, got, before, after)


@contextmanager
def _opened(uri: str, path: str) -> Iterator[tuple[int, os.stat_result]]:
    """A regular file that no link leads to, open, and what it was when it was opened."""
    _refuse_unless_regular(uri, os.lstat(path).st_mode)
    if os.path.realpath(path) != path:
        raise SourceError(f"a folder on the way to {uri} is a symbolic link", "source.symlink")
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        before = os.fstat(handle)
        _refuse_unless_regular(uri, before.st_mode)
        yield handle, before
    finally:
        os.close(handle)


def _identity_of(
    uri: str, got: int, before: os.stat_result, after: os.stat_result
) -> ContentIdentity:
    """What was read. Raises SourceError `source.changed` when it was not one version of it."""
    if got != before.st_size or _version(before) != _version(after):
        raise SourceError(f"{uri} changed while it was read", "source.changed")
    return ContentIdentity(uri=uri, size=after.st_size, mtime_ns=after.st_mtime_ns)


def _refuse_unless_regular(uri: str, mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise SourceError(f"{uri} is a symbolic link", "source.symlink")
    if not stat.S_ISREG(mode):
        raise SourceError(f"{uri} is not a regular file", "source.not_regular")


def _read_whole(handle: int, size: int) -> bytes:
    """Up to one byte more than `size`, which tells of a file that grew."""
    first = os.read(handle, min(size + 1, _CHUNK))
    parts, got = [first], len(first)
    while parts[-1] and got <= size:
        parts.append(os.read(handle, min(size + 1 - got, _CHUNK)))
        got += len(parts[-1])
    return b"".join(parts)


def _version(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _source_error(uri: str, error: OSError) -> SourceError | NetworkError:
    if error.errno in _NETWORK_ERRORS:
        return NetworkError(f"storage failed under {uri}: {error.strerror}")
    codes = {
        errno.ENOENT: "source.gone",
        errno.ENOTDIR: "source.gone",
        errno.EACCES: "source.denied",
        errno.EPERM: "source.denied",
        errno.ELOOP: "source.symlink",
    }
    code = codes.get(error.errno or 0, "source.unreadable")
    return SourceError(f"cannot read {uri}: {error.strerror}", code)
