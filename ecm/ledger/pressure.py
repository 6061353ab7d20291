"""How deep the queue can be at most, so that it need not be counted each time. No I/O, no clock.

A count, and all that this process has added since, is never less than what it would count now, but
for what others add meanwhile: hence a count grows old.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

FRESH_SECONDS = 5.0


@dataclass(slots=True)
class Depths:
    """Upper bounds of waiting tasks: of all tenants (None) and of single ones. Thread-safe."""

    _bounds: dict[str | None, tuple[float, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at_most(self, whose: str | None, enough: int, now: float, count: Callable[[], int]) -> int:
        """A bound that is not above `enough`, or what `count` says now."""
        with self._lock:
            at, bound = self._bounds.get(whose, (float("-inf"), 0))
        if bound <= enough and 0.0 <= now - at < FRESH_SECONDS:
            return bound
        counted = count()
        with self._lock:
            self._bounds[whose] = (now, counted)
        return counted

    def add(self, tenant_id: str, tasks: int) -> None:
        """So many tasks of a tenant were queued by this process."""
        with self._lock:
            for whose in (None, tenant_id):
                at, bound = self._bounds.get(whose, (float("-inf"), 0))
                self._bounds[whose] = (at, bound + tasks)
