"""What is known of the candidates of one pool beside their scores: what features are made of.

Knows where each part comes from: facts, the text index, backgrounds. Knows no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis
from ecm.evidence.reader import SnapshotReader
from ecm.search.background import Background, Backgrounds, background_of
from ecm.search.blending import QueryVectors
from ecm.search.facts import Facts
from ecm.search.label_sets import Places
from ecm.search.plan import Plan
from ecm.search.pool import Pool, Scores
from ecm.search.query import Question
from ecm.search.spoken import Spoken, spoken_by

VECTOR_AXES: Final = (Axis.VV, Axis.X, Axis.MV)
FIELDS: Final = ("caption", "tags", "classification", "ocr", "name", "path", "user")


@dataclass(frozen=True, eq=False)
class Signals:
    """Facts and matches of the n candidates of a pool, in its order.

    `places` intp (n,) are theirs in `facts`, -1 where the facts lack them. `fields` float64 (n,) by
    text field: BM25 of the query's words there, 0 where none is; empty when words were not asked.
    `whole`: the facts are those of the whole tenant, and not of candidates alone. `by_layout`: the
    scores of x are how well the look fits words, and no cosines.
    """

    question: Question
    by_example: bool
    facts: Facts
    whole: bool
    places: Places
    spoken: Spoken
    fields: Mapping[str, Scores] = field(default_factory=dict)
    backgrounds: Mapping[Axis, Background] = field(default_factory=dict)

    @property
    def by_layout(self) -> bool:
        return self.question.layout is not None and not self.by_example

    def known(self, numbers: npt.NDArray[np.float64], default: float) -> Scores:
        """A number of the facts for every candidate, float64 (n,), `default` where unknown."""
        if not len(numbers):
            return np.full(len(self.places), default)
        values = np.where(self.places >= 0, numbers[self.places], np.nan)
        return np.where(np.isnan(values), default, values)

    def heights(self, axis: Axis, scores: Scores) -> Scores:
        """Standard deviations of a vector axis' scores above what is usual: float64 (n,).

        Without a background, above the mean of the candidates themselves.
        """
        usual = self.backgrounds.get(axis) or background_of(scores, len(self.facts))
        return usual.heights(scores)


def signals_of(
    plan: Plan,
    pool: Pool,
    facts: Facts,
    vectors: QueryVectors,
    reader: SnapshotReader,
    backgrounds: Backgrounds,
) -> Signals:
    """The signals of a pool. Raises AxisUnavailable, StoreCorrupt."""
    question, tenant, ids = plan.question, plan.request.tenant_id, pool.asset_ids
    places = facts.places(ids)
    fields: dict[str, Scores] = {}
    if Axis.FTS in pool.scores and question.text is not None:
        found = reader.field_scores(tenant, question.text, FIELDS, ids)
        fields = {name: _column(ids, found.get(name, {})) for name in FIELDS}
    usual: dict[Axis, Background] = {}
    for axis in VECTOR_AXES:
        drawn = axis is Axis.X and question.layout is not None and not plan.by_example
        if axis in pool.scores and not drawn:
            vector = vectors.wanted[axis]
            usual[axis] = backgrounds.of_vector(tenant, axis, vector)
    whole = len(facts) == reader.ref.tenants.get(tenant, 0)
    captioned = fields["caption"] > 0 if fields else None
    spoken = spoken_by(facts, places, question.wanted, whole=whole, captioned=captioned)
    return Signals(question, plan.by_example, facts, whole, places, spoken, fields, usual)


def _column(asset_ids: list[str], scores: Mapping[str, float]) -> Scores:
    return np.array([scores.get(asset_id, 0.0) for asset_id in asset_ids], dtype=np.float64)
