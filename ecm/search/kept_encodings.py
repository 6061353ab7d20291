"""Query vectors that were made before, so that no model is asked again for the same words or image.

Knows when a remembered vector may be used: for equal content, and only while it is of a transform
that the snapshot was made with. Knows no tenant: equal content has equal vectors, whoever asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from ecm.contracts.identity import digest
from ecm.contracts.search import Axis
from ecm.search.caching import Cache
from ecm.search.encoders import EncodedQuery, EncodingRequest

Transforms = Mapping[Axis, Sequence[str]]


class KeptEncodings:
    """Outcomes of encoding, in a cache. Only whole ones are kept: a failure is tried again."""

    def __init__(self, cache: Cache[EncodedQuery]) -> None:
        self._cache = cache

    def recall(self, request: EncodingRequest, reached: Transforms) -> EncodedQuery | None:
        """The outcome for a snapshot made with the transforms `reached`, if it is known."""
        return self._cache.get(_key(request, reached))

    def keep(self, request: EncodingRequest, encoded: EncodedQuery, reached: Transforms) -> None:
        """Remember an outcome, if every vector that was asked for is there and may be compared."""
        if encoded.refused is not None or set(encoded.vectors) < request.axes:
            return
        vectors = encoded.vectors.items()
        if any(vector.transform not in reached.get(axis, ()) for axis, vector in vectors):
            return
        nbytes = sum(vector.values.nbytes for vector in encoded.vectors.values())
        self._cache.put(_key(request, reached), encoded, nbytes)


def _key(request: EncodingRequest, reached: Transforms) -> str:
    image = request.image
    return digest(
        [
            sorted(axis.value for axis in request.axes),
            request.text or "",
            hashlib.sha256(image).hexdigest() if image is not None else "",
            {axis.value: sorted(reached.get(axis, ())) for axis in request.axes},
        ]
    )
