"""How much of the right answer the vector index finds, measured by the service itself.

Knows counts, and how much of an index is to be looked at; knows no index. The first searches
through an index and a sample of all later ones are repeated exactly, off the way of the request.
When less than is wanted was found, twice as much of the index is looked at from then on, until
nothing of it is left out: an answer in words lies far from all pictures, and its neighbours lie
scattered over the index where those of a picture lie together.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
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
FIRST: Final = 8
"""Searches of an axis that are repeated before a share of them is."""
FIRST_LOOK: Final = 0.5
"""Of an index, before anything was measured. Among 200,000 vectors of 300 clusters a tenth of the
partitions held 0.90 of the 50 nearest, half of them 0.995, and the whole took twice as long as a
tenth."""
_LAST: Final = 20
"""Samples since the last change that are judged together."""
_ENOUGH: Final = 4
"""Samples needed before it is judged."""

Scored = list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Recall:
    """What was measured on an axis: samples, their recall@50, share of the index looked at now."""

    samples: int
    mean: float
    lowest: float
    looked: float


class RecallMeter:
    """Counts per axis. Thread-safe.

    Args:
        axes: those that have a vector index.
        share: of the searches that are measured, 0 to 1; 0: none is.
    """

    def __init__(self, axes: Iterable[Axis], share: float = SHARE) -> None:
        self._looked = dict.fromkeys(axes, FIRST_LOOK)
        self._share = share
        self._due = dict.fromkeys(self._looked, float(FIRST))
        self._samples = dict.fromkeys(self._looked, 0)
        self._totals = dict.fromkeys(self._looked, 0.0)
        self._lowest = dict.fromkeys(self._looked, 1.0)
        self._last: dict[Axis, deque[float]] = {axis: deque(maxlen=_LAST) for axis in self._looked}
        self._lock = threading.Lock()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recall")

    def measure(self, share: float) -> None:
        """Measure this share of the searches from now on, 0 to 1."""
        with self._lock:
            self._share = share

    def look(self, axis: Axis) -> float:
        """Share of the index of an axis that is to be looked at, at least: above 0, up to 1."""
        with self._lock:
            return self._looked[axis]

    def counts(self) -> dict[Axis, Recall]:
        """What was measured so far, of axes with samples."""
        with self._lock:
            return {
                axis: Recall(n, self._totals[axis] / n, self._lowest[axis], self._looked[axis])
                for axis, n in self._samples.items()
                if n
            }

    def sample(self, axis: Axis, found: Scored, exactly: Callable[[int], Scored]) -> None:
        """Measure a search, if its turn has come and none is being measured; returns at once.

        `exactly` gives the right answer, so many of it; it is called in another thread.
        """
        with self._lock:
            if self._share <= 0:
                return
            self._due[axis] = min(self._due[axis] + self._share, float(FIRST))
            if self._due[axis] < 1.0 or self._busy:
                return
            self._due[axis] -= 1.0
            self._busy = True
        self._thread.submit(self._measured, axis, found, exactly).add_done_callback(_told)

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
            before = self._looked[axis]
            after = self._looked[axis] = min(2 * before, 1.0)
        said = "the index of %s found %.3f of the right answers; it looks at %.0f%% of it now"
        level = logging.INFO if after > before else logging.WARNING
        log.log(level, said, axis.value, mean, 100 * after)


def _told(measured: Future[None]) -> None:
    """Nobody waits for what was measured: a failure of it would else never be heard of."""
    error = None if measured.cancelled() else measured.exception()
    if error is not None:
        log.error("recall cannot be measured", exc_info=error)


def recall_of(found: Scored, exact: Scored) -> float:
    """Share of an exact answer that was found; another asset of the same score is as right."""
    if not exact:
        return 1.0
    least = exact[-1][1]
    right = sum(score >= least for _, score in found[: len(exact)])
    return min(right, len(exact)) / len(exact)
