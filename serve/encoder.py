"""The deployment that holds the query models and encodes concurrent questions together.

Knows batching, and that a rollout may give roles to other models while the service runs; which
models these are is known to `ecm.search.opening`.
"""

from __future__ import annotations

import asyncio
import logging
import time

from ray import serve

from ecm.config import Profile
from ecm.contracts.search import Axis
from ecm.errors import EcmError
from ecm.opening import effective, search_parts
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.opening import open_encoder
from serve.exposition import Told, told
from serve.meters import EncoderMeters

log = logging.getLogger("ray.serve")

BATCH = 16
BATCH_WAIT_SECONDS = 0.002


@serve.deployment
class Encoder:
    """Brings questions into the vector spaces. A model that is missing costs its axis only.

    When a rollout is promoted or rolled back the models that have the roles then are opened beside
    the present ones, and take over when they are ready. Every query vector names its transform:
    until then, and for as long as they cannot be opened, an axis whose snapshot is of another
    transform refuses and says why. Vectors of two models never meet.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._models = effective(profile).models
        self._encoder = open_encoder(search_parts(profile))
        self._meters = EncoderMeters()
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    def __del__(self) -> None:
        """Called by Serve when a replica ends in order."""
        if self._task is not None:
            self._task.cancel()

    async def reaches(self) -> dict[Axis, str]:
        """The transform that each axis' query vectors may be compared with."""
        self._follow()
        return self._encoder.reaches()

    async def check_health(self) -> None:
        """Asked by Serve from time to time: following goes on even when nobody asks."""
        self._follow()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS)
    async def encode(self, requests: list[EncodingRequest]) -> list[EncodedQuery]:
        """One outcome per request, in one forward pass per model."""
        self._follow()
        started = time.perf_counter()
        outcomes = await asyncio.to_thread(self._encoder.encode, requests)
        failures = [axis.value for outcome in outcomes for axis in outcome.failures]
        self._meters.encoded(len(requests), time.perf_counter() - started, failures)
        return outcomes

    async def alive(self) -> None:
        """Answers while the replica runs."""

    async def metrics(self) -> Told:
        """What this replica has counted."""
        return told(self._meters)

    def _follow(self) -> None:
        """Start following in this replica's own event loop, unless it runs."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep_following())

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(self._profile.serve.snapshot_poll_seconds)
            await asyncio.to_thread(self._refresh)

    def _refresh(self) -> None:
        """Look whether other models have the roles; a failure is told once and tried again."""
        try:
            models = effective(self._profile).models
            if models != self._models:
                self._encoder = open_encoder(search_parts(self._profile))
                self._models = models
                log.info("query models of another rollout: %s", self._encoder.reaches())
            self._told = ""
        except EcmError as error:
            if str(error) != self._told:
                log.warning("cannot follow the models that have the roles: %s", error)
            self._told = str(error)
