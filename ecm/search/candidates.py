"""Candidates of one axis from one snapshot, and the gates a query vector must pass first.

Knows how each axis is scored; knows no weights and no fusion. An axis that cannot answer is a
`Lost` with its reason, never an empty ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis, LostReason
from ecm.errors import ContractError, EcmError
from ecm.evidence.matrix import SCORE_DIGITS, TenantMatrix
from ecm.evidence.reader import SnapshotReader
from ecm.search.encoders import AxisVector

Scored = list[tuple[str, float]]


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
    """Where to look: one tenant, how many candidates, and one asset that is not its own answer."""

    tenant_id: str
    limit: int
    excluded: str | None = None

    @property
    def asked(self) -> int:
        """Candidates to ask for so that `limit` are left without the excluded one."""
        return self.limit + (self.excluded is not None)

    def kept(self, scored: Scored) -> tuple[tuple[str, float], ...]:
        return tuple(pair for pair in scored if pair[0] != self.excluded)[: self.limit]


class Candidates:
    """The axes of one opened snapshot. Thread-safe.

    Args:
        reader: the snapshot.
        boosts: what a BM25 score counts per text column.
        exact_rows: tenants up to this many assets are scored exactly, from memory.
    """

    def __init__(
        self, reader: SnapshotReader, boosts: Mapping[str, float], exact_rows: int
    ) -> None:
        self._reader = reader
        self._boosts = dict(boosts)
        self._exact_rows = exact_rows
        self._lengths: dict[tuple[str, Axis], npt.NDArray[np.float32]] = {}

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

        Above `exact_rows` centring is left out: it changes scores, and their order only a little.
        """
        try:
            if vector.centred and self._is_exact(scope.tenant_id):
                matrix = self._reader.tenant_matrix(scope.tenant_id, axis)
                found = _top(
                    matrix, self._centred(axis, matrix, vector, scope.tenant_id), scope.asked
                )
            else:
                found = self._reader.search_vectors(
                    scope.tenant_id, axis, vector.values, scope.asked
                )
        except EcmError as error:
            return Lost(
                axis, LostReason.INDEX_UNREADABLE, f"the index cannot be read: {error.message}"
            )
        return Ranking(axis, scope.kept(found))

    def by_text(self, text: str, scope: Scope) -> Ranking | Lost:
        """The best matches of the words: BM25 summed over the boosted fields."""
        try:
            found = self._reader.search_text(scope.tenant_id, text, self._boosts, scope.asked)
        except EcmError as error:
            return Lost(
                Axis.FTS,
                LostReason.INDEX_UNREADABLE,
                f"the index cannot be read: {error.message}",
            )
        return Ranking(Axis.FTS, scope.kept(found))

    def vector_scores(
        self, axis: Axis, vector: AxisVector, tenant_id: str, asset_ids: Sequence[str]
    ) -> dict[str, float]:
        """Scores of given assets as `by_vector` gives them; assets without a vector are absent."""
        if not asset_ids:
            return {}
        if vector.centred and self._is_exact(tenant_id):
            matrix = self._reader.tenant_matrix(tenant_id, axis)
            scores = self._centred(axis, matrix, vector, tenant_id)
            wanted = set(asset_ids)
            places = [(i, a) for i, a in enumerate(matrix.asset_ids) if a in wanted]
            return {asset_id: float(scores[i]) for i, asset_id in places}
        stored = self._reader.vectors_of(tenant_id, axis, asset_ids)
        return {
            asset_id: round(float(values @ vector.values), SCORE_DIGITS)
            for asset_id, values in stored.items()
        }

    def text_scores(self, text: str, tenant_id: str, asset_ids: Sequence[str]) -> dict[str, float]:
        """Scores of given assets as `by_text` would give them; 0 where no word matches."""
        if not asset_ids:
            return {}
        found = self._reader.search_text(
            tenant_id, text, self._boosts, len(asset_ids), among=list(asset_ids)
        )
        return dict.fromkeys(asset_ids, 0.0) | dict(found)

    def _is_exact(self, tenant_id: str) -> bool:
        return self._reader.tenants().get(tenant_id, 0) <= self._exact_rows

    def _centred(
        self, axis: Axis, matrix: TenantMatrix, vector: AxisVector, tenant_id: str
    ) -> npt.NDArray[np.float64]:
        """Cosine of the query with every vector minus the mean, without making the differences.

        q·(v - m) / |v - m|, where |v - m|² = 1 - 2 v·m + m·m for unit v.
        """
        mean, query = matrix.mean, vector.values
        lengths = self._lengths.get((tenant_id, axis))
        if lengths is None:
            squared = 1.0 - 2.0 * (matrix.vectors @ mean) + float(mean @ mean)
            lengths = np.sqrt(np.maximum(squared, 1e-12)).astype(np.float32)
            self._lengths[(tenant_id, axis)] = lengths
        if len(lengths) != len(matrix.asset_ids):
            raise ContractError("the tenant's matrix changed under an open snapshot")
        scores = (matrix.vectors @ query - float(mean @ query)) / lengths
        return scores.astype(np.float64).round(SCORE_DIGITS)


def _top(matrix: TenantMatrix, scores: npt.NDArray[np.float64], limit: int) -> Scored:
    """The `limit` best (asset id, score); the matrix is in order of asset id, which breaks ties."""
    order = np.argsort(-scores, kind="stable")[:limit]
    return [(matrix.asset_ids[place], float(scores[place])) for place in order]
