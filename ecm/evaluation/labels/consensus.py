"""How far the labelers of a label set agree, whether that is enough, and where they do not.

Pure: the coefficients are `ecm.evaluation.agreement`'s; knows votes, no store. Of each labeler the
last vote on a pair counts, given blind: settling votes are no judgement, and who could not say has
not disagreed. Relevances are three categories without an order: 0 against 2 counts as much as 1
against 2, and is told apart beside it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.evaluation.agreement import (
    CATEGORIES,
    TARGET_KAPPA,
    Agreement,
    agreement,
    cohen_kappa,
    raw_agreement,
)
from ecm.evaluation.labels.standing import Pair, Standing

LEAST_PAIRS: Final = 30
"""Pairs with two labelers or more below which kappa is told but not trusted."""
_RESAMPLES: Final = 2_000


class Enough(StrEnum):
    """Whether labelers agree enough."""

    MET = "met"
    MISSED = "missed"
    UNTOLD = "untold"
    """Too few pairs, or kappa is not defined: it cannot be said."""


@dataclass(frozen=True)
class TwoLabelers:
    """Two labelers over the pairs that both could judge."""

    one: str
    other: str
    pairs: int
    raw: float | None
    kappa: float | None


@dataclass(frozen=True)
class OneLabeler:
    """One labeler: votes that count, how often alike with whoever else judged the same pair.

    `distance` is the mean difference of relevance to others; `checks` pairs whose answer was known,
    of which `right` were judged so; `seconds` the median a pair took.
    """

    labeler: str
    judged: int
    cannot_say: int
    raw: float | None
    distance: float | None
    checks: int
    right: int
    seconds: float | None


@dataclass(frozen=True)
class OneQuery:
    """One query: pairs that two or more judged, how many of them differently, and by how much."""

    query_id: str
    pairs: int
    differing: int
    distance: float


@dataclass(frozen=True)
class Consensus:
    """Everything `ecm evaluate labels agreement` says.

    `kappa` is Cohen's where two labelers judged every pair, else Fleiss'; between `lower` and
    `upper` with 95 % confidence (bootstrap over pairs). `far` counts pairs judged 0 and 2.
    """

    of: Agreement
    kappa: float | None
    kind: str
    lower: float | None
    upper: float | None
    target: float
    enough: Enough
    reason: str
    far: int
    two: tuple[TwoLabelers, ...]
    labelers: tuple[OneLabeler, ...]
    queries: tuple[OneQuery, ...]

    def figures(self) -> dict[str, float | None]:
        """What a label set keeps of it."""
        found = {"kappa": self.kappa, "ac1": self.of.ac1, "pabak": self.of.pabak}
        counts = {"raw": self.of.raw, "pairs": float(self.of.items)}
        return {**found, "cohen": self.of.cohen if self.kind == "Cohen" else None, **counts}


def consensus(
    standing: Mapping[Pair, Standing], checks: Mapping[Pair, int], target: float = TARGET_KAPPA
) -> Consensus:
    """The agreement on pairs that two labelers or more could judge, checks among them."""
    several = {pair: now for pair, now in standing.items() if len(now.said) > 1}
    ratings = [[_said(vote.relevance) for vote in now.said] for now in several.values()]
    of = agreement(ratings)
    crews = {tuple(vote.labeler for vote in now.said) for now in several.values()}
    is_cohen = len(crews) == 1 and all(len(crew) == 2 for crew in crews)
    kappa = of.cohen if is_cohen else of.fleiss
    lower, upper = _interval(ratings, is_cohen)
    enough, reason = _verdict(of, kappa, target)
    return Consensus(
        of=of,
        kappa=kappa,
        kind="Cohen" if is_cohen else "Fleiss",
        lower=lower,
        upper=upper,
        target=target,
        enough=enough,
        reason=reason,
        far=sum({0, 2} <= set(one) for one in ratings),
        two=_by_two(several.values()),
        labelers=_by_labeler(standing, checks),
        queries=_by_query(several),
    )


def _verdict(of: Agreement, kappa: float | None, target: float) -> tuple[Enough, str]:
    if of.items == 0:
        return Enough.UNTOLD, "no pair has two labelers who could say"
    if kappa is None:
        return Enough.UNTOLD, f"kappa is not defined: {of.reason}"
    if of.items < LEAST_PAIRS:
        return Enough.UNTOLD, f"{of.items} pairs with two labelers; {LEAST_PAIRS} tell something"
    if kappa >= target:
        return Enough.MET, ""
    said = f"kappa {kappa:.2f} is below {target:.2f}"
    if of.ac1 is not None and of.ac1 >= target:
        said += f", but AC1 is {of.ac1:.2f}: one relevance prevails, so that kappa is low whatever"
        return Enough.MISSED, said + " people do; have pairs judged that are less alike"
    return Enough.MISSED, said + "; talk the pairs that differ most over, and write down what holds"


def _interval(
    ratings: Sequence[Sequence[int]], is_cohen: bool
) -> tuple[float | None, float | None]:
    """Percentile bootstrap over pairs; None where kappa is mostly undefined."""
    if len(ratings) < 2:
        return None, None
    count = len(ratings)
    shares = np.array([[one.count(c) / len(one) for c in CATEGORIES] for one in map(list, ratings)])
    alike = np.array([raw_agreement([one]) or 0.0 for one in ratings])
    first = np.array([[one[0] == c for c in CATEGORIES] for one in ratings], dtype=np.float64)
    last = np.array([[one[-1] == c for c in CATEGORIES] for one in ratings], dtype=np.float64)
    random = np.random.default_rng(0)
    times = random.multinomial(count, np.full(count, 1.0 / count), _RESAMPLES) / count
    raw = times @ alike
    rows, columns = (first, last) if is_cohen else (shares, shares)
    chance = ((times @ rows) * (times @ columns)).sum(axis=1)
    defined = chance < 1.0 - 1e-12
    if defined.mean() < 0.5:
        return None, None
    kappas: npt.NDArray[np.float64] = (raw - chance)[defined] / (1.0 - chance[defined])
    lower, upper = np.quantile(kappas, [0.025, 0.975])
    return float(lower), float(upper)


def _by_two(several: Iterable[Standing]) -> tuple[TwoLabelers, ...]:
    """Every two labelers who share pairs, those who agree least first."""
    shared: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for now in several:
        for one, other in combinations(now.said, 2):
            votes = (_said(one.relevance), _said(other.relevance))
            shared[one.labeler, other.labeler].append(votes)
    found = [
        TwoLabelers(
            one=one,
            other=other,
            pairs=len(votes),
            raw=raw_agreement(votes),
            kappa=cohen_kappa([vote[0] for vote in votes], [vote[1] for vote in votes]),
        )
        for (one, other), votes in shared.items()
    ]
    return tuple(sorted(found, key=lambda two: (two.raw or 0.0, two.one, two.other)))


def _by_labeler(
    standing: Mapping[Pair, Standing], checks: Mapping[Pair, int]
) -> tuple[OneLabeler, ...]:
    """Every labeler, those whom others agree with least first."""
    against: defaultdict[str, list[int]] = defaultdict(list)
    judged: defaultdict[str, list[float | None]] = defaultdict(list)
    unsure: defaultdict[str, int] = defaultdict(int)
    checked: defaultdict[str, list[bool]] = defaultdict(list)
    for pair, now in standing.items():
        for vote in now.judged:
            judged[vote.labeler].append(vote.seconds)
            unsure[vote.labeler] += vote.relevance is None
            if pair in checks and vote.relevance is not None:
                checked[vote.labeler].append(vote.relevance == checks[pair])
        for one, other in combinations(now.said, 2):
            apart = abs(_said(one.relevance) - _said(other.relevance))
            against[one.labeler].append(apart)
            against[other.labeler].append(apart)
    found = []
    for labeler, seconds in judged.items():
        others, known = against[labeler], [one for one in seconds if one is not None]
        found.append(
            OneLabeler(
                labeler=labeler,
                judged=len(seconds),
                cannot_say=unsure[labeler],
                raw=sum(apart == 0 for apart in others) / len(others) if others else None,
                distance=statistics.fmean(others) if others else None,
                checks=len(checked[labeler]),
                right=sum(checked[labeler]),
                seconds=statistics.median(known) if known else None,
            )
        )
    return tuple(sorted(found, key=lambda one: (1.0 if one.raw is None else one.raw, one.labeler)))


def _by_query(several: Mapping[Pair, Standing]) -> tuple[OneQuery, ...]:
    """Queries with pairs of which labelers differ, the worst first."""
    spreads: defaultdict[str, list[int]] = defaultdict(list)
    for (query_id, _), now in several.items():
        relevances = [_said(vote.relevance) for vote in now.said]
        spreads[query_id].append(max(relevances) - min(relevances))
    found = [
        OneQuery(query_id, len(spread), sum(map(bool, spread)), statistics.fmean(spread))
        for query_id, spread in spreads.items()
        if any(spread)
    ]
    return tuple(sorted(found, key=lambda one: (-one.distance, -one.differing, one.query_id)))


def _said(relevance: int | None) -> int:
    assert relevance is not None  # of `said` alone
    return relevance
