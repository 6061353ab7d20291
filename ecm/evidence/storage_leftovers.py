"""What dead processes left in a store's folder, under names that only a file system knows.

Object storage keeps nothing that was not written to the end. Decides nothing about age or need.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ecm.evidence.faults import file_errors
from ecm.evidence.storage import Extent, LocalStorage, Storage

WRITING: Final = ".writing-"
_TABLE: Final = ".lance"


def unfinished(storage: Storage) -> Iterator[tuple[str, Extent]]:
    """Files that were being written and never put in place, wherever but in Lance tables."""
    if not isinstance(storage, LocalStorage):
        return
    root = Path(storage.root)
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.endswith(_TABLE)]
        for name in files:
            if name.startswith(WRITING):
                yield from _seen(root, Path(folder, name))


def unfinished_in(folder: Path) -> Iterator[tuple[Path, Extent]]:
    """The same of a plain folder, such as the spool; nothing when it does not exist."""
    if folder.is_dir():
        for path in sorted(folder.glob(f"{WRITING}*")):
            for _, extent in _seen(folder, path):
                yield path, extent


def remove_file(storage: Storage, name: str) -> None:
    """Remove one file by its name inside the store, of whatever characters; fine if it is gone."""
    if not isinstance(storage, LocalStorage):
        storage.remove(name)
        return
    with file_errors(f"cannot remove {name} of {storage.root}"):
        Path(storage.root, name).unlink(missing_ok=True)


def _seen(root: Path, path: Path) -> Iterator[tuple[str, Extent]]:
    with file_errors(f"cannot look at {path}"):
        try:
            found = path.stat()
        except FileNotFoundError:  # put in place meanwhile
            return
    yield str(path.relative_to(root)), Extent(found.st_size, found.st_mtime)
