"""What is known of a search between its steps: candidates gathered, candidates in order.

Values that one step hands the next, and how what was lost on the way is told. Does nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Degradation, FacetField, LostReason
from ecm.evidence.allowed import Allowed
from ecm.search.alternatives import Alternatives
from ecm.search.asking import Found
from ecm.search.facts import Facts
from ecm.search.laps import Laps
from ecm.search.plan import Plan
from ecm.search.pool import Pool
from ecm.search.ranked import Ranked
from ecm.search.rerank import RerankQuestion
from ecm.search.second_stage import QueryWeights
from ecm.search.signals import Signals


@dataclass(frozen=True)
class NotReranked:
    """Why the second stage did not take part."""

    code: LostReason
    reason: str


@dataclass(frozen=True)
class Gathered:
    """The candidates of a plan, the weights of its query, and what to ask a reranker (None:
    nothing), for so long at most.
    """

    found: Found
    weights: QueryWeights
    pool: Pool | None
    signals: Signals | None
    facts: Facts
    allowed: Allowed | None
    rerank: RerankQuestion | None
    budget_ms: float
    laps: Laps


@dataclass(frozen=True)
class Ordered:
    """The whole ranking of a query: what all its pages are cut from."""

    gathered: Gathered
    ranked: tuple[Ranked, ...]
    relevance: npt.NDArray[np.float64] | None
    threshold: float | None
    cut: int
    reranked: int
    not_reranked: NotReranked | None
    alternatives: Alternatives | None


@dataclass(frozen=True)
class KnownPlan(Plan):
    """A plan whose ranking is known already: nothing is to be encoded or asked."""

    ordered: Ordered


def degraded(ordered: Ordered) -> tuple[Degradation, ...]:
    """What did not take part, and what that does."""
    found = ordered.gathered.found
    left = ", ".join(axis.value for axis in found.answering())
    lost = [
        Degradation(
            axis=axis,
            code=one.code,
            reason=one.reason,
            effect=f"Hits are ranked by {left} only." if left else "No hits were found in time.",
        )
        for axis, one in found.lost.items()
    ]
    if ordered.not_reranked is not None:
        lost.append(
            Degradation(
                step="rerank",
                code=ordered.not_reranked.code,
                reason=ordered.not_reranked.reason,
                effect="Hits are in the order of the merged rankings.",
            )
        )
    return tuple(lost)


def uncounted(reasons: Mapping[FacetField, str]) -> tuple[Degradation, ...]:
    """Facets that this snapshot cannot count, as `uncountable` gives them."""
    return tuple(
        Degradation(
            step="facets",
            code=LostReason.INDEX_MISSING,
            reason=f"{field.value}: {reason}",
            effect="It is not counted.",
        )
        for field, reason in reasons.items()
    )
