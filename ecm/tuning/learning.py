"""Learns weights three ways from examples: one row for all, a row per type, factors per query.

Knows which is drawn to which; knows no engine, no file and no held-out query.

    global      one row, drawn to the mean of the rows in force: what the others are compared with
    per type    a row per type, drawn to the one in force as strongly as its own queries ask for
    per query   factors on the rows per type, drawn to 1
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.search.per_query import PerQuery
from ecm.search.profile import RankingProfile
from ecm.search.query_features import QUERY_FEATURES
from ecm.tuning.choosing import STRONGEST, Fitted, chosen, crossed, folds_of
from ecm.tuning.examples import ROWS, WEIGHTS, Example, Floats
from ecm.tuning.factors import Spread, factors, learned_factors, section_of
from ecm.tuning.objective import Batch
from ecm.tuning.rows import absolute, learned_rows, mixed
from ecm.tuning.tables import rounded, rows_of
from ecm.tuning.training import LEAST_GROUPS

FOR_ROWS: Final = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, STRONGEST)
FOR_ONE: Final = (1e-5, 1e-4, 1e-3, 1e-2)
FOR_FACTORS: Final = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, STRONGEST)
_IN_ORDER: Final = tuple(
    map(ROWS.index, ("mixed", "visual", "keyword", "semantic", "alone", "with_text"))
)
Said = Callable[[str], None]
Strengths = Mapping[int, float]
"""Regularisers by place of a row; a row that is not named stays as it was."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """What came out. `one` float64 (p,), `rows` (r, p); `per_query` None: factors did not help.

    `scores`: nDCG@10 of each example, float64 (q,), by kind of weights, each query ranked by what
    was learned from other folds with the regulariser chosen; `in_force` learned nothing.
    """

    one: Floats
    rows: Floats
    per_query: PerQuery | None
    regularisers: dict[str, float]
    scores: dict[str, Floats]


def learnt(
    examples: Sequence[Example],
    in_force: RankingProfile,
    *,
    seed: int,
    folds: int,
    per_query: bool = True,
    said: Said = lambda _: None,
) -> Learnt:
    """Learn from examples, gathered with a profile in force that reranks.

    The same examples, profile and numbers give the same outcome. Raises ConfigError where there
    are too few groups for so many folds.
    """
    rows_now = rows_of(in_force)
    fold, whole = folds_of(examples, folds, seed), Batch(examples)

    def like_type(batch: Batch) -> Floats:
        return absolute(mixed(batch.mixture, rows_now), batch.answering)

    start = rows_now[present(whole)].mean(axis=0, keepdims=True)
    said("one row for all")
    by_one = chosen(examples, fold, _one_from(start), FOR_ONE, within=0.0)
    one = rounded(learned_rows(whole, _alike(whole), start, by_one.regulariser), start)
    said("a row per type")
    strengths = _strengths(examples, fold, rows_now)
    rows = rounded(moved_rows(whole, rows_now, strengths), rows_now)
    told = {"in_force": whole.ndcg(like_type(whole)), "global": by_one.scores}
    told["per_type"] = crossed(examples, fold, _rows_from(rows_now, strengths), 0.0)
    used = {"global": by_one.regulariser}
    used |= {f"per_type.{ROWS[place]}": strength for place, strength in strengths.items()}
    section = None
    if per_query:
        said("factors per query")
        by_query = chosen(examples, fold, _factors_from(rows_now, strengths), FOR_FACTORS)
        told["per_query"], used["per_query"] = by_query.scores, by_query.regulariser
        if by_query.regulariser != STRONGEST:
            spread = Spread.of(whole.told)
            found = learned_factors(whole, rows, spread, by_query.regulariser)
            section = section_of(found, spread)
    return Learnt(one[0], rows, section, used, told)


def nested(
    examples: Sequence[Example], in_force: RankingProfile, *, seed: int, folds: int, said: Said
) -> dict[str, Floats]:
    """nDCG@10 of each example, float64 (q,), by kind of weights: everything, the regulariser too,
    is chosen without the fold that is judged.
    """
    fold = folds_of(examples, folds, seed + 1)
    kinds = ("in_force", "global", "per_type", "per_query")
    scores = {kind: np.zeros(len(examples)) for kind in kinds}
    for number in range(folds):
        said(f"fold {number + 1} of {folds}")
        own = fold == number
        rest = [one for one, mine in zip(examples, own, strict=True) if not mine]
        held = Batch([one for one, mine in zip(examples, own, strict=True) if mine])
        found = learnt(rest, in_force, seed=seed, folds=folds)
        now = mixed(held.mixture, rows_of(in_force))
        typed = mixed(held.mixture, found.rows)
        weights = {
            "in_force": now,
            "global": mixed(_alike(held), found.one[None]),
            "per_type": typed,
            "per_query": typed * _factors_by(found.per_query, held),
        }
        for kind, own_weights in weights.items():
            scores[kind][own] = held.ndcg(absolute(own_weights, held.answering))
    return scores


def present(batch: Batch) -> list[int]:
    """Places of the rows that some query of a batch has."""
    return [int(place) for place in np.flatnonzero(batch.mixture.sum(axis=0) > 0)]


def _alike(batch: Batch) -> Floats:
    return np.ones((len(batch.examples), 1))


def _one_from(start: Floats) -> Fitted:
    def learn(batch: Batch, regulariser: float) -> Callable[[Batch], Floats]:
        one = learned_rows(batch, _alike(batch), start, regulariser)
        return lambda held: absolute(mixed(_alike(held), one), held.answering)

    return learn


def moved_rows(batch: Batch, prior: Floats, strengths: Strengths) -> Floats:
    """Rows (r, p), each learned from the queries that are mostly its own, beside those before it.

    `mixed` and `visual` come first, since other types are drawn to them.
    """
    rows = prior
    for place in _IN_ORDER:
        own = of_row(batch.examples, place)
        strength = strengths.get(place, STRONGEST)
        if own and strength != STRONGEST:
            mine = Batch(own)
            rows = learned_rows(mine, mine.mixture, rows, strength, free=(place,))
    return rows


def of_row(examples: Sequence[Example], place: int) -> list[Example]:
    """The examples whose weights are mostly those of one row."""
    return [one for one in examples if int(one.mixture.argmax()) == place]


def _strengths(
    examples: Sequence[Example], fold: npt.NDArray[np.intp], prior: Floats
) -> dict[int, float]:
    """The regulariser of each row that has queries enough, chosen on them, row after row."""
    found: dict[int, float] = {}
    rows = prior
    for place in _IN_ORDER:
        own = of_row(examples, place)
        mine = np.array([int(one.mixture.argmax()) == place for one in examples])
        enough = len({one.group for one in own}) >= LEAST_GROUPS
        if enough and len(np.unique(fold[mine])) > 1:
            learn = _row_from(rows, place)
            found[place] = chosen(own, fold[mine], learn, FOR_ROWS).regulariser
            rows = moved_rows(Batch(own), rows, {place: found[place]})
    return found


def _row_from(rows: Floats, place: int) -> Fitted:
    def learn(batch: Batch, regulariser: float) -> Callable[[Batch], Floats]:
        found = moved_rows(batch, rows, {place: regulariser})
        return lambda held: absolute(mixed(held.mixture, found), held.answering)

    return learn


def _rows_from(prior: Floats, strengths: Strengths) -> Fitted:
    """Rows with the strengths that were chosen; another regulariser is not asked for."""

    def learn(batch: Batch, _: float) -> Callable[[Batch], Floats]:
        rows = moved_rows(batch, prior, strengths)
        return lambda held: absolute(mixed(held.mixture, rows), held.answering)

    return learn


def _factors_from(prior: Floats, strengths: Strengths) -> Fitted:
    """Factors are judged on rows that were learned without the fold, too."""

    def learn(batch: Batch, regulariser: float) -> Callable[[Batch], Floats]:
        rows = moved_rows(batch, prior, strengths)
        if regulariser == STRONGEST:
            return lambda held: absolute(mixed(held.mixture, rows), held.answering)
        spread = Spread.of(batch.told)
        found = learned_factors(batch, rows, spread, regulariser)
        return lambda held: absolute(
            mixed(held.mixture, rows) * factors(found, spread.standardised(held.told)),
            held.answering,
        )

    return learn


def _factors_by(section: PerQuery | None, batch: Batch) -> Floats:
    """Factors (q, p) as a search applies them: none to a query unlike those learned from."""
    found = np.ones((len(batch.examples), len(WEIGHTS)))
    if section is None:
        return found
    for place, told in enumerate(batch.told.tolist()):
        named: dict[str, float] = {
            name: value
            for name, value in zip(QUERY_FEATURES, told, strict=True)
            if not math.isnan(value)
        }
        if section.knows(named):
            own = section.factors_of(named)
            found[place] = [own.get(name, 1.0) for name in WEIGHTS]
    return found
