"""Two sides of a comparison, query by query: values, failures, latencies and costs that pair up.

Knows how what was answered is set side by side so that a candidate's failures never help it; knows
no threshold, no statistic, no file. Round 0 is judged; rates and latencies are of the rounds that
both sides have.

- A query that the baseline failed is left out of quality: against nothing anything looks good. One
  that the candidate failed is one of which it found nothing.
- Where the candidate's answer is degraded and the baseline's is not it counts as no better than
  the baseline's, and as no faster.
- A failed answer of the candidate is as slow, and as dear, as the worst answer of either side, or
  as itself where that is worse; where the baseline failed there is nothing to compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import Answered, EngineAnswer, Measure
from ecm.errors import ContractError
from ecm.evaluation.measures import JUDGED_ROUND, Measured
from ecm.evaluation.significance import Values

HARMFUL = frozenset({Measure.ZERO_RESULTS, Measure.UNJUDGED_10})
"""Measures that are better when lower."""


@dataclass(frozen=True)
class Side:
    """One engine of one run. `machine` and `concurrency` say under what its latencies were taken;
    a machine that is not known is like no other.
    """

    name: str
    measured: Measured
    answers: tuple[Answered, ...]
    queries: tuple[EvaluationQuery, ...]
    machine: str = ""
    concurrency: int = 1

    @cached_property
    def given(self) -> Mapping[str, Mapping[int, EngineAnswer]]:
        """Its answers by query and round."""
        found: dict[str, dict[int, EngineAnswer]] = {}
        for one in self.answers:
            if one.engine_id == self.measured.figures.engine_id:
                found.setdefault(one.query_id, {})[one.round] = one.answer
        return found

    @cached_property
    def runs(self) -> frozenset[str]:
        """Runs that its answers are of."""
        engine_id = self.measured.figures.engine_id
        return frozenset(one.run_id for one in self.answers if one.engine_id == engine_id)

    @cached_property
    def rounds(self) -> frozenset[int]:
        return frozenset(round_ for rounds in self.given.values() for round_ in rounds)


@dataclass(frozen=True)
class Pairs:
    """Values of both sides, (n,) float64 each; `left_out` counts what the baseline failed."""

    baseline: Values
    candidate: Values
    left_out: int = 0


class Pairing:
    """What two sides say to the queries that both were asked.

    Raises ContractError where a query of one id asks different things of them.
    """

    def __init__(self, baseline: Side, candidate: Side) -> None:
        self.baseline, self.candidate = baseline, candidate
        before = {query.query_id: query for query in baseline.queries}
        self.queries = tuple(q for q in candidate.queries if q.query_id in before)
        for query in self.queries:
            if _asks(query) != _asks(before[query.query_id]):
                raise ContractError(f"query {query.query_id} asks one thing of either side")
        self._rounds = sorted(baseline.rounds & candidate.rounds)

    def quality(
        self, measure: Measure, which: Callable[[EvaluationQuery], bool] = lambda _: True
    ) -> Pairs:
        """A measure of the queries that have a relevant asset, as far as the baseline answered.

        Raises ContractError where only one side has a value, so that labels differ.
        """
        before, after = self._values(self.baseline), self._values(self.candidate)
        ones, others, left_out = [], [], 0
        for query in filter(which, self.queries):
            one, other = before[query.query_id], after[query.query_id]
            if (one[Measure.NDCG_10] is None) != (other[Measure.NDCG_10] is None):
                raise ContractError(f"query {query.query_id} is measured by labels that differ")
            value, now = one[measure], other[measure]
            if one[Measure.NDCG_10] is None or value is None or now is None:
                continue
            if _failed(self._answer(self.baseline, query, JUDGED_ROUND)):
                left_out += 1
                continue
            if self._degraded_alone(query, JUDGED_ROUND):
                now = max(now, value) if measure in HARMFUL else min(now, value)
            ones.append(value)
            others.append(now)
        return Pairs(np.array(ones, np.float64), np.array(others, np.float64), left_out)

    def failures(self) -> Pairs:
        """The part of its rounds in which each query failed."""
        return self._parts(_failed)

    def degraded(self) -> Pairs:
        """The part of its rounds in which each query failed or its answer was degraded."""
        return self._parts(lambda answer: _failed(answer) or bool(answer and answer.degraded))

    def latencies(self) -> Pairs:
        """(n, rounds) float64 milliseconds; NaN, on both sides, where there is none to compare."""
        return self._spent(lambda answer: answer.latency_ms)

    def costs(self) -> tuple[float, float] | None:
        """US dollars for a thousand answers of either side; None where there is none to compare."""
        pairs = self._spent(lambda answer: answer.cost_usd)
        there = ~np.isnan(pairs.baseline)
        if not there.any():
            return None
        before, after = (math.fsum(side[there]) for side in (pairs.baseline, pairs.candidate))
        return 1000 * before / int(there.sum()), 1000 * after / int(there.sum())

    def unlike(self) -> str:
        """Why latencies do not compare; empty where they do."""
        if not self._rounds:
            return "no round is common to both"
        if len(self.baseline.runs | self.candidate.runs) == 1:
            return ""
        ones, others = self.baseline, self.candidate
        if not ones.machine or ones.machine != others.machine:
            return "latencies of other machines do not compare: ask both in one run"
        if ones.concurrency != others.concurrency:
            return f"asked {ones.concurrency} at a time and {others.concurrency} at a time"
        return ""

    def _values(self, side: Side) -> dict[str, dict[Measure, float | None]]:
        found = {one.query_id: one.values for one in side.measured.queries}
        for query in self.queries:
            if query.query_id not in found:
                raise ContractError(f"{side.name} has no figures of query {query.query_id}")
        return found

    def _answer(self, side: Side, query: EvaluationQuery, round_: int) -> EngineAnswer | None:
        return side.given.get(query.query_id, {}).get(round_)

    def _degraded_alone(self, query: EvaluationQuery, round_: int) -> bool:
        before = self._answer(self.baseline, query, round_)
        after = self._answer(self.candidate, query, round_)
        return bool(after and after.degraded) and not (before and before.degraded)

    def _parts(self, of: Callable[[EngineAnswer | None], bool]) -> Pairs:
        def side(one: Side) -> Values:
            return np.array(
                [
                    sum(of(self._answer(one, query, round_)) for round_ in self._rounds)
                    / len(self._rounds)
                    for query in self.queries
                ],
                np.float64,
            )

        if not self._rounds:
            return Pairs(np.empty(0), np.empty(0))
        return Pairs(side(self.baseline), side(self.candidate))

    def _spent(self, of: Callable[[EngineAnswer], float | None]) -> Pairs:
        """(n, rounds) of what is better when less; NaN on both sides where there is none."""
        before, after = self._each(self.baseline, of), self._each(self.candidate, of)
        worst = max(np.nanmax(side, initial=0.0) for side in (before, after))
        for row, query in enumerate(self.queries):
            for column, round_ in enumerate(self._rounds):
                answer = self._answer(self.candidate, query, round_)
                if _failed(self._answer(self.baseline, query, round_)):
                    before[row, column] = np.nan
                elif _failed(answer):
                    after[row, column] = worst
                elif self._degraded_alone(query, round_):
                    after[row, column] = np.fmax(before[row, column], after[row, column])
        gaps = np.isnan(before) | np.isnan(after)
        before[gaps] = after[gaps] = np.nan
        return Pairs(before, after)

    def _each(self, side: Side, of: Callable[[EngineAnswer], float | None]) -> Values:
        """(n, rounds) float64 of what is known of one side, of failures as well; NaN elsewhere."""
        found = np.full((len(self.queries), len(self._rounds)), np.nan)
        for row, query in enumerate(self.queries):
            for column, round_ in enumerate(self._rounds):
                answer = self._answer(side, query, round_)
                value = None if answer is None else of(answer)
                if value is not None:
                    found[row, column] = value
        return found


def _failed(answer: EngineAnswer | None) -> bool:
    return answer is None or answer.error is not None


def _asks(query: EvaluationQuery) -> tuple[str | None, str | None]:
    return query.query_text, query.shown_asset_id
