"""A query set renewed in part: some queries leave, others come, and every side stays as it was.

What was held out once is never learned from, whether it is still asked or not: queries that come
take the side of whatever of any earlier version they are tied to, and those that are tied to both
do not come. Knows no file and no clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ecm.contracts.evaluation import Difficulty, EvaluationQuery, Label, QueryKind, Split
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.building import Built, Named, headed, labels_of, query_of
from ecm.evaluation.datasets.chance import drawn as drawn_number
from ecm.evaluation.datasets.difficulty import graded
from ecm.evaluation.datasets.drafts import Draft, Graded
from ecm.evaluation.datasets.known import KnownAssets
from ecm.evaluation.datasets.settled import answered, choose_beside, made_with, settled_in, tied
from ecm.evaluation.datasets.sources import Drawn
from ecm.evaluation.datasets.splits import (
    HELD_OUT_SHARE,
    Tied,
    compatible,
    sides_of,
    ties_of_query,
)
from ecm.evaluation.datasets.strata import Cell, apportioned_by_size
from ecm.evaluation.datasets.words import normalised
from ecm.evaluation.shelf import Labels, Queries

_Stratum = tuple[QueryType, Difficulty]


@dataclass(frozen=True)
class Past:
    """The newest version of a set with its newest labels; and all versions up to it, oldest first,
    with their first labels.

    An earlier one may have no labels: whoever made it was stopped in between.
    """

    queries: Queries
    labels: Labels
    versions: tuple[tuple[Queries, Labels | None], ...]


@dataclass(frozen=True)
class Refreshed:
    """The new version. Of those that `left`, the first were those that are `gone`, whose assets are
    not there any more, and those that are `torn`: what is known now ties them to the other side.

    `unplaced` counts drafts that did not come since they are tied to both sides.
    """

    built: Built
    left: tuple[str, ...]
    gone: tuple[str, ...]
    torn: tuple[str, ...]
    came: tuple[str, ...]
    unplaced: int


def refreshed(
    past: Past,
    drawn: Drawn,
    known: KnownAssets,
    named: Named,
    share: float,
    held_out: float = HELD_OUT_SHARE,
) -> Refreshed:
    """Replace a share of the newest version, 0-1; never less than what has to go.

    Queries that were never asked come first, then those of earlier versions that had left.
    """
    queries, labels = past.queries, past.labels
    answers = answered(labels.labels)
    gone = {one.query_id for one in queries.queries if _is_gone(one, answers, known)}
    fixed, sides = settled_in(past.versions)
    by_asks = {draft.asks: draft for draft in drawn.drafts}
    by_id = {
        one.query_id: replace(draft, given_id=one.query_id)
        for one in queries.queries
        if (draft := by_asks.get(_asks(one))) is not None
    }
    staying = [one for one in queries.queries if one.query_id not in gone]
    said = _labels_now(staying, labels, by_id, known)
    now_tied = _tied_now(staying, said)
    torn = compatible(fixed, sides, now_tied)
    left = _leaving(queries.queries, gone | torn, share, named)
    kept = [one for one in queries.queries if one.query_id not in left]
    fixed = [*fixed, *(one for one in now_tied if one.query_id not in left)]
    coming = _coming(graded(drawn.drafts, known), past, fixed, sides, kept, named.seed)
    came = coming.queries
    everything = [*fixed, *(tied(one.draft) for one in came)]
    placed = sides_of(everything, held_out, named.seed, sides)
    lines = kept + [
        query_of(one, side, known.created_at)
        for one in came
        if (side := placed[one.draft.query_id]) is not None
    ]
    said = [
        *(label for label in said if label.query_id not in left),
        *(label for one in came for label in labels_of(one.draft)),
    ]
    complete = [one.draft.query_id for one in came if one.draft.complete]
    complete += _still_complete(kept, labels, by_id)
    built = Built(*headed(named, lines, said, complete), coming.cells, drawn.left)
    return Refreshed(
        built,
        left=tuple(sorted(left)),
        gone=tuple(sorted(gone)),
        torn=tuple(sorted(torn)),
        came=tuple(sorted(one.draft.query_id for one in came)),
        unplaced=coming.unplaced,
    )


@dataclass(frozen=True)
class _Coming:
    queries: tuple[Graded, ...]
    cells: tuple[Cell, ...]
    unplaced: int


def _coming(
    pool: Sequence[Graded],
    past: Past,
    fixed: Sequence[Tied],
    sides: Mapping[str, Split],
    kept: Sequence[EvaluationQuery],
    seed: int,
) -> _Coming:
    """What is asked in place of what left: nothing that the newest version asks, by whatever id."""
    asked = {_asks(one) for one in past.queries.queries}
    ids = {one.query_id for one in past.queries.queries}
    others = [one for one in pool if one.draft.asks not in asked and one.draft.query_id not in ids]
    fresh = [one for one in others if one.draft.query_id not in sides]
    again = [one for one in others if one.draft.query_id in sides]
    there = Counter((one.query_type, one.difficulty) for one in kept)
    settled, unplaced = list(fixed), 0
    came: list[Graded] = []
    cells: tuple[Cell, ...] = ()
    for candidates in (fresh, again):
        more, now, barred = choose_beside(
            candidates, settled, sides, past.queries.head.queries, seed, there
        )
        cells = _together(cells, now)
        unplaced += barred
        came += more
        there.update((one.draft.query_type, one.difficulty) for one in more)
        settled += [tied(one.draft) for one in more]
    return _Coming(tuple(came), cells, unplaced)


def _asks(query: EvaluationQuery) -> tuple[str, str]:
    """What makes a kept query and a draft the same question."""
    return normalised(query.query_text or ""), query.shown_asset_id or ""


def _tied_now(staying: Iterable[EvaluationQuery], said: Iterable[Label]) -> list[Tied]:
    """Queries with the ties that they have by what is known now."""
    answers = made_with(said)
    return [
        Tied(one.query_id, one.query_type, ties_of_query(one, answers[one.query_id]))
        for one in staying
    ]


def _together(before: tuple[Cell, ...], now: tuple[Cell, ...]) -> tuple[Cell, ...]:
    """The strata as they stand now, with all that there was to choose from."""
    if not before:
        return now
    more = {(one.query_type, one.difficulty): one.available - one.taken for one in before}
    return tuple(
        replace(one, available=one.available + more[one.query_type, one.difficulty]) for one in now
    )


def _is_gone(query: EvaluationQuery, answers: Mapping[str, set[str]], known: KnownAssets) -> bool:
    """Whether what it shows, or everything that answers it, is not in the snapshot any more."""
    shown, own = query.shown_asset_id, answers.get(query.query_id, set())
    return (shown is not None and shown not in known.by_id) or (
        bool(own) and not own & known.by_id.keys()
    )


def _leaving(
    queries: Sequence[EvaluationQuery], first: set[str], share: float, named: Named
) -> set[str]:
    """The first ones, and of every stratum and side alike so many more by chance."""
    left = set(first)
    more = round(share * len(queries)) - len(left)
    if more <= 0:
        return left
    strata: dict[tuple[QueryType, Difficulty, Split], list[str]] = defaultdict(list)
    for one in queries:
        if one.query_id not in left:
            strata[one.query_type, one.difficulty, one.split].append(one.query_id)
    sizes = {stratum: len(ids) for stratum, ids in sorted(strata.items())}
    for stratum, number in apportioned_by_size(more, sizes).items():
        by_chance = sorted(
            strata[stratum],
            key=lambda one: drawn_number(named.seed, "leaves", str(named.version), one),
        )
        left.update(by_chance[:number])
    return left


def _labels_now(
    kept: Sequence[EvaluationQuery],
    labels: Labels,
    drafts: Mapping[str, Draft],
    known: KnownAssets,
) -> list[Label]:
    """What was said of queries that stay, of assets that are there; and what is known now of
    assets that nothing was said of.
    """
    ids = {one.query_id for one in kept}
    said = {
        (label.query_id, label.asset_id): label
        for label in labels.labels
        if label.query_id in ids and label.asset_id in known.by_id
    }
    for query_id in ids & drafts.keys():
        for label in labels_of(drafts[query_id]):
            said.setdefault((query_id, label.asset_id), label)
    return list(said.values())


def _still_complete(
    kept: Sequence[EvaluationQuery], labels: Labels, drafts: Mapping[str, Draft]
) -> list[str]:
    """Queries of look of which every asset was judged, and is again now."""
    before = set(labels.head.complete)
    return [
        one.query_id
        for one in kept
        if one.query_id in before
        and one.query_id in drafts
        and drafts[one.query_id].complete
        and one.kind is QueryKind.LAYOUT
    ]
