"""The money of one run, which all its engines spend. Knows no engine and no price list."""

from __future__ import annotations

import threading
from typing import Final

_ROUNDING: Final = 1e-9
"""USD by which sums of prices may differ from what they would be in whole numbers."""


class Budget:
    """Up to `limit_usd` may be spent; None: any amount. Thread-safe.

    >>> budget = Budget(0.02)
    >>> [budget.spend(0.01) for _ in range(3)], budget.exhausted, budget.spent_usd
    ([True, True, False], True, 0.02)
    """

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd = limit_usd
        self._spent = 0.0
        self._refused = False
        self._lock = threading.Lock()

    def spend(self, usd: float) -> bool:
        """Take so much; False, with nothing taken, where the limit would be exceeded."""
        with self._lock:
            after = self._spent + usd
            if usd > 0 and self.limit_usd is not None and after > self.limit_usd + _ROUNDING:
                self._refused = True
                return False
            self._spent = after
            return True

    @property
    def spent_usd(self) -> float:
        """What was taken so far."""
        with self._lock:
            return self._spent

    @property
    def exhausted(self) -> bool:
        """Whether something was refused: the run has to stop."""
        with self._lock:
            return self._refused
