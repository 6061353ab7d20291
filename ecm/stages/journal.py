"""Finds the image that kills its worker, so that it never kills one twice.

A process that dies leaves the marker of what it was working on. Whoever takes the same rows next
sees
the marker and goes on in halves; a single row that has already killed a worker is refused. Knows
files in one local folder, not why the process died.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Outcome = TypeVar("Outcome")


class CrashJournal:
    """Markers for one stage in `folder`.

    Args:
        folder: local folder of one run, created on first use. It must survive the worker process,
        not the
            run: whoever kills the whole run has not shown that an image is at fault.
        stage: name of the stage; stages do not see each other's markers.
    """

    def __init__(self, folder: Path, stage: str) -> None:
        self._folder = folder
        self._stage = stage

    def run(
        self,
        keys: Sequence[str],
        work: Callable[[int, int], Sequence[Outcome]],
        refuse: Callable[[int], Outcome],
    ) -> list[Outcome]:
        """Outcomes of `work(start, stop)` over all of `keys`, in order.

        Rows that were being worked on when a process died are taken in halves; a row that died
        alone gets `refuse(index)` instead.
        """
        return self._run(keys, 0, len(keys), work, refuse)

    def _run(
        self,
        keys: Sequence[str],
        start: int,
        stop: int,
        work: Callable[[int, int], Sequence[Outcome]],
        refuse: Callable[[int], Outcome],
    ) -> list[Outcome]:
        if start >= stop:
            return []
        marker = self._marker(keys[start:stop])
        if not marker.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            marker.touch()
            try:
                return list(work(start, stop))
            finally:
                marker.unlink(missing_ok=True)
        if stop - start == 1:
            return [refuse(start)]
        middle = (start + stop) // 2
        halves = self._run(keys, start, middle, work, refuse)
        halves += self._run(keys, middle, stop, work, refuse)
        marker.unlink(missing_ok=True)
        return halves

    def _marker(self, keys: Sequence[str]) -> Path:
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
        return self._folder / f"{self._stage}-{name}"
