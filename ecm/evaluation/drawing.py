"""Which queries of a set a run asks: a part of its split, spread over its strata.

Arithmetic alone: knows neither engines nor files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal

from ecm.contracts.evaluation import MIX, EvaluationQuery, Split
from ecm.contracts.search import QueryType
from ecm.errors import ConfigError

Part = Literal["held_out", "learn", "all"]

SHARES = {kind: Fraction(str(share)) for kind, share in MIX.items()}
"""Of the types in what is asked, exactly: those that sets are made of."""


def drawn(
    queries: Sequence[EvaluationQuery], part: Part, count: int | None, seed: int
) -> tuple[EvaluationQuery, ...]:
    """At most `count` queries of one side of the split, in the order of the set; None: all of it.

    Types have their SHARES as far as there are enough of each, difficulties what they have in the
    set. Which of a stratum are drawn is told by a hash of seed and id, so that a smaller draw is
    mostly part of a larger one, and one query more in the set changes little. Raises ConfigError
    when there is none.
    """
    there = [one for one in queries if part == "all" or one.split is Split(part)]
    if not there:
        raise ConfigError(
            f"the query set has no queries to ask ({part})",
            "evaluation.no_queries",
            "choose another --split, or build a set that is not empty",
        )
    if count is None or count >= len(there):
        return tuple(there)
    by_type: dict[QueryType, list[EvaluationQuery]] = defaultdict(list)
    for one in there:
        by_type[one.query_type].append(one)
    quotas = _quotas({kind: len(of) for kind, of in by_type.items()}, count)
    chosen = {
        one.query_id for kind, of in by_type.items() for one in _spread(of, quotas[kind], seed)
    }
    return tuple(one for one in there if one.query_id in chosen)


def _quotas(there: dict[QueryType, int], count: int) -> dict[QueryType, int]:
    """How many of each type: by SHARES, where a type has too few the others make up for it."""
    quotas = dict.fromkeys(there, 0)
    while (left := count - sum(quotas.values())) > 0:
        open_types = {kind: SHARES[kind] for kind in there if quotas[kind] < there[kind]}
        extra = _apportioned(open_types, left)
        for kind, more in extra.items():
            quotas[kind] = min(there[kind], quotas[kind] + more)
    return quotas


def _apportioned(shares: dict[QueryType, Fraction], count: int) -> dict[QueryType, int]:
    """Whole numbers that sum to `count`, by largest remainders (Hamilton)."""
    whole = sum(shares.values())
    exact = {kind: count * share / whole for kind, share in shares.items()}
    given = {kind: int(part) for kind, part in exact.items()}
    order = sorted(shares, key=lambda kind: (given[kind] - exact[kind], kind.value))
    for kind in order[: count - sum(given.values())]:
        given[kind] += 1
    return given


def _spread(queries: Iterable[EvaluationQuery], count: int, seed: int) -> list[EvaluationQuery]:
    """`count` of these: difficulties in turn of how much of each is due."""
    by_difficulty: dict[str, list[EvaluationQuery]] = defaultdict(list)
    for one in queries:
        by_difficulty[one.difficulty.value].append(one)
    placed = []
    for name, of in by_difficulty.items():
        of.sort(key=lambda one: hashlib.sha256(f"{seed}:{one.query_id}".encode()).digest())
        # The k-th of n stands at (k + 1/2) / n: the first so many hold each by its share.
        placed += [(Fraction(2 * at + 1, 2 * len(of)), name, one) for at, one in enumerate(of)]
    placed.sort(key=lambda place: place[:2])
    return [one for _, _, one in placed[:count]]
