"""Small files written whole or not at all, whoever else writes them. Knows no format."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, raw: bytes, mode: int = 0o644) -> None:
    """Puts `raw` at `path`, in place of what was there; readers see the one or the other.

    Folders are made; `mode` is that of the file, never wider while it is written. On disk when it
    returns. Raises OSError, and leaves nothing behind then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with open(handle, "wb") as stream:
            stream.write(raw)
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise
