"""Folds of training queries, and the regulariser that they choose. Pure.

Queries of one group are in one fold. Of regularisers, the strongest is chosen whose score is within
one standard error (of paired differences) of the best one's: what does not show is not learned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.errors import ConfigError
from ecm.tuning.examples import Example, Floats
from ecm.tuning.objective import Batch

STRONGEST: Final = float("inf")
"""A regulariser that lets nothing move."""
Fitted = Callable[[Batch, float], Callable[[Batch], Floats]]
"""Learns from a batch with a regulariser; gives what has the weights (q, p) of another batch."""


@dataclass(frozen=True, eq=False)
class Choice:
    """A regulariser, and nDCG@10 by query in the order of the examples, float64 (q,), when each
    was ranked by what was learned from the other folds.
    """

    regulariser: float
    scores: Floats

    @property
    def mean(self) -> float:
        return float(self.scores.mean())


def folds_of(examples: Sequence[Example], folds: int, seed: int) -> npt.NDArray[np.intp]:
    """The fold of every example, intp (q,): groups, in an order that the seed gives, dealt out.

    Raises ConfigError where there are fewer groups than folds.
    """
    groups = {one.group for one in examples}
    if len(groups) < folds:
        raise ConfigError(
            f"{folds} folds of {len(groups)} groups", "evaluation.folds", "ask for fewer --folds"
        )
    shuffled = sorted(groups, key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).digest())
    place = {group: number % folds for number, group in enumerate(shuffled)}
    return np.array([place[one.group] for one in examples], np.intp)


def crossed(
    examples: Sequence[Example],
    fold: npt.NDArray[np.intp],
    learn: Fitted,
    regulariser: float,
) -> Floats:
    """nDCG@10 of every example, float64 (q,), by what was learned from the other folds."""
    scores = np.zeros(len(examples))
    for number in np.unique(fold):
        own = fold == number
        rest = Batch([one for one, mine in zip(examples, own, strict=True) if not mine])
        held = Batch([one for one, mine in zip(examples, own, strict=True) if mine])
        weights = learn(rest, regulariser)
        scores[own] = held.ndcg(weights(held))
    return scores


def chosen(
    examples: Sequence[Example],
    fold: npt.NDArray[np.intp],
    learn: Fitted,
    regularisers: Sequence[float],
    *,
    within: float = 1.0,
) -> Choice:
    """The strongest regulariser within so many standard errors of the best; 0: the best itself."""
    tried = [
        Choice(one, crossed(examples, fold, learn, one))
        for one in sorted(regularisers, reverse=True)
    ]
    best = max(tried, key=lambda one: one.mean)
    for one in tried:
        behind = best.scores - one.scores
        error = float(behind.std(ddof=1)) / len(behind) ** 0.5
        if float(behind.mean()) <= within * error:
            return one
    return best
