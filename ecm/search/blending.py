"""From what was encoded and what the snapshot holds to one query vector per axis.

Knows which vectors may be added up: those of one transform. Knows no index beyond the vectors of
assets that a query names, and no weights but the examples' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ecm.contracts.search import Axis, LostReason
from ecm.errors import QueryError
from ecm.evidence.reader import SnapshotReader
from ecm.search.candidates import Lost
from ecm.search.encoders import AxisVector, EncodedQuery
from ecm.search.plan import VECTOR_AXES, Plan, Shown

_CANCELLED = "the examples cancel each other out"
_TINY = 1e-6
"""Length below which examples have cancelled each other out."""


@dataclass(frozen=True)
class QueryVectors:
    """What is asked with per axis, what is not wanted there, and why an axis has nothing."""

    wanted: dict[Axis, AxisVector] = field(default_factory=dict)
    unwanted: dict[Axis, list[AxisVector]] = field(default_factory=dict)
    lost: dict[Axis, Lost] = field(default_factory=dict)


def query_vectors(
    plan: Plan, encoded: Sequence[EncodedQuery], reader: SnapshotReader
) -> QueryVectors:
    """What the axes are asked with. `encoded` are the outcomes of `plan.encodings`, in order.

    Examples alone make the vector of Rocchio (1971): the weighted sum, those of negative weight
    taken away. Beside words an example to be unlike is compared with what is found instead, since
    cosines of texts and of images with images are not on one scale.

    Raises ImageError for an image that cannot be read, QueryError for an unknown asset and for
    examples that leave nothing to ask for on any axis.
    """
    for one in encoded:
        if one.refused is not None:
            raise one.refused
    found = QueryVectors()
    _check_assets(plan, reader)
    for axis in plan.question.axes:
        if axis not in VECTOR_AXES:
            continue
        said = _of_words(plan, axis, encoded, found)
        pulled = [
            (s.example.weight, v) for s, v in _of_examples(plan, axis, encoded, reader, found)
        ]
        if said is not None:
            found.unwanted.setdefault(axis, []).extend(v for w, v in pulled if w < 0)
            pulled = [(w, v) for w, v in pulled if w > 0]
        _blend(axis, said, pulled, found)
        for place in plan.unwanted:
            vector = _taken(plan, place, axis, encoded, found)
            if vector is not None:
                found.unwanted.setdefault(axis, []).append(vector)
        if axis in found.lost:  # what is left would be another question
            found.wanted.pop(axis, None)
    lost = [found.lost.get(axis) for axis in plan.question.axes]
    if lost and all(one is not None and one.reason == _CANCELLED for one in lost):
        raise QueryError(
            _CANCELLED, "query.empty", "show something that is not to be unlike as well"
        )
    return found


def _check_assets(plan: Plan, reader: SnapshotReader) -> None:
    named = sorted(plan.excluded)
    there = reader.known(plan.request.tenant_id, named)
    for asset_id in named:
        if asset_id not in there:
            raise QueryError(
                f"no asset {asset_id} in this snapshot", "query.asset_unknown", "check the asset id"
            )


def _of_words(
    plan: Plan, axis: Axis, encoded: Sequence[EncodedQuery], found: QueryVectors
) -> AxisVector | None:
    return None if plan.wanted is None else _taken(plan, plan.wanted, axis, encoded, found)


def _of_examples(
    plan: Plan,
    axis: Axis,
    encoded: Sequence[EncodedQuery],
    reader: SnapshotReader,
    found: QueryVectors,
) -> list[tuple[Shown, AxisVector]]:
    if axis is Axis.MV and plan.wanted is not None:
        return []  # what is meant is said in words then
    vectors = []
    for shown in plan.shown:
        vector: AxisVector | None = None
        if shown.encoding is not None:
            vector = _taken(plan, shown.encoding, axis, encoded, found)
        elif shown.example.asset_id is not None and axis not in reader.broken:
            tenant, asset_id = plan.request.tenant_id, shown.example.asset_id
            own = reader.vectors_of(tenant, axis, [asset_id]).get(asset_id)
            if own is not None:
                vector = AxisVector(own, reader.ref.transforms[axis][0])
            else:
                said = f"asset {asset_id} has no vector on this axis"
                found.lost[axis] = Lost(axis, LostReason.NO_VECTOR, said)
        if vector is not None:
            vectors.append((shown, vector))
    return vectors


def _taken(
    plan: Plan, place: int, axis: Axis, encoded: Sequence[EncodedQuery], found: QueryVectors
) -> AxisVector | None:
    """The vector that was to be encoded; without it the axis is lost, for the reason that is told.

    None, too, where none was asked for.
    """
    if axis not in plan.encodings[place].axes:
        return None
    one, vector = encoded[place], encoded[place].vectors.get(axis)
    failure = one.failures.get(axis)
    if failure is not None:
        found.lost[axis] = Lost(axis, one.code, failure)
    elif vector is None:
        said = "a part of the query has no vector on this axis"
        found.lost[axis] = Lost(axis, LostReason.NO_VECTOR, said)
    return vector


def _blend(
    axis: Axis,
    said: AxisVector | None,
    pulled: Sequence[tuple[float, AxisVector]],
    found: QueryVectors,
) -> None:
    parts = [*([(1.0, said)] if said is not None else []), *pulled]
    if not any(weight > 0 for weight, _ in parts):
        return
    if len(parts) == 1:
        found.wanted[axis] = parts[0][1]
        return
    first = parts[0][1]
    if not all(np.isfinite(v.values).all() and v.values.any() for _, v in parts):
        said_of = "the vector of an example is zero or not finite"
        found.lost[axis] = Lost(axis, LostReason.VECTOR_INVALID, said_of)
        return
    same = (first.transform, first.centred, first.values.shape)
    if any((v.transform, v.centred, v.values.shape) != same for _, v in parts):
        found.lost[axis] = Lost(
            axis, LostReason.FINGERPRINT, "the examples are vectors of different models"
        )
        return
    total = np.sum([weight * v.values.astype(np.float64) for weight, v in parts], axis=0)
    length = float(np.linalg.norm(total))
    if not np.isfinite(length) or length < _TINY:
        found.lost[axis] = Lost(axis, LostReason.VECTOR_INVALID, _CANCELLED)
        return
    values = (total / length).astype(np.float32)
    found.wanted[axis] = AxisVector(values, first.transform, first.centred)
