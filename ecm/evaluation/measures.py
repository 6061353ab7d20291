"""How good rankings are: measures of one query, and figures of an engine over many. No I/O.

| measure | of one query | source |
|---|---|---|
| ndcg@10 | sum of relevance / log2(rank + 1) over the first 10, by that of the best order | Järvelin, Kekäläinen 2002 |
| recall@k | relevant among the first k, by all relevant | |
| mrr@10 | 1 / rank of the first relevant, 0 when none is among the first 10 | Voorhees 1999 |
| p@5 | relevant among the first 5, by 5 however few are returned | |
| zero_results | 1 when nothing is returned, else 0 | |
| unjudged@10 | not judged among the first 10, by how many those are; 0 of none | |

The gain is **linear** (0, 1, 2), as trec_eval has it; 2^relevance - 1 gives values that differ by
several points. Relevant is what has `RELEVANT` or more; what is not judged counts as not relevant.

- A query without a relevant asset has no ndcg, recall, mrr or precision: None, left out of means.
- A query that was not answered (an error, or never asked) is one of which nothing was found: 0, and
  not left out. It counts in the error rate.
- Ties are none: what is ranked is in the order of ranks, whatever scores say.
"""  # noqa: E501 - a table

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from ecm.contracts.evaluation import RELEVANT, EvaluationQuery
from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    EngineFigures,
    Figures,
    Measure,
    QueryMeasured,
)
from ecm.errors import ContractError
from ecm.evaluation.judgements import Judgements

OF_ALL: Final = frozenset({Measure.ZERO_RESULTS, Measure.UNJUDGED_10})
"""Measures that every query has; the others need a relevant asset."""
JUDGED_ROUND: Final = 0
Stratum = TypeVar("Stratum")


@dataclass(frozen=True)
class Measured:
    """What one engine measured: figures over all and by what queries are, and query by query."""

    figures: EngineFigures
    queries: tuple[QueryMeasured, ...]

    def value(self, measure: Measure) -> dict[str, float]:
        """The measure by query id, of the queries that have it."""
        found = ((one.query_id, one.values[measure]) for one in self.queries)
        return {query_id: value for query_id, value in found if value is not None}


def values_of(
    ranked: Sequence[str], relevance: Mapping[str, int], complete: bool
) -> dict[Measure, float | None]:
    """All measures of one query.

    Args:
        ranked: asset ids in the order of ranks, each once.
        relevance: 0, 1 or 2 by asset id, of all that is judged.
        complete: whether what `relevance` lacks is judged too, as not relevant.

    Raises:
        ContractError: an asset is ranked twice.

    >>> found = values_of(["a", "b", "c"], {"a": 1, "c": 2, "d": 1}, complete=False)
    >>> [round(found[measure], 4) for measure in (Measure.NDCG_10, Measure.RECALL_20)]
    [0.6388, 0.6667]
    >>> [round(found[measure], 4) for measure in (Measure.PRECISION_5, Measure.UNJUDGED_10)]
    [0.4, 0.3333]
    """
    if len(set(ranked)) < len(ranked):
        raise ContractError("an asset is ranked twice")
    gains = [relevance.get(asset_id, 0) for asset_id in ranked]
    hits = [gain >= RELEVANT for gain in gains]
    first = ranked[:10]
    unjudged = 0 if complete else sum(asset_id not in relevance for asset_id in first)
    values: dict[Measure, float | None] = {
        Measure.ZERO_RESULTS: 0.0 if ranked else 1.0,
        Measure.UNJUDGED_10: unjudged / len(first) if first else 0.0,
    }
    relevant = sum(gain >= RELEVANT for gain in relevance.values())
    if not relevant:
        return values | dict.fromkeys(set(Measure) - OF_ALL)
    best = sorted(relevance.values(), reverse=True)
    found_at = next((rank for rank, hit in enumerate(hits[:10], start=1) if hit), None)
    return values | {
        Measure.NDCG_10: _discounted(gains[:10]) / _discounted(best[:10]),
        Measure.RECALL_50: sum(hits[:50]) / relevant,
        Measure.RECALL_20: sum(hits[:20]) / relevant,
        Measure.MRR_10: 0.0 if found_at is None else 1 / found_at,
        Measure.PRECISION_5: sum(hits[:5]) / 5,
    }


def measured(
    engine_id: str,
    queries: Sequence[EvaluationQuery],
    answers: Iterable[Answered],
    judgements: Judgements,
) -> Measured:
    """Figures of one engine. Round 0 is judged; latency, errors and cost are of all rounds.

    Answers of other engines are passed over. A query without an answer in round 0 counts as an
    error there. A shown asset is taken out of what was found and of what is to be found.

    Raises:
        ContractError: an answer to a query that is not asked, or two answers to one in one round.
    """
    asked = {query.query_id: query for query in queries}
    if len(asked) < len(queries):
        raise ContractError("a query is asked twice")
    given: dict[str, dict[int, EngineAnswer]] = {query_id: {} for query_id in asked}
    for one in answers:
        if one.engine_id != engine_id:
            continue
        if one.query_id not in given:
            raise ContractError(f"engine {engine_id} answers {one.query_id}, which is not asked")
        if one.round in given[one.query_id]:
            raise ContractError(
                f"engine {engine_id} answers {one.query_id} twice in round {one.round}"
            )
        given[one.query_id][one.round] = one.answer
    by_query = {
        query_id: _one(query, given[query_id].get(JUDGED_ROUND), judgements)
        for query_id, query in asked.items()
    }

    def figures(chosen: Sequence[EvaluationQuery]) -> Figures:
        return _figures(
            [by_query[query.query_id] for query in chosen],
            [given[query.query_id] for query in chosen],
        )

    def by(stratum: Callable[[EvaluationQuery], Stratum]) -> dict[Stratum, Figures]:
        strata: dict[Stratum, list[EvaluationQuery]] = {}
        for query in queries:
            strata.setdefault(stratum(query), []).append(query)
        return {key: figures(strata[key]) for key in sorted(strata, key=str)}

    return Measured(
        EngineFigures(
            engine_id=engine_id,
            all=figures(queries),
            by_type=by(lambda query: query.query_type),
            by_difficulty=by(lambda query: query.difficulty),
            by_kind=by(lambda query: query.kind),
        ),
        tuple(
            QueryMeasured(engine_id=engine_id, query_id=query_id, values=values)
            for query_id, values in by_query.items()
        ),
    )


def _one(
    query: EvaluationQuery, answer: EngineAnswer | None, judgements: Judgements
) -> dict[Measure, float | None]:
    found = () if answer is None else answer.ranked
    ranked = [one.asset_id for one in found if one.asset_id != query.shown_asset_id]
    complete = judgements.is_complete(query.query_id)
    return values_of(ranked, judgements.answers_to(query), complete)


def _figures(
    values: Sequence[Mapping[Measure, float | None]], rounds: Sequence[Mapping[int, EngineAnswer]]
) -> Figures:
    """Of queries with their values, and their answers by round."""
    answers = [answer for of_query in rounds for answer in of_query.values()]
    missing = sum(JUDGED_ROUND not in of_query for of_query in rounds)
    times = len(answers) + missing
    failed = missing + sum(answer.error is not None for answer in answers)
    latencies = [
        answer.latency_ms
        for answer in answers
        if answer.error is None and answer.latency_ms is not None
    ]
    p50, p95 = np.percentile(latencies, [50, 95]).tolist() if latencies else (None, None)
    return Figures(
        queries=len(values),
        judged=sum(one[Measure.NDCG_10] is not None for one in values),
        values={measure: _mean(one[measure] for one in values) for measure in Measure},
        p50_ms=p50,
        p95_ms=p95,
        error_rate=failed / times if times else 0.0,
        degraded_rate=sum(bool(one.degraded) for one in answers) / times if times else 0.0,
        cost_per_1k_usd=_per_1k(answers),
    )


def _per_1k(answers: Sequence[EngineAnswer]) -> float:
    """All that was paid, by answers that are none of an error: failing makes nothing cheaper."""
    paid = math.fsum(answer.cost_usd for answer in answers)
    served = sum(answer.error is None for answer in answers)
    return 1000 * paid / max(served, 1)


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
