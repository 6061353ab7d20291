"""The deployment that holds the query models and encodes concurrent questions together.

Knows batching; which models these are is known to `ecm.search.opening`.
"""

from __future__ import annotations

import asyncio

from ray import serve

from ecm.config import Profile
from ecm.contracts.search import Axis
from ecm.opening import search_parts
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.opening import open_encoder

BATCH = 16
BATCH_WAIT_SECONDS = 0.002


@serve.deployment
class Encoder:
    """Brings questions into the vector spaces. A model that is missing costs its axis only."""

    def __init__(self, profile: Profile) -> None:
        self._encoder = open_encoder(search_parts(profile))

    async def reaches(self) -> dict[Axis, str]:
        """The transform that each axis' query vectors may be compared with."""
        return self._encoder.reaches()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS)
    async def encode(self, requests: list[EncodingRequest]) -> list[EncodedQuery]:
        """One outcome per request, in one forward pass per model."""
        return await asyncio.to_thread(self._encoder.encode, requests)
