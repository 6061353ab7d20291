"""How likely a result is looked at, by its rank alone, estimated from the clicks themselves.

Two ways. The position-based model says: a click is to examine the rank and to find the asset
attractive, P(click) = theta(rank) * alpha(query, asset), one independent of the other (Craswell et
al., "An experimental comparison of click position-bias models", WSDM 2008; estimated by expectation
maximisation as in Chuklin, Markov and de Rijke, "Click Models for Web Search", 2015, chapter 4).
Clicks over expected clicks says: ranks differ as their click-through rates do (Zhang and Jones,
"Comparing click logs and editorial labels for training query rewriting", WWW 2007), which is right
only where what stands high is not better than what stands low; it is here to compare with.

Pure. theta is known up to a factor, so that of the first rank is 1: attractiveness is the chance of
a click for who looks. Ranks are compared by pairs that were shown at both; one that no chain of
such pairs ties to the first is not identified, and what was shown there says nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evaluation.labels.click_log import ClickCounts

MAX_ROUNDS: Final = 2_000
TOLERANCE: Final = 1e-6
LINK_SHOWINGS: Final = 20
"""Showings of common pairs, of the rank that has fewer, that tie two ranks together."""
_LEAST: Final = 1e-6
_PRIOR: Final = 0.5
"""Of clicks and of showings without a click, added to each pair (Jeffreys), lest one showing be
certainty.
"""


class ClickModel(StrEnum):
    """How examination is estimated."""

    POSITION = "pbm"
    EXPECTED = "coec"


@dataclass(frozen=True)
class Examination:
    """Probabilities, relative to the first rank: `theta` (k,) float64 of `ranks` (k,) int64,
    ascending; NaN where it is not identified. `rounds` is 0 where nothing was iterated.
    """

    model: ClickModel
    ranks: npt.NDArray[np.int64]
    theta: npt.NDArray[np.float64]
    rounds: int

    def of(self, rank: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The theta (n,) of ranks (n,) that the log has."""
        return self.theta[np.searchsorted(self.ranks, rank)]

    @property
    def unidentified(self) -> tuple[int, ...]:
        """Ranks of which nothing is known."""
        return tuple(int(rank) for rank in self.ranks[np.isnan(self.theta)])


def examined(counts: ClickCounts, model: ClickModel) -> Examination:
    """The examination of every rank of a log. Empty counts have no ranks."""
    ranks, place = np.unique(counts.rank, return_inverse=True)
    if not len(ranks) or not counts.clicked.sum():
        return Examination(model, ranks, np.full(len(ranks), np.nan), 0)
    if model is ClickModel.EXPECTED:
        return Examination(model, ranks, _by_rates(counts, place, len(ranks)), 0)
    tied = _tied(counts, place, len(ranks))
    theta, rounds = _by_maximisation(counts, place, tied)
    return Examination(model, ranks, theta, rounds)


def _by_rates(
    counts: ClickCounts, place: npt.NDArray[np.intp], ranks: int
) -> npt.NDArray[np.float64]:
    shown = np.bincount(place, counts.shown, ranks)
    rates = np.bincount(place, counts.clicked, ranks) / shown
    return np.clip(rates / rates[0], _LEAST, 1.0) if rates[0] > 0 else np.full(ranks, np.nan)


def _by_maximisation(
    counts: ClickCounts, place: npt.NDArray[np.intp], tied: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], int]:
    """Expectation: the share of showings without a click that were looked at, and of those that
    were attractive. Maximisation: theta and alpha are the shares that follow. theta of the first
    rank stays 1, which fixes the factor.
    """
    ranks = len(tied)
    # Pairs at one rank only fit any theta there: they say nothing of it and slow the estimate down.
    uses = tied[place] & (np.bincount(counts.pair, tied[place], len(counts.pairs)) > 1)[counts.pair]
    pair, rank = counts.pair[uses], place[uses]
    clicked = counts.clicked[uses].astype(np.float64)
    missed = counts.shown[uses] - clicked
    by_pair = np.bincount(pair, clicked + missed, len(counts.pairs)) + 2 * _PRIOR
    by_rank = np.maximum(np.bincount(rank, clicked + missed, ranks), _LEAST)
    theta = np.where(tied, 1.0 / (1.0 + np.arange(ranks)) ** 0.5, np.nan)
    alpha = (np.bincount(pair, clicked, len(counts.pairs)) + _PRIOR) / by_pair
    rounds, step = 0, 1.0
    while step > TOLERANCE and rounds < MAX_ROUNDS:
        rounds += 1
        looked, drawn = theta[rank], alpha[pair]
        neither = missed / (1.0 - np.minimum(looked * drawn, 1.0 - _LEAST))
        attracted = clicked + neither * drawn * (1.0 - looked)
        seen = clicked + neither * looked * (1.0 - drawn)
        alpha = (np.bincount(pair, attracted, len(counts.pairs)) + _PRIOR) / by_pair
        found = np.clip(np.bincount(rank, seen, ranks) / by_rank, _LEAST, 1.0)
        found[0] = 1.0
        found = np.where(tied, found, np.nan)
        step = float(np.nanmax(np.abs(found - theta)))
        theta = found
    return theta, rounds


def _tied(counts: ClickCounts, place: npt.NDArray[np.intp], ranks: int) -> npt.NDArray[np.bool_]:
    """(k,) bool: ranks that chains of common pairs tie to the first."""
    links: Counter[tuple[int, int]] = Counter()
    for cells in _cells_of_pairs(counts):
        for one, other in combinations(cells, 2):
            fewer = min(int(counts.shown[one]), int(counts.shown[other]))
            links[int(place[one]), int(place[other])] += fewer
    reached, waiting = {0}, [0]
    neighbours: dict[int, set[int]] = {}
    for (one, other), showings in links.items():
        if showings >= LINK_SHOWINGS:
            neighbours.setdefault(one, set()).add(other)
            neighbours.setdefault(other, set()).add(one)
    while waiting:
        new = neighbours.get(waiting.pop(), set()) - reached
        reached |= new
        waiting += new
    return np.isin(np.arange(ranks), list(reached))


def _cells_of_pairs(counts: ClickCounts) -> Iterator[npt.NDArray[np.intp]]:
    """Numbers of the cells of each pair that was shown at several ranks."""
    order = np.argsort(counts.pair, kind="stable")
    starts = np.flatnonzero(np.diff(counts.pair[order], prepend=-1))
    for cells in np.split(order, starts[1:]):
        if len(cells) > 1:
            yield cells
