"""What filters left of a tenant's assets lately, so that the next page does not ask again.

Knows filters by their digest only; knows no condition and no facts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ecm.evidence.allowed import Allowed

MAX_FILTERS: Final = 32
ROUNDS: Final = 2
"""So often may the names of all assets be held, in all remembered filters together."""
_NAME_BYTES: Final = 50


class Remembered:
    """The answers to the latest filters. Thread-safe; two that ask at once may both compute."""

    bytes_per_asset: Final = ROUNDS * _NAME_BYTES

    def __init__(self) -> None:
        self._held: OrderedDict[str, Allowed] = OrderedDict()
        self._names = 0
        self._lock = threading.Lock()

    def get(self, key: str, count: int, compute: Callable[[], Allowed]) -> Allowed:
        """The answer of a key, computed if need be, over a tenant with `count` assets."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        found = compute()
        with self._lock:
            if key not in self._held:
                self._held[key] = found
                self._names += len(found)
            while len(self._held) > MAX_FILTERS or self._names > ROUNDS * count:
                self._names -= len(self._held.popitem(last=False)[1])
        return found
