"""What is costly to load, kept in memory up to a bound in bytes.

Knows memory and threads. Knows nothing of what it keeps but its size.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


Held = TypeVar("Held", bound=Sized)


class ByteCache(Generic[Held]):
    """Things by key, the least recently used dropped first. Thread-safe; each is loaded once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._loading: dict[Hashable, threading.Lock] = {}

    @property
    def nbytes(self) -> int:
        return self._bytes

    def keys(self) -> tuple[Hashable, ...]:
        """What is held or being loaded."""
        with self._lock:
            return tuple({**self._held, **self._loading})

    def get(self, key: Hashable, load: Callable[[], Held]) -> Held:
        """What belongs to a key, loaded if need be; what is larger than the bound is not kept.

        Whoever asks while it is being loaded waits for that. Raises what `load` does.
        """
        with self._lock:
            found = self._touch(key)
            if found is not None:
                return found
            turn = self._loading.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                found = self._touch(key)
            if found is None:
                found = self._loaded(key, load)
            return found

    def _touch(self, key: Hashable) -> Held | None:
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def _loaded(self, key: Hashable, load: Callable[[], Held]) -> Held:
        try:
            found = load()
        except BaseException:
            with self._lock:
                self._loading.pop(key, None)
            raise
        self._keep(key, found)
        return found

    def _keep(self, key: Hashable, loaded: Held) -> None:
        with self._lock:
            self._loading.pop(key, None)
            if key in self._held or loaded.nbytes > self._max_bytes:
                return
            self._held[key] = loaded
            self._bytes += loaded.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._held.popitem(last=False)[1].nbytes
