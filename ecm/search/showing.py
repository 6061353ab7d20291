"""The hits of one page: rows of the snapshot, places on the axes, and why each is where it is.

Knows how a ranked candidate is shown; ranks nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Hit
from ecm.evidence.reader import SnapshotReader, SnapshotRow
from ecm.search.alternatives import Alternatives
from ecm.search.explain import Asked, evidence_of, matching, sentence
from ecm.search.facts import Facts
from ecm.search.plan import Plan
from ecm.search.pool import Pool
from ecm.search.ranked import Ranked
from ecm.search.stems import stems


class Page:
    """Shows ranked candidates of one plan. `facts` and `pool` are what they were ranked with.

    `relevance` float64 (n,) is by place in the pool, NaN where it is not known; `alternatives` tell
    where hits would be without some evidence.
    """

    def __init__(
        self,
        reader: SnapshotReader,
        plan: Plan,
        pool: Pool | None,
        relevance: npt.NDArray[np.float64] | None,
        alternatives: Alternatives | None,
        evidence_per_hit: int,
    ) -> None:
        self._reader = reader
        self._plan = plan
        self._pool = pool
        self._relevance = relevance
        self._alternatives = alternatives
        self._evidence_per_hit = evidence_per_hit
        self._stems = stems(plan.question.wanted)
        self._asked = Asked(plan.question.wanted, plan.by_example)

    def hits(self, page: Sequence[Ranked], offset: int, facts: Facts) -> tuple[Hit, ...]:
        """The hits with ranks from `offset` + 1. Raises StoreCorrupt."""
        tenant = self._plan.request.tenant_id
        rows = {row.asset_id: row for row in self._reader.rows(tenant, [r.asset_id for r in page])}
        places = facts.places([one.asset_id for one in page])
        return tuple(
            self._hit(rows[one.asset_id], one, rank, facts, int(place))
            for rank, (one, place) in enumerate(zip(page, places, strict=True), start=offset + 1)
        )

    def _hit(self, row: SnapshotRow, one: Ranked, rank: int, facts: Facts, place: int) -> Hit:
        axes = self._pool.axes_of(one.place) if self._pool is not None else {}
        explained = self._plan.request.explain
        matches = matching(row.statements, self._stems) if explained else ()
        parts = one.parts if explained else ()
        size = _known(facts.size[place])
        return Hit(
            rank=rank,
            asset_id=one.asset_id,
            score=one.score,
            relevance=_known(self._relevance[one.place]) if self._relevance is not None else None,
            uris=row.uris,
            axes=axes,
            contributions=parts,
            counterfactuals=self._alternatives.of(one.place)
            if explained and self._alternatives is not None
            else (),
            caption=row.caption,
            caption_composed=row.caption_composed,
            tags=row.tags,
            width=row.width,
            height=row.height,
            size=int(size) if size is not None else None,
            taken_at=_known(facts.taken[place]),
            modified_at=_known(facts.modified[place]),
            evidence=evidence_of(row, axes, matches, self._evidence_per_hit) if explained else (),
            why=sentence(row, parts, axes, self._asked, matches, _known(facts.said_at[place]))
            if explained
            else "",
        )


def _known(value: float) -> float | None:
    """A number of the facts, where NaN stands for not known."""
    return None if np.isnan(value) else float(value)
