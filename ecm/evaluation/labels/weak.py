"""Weak labels: how attractive an asset is for a query once it is looked at, and how sure that is.

Pure. Given the examination of ranks, the clicks of a pair are binomial at every rank with chance
alpha * theta(rank), so the posterior of alpha is known on a grid. The prior is worth two looks: a
beta whose mean is the attractiveness of the whole log. A label comes only where the posterior is
far enough on one side of a threshold. That the thetas are themselves estimates is not in it: with
thousands of showings a rank they are far surer than any pair.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.evaluation import EvaluationQuery, Label, LabelSource, Relevance
from ecm.evaluation.labels.click_log import ClickCounts, normalised
from ecm.evaluation.labels.examination import Examination
from ecm.evaluation.labels.standing import Pair

GRID: Final = 201
PRIOR_LOOKS: Final = 2.0
_CHUNK: Final = 2_000
"""Pairs whose grids are in memory at once, 1,600 bytes for each rank that one was shown at."""


@dataclass(frozen=True)
class WeakRules:
    """What makes a label.

    With credible bounds of `confidence` (both together) around the attractiveness: relevance 0
    where the upper one stays below `partly`; where the lower one reaches `partly`, 2 or 1, if that
    side of `good` has a chance of at least `least_chance`; else, and with less than `min_looks`
    looks, none.
    """

    good: float = 0.5
    partly: float = 0.15
    confidence: float = 0.9
    min_looks: float = 10.0
    least_chance: float = 0.75


@dataclass(frozen=True)
class Attraction:
    """The attractiveness of a pair: posterior mean and credible bounds.

    `classes`: chance of less than `partly`, of less than `good`, and of more. `shown` and `clicked`
    are what counts of the log; `looks` are the showings that are expected to have been looked at.
    """

    pair: Pair
    shown: int
    clicked: int
    looks: float
    mean: float
    lower: float
    upper: float
    classes: tuple[float, float, float]


@dataclass(frozen=True)
class Calibration:
    """What clicks say where people have judged: whether the thresholds are those of this log.

    Of `pairs` that have both labels `same` are alike and `far` are 0 and 2. `medians` is the median
    attractiveness of what people gave a relevance, labelled by clicks or not: `partly` should lie
    between those of 0 and 1, `good` between those of 1 and 2.
    """

    pairs: int
    same: int
    far: int
    medians: dict[int, float]


def attractions(
    counts: ClickCounts, examination: Examination, rules: WeakRules
) -> tuple[Attraction, ...]:
    """The attractiveness of every pair that was shown at a rank whose examination is known."""
    theta = examination.of(counts.rank)
    known = np.flatnonzero(~np.isnan(theta))
    if not len(known):
        return ()
    order = known[np.argsort(counts.pair[known], kind="stable")]
    starts = np.flatnonzero(np.diff(counts.pair[order], prepend=-1))
    share = counts.clicked[order].sum() / (counts.shown[order] * theta[order]).sum()
    found: list[Attraction] = []
    for at in range(0, len(starts), _CHUNK):
        end = starts[at + _CHUNK] if at + _CHUNK < len(starts) else len(order)
        cells = order[starts[at] : end]
        found += _of_cells(counts, cells, theta[cells], float(share), rules)
    return tuple(found)


def weak_labels(
    found: Iterable[Attraction],
    queries: Iterable[EvaluationQuery],
    rules: WeakRules,
    labeler: str,
) -> tuple[Label, ...]:
    """The labels that attractiveness gives to queries of the same text that show no asset.

    The weight is the chance that the attractiveness is in the class of the label.
    """
    by_text = _by_text(queries)
    labels = []
    for one in found:
        relevance = relevance_of(one, rules)
        if relevance is None:
            continue
        for query_id in by_text.get(one.pair[0], ()):
            labels.append(
                Label(
                    query_id=query_id,
                    asset_id=one.pair[1],
                    relevance=relevance,
                    label_source=LabelSource.WEAK,
                    labeler=labeler,
                    weight=min(1.0, max(0.01, round(one.classes[relevance], 4))),
                )
            )
    return tuple(sorted(labels, key=lambda label: (label.query_id, label.asset_id)))


def calibrated(
    found: Iterable[Attraction],
    queries: Iterable[EvaluationQuery],
    weak: Iterable[Label],
    judged: Iterable[Label],
) -> Calibration:
    """Attractiveness, and the weak labels of it, beside the labels of people among `judged`."""
    by_text = _by_text(queries)
    people = {
        (label.query_id, label.asset_id): label.relevance
        for label in judged
        if label.label_source is not LabelSource.WEAK
    }
    means: defaultdict[int, list[float]] = defaultdict(list)
    for one in found:
        for query_id in by_text.get(one.pair[0], ()):
            relevance = people.get((query_id, one.pair[1]))
            if relevance is not None:
                means[relevance].append(one.mean)
    both = [
        abs(label.relevance - people[label.query_id, label.asset_id])
        for label in weak
        if (label.query_id, label.asset_id) in people
    ]
    medians = {relevance: statistics.median(means[relevance]) for relevance in sorted(means)}
    return Calibration(len(both), both.count(0), both.count(2), medians)


def _by_text(queries: Iterable[EvaluationQuery]) -> Mapping[str, Sequence[str]]:
    """Ids of the queries that show no asset by their normalised text."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for query in queries:
        if query.query_text is not None and query.shown_asset_id is None:
            found[normalised(query.query_text)].append(query.query_id)
    return found


def _of_cells(
    counts: ClickCounts,
    cells: npt.NDArray[np.intp],
    theta: npt.NDArray[np.float64],
    share: float,
    rules: WeakRules,
) -> Iterator[Attraction]:
    """The attractiveness of the pairs of some cells, which are in the order of their pairs.

    `share` is the attractiveness of the whole log, the mean of the prior.
    """
    grid = (np.arange(GRID) + 0.5) / GRID
    shown, clicked = counts.shown[cells], counts.clicked[cells]
    starts = np.flatnonzero(np.diff(counts.pair[cells], prepend=-1))
    chance = theta[:, None] * grid[None, :]
    said = clicked[:, None] * np.log(chance) + (shown - clicked)[:, None] * np.log1p(-chance)
    weights = np.add.reduceat(said, starts)
    mean = min(max(share, 1.0 / GRID), 1.0 - 1.0 / GRID)
    weights += (PRIOR_LOOKS * mean - 1.0) * np.log(grid)
    weights += (PRIOR_LOOKS * (1.0 - mean) - 1.0) * np.log1p(-grid)
    weights = np.exp(weights - weights.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    pairs = [counts.pairs[number] for number in counts.pair[cells][starts]]
    counted = tuple(np.add.reduceat(each, starts) for each in (shown, clicked, shown * theta))
    return _summarised(pairs, counted, weights, rules)


def _summarised(
    pairs: Sequence[Pair],
    counted: tuple[npt.NDArray[np.float64], ...],
    weights: npt.NDArray[np.float64],
    rules: WeakRules,
) -> Iterator[Attraction]:
    shown, clicked, looks = counted
    edges = np.arange(1, GRID + 1) / GRID
    middles = edges - 0.5 / GRID
    below = np.cumsum(weights, axis=1)
    tail = (1.0 - rules.confidence) / 2.0
    lower = edges[np.argmax(below > tail, axis=1)] - 1.0 / GRID
    upper = edges[np.argmax(below >= 1.0 - tail - 1e-12, axis=1)]
    partly = weights[:, middles < rules.partly].sum(axis=1)
    good = weights[:, middles >= rules.good].sum(axis=1)
    mean = weights @ middles
    for at, one in enumerate(pairs):
        yield Attraction(
            pair=one,
            shown=int(shown[at]),
            clicked=int(clicked[at]),
            looks=float(looks[at]),
            mean=float(mean[at]),
            lower=float(lower[at]),
            upper=float(upper[at]),
            classes=(float(partly[at]), float(1.0 - partly[at] - good[at]), float(good[at])),
        )


def relevance_of(one: Attraction, rules: WeakRules) -> Relevance | None:
    """The relevance that the attractiveness of a pair gives it, None where that is not sure."""
    if one.looks < rules.min_looks:
        return None
    if one.lower >= rules.partly:
        likelier: Relevance = 2 if one.classes[2] > one.classes[1] else 1
        return likelier if one.classes[likelier] >= rules.least_chance else None
    return 0 if one.upper < rules.partly else None
