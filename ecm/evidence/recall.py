"""How much of the right answer the vector index finds, measured by the service itself.

Knows counts, and how hard the index is to look; knows no index. A sample of the searches through
an index is repeated exactly, off the way of the request. When less than is wanted was found, more
of the index is looked at from then on, until nothing of it is left out.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ecm.contracts.search import Axis
from ecm.errors import EcmError

log = logging.getLogger(__name__)

AT: Final = 50
"""Places that are compared: recall@50."""
WANTED: Final = 0.99
SHARE: Final = 0.01
"""Of the searches that are repeated."""
_LAST: Final = 20
"""Samples since the last change that are judged together."""
_ENOUGH: Final = 4
"""Samples needed before it is judged."""

Scored = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Recall:
    """What was measured on an axis: samples, their mean recall@50, and partitions looked at now."""

    samples: int
    mean: float
    lowest: float
    probes: int


class RecallMeter:
    """Counts per axis. Thread-safe.

    Args:
        partitions: of the vector index of each axis that has one.
        share: of the searches that are measured, 0 to 1.
    """

    def __init__(self, partitions: Mapping[Axis, int], share: float = SHARE) -> None:
        self._partitions = dict(partitions)
        self._probes = {axis: first_probes(count) for axis, count in partitions.items()}
        self._share = share
        self._due = dict.fromkeys(partitions, 0.0)
        self._samples = dict.fromkeys(partitions, 0)
        self._totals = dict.fromkeys(partitions, 0.0)
        self._lowest = dict.fromkeys(partitions, 1.0)
        self._last: dict[Axis, deque[float]] = {axis: deque(maxlen=_LAST) for axis in partitions}
        self._lock = threading.Lock()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recall")

    def measure(self, share: float) -> None:
        """Measure this share of the searches from now on, 0 to 1."""
        with self._lock:
            self._share = share

    def probes(self, axis: Axis) -> int:
        """Partitions to look at, at least, on an axis."""
        with self._lock:
            return self._probes[axis]

    def counts(self) -> dict[Axis, Recall]:
        """What was measured so far, of axes with samples."""
        with self._lock:
            return {
                axis: Recall(n, self._totals[axis] / n, self._lowest[axis], self._probes[axis])
                for axis, n in self._samples.items()
                if n
            }

    def sample(self, axis: Axis, found: Scored, exactly: Callable[[int], Scored]) -> None:
        """Measure a search, if its turn has come and none is being measured; returns at once.

        `exactly` gives the right answer, so many of it; it is called in another thread.
        """
        with self._lock:
            self._due[axis] += self._share
            if self._due[axis] < 1.0 or self._busy:
                self._due[axis] = min(self._due[axis], 1.0)
                return
            self._due[axis] -= 1.0
            self._busy = True
        self._thread.submit(self._measured, axis, found, exactly)

    def wait(self) -> None:
        """Wait until what is being measured has been."""
        self._thread.submit(lambda: None).result()

    def _measured(self, axis: Axis, found: Scored, exactly: Callable[[int], Scored]) -> None:
        try:
            self._add(axis, recall_of(found, exactly(AT)))
        except EcmError as error:
            log.warning("the recall of %s cannot be measured: %s", axis.value, error)
        finally:
            with self._lock:
                self._busy = False

    def _add(self, axis: Axis, recall: float) -> None:
        with self._lock:
            self._samples[axis] += 1
            self._totals[axis] += recall
            self._lowest[axis] = min(self._lowest[axis], recall)
            last = self._last[axis]
            last.append(recall)
            mean = sum(last) / len(last)
            if len(last) < _ENOUGH or mean >= WANTED:
                return
            last.clear()
            before = self._probes[axis]
            self._probes[axis] = min(2 * before, self._partitions[axis])
            after = self._probes[axis]
        if after > before:
            log.info(
                "%s found %.3f of the right answers; it looks at %d partitions now",
                axis.value,
                mean,
                after,
            )
        else:
            log.warning("%s found %.3f of the right answers, everywhere looked", axis.value, mean)


def first_probes(partitions: int) -> int:
    """Partitions that are looked at before anything was measured: a fifth, and at least 20."""
    return max(20, partitions // 5)


def recall_of(found: Scored, exact: Scored) -> float:
    """Share of an exact answer that was found; another asset of the same score is as right."""
    if not exact:
        return 1.0
    least = exact[-1][1]
    right = sum(score >= least for _, score in found[: len(exact)])
    return min(right, len(exact)) / len(exact)
