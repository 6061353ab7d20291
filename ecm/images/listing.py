"""Lists the images below a source: lazily, sorted by URI, resumable, without losing a file.

Every file below a readable folder is yielded once, as `Found` or as `Skipped` with a reason.
Knows local folders; object stores are in `objects`. Opens nothing but regular files without an
extension, to look at their first bytes. Memory is bounded by the depth and the largest folder,
since only one folder per level is held.

Order: folders sort as if their names ended in a slash, which makes the URIs strictly increasing
over the whole walk (``a.jpg`` < ``a/b.jpg`` < ``a0.jpg``), so that a listing can be resumed after
any URI.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ecm.contracts.identity import ContentIdentity, path_uri, uri_path
from ecm.errors import SourceError
from ecm.images import objects
from ecm.images.admission import file_reason, folder_reason
from ecm.images.entries import Found, Skipped, identity_or_skip
from ecm.images.signature import SNIFF_BYTES, identify

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

__all__ = ["Found", "Skipped", "former_root", "list_source", "source_root"]


def source_root(source: str) -> str:
    """The canonical URI of a source, without a slash at its end: symbolic links in it are resolved.

    `source` is a local path, a `file://` URI, or an `s3://bucket/prefix` URI. Nothing is read from
    object stores. Raises SourceError `source.missing` for a local path that is not there, and
    `source.scheme` for other kinds of URI.
    """
    if objects.is_object_uri(source):
        return objects.root_uri(source)
    root = _local_root(source)
    return path_uri(root).rstrip("/") if root != b"/" else path_uri(root)


def former_root(source: str) -> str:
    """What `source_root` said of a source while it was there; it need not be any more.

    Raises SourceError `source.scheme`, and `source.missing` for what can be no path.
    """
    if objects.is_object_uri(source):
        return objects.root_uri(source)
    root = os.path.realpath(_local_path(source))
    return path_uri(root).rstrip("/") if root != b"/" else path_uri(root)


def list_source(source: str, *, after: str | None = None) -> Iterator[Found | Skipped]:
    """Everything below `source`, sorted by URI; with `after`, only what sorts strictly after it.

    `source` is a file or a folder, as in `source_root`. Links are never followed: one to a file
    inside the root adds nothing, since the file itself is listed.

    Raises SourceError: `source.missing`, `source.unreadable` (the root itself cannot be listed),
    `source.scheme`, `source.denied`; NetworkError for object stores that do not answer.
    """
    if objects.is_object_uri(source):
        return objects.list_objects(source, after or "")
    root = _local_root(source)
    if not stat.S_ISDIR(os.stat(root).st_mode):
        entry = _entry(_Root(root), os.path.dirname(root), os.path.basename(root), None)
        return iter([entry] if entry.uri > (after or "") else [])
    prefix = path_uri(root).rstrip("/") + "/"
    try:
        children = _children(root, prefix, after or "")
    except OSError as error:
        raise SourceError(f"cannot list {source}: {error.strerror}", "source.unreadable") from error
    return _walk(_Root(root), _Folder(root, prefix, None, iter(children)), after or "")


def _local_root(source: str) -> bytes:
    """The canonical absolute path of a local source."""
    try:
        return os.path.realpath(_local_path(source), strict=True)
    except OSError as error:
        raise SourceError(
            f"no such file or folder: {source}", "source.missing", "check the path"
        ) from error


def _local_path(source: str) -> bytes:
    """The path that a local source names."""
    if source.startswith("file://"):
        path = uri_path(source)
    elif _SCHEME.match(source):
        raise SourceError(f"cannot read {source}", "source.scheme", "use a path, file:// or s3://")
    else:
        path = source
    if not path or "\0" in path or (source.startswith("file://") and not path.startswith("/")):
        raise SourceError(f"not a path: {source!r}", "source.missing")
    return os.fsencode(path)


@dataclass(frozen=True, slots=True)
class _Root:
    path: bytes

    def holds(self, path: bytes) -> bool:
        return path == self.path or path.startswith(self.path.rstrip(b"/") + b"/")


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder being walked: its path, the URI its children begin with, and what is left of it."""

    path: bytes
    prefix: str
    reason: str | None
    children: Iterator[tuple[str, bytes, bool]]


def _walk(root: _Root, top: _Folder, after: str) -> Iterator[Found | Skipped]:
    """Depth first, with an explicit stack: folders nest deeper than Python's calls may."""
    stack = [top]
    while stack:
        folder = stack[-1]
        child = next(folder.children, None)
        if child is None:
            stack.pop()
            continue
        uri, name, is_folder = child
        path = os.path.join(folder.path, name)
        if not is_folder:
            yield _entry(root, folder.path, name, folder.reason)
            continue
        reason = folder.reason or folder_reason(os.fsdecode(name))
        try:
            stack.append(_Folder(path, uri, reason, iter(_children(path, uri, after))))
        except OSError as error:
            if uri > after:
                yield Skipped(uri, _os_reason(error))


def _children(path: bytes, prefix: str, after: str) -> list[tuple[str, bytes, bool]]:
    """(URI, name, whether a folder) of what is in `path` and not wholly before `after`, sorted.

    A folder's URI ends in a slash.
    """
    found: list[tuple[str, bytes, bool]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            is_folder = _is_folder(entry)
            uri = prefix + path_uri(entry.name)[len("file://") :] + ("/" if is_folder else "")
            if uri > after or (is_folder and after.startswith(uri)):
                found.append((uri, entry.name, is_folder))
    found.sort()
    return found


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        # the file system keeps no kinds in its folders and forbids a look; `_entry` says so
        return False


def _entry(root: _Root, folder: bytes, name: bytes, reason: str | None) -> Found | Skipped:
    """What becomes of one entry that is no folder; `reason` says why its folder is passed over."""
    path = os.path.join(folder, name)
    uri = path_uri(path)
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return Skipped(uri, _link_reason(root, path))
        if not stat.S_ISREG(status.st_mode):
            return Skipped(uri, "not_a_regular_file")
        reason = reason or _file_reason(path, os.fsdecode(name))
    except OSError as error:
        return Skipped(uri, _os_reason(error))
    if reason is not None:
        return Skipped(uri, reason)
    return identity_or_skip(
        uri, lambda: ContentIdentity(uri=uri, size=status.st_size, mtime_ns=status.st_mtime_ns)
    )


def _file_reason(path: bytes, name: str) -> str | None:
    reason = file_reason(name)
    if reason not in (None, "no_extension"):
        return reason
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        return "unreadable"
    if reason is None:
        return None
    # NONBLOCK and NOFOLLOW: the name may have become a pipe or a link since it was looked at
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        head = os.read(handle, SNIFF_BYTES)
    finally:
        os.close(handle)
    return None if identify(head) else "no_image_signature"


def _link_reason(root: _Root, path: bytes) -> str:
    """Why a symbolic link is passed over; all are, so that a walk ends and stays in its root."""
    try:
        target = os.path.realpath(path, strict=True)
        is_folder = stat.S_ISDIR(os.stat(target).st_mode)
    except OSError:
        return "broken_symlink"
    if not root.holds(target):
        return "symlink_out_of_root"
    return "symlink_directory" if is_folder else "symlink_to_listed_file"


def _os_reason(error: OSError) -> str:
    known = {
        errno.ENAMETOOLONG: "path_too_long",
        errno.ENOENT: "vanished",
        errno.ENOTDIR: "vanished",
        errno.EACCES: "unreadable",
        errno.EPERM: "unreadable",
    }
    return known.get(error.errno or 0, "io_error")
