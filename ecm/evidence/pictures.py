"""Thumbnails in memory, up to a number of bytes: those asked for longest ago go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable


class PictureCache:
    """Bytes by tenant and asset. Thread-safe; a picture that is not there is asked for again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._found: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, tenant_id: str, asset_id: str, read: Callable[[str, str], bytes | None]
    ) -> bytes | None:
        """The picture, read when it is not kept. Raises what `read` raises."""
        key = tenant_id, asset_id
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        picture = read(tenant_id, asset_id)
        if picture is not None and len(picture) <= self._limit:
            with self._lock:
                self._size += len(picture) - len(self._found.pop(key, b""))
                self._found[key] = picture
                while self._size > self._limit:
                    self._size -= len(self._found.popitem(last=False)[1])
        return picture
