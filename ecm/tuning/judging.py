"""Profiles held against each other on queries that nothing was learned from, by the engine itself.

Knows how a profile ranks (by asking) and how it is measured; learns nothing. Every query is encoded
and gathered once, then ranked by each profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecm.contracts.evaluation import EvaluationQuery, Split
from ecm.contracts.measured import Measure
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.measures import values_of
from ecm.evaluation.shelf import Labels, Queries
from ecm.evaluation.significance import paired
from ecm.search.engine import SearchEngine
from ecm.search.learned import HeldOut, Improvement
from ecm.search.profile import RankingProfile
from ecm.search.rerank import FeatureReranker
from ecm.tuning.examples import Floats
from ecm.tuning.factors import round_to
from ecm.tuning.gathering import request_of
from ecm.tuning.training import answered, check_same


@dataclass(frozen=True, eq=False)
class Judged:
    """nDCG@10 of each query by kind of weights, float64 (q,), in the order of the queries."""

    queries: tuple[EvaluationQuery, ...]
    scores: Mapping[str, Floats]

    def summary(self, candidate: str, baselines: Sequence[str], seed: int) -> HeldOut:
        """Means, and what the candidate is better by than each baseline."""
        return HeldOut(
            queries=len(self.queries),
            ndcg_10={kind: round_to(float(own.mean())) for kind, own in self.scores.items()},
            improvements=tuple(
                improvement(self.scores[name], self.scores[candidate], name, seed)
                for name in baselines
                if name != candidate
            ),
        )


def held_out_of(queries: Queries, labels: Labels) -> tuple[EvaluationQuery, ...]:
    """Queries that only judge, of those that have a relevant asset. Raises ConfigError."""
    check_same(queries, labels)
    judgements = Judgements.of(labels)
    return tuple(
        query
        for query in queries.queries
        if query.split is Split.HELD_OUT and answered(judgements.answers_to(query))
    )


def scores_of(
    engine: SearchEngine,
    tenant_id: str,
    queries: Sequence[EvaluationQuery],
    labels: Labels,
    profiles: Mapping[str, RankingProfile],
) -> Iterator[tuple[EvaluationQuery, dict[str, float]]]:
    """nDCG@10 of each query by each profile. Text boosts are those of the engine's own.

    Raises as a search does.
    """
    judgements = Judgements.of(labels)
    engines = {name: engine.ranked_by(profile) for name, profile in profiles.items()}
    rerankers = {name: FeatureReranker(profile) for name, profile in profiles.items()}
    for query in queries:
        plan = engine.plan(request_of(query, tenant_id))
        encoded = engine.encoded(plan)
        first = engine.gather(plan, encoded)
        relevance, complete = (
            judgements.answers_to(query),
            judgements.is_complete(query.query_id),
        )
        found = {}
        for name, own in engines.items():
            gathered = own.gather_again(plan, encoded, first)
            question = gathered.rerank
            reranked = rerankers[name].rerank(question) if question is not None else None
            ranked = [one.asset_id for one in own.order(plan, gathered, reranked).ranked]
            value = values_of(ranked, relevance, complete)[Measure.NDCG_10]
            assert value is not None, "a query with a relevant asset has an nDCG"
            found[name] = value
        yield query, found


def judged(scored: Sequence[tuple[EvaluationQuery, Mapping[str, float]]]) -> Judged:
    """What `scores_of` gave, put together."""
    kinds = scored[0][1] if scored else {}
    return Judged(
        tuple(query for query, _ in scored),
        {kind: np.array([found[kind] for _, found in scored]) for kind in kinds},
    )


def improvement(baseline: Floats, candidate: Floats, over: str, seed: int) -> Improvement:
    """Candidate less baseline, float64 (q,) each, paired by query, with its 95 % interval."""
    told = paired(baseline, candidate, seed=seed)
    mean = float(baseline.mean())
    return Improvement(
        over=over,
        change=round_to(told.change),
        relative=round_to(told.change / mean) if mean > 0 else 0.0,
        lower=round_to(told.lower),
        upper=round_to(told.upper),
    )
