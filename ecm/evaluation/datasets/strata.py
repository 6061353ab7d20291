"""Choosing queries by strata: so many of each type, and of each difficulty within a type.

A type that has too few is left short and said so; no other type fills it. Within a type, what one
difficulty lacks goes to the others, and that is said as well. Within a stratum the kinds take turns
by their shares, and so do groups, so that no asset and no thing is asked for again before every
other one was. Which queries are chosen follows from seed and ids alone.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ecm.contracts.evaluation import MIX, Difficulty, QueryKind
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.drafts import Graded

_Part = TypeVar("_Part")
HARDNESS: Final[Mapping[Difficulty, float]] = {
    Difficulty.EASY: 0.3,
    Difficulty.MEDIUM: 0.4,
    Difficulty.HARD: 0.3,
}
_KIND_SHARES: Final[Mapping[QueryKind, float]] = {
    QueryKind.CLASS: 0.25,
    QueryKind.CAPTION: 1.0,
    QueryKind.KNOWN_ITEM: 0.05,
    QueryKind.IMAGE: 0.5,
    QueryKind.LAYOUT: 0.5,
    QueryKind.MIXED: 1.0,
    QueryKind.LOG: 0.25,
}
"""How often a kind has its turn beside others of its stratum."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A stratum: how many were wanted of it, how many there were, how many were taken."""

    query_type: QueryType
    difficulty: Difficulty
    wanted: int
    available: int
    taken: int

    @property
    def short(self) -> int:
        return max(0, self.wanted - self.taken)


@dataclass(frozen=True)
class Chosen:
    """What was chosen, sorted by id, and how the strata were filled."""

    queries: tuple[Graded, ...]
    cells: tuple[Cell, ...]


def stratified(
    graded: Iterable[Graded],
    count: int,
    seed: int,
    kept: Mapping[tuple[QueryType, Difficulty], int] | None = None,
) -> Chosen:
    """Choose up to `count` of some queries by strata; `kept` are those that are there already, by
    stratum, and count towards it.
    """
    there = Counter(kept or {})
    pools: dict[tuple[QueryType, Difficulty], list[Graded]] = defaultdict(list)
    for one in graded:
        pools[one.draft.query_type, one.difficulty].append(one)
    chosen: list[Graded] = []
    cells: list[Cell] = []
    for query_type, wanted in apportioned(count, MIX).items():
        keys = {difficulty: (query_type, difficulty) for difficulty in Difficulty}
        ordered = {key: in_turn(pools[key], seed) for key in keys.values()}
        by_cell = apportioned(wanted, HARDNESS)
        taken = {
            difficulty: min(max(0, by_cell[difficulty] - there[key]), len(ordered[key]))
            for difficulty, key in keys.items()
        }
        short = wanted - sum(taken.values()) - sum(there[key] for key in keys.values())
        while short > 0:
            spare = [d for d, key in keys.items() if taken[d] < len(ordered[key])]
            if not spare:
                break
            least = min(spare, key=lambda d: (taken[d] + there[keys[d]], d))
            taken[least] += 1
            short -= 1
        for difficulty, key in keys.items():
            chosen += ordered[key][: taken[difficulty]]
            here = taken[difficulty] + there[key]
            available = len(ordered[key]) + there[key]
            cells.append(Cell(query_type, difficulty, by_cell[difficulty], available, here))
    return Chosen(tuple(sorted(chosen, key=lambda one: one.draft.query_id)), tuple(cells))


def apportioned(count: int, shares: Mapping[_Part, float]) -> dict[_Part, int]:
    """`count` in whole numbers by shares that add up to 1: largest remainders, the first first.

    >>> apportioned(50, {"a": 0.35, "b": 0.35, "c": 0.2, "d": 0.1})
    {'a': 18, 'b': 17, 'c': 10, 'd': 5}
    """
    exact = {part: count * share for part, share in shares.items()}
    found = {part: math.floor(value + 1e-9) for part, value in exact.items()}
    by_rest = sorted(exact, key=lambda part: found[part] - exact[part])
    for part in by_rest[: count - sum(found.values())]:
        found[part] += 1
    return found


def apportioned_by_size(count: int, sizes: Mapping[_Part, int]) -> dict[_Part, int]:
    """At most `count` of all in whole numbers by their sizes, of none more than there are."""
    total = sum(sizes.values())
    if count >= total:
        return dict(sizes)
    found = apportioned(count, {part: size / total for part, size in sizes.items()})
    return {part: min(number, sizes[part]) for part, number in found.items()}


def in_turn(graded: Sequence[Graded], seed: int) -> list[Graded]:
    """Queries of one stratum in the order they are taken: kinds by their shares, groups in turn."""
    kinds: dict[QueryKind, list[Graded]] = defaultdict(list)
    for one in graded:
        kinds[one.draft.kind].append(one)
    waiting = {kind: _groups_in_turn(those, seed) for kind, those in kinds.items()}
    taken: Counter[QueryKind] = Counter()
    order: list[Graded] = []
    while left := [kind for kind in QueryKind if taken[kind] < len(waiting.get(kind, ()))]:
        turn = min(left, key=lambda kind: (taken[kind] + 1) / _KIND_SHARES[kind])
        order.append(waiting[turn][taken[turn]])
        taken[turn] += 1
    return order


def _groups_in_turn(graded: Sequence[Graded], seed: int) -> list[Graded]:
    by_chance = sorted(graded, key=lambda one: drawn(seed, "chosen", one.draft.query_id))
    seen: Counter[str] = Counter()
    rounds: list[tuple[int, int, Graded]] = []
    for place, one in enumerate(by_chance):
        rounds.append((seen[one.draft.group], place, one))
        seen[one.draft.group] += 1
    return [one for _, _, one in sorted(rounds, key=lambda row: row[:2])]
