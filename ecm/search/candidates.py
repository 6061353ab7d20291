"""Candidates of one axis from one snapshot, and the gates a query vector must pass first.

Knows how each axis is scored; knows no weights and no fusion. An axis that cannot answer is a
`Lost` with its reason, never an empty ranking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis, LostReason
from ecm.errors import EcmError
from ecm.evidence.allowed import Allowed
from ecm.evidence.matrix import SCORE_DIGITS, CentredCosine, Scored, best_of, first_of, scores_of
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.text_query import TextQuery
from ecm.search.encoders import AxisVector

SKETCHED: Final = 4
"""Of large tenants so many times the candidates, nearest to a layout's sketch, are scored by it."""

_BLOCK: Final = 4096
"""Descriptors that a layout scores at once."""


class LayoutQuestion(Protocol):
    """What words say of the look of a picture, as constraints on stored structure descriptors."""

    def scores(self, descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """How well n descriptors, float32 (n, d), fit: float64 (n,) in [0, 1]."""
        ...

    def vector(self) -> npt.NDArray[np.float32]:
        """The constraints drawn, as a descriptor: float32 (d,)."""
        ...


@dataclass(frozen=True)
class Lost:
    """An axis that did not answer, and why."""

    axis: Axis
    code: LostReason
    reason: str


@dataclass(frozen=True)
class Ranking:
    """What one axis found, best first; scores never rise, ties are in order of asset id."""

    axis: Axis
    scored: tuple[tuple[str, float], ...]

    def asset_ids(self) -> list[str]:
        return [asset_id for asset_id, _ in self.scored]


@dataclass(frozen=True)
class Scope:
    """Where to look: one tenant, how many candidates, assets that are no answers, what may be one.

    `excluded` are few (what a query shows); `allowed` None: everything of the tenant.
    """

    tenant_id: str
    limit: int
    excluded: frozenset[str] = frozenset()
    allowed: Allowed | None = None

    @property
    def asked(self) -> int:
        """Candidates to ask for so that `limit` are left without the excluded ones."""
        return self.limit + len(self.excluded)

    def kept(self, scored: Scored) -> tuple[tuple[str, float], ...]:
        return tuple(pair for pair in scored if pair[0] not in self.excluded)[: self.limit]


class Candidates:
    """The axes of one opened snapshot. Thread-safe.

    Args:
        reader: the snapshot.
        boosts: what a BM25 score counts per text column.
    """

    def __init__(self, reader: SnapshotReader, boosts: Mapping[str, float]) -> None:
        self._reader = reader
        self._boosts = dict(boosts)

    def gate(self, axis: Axis, vector: AxisVector | None) -> Lost | None:
        """The reason why the axis may not answer, or None: index, transform, dimension, values."""
        try:
            self._reader.check(axis)
        except EcmError as error:
            said = error.message.removeprefix(f"{axis.value}: ")
            return Lost(axis, LostReason.INDEX_MISSING, said)
        if axis is Axis.FTS:
            return None
        if vector is None:
            return Lost(axis, LostReason.NO_VECTOR, "the query has no vector on this axis")
        stored = self._reader.ref.transforms.get(axis, ())
        if vector.transform not in stored:
            return Lost(
                axis,
                LostReason.FINGERPRINT,
                f"the query model speaks of transform {vector.transform[:12]}, the snapshot was "
                f"made with {', '.join(mark[:12] for mark in stored) or 'none'}",
            )
        expected = (self._reader.ref.dims[axis],)
        if vector.values.shape != expected:
            said = f"the query has shape {vector.values.shape}, not {expected}"
            return Lost(axis, LostReason.DIMENSION, said)
        if not np.isfinite(vector.values).all() or not vector.values.any():
            return Lost(axis, LostReason.VECTOR_INVALID, "the query vector is zero or not finite")
        return None

    def by_vector(self, axis: Axis, vector: AxisVector, scope: Scope) -> Ranking | Lost:
        """The nearest assets: cosine, of vectors around their mean where the query asks for it.

        Of tenants too large for memory centring is left out: it changes scores, and their order
        only a little.
        """

        def found() -> Scored:
            if not vector.centred or not self._reader.is_exact(scope.tenant_id):
                return self._reader.search_vectors(
                    scope.tenant_id, axis, vector.values, scope.asked, scope.allowed
                )
            matrix = self._reader.tenant_matrix(scope.tenant_id, axis)
            chosen = None if scope.allowed is None else matrix.ids.chosen(scope.allowed)
            return best_of(CentredCosine(matrix, vector.values), scope.asked, chosen)

        return self._ranking(axis, scope, found)

    def by_text(self, query: TextQuery | str, scope: Scope) -> Ranking | Lost:
        """The best matches of the words: BM25 summed over the boosted fields."""
        return self._ranking(
            Axis.FTS,
            scope,
            lambda: self._reader.search_text(
                scope.tenant_id, query, self._boosts, scope.asked, allowed=scope.allowed
            ),
        )

    def by_layout(self, layout: LayoutQuestion, scope: Scope) -> Ranking | Lost:
        """What fits a layout best, on the structure axis; what does not fit at all is not found.

        Of tenants too large for memory only the assets nearest the layout's sketch are scored.
        """

        def found() -> Scored:
            if not self._reader.is_exact(scope.tenant_id):
                near = self._reader.search_vectors(
                    scope.tenant_id, Axis.X, layout.vector(), SKETCHED * scope.asked, scope.allowed
                )
                scores = self.layout_scores(layout, scope.tenant_id, [a for a, _ in near])
                return _best(scores, scope.asked)
            matrix = self._reader.tenant_matrix(scope.tenant_id, Axis.X)
            chosen = None if scope.allowed is None else matrix.ids.chosen(scope.allowed)
            places = np.arange(len(matrix.ids)) if chosen is None else chosen
            fits = np.zeros(len(places))
            for start in range(0, len(places), _BLOCK):
                block = slice(start, start + _BLOCK)
                some = matrix.vectors[block if chosen is None else chosen[block]]
                fits[block] = layout.scores(some).round(SCORE_DIGITS)
            return first_of(matrix.ids, places[fits > 0], fits[fits > 0], scope.asked)

        return self._ranking(Axis.X, scope, found)

    def vector_scores(
        self, axis: Axis, vector: AxisVector, tenant_id: str, asset_ids: Sequence[str]
    ) -> dict[str, float]:
        """Scores of given assets as `by_vector` gives them; assets without a vector are absent."""
        if not asset_ids:
            return {}
        if vector.centred and self._reader.is_exact(tenant_id):
            matrix = self._reader.tenant_matrix(tenant_id, axis)
            return scores_of(CentredCosine(matrix, vector.values), asset_ids)
        return self._reader.vector_scores(tenant_id, axis, vector.values, asset_ids)

    def text_scores(
        self, query: TextQuery | str, tenant_id: str, asset_ids: Sequence[str]
    ) -> dict[str, float]:
        """Scores of given assets as `by_text` would give them; 0 where they are not found."""
        if not asset_ids:
            return {}
        found = self._reader.search_text(
            tenant_id, query, self._boosts, len(asset_ids), among=asset_ids
        )
        return dict.fromkeys(asset_ids, 0.0) | dict(found)

    def layout_scores(
        self, layout: LayoutQuestion, tenant_id: str, asset_ids: Sequence[str]
    ) -> dict[str, float]:
        """Scores of given assets as `by_layout` gives them; assets without a vector are absent."""
        if not asset_ids:
            return {}
        stored = self._reader.vectors_of(tenant_id, Axis.X, asset_ids)
        if not stored:
            return {}
        fits = layout.scores(np.stack(list(stored.values()))).round(SCORE_DIGITS)
        return dict(zip(stored, fits.tolist(), strict=True))

    def _ranking(self, axis: Axis, scope: Scope, found: Callable[[], Scored]) -> Ranking | Lost:
        try:
            return Ranking(axis, scope.kept(found()))
        except EcmError as error:
            return Lost(
                axis, LostReason.INDEX_UNREADABLE, f"the index cannot be read: {error.message}"
            )


def _best(scores: Mapping[str, float], limit: int) -> Scored:
    """The `limit` best (asset id, score) above 0, ties by asset id."""
    fitting = [(asset_id, score) for asset_id, score in scores.items() if score > 0]
    return sorted(fitting, key=lambda pair: (-pair[1], pair[0]))[:limit]
