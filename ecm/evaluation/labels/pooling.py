"""Pooling: what people judge is what several engines find, taken together, so that no engine is
judged by what another one has found alone (Spärck Jones and van Rijsbergen, "Report on the need for
and provision of an 'ideal' information retrieval test collection", 1975; as TREC does since 1992).

Pure: knows answers of runs, no store. Who found what is kept for figures and never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.labelling import PooledPair
from ecm.contracts.measured import Answered
from ecm.evaluation.labels.standing import Pair


@dataclass(frozen=True)
class PoolResult:
    """A pool, sorted by query and asset, and what did not get into it.

    `failed` are answers that were errors, `foreign` those to queries that the set does not have.
    """

    pairs: tuple[PooledPair, ...]
    failed: int
    foreign: int


def pooled(
    answers: Iterable[Answered], queries: Iterable[EvaluationQuery], depth: int
) -> PoolResult:
    """The union of the best `depth` results of every engine of every run, for each query.

    Of each run the first round counts, whose answers are judged. An asset that a query shows is no
    answer to it.
    """
    asked = {query.query_id: query for query in queries}
    best: dict[Pair, int] = {}
    found_by: dict[Pair, set[str]] = {}
    failed = foreign = 0
    for one in answers:
        if one.round != 0:
            continue
        query = asked.get(one.query_id)
        if query is None:
            foreign += 1
            continue
        failed += one.answer.error is not None
        for hit in one.answer.ranked[:depth]:
            if hit.asset_id == query.shown_asset_id:
                continue
            pair = (one.query_id, hit.asset_id)
            best[pair] = min(hit.rank, best.get(pair, hit.rank))
            found_by.setdefault(pair, set()).add(f"{one.run_id}:{one.engine_id}")
    return PoolResult(_pairs(best, found_by), failed, foreign)


def joined(pools: Iterable[Iterable[PooledPair]]) -> tuple[PooledPair, ...]:
    """Several pools as one: each pair once, with its best rank and everybody who found it."""
    best: dict[Pair, int] = {}
    found_by: dict[Pair, set[str]] = {}
    for pool in pools:
        for one in pool:
            best[one.pair] = min(one.best_rank, best.get(one.pair, one.best_rank))
            found_by.setdefault(one.pair, set()).update(one.found_by)
    return _pairs(best, found_by)


def found_alone(pairs: Iterable[PooledPair]) -> dict[str, int]:
    """How many pairs each RUN:ENGINE alone has brought into a pool: what would be unjudged had it
    not taken part (Zobel, "How reliable are the results of large-scale information retrieval
    experiments?", SIGIR 1998).
    """
    alone: dict[str, int] = {}
    for one in pairs:
        for name in one.found_by:
            alone[name] = alone.get(name, 0) + (len(one.found_by) == 1)
    return dict(sorted(alone.items()))


def _pairs(best: Mapping[Pair, int], found_by: Mapping[Pair, set[str]]) -> tuple[PooledPair, ...]:
    return tuple(
        PooledPair(
            query_id=pair[0],
            asset_id=pair[1],
            best_rank=best[pair],
            found_by=tuple(sorted(found_by[pair])),
        )
        for pair in sorted(best)
    )
