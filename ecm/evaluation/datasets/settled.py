"""What has been put on sides already, and choosing beside it without a leak. Knows no source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ecm.contracts.evaluation import Difficulty, Label, Split
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.drafts import SOURCES, Draft, Graded
from ecm.evaluation.datasets.splits import Tied, compatible, ties_of, ties_of_query
from ecm.evaluation.datasets.strata import Cell, stratified
from ecm.evaluation.shelf import Labels, Queries

_Stratum = tuple[QueryType, Difficulty]


def tied(draft: Draft) -> Tied:
    """A draft as its side is told by."""
    ties = ties_of(draft.text, draft.shown, draft.kind, draft.group, draft.answered_by)
    return Tied(draft.query_id, draft.query_type, ties)


def answered(labels: Iterable[Label]) -> defaultdict[str, set[str]]:
    """The assets that answer each query at least in part, whoever says so."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for label in labels:
        if label.relevance:
            found[label.query_id].add(label.asset_id)
    return found


def made_with(labels: Iterable[Label]) -> defaultdict[str, set[str]]:
    """The assets that each query was made with, by what its sources say; not by what people said
    of what engines found.
    """
    return answered(label for label in labels if label.labeler in SOURCES)


def settled_in(
    versions: Iterable[tuple[Queries, Labels | None]],
) -> tuple[list[Tied], dict[str, Split]]:
    """Every query that was ever asked, with all its ties at any time, and its side.

    Labels are the first ones of each version: later ones may be others' for the same assets.
    """
    found: dict[str, Tied] = {}
    sides: dict[str, Split] = {}
    for queries, labels in versions:
        answers = made_with(labels.labels if labels is not None else ())
        for one in queries.queries:
            ties = ties_of_query(one, answers[one.query_id])
            if one.query_id in found:
                ties |= found[one.query_id].ties
            found[one.query_id] = Tied(one.query_id, one.query_type, ties)
            sides[one.query_id] = one.split
    return list(found.values()), sides


def choose_beside(
    candidates: Sequence[Graded],
    fixed: Sequence[Tied],
    sides: Mapping[str, Split],
    count: int,
    seed: int,
    there: Mapping[_Stratum, int] | None = None,
) -> tuple[list[Graded], tuple[Cell, ...], int]:
    """Those of some candidates that come, up to `count` with those that are `there`; how the strata
    stand then; how many did not come since they are tied to both sides of what is `fixed`.
    """
    barred: set[str] = set()
    while True:
        usable = [one for one in candidates if one.draft.query_id not in barred]
        chosen = stratified(usable, count, seed, there)
        unfit = compatible(fixed, sides, (tied(one.draft) for one in chosen.queries))
        if not unfit:
            return list(chosen.queries), chosen.cells, len(barred)
        barred |= unfit
