"""Sides of a split, learn and held out, that never leak into each other.

Queries are tied when they are of one group, ask the same words, show the same asset, or one of them
is about the one asset that another is about. What is tied, over any number of steps, lies on one
side. Knows no source and no stratum but the type.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ecm.contracts.evaluation import EvaluationQuery, QueryKind, Split
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.drafts import ABOUT_ASSET
from ecm.evaluation.datasets.words import normalised

_OF_ONE: Final = (QueryKind.KNOWN_ITEM, QueryKind.CAPTION)
HELD_OUT_SHARE: Final = 0.5


def ties_of(
    text: str | None, shown: str | None, kind: QueryKind, group: str, answers: Collection[str]
) -> frozenset[str]:
    """What ties a query to others: its group, its words, assets that it is about.

    It is about the asset it shows, the asset its group is named by, its only answer, and, as a
    known item or a caption, about all of its answers. `answers` are those that it was made with:
    what people judge later to answer it as well is not what it is about.
    """
    ties = {f"group {group}"}
    if group.startswith(f"{ABOUT_ASSET}:"):
        ties.add(f"asset {group.partition(':')[2]}")
    if text is not None and shown is None:  # words beside a shown asset say nothing alone
        ties.add(f"words {normalised(text)}")
    if shown is not None:
        ties.add(f"asset {shown}")
    if kind in _OF_ONE or len(answers) == 1:
        ties |= {f"asset {asset_id}" for asset_id in answers}
    return frozenset(ties)


def ties_of_query(query: EvaluationQuery, answers: Collection[str]) -> frozenset[str]:
    """The same of a query that is kept already; `answers` are as `settled.made_with` has them."""
    text, shown = query.query_text, query.shown_asset_id
    return ties_of(text, shown, query.kind, query.group, answers)


@dataclass(frozen=True)
class Tied:
    """A query with its ties."""

    query_id: str
    query_type: QueryType
    ties: frozenset[str]


class _Joined:
    """Ties that hang together, over any number of steps."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, tie: str) -> str:
        parent = self._parent
        parent.setdefault(tie, tie)
        while parent[tie] != tie:
            parent[tie] = parent[parent[tie]]
            tie = parent[tie]
        return tie

    def join(self, ties: Iterable[str]) -> str:
        """Make some ties one, and give its root."""
        first, *others = sorted({self.root(tie) for tie in ties})
        for other in others:
            self._parent[other] = first
        return first


def components(tied: Iterable[Tied]) -> list[list[Tied]]:
    """Queries that are tied over any number of steps, in a fixed order."""
    joined = _Joined()
    ordered = sorted(tied, key=lambda one: one.query_id)
    for one in ordered:
        joined.join(one.ties)
    found: dict[str, list[Tied]] = defaultdict(list)
    for one in ordered:
        found[joined.root(min(one.ties))].append(one)
    return list(found.values())


def compatible(
    settled: Iterable[Tied], sides: Mapping[str, Split], more: Iterable[Tied]
) -> set[str]:
    """Ids of those of `more` that cannot be beside what is settled and the others before them:
    each would tie the two sides together.
    """
    joined = _Joined()
    of_root: dict[str, set[Split]] = {}
    unfit: set[str] = set()
    old = [(one, {sides[one.query_id]}) for one in settled if one.query_id in sides]
    # Those that have a side already are never unfit; that of one that comes again is known.
    new = [
        (one, {sides[one.query_id]} if one.query_id in sides else set[Split]())
        for one in sorted(more, key=lambda one: one.query_id)
    ]
    for number, (one, own) in enumerate([*old, *new]):
        there = own.union(*(of_root.get(joined.root(tie), set()) for tie in one.ties))
        if number >= len(old) and len(there) > 1:
            unfit.add(one.query_id)
            continue
        of_root[joined.join(one.ties)] = there
    return unfit


def sides_of(
    tied: Iterable[Tied],
    held_out: float,
    seed: int,
    fixed: Mapping[str, Split] | None = None,
) -> dict[str, Split | None]:
    """The side of each query; those of `fixed` are as they were.

    About `held_out` of every query type is held out, as far as what is tied allows: the largest are
    placed first, each where its types lack most. None: a query is tied to both sides of `fixed`, so
    that there is no place for it.
    """
    settled = dict(fixed or {})
    sides: dict[str, Split | None] = {}
    counts: Counter[tuple[QueryType, Split]] = Counter()
    free: list[list[Tied]] = []
    for component in components(tied):
        known = {settled[one.query_id] for one in component if one.query_id in settled}
        if not known:
            free.append(component)
            continue
        only = known.pop() if len(known) == 1 else None
        for one in component:
            side = settled.get(one.query_id, only)
            sides[one.query_id] = side
            if side is not None:
                counts[one.query_type, side] += 1
    chance = {id(one): drawn(seed, "side", one[0].query_id) for one in free}
    for component in sorted(free, key=lambda one: (-len(one), chance[id(one)])):
        side = _lacking(component, counts, held_out, chance[id(component)])
        for one in component:
            sides[one.query_id] = side
            counts[one.query_type, side] += 1
    return sides


def _lacking(
    component: list[Tied], counts: Counter[tuple[QueryType, Split]], held_out: float, chance: int
) -> Split:
    """The side that leaves the types of a component closest to their share."""
    added = Counter(one.query_type for one in component)
    off: dict[Split, float] = {}
    for side in Split:
        off[side] = 0.0
        for query_type, more in added.items():
            out = counts[query_type, Split.HELD_OUT] + more * (side is Split.HELD_OUT)
            total = more + sum(counts[query_type, each] for each in Split)
            off[side] += abs(out - held_out * total)
    if off[Split.LEARN] == off[Split.HELD_OUT]:
        return Split.HELD_OUT if chance % 2 else Split.LEARN
    return min(off, key=lambda side: off[side])
