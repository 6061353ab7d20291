"""Small pictures of assets beside a report: each once, of a bounded size."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

FOLDER: Final = "report_files"
"""Where the pictures of a report lie, relative to it."""
SIDE: Final = 112
"""Pixels of the longer side: what a row of five takes on a page."""
QUALITY: Final = 78


class Thumbs:
    """Pictures that a report shows. `read` gives the stored JPEG of an asset, or None."""

    def __init__(self, read: Callable[[str], bytes | None]) -> None:
        self._read = read
        self._names: dict[str, str | None] = {}
        self.files: dict[str, bytes] = {}

    def link(self, asset_id: str, said: str) -> str:
        """Markdown that shows an asset; `said` is what stands for it where no picture can.

        `said` has no markup in it.
        """
        name = self._name(asset_id)
        return f"`{asset_id[:12]}`" if name is None else f"![{said}]({name})"

    def _name(self, asset_id: str) -> str | None:
        if asset_id not in self._names:
            data = self._read(asset_id)
            small = None if data is None else _small(data)
            name = f"{FOLDER}/{asset_id[:16]}.jpg"
            if small is not None:
                self.files[name] = small
            self._names[asset_id] = None if small is None else name
        return self._names[asset_id]


def _small(data: bytes) -> bytes | None:
    """A JPEG of at most SIDE pixels; None where the stored one cannot be read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            small = picture.convert("RGB")
            small.thumbnail((SIDE, SIDE))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    target = io.BytesIO()
    small.save(target, "JPEG", quality=QUALITY, optimize=True)
    return target.getvalue()
