"""The queries that may be learned from, and what answers them. Knows no engine and no weights.

Nothing here hands out a held-out query: a `TrainingSet` is made of those of `Split.LEARN` alone,
and learning takes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ecm.contracts.evaluation import RELEVANT, EvaluationQuery, LabelSet, QuerySet, Split
from ecm.errors import ConfigError
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.shelf import Labels, Queries

LEAST_GROUPS = 10
"""Groups of queries below which folds are too few to choose anything by."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Queries of `Split.LEARN` that have a relevant asset, in the order of their set."""

    query_set: QuerySet
    label_set: LabelSet
    queries: tuple[EvaluationQuery, ...]
    relevance: Mapping[str, Mapping[str, int]]

    @classmethod
    def of(cls, queries: Queries, labels: Labels) -> TrainingSet:
        """Raises ConfigError where labels are of other queries, or too few may be learned from."""
        check_same(queries, labels)
        judgements = Judgements.of(labels)
        learn = tuple(
            query
            for query in queries.queries
            if query.split is Split.LEARN and answered(judgements.answers_to(query))
        )
        if len({query.group for query in learn}) < LEAST_GROUPS:
            raise ConfigError(
                f"query set {queries.head.name} has too little to learn from: "
                f"{len(learn)} queries of split `learn` with a relevant asset",
                "evaluation.too_few",
                f"label more of them; at least {LEAST_GROUPS} groups are needed",
            )
        relevance = {one.query_id: judgements.answers_to(one) for one in learn}
        return cls(queries.head, labels.head, learn, relevance)


def answered(relevance: Mapping[str, int]) -> bool:
    """Whether an asset is known that answers."""
    return any(grade >= RELEVANT for grade in relevance.values())


def check_same(queries: Queries, labels: Labels) -> None:
    """Raises ConfigError where the labels were not made for these queries, of this tenant."""
    same = labels.head.query_set_digest == queries.head.digest
    if not same or labels.head.tenant_id != queries.head.tenant_id:
        raise ConfigError(
            f"labels {labels.head.name} are not of query set {queries.head.name}, version "
            f"{queries.head.version}",
            "evaluation.other_queries",
            f"they are of {labels.head.query_set}: name the version that they were made for",
        )
