"""Comparisons that are drawn, with all that gates ask of them: builds that are as good, or worse.

No engine, no query: scores, failures and latencies of queries as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import Measure
from ecm.evaluation.pairing import Pairs

ROUNDS = 3
CHANGED = 0.35
"""Queries whose score an unchanged build changes by noise."""
SCALE = 1 / math.sqrt(1.2 * 2.2 / (5.2 * 6.2) * CHANGED)
"""Of sizes of changes, so that all of them have a standard deviation of 1."""
ERRORS = 0.002


@dataclass(frozen=True)
class Drawn:
    """A comparison that was drawn: all that gates ask of a `Pairing`."""

    scores: Pairs
    recalls: Pairs
    failed: Pairs
    times: Pairs

    def quality(
        self, measure: Measure, which: Callable[[EvaluationQuery], bool] = lambda _: True
    ) -> Pairs:
        if measure is Measure.NDCG_10:
            return self.scores
        none = np.zeros(len(self.scores.baseline))
        return self.recalls if measure is Measure.RECALL_50 else Pairs(none, none)

    def failures(self) -> Pairs:
        return self.failed

    degraded = failures

    def latencies(self) -> Pairs:
        return self.times

    def unlike(self) -> str:
        return ""

    def costs(self) -> tuple[float, float]:
        return 1.0, 1.0

    @property
    def queries(self) -> range:
        return range(len(self.scores.baseline))


def scores(rng: np.random.Generator, queries: int) -> np.ndarray:
    """nDCG@10 of queries: a sixth finds nothing, a quarter all, the rest something."""
    kind = rng.random(queries)
    some = rng.beta(1.5, 1.2, queries)
    return np.where(kind < 1 / 6, 0.0, np.where(kind < 5 / 12, 1.0, some))


def sizes(rng: np.random.Generator, queries: int, spread: float) -> np.ndarray:
    """How much queries change that change, so that `noise` has a standard deviation of `spread`."""
    return rng.beta(1.2, 4.0, queries) * spread * SCALE


def noise(rng: np.random.Generator, queries: int, spread: float) -> np.ndarray:
    """A difference that is 0 for most queries and none in the mean."""
    signed = sizes(rng, queries, spread) * rng.choice([-1.0, 1.0], queries)
    return np.where(rng.random(queries) < CHANGED, signed, 0.0)


def unchanged(rng: np.random.Generator, queries: int, spread: float) -> Drawn:
    before = scores(rng, queries)
    change = noise(rng, queries, spread)
    # What moves within the first ten moves recall at 50 now and then, in the same direction.
    recall = np.where(rng.random(queries) < 0.5, change, noise(rng, queries, spread))
    usual = rng.lognormal(3.0, 0.4, (queries, 1))
    times = [usual * rng.lognormal(0.0, 0.3, (queries, ROUNDS)) for _ in range(2)]
    failed = [(rng.random((queries, ROUNDS)) < ERRORS).mean(axis=1) for _ in range(2)]
    return Drawn(
        Pairs(before, before + change),
        Pairs(before, before + recall),
        Pairs(failed[0], failed[1]),
        Pairs(times[0], times[1]),
    )


def shifted(rng: np.random.Generator, drawn: Drawn, drop: float, spread: float) -> Drawn:
    pairs = drawn.scores
    return replace(drawn, scores=Pairs(pairs.baseline, pairs.candidate - drop))


def more_lose(rng: np.random.Generator, drawn: Drawn, drop: float, spread: float) -> Drawn:
    """Queries lose as much as others change by noise, so many that the mean loses `drop`."""
    pairs = drawn.scores
    lost = sizes(rng, len(pairs.baseline), spread)
    lost *= rng.random(len(lost)) < drop / (1.2 / 5.2 * spread * SCALE)
    return replace(drawn, scores=Pairs(pairs.baseline, pairs.candidate - lost))


def slower(rng: np.random.Generator, drawn: Drawn, rise: float, spread: float) -> Drawn:
    times = drawn.times
    return replace(drawn, times=Pairs(times.baseline, times.candidate * (1 + rise)))


def failing(rng: np.random.Generator, drawn: Drawn, rise: float, spread: float) -> Drawn:
    none = np.zeros(len(drawn.failed.baseline))
    return replace(drawn, failed=Pairs(none, (rng.random(len(none)) < rise).astype(np.float64)))
