"""How well labels cover a query set: how many of its queries, by whom, of which types. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ecm.contracts.evaluation import RELEVANT, EvaluationQuery, Label


@dataclass(frozen=True)
class Coverage:
    """Counts over the queries of a set. `labelled` have a label or are complete; `unlabelled` are
    the ids of the others. `by_type` has queries, labelled ones and labels of each query type;
    `labelers` the labels that are in somebody's name.
    """

    queries: int
    labelled: int
    complete: int
    with_relevant: int
    unlabelled: tuple[str, ...]
    per_query_median: float
    by_source: dict[str, int]
    by_relevance: dict[str, int]
    by_type: dict[str, dict[str, int]]
    labelers: dict[str, int]


def coverage(
    queries: Sequence[EvaluationQuery], labels: Iterable[Label], complete: Collection[str]
) -> Coverage:
    """The coverage of queries by labels; labels of other queries do not count."""
    types = {query.query_id: query.query_type.value for query in queries}
    counted = [label for label in labels if label.query_id in types]
    per_query = Counter(label.query_id for label in counted)
    relevant = {label.query_id for label in counted if label.relevance >= RELEVANT}
    whole = set(complete) & types.keys()
    by_type = {
        kind: {
            "queries": sum(found == kind for found in types.values()),
            "labelled": sum(types[q] == kind for q in per_query.keys() | whole),
            "labels": sum(count for q, count in per_query.items() if types[q] == kind),
        }
        for kind in sorted(set(types.values()))
    }
    counts = [per_query[query_id] for query_id in types]
    return Coverage(
        queries=len(types),
        labelled=len(per_query.keys() | whole),
        complete=len(whole),
        with_relevant=len(relevant),
        unlabelled=tuple(sorted(types.keys() - per_query.keys() - whole)),
        per_query_median=statistics.median(counts) if counts else 0.0,
        by_source=_counts(label.label_source.value for label in counted),
        by_relevance=_counts(str(label.relevance) for label in counted),
        by_type=by_type,
        labelers=_counts(label.labeler for label in counted if label.labeler is not None),
    )


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))
