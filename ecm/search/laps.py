"""How long the stages of one search took. Knows a clock; knows no stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Laps:
    """Milliseconds by stage; a stage that is entered again adds up."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        started = self._clock()
        try:
            yield
        finally:
            self.add(stage, (self._clock() - started) * 1000.0)

    def add(self, stage: str, milliseconds: float) -> None:
        """Add a time that was taken elsewhere."""
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + milliseconds
