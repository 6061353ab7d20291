"""What was found once and may be used again: by key, for a while, within a number of bytes.

Knows memory, threads and a clock. Knows neither what it keeps nor whose it is: keys are digests
that their owners make of everything the value hangs on, the tenant included where it does.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

Value = TypeVar("Value")

ENTRY_BYTES: Final = 512
"""What an entry takes beside its value: key, times and places in two tables, about."""


class Cache(Protocol[Value]):
    """The seam: in this process, or a server that several share."""

    def get(self, key: str) -> Value | None:
        """What was put under the key and is still valid, or None."""
        ...

    def put(self, key: str, value: Value, nbytes: int) -> None:
        """Keep a value of about `nbytes`; it may be gone at any time."""
        ...


class LruCache(Generic[Value]):
    """A `Cache` in this process: the least recently used goes first. Thread-safe.

    >>> now = [0.0]
    >>> cache = LruCache[str](3 * ENTRY_BYTES, ttl=10.0, clock=lambda: now[0])
    >>> for key in "abc": cache.put(key, key.upper(), 100)
    >>> cache.get("a"), cache.get("c"), cache.nbytes
    (None, 'C', 1224)
    >>> now[0] = 10.0
    >>> cache.get("c") is None, (cache.hits, cache.misses)
    (True, (1, 2))
    """

    def __init__(
        self, max_bytes: int, ttl: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._ttl = ttl
        self._clock = clock
        self._held: OrderedDict[str, tuple[Value, int, float]] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: str) -> Value | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None and found[2] <= self._clock():
                self._drop(key)
                found = None
            if found is None:
                self.misses += 1
                return None
            self._held.move_to_end(key)
            self.hits += 1
            return found[0]

    def put(self, key: str, value: Value, nbytes: int) -> None:
        size = nbytes + ENTRY_BYTES
        with self._lock:
            if key in self._held:
                self._drop(key)
            if size > self._max_bytes:
                return
            self._held[key] = value, size, self._clock() + self._ttl
            self.nbytes += size
            while self.nbytes > self._max_bytes:
                self._drop(next(iter(self._held)))

    def _drop(self, key: str) -> None:
        self.nbytes -= self._held.pop(key)[1]
