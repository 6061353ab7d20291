"""The snapshots that a replica holds open, and the task that follows what is published.

Knows the store, pins and how an engine is opened on a snapshot; knows no deployment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from ecm.config import Profile
from ecm.delivery.incarnation import Incarnation
from ecm.errors import EcmError, TransientError
from ecm.evidence.pins import PinKeeper
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.snapshot_files import check_sizes
from ecm.evidence.store import EvidenceStore
from ecm.opening import search_parts
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.following import Following
from ecm.search.opening import open_ranking, structure_of
from ecm.search.warming import warm
from serve.kept_store import KeptStore

log = logging.getLogger("ray.serve")

PIN_SECONDS = 120.0
"""A replica that died keeps its snapshots from collection for so long, or two requests' time."""


class _EncodesElsewhere:
    """Stands where the engine expects an encoder: here encoding happens between its steps."""

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        raise TransientError("this engine encodes in another deployment")


class Followed:
    """The engines of a replica. Starts before there is a snapshot; a new one is opened beside the
    present one, which answers until then.
    """

    def __init__(self, profile: Profile) -> None:
        seconds = max(PIN_SECONDS, 2 * profile.serve.request_timeout_seconds)
        self._pins = PinKeeper(self.store, str(Incarnation.here()), seconds)
        self._parts = search_parts(profile)
        self.ranking = open_ranking(self._parts)
        self._poll = profile.serve.snapshot_poll_seconds
        self._tasks: list[asyncio.Task[None]] = []
        self._store = KeptStore(self._parts.evidence)
        self.engines = Following(self._published, self._opened, self._pins)
        self._begun = False
        self._told = ""
        self.trouble = ""
        self._refresh()

    def close(self) -> None:
        """Follow no longer; what was open may be collected."""
        for task in self._tasks:
            task.cancel()
        self._pins.release()

    def store(self) -> EvidenceStore:
        """The evidence store, opened when first asked for. Raises as `EvidenceStore.open`."""
        return self._store.opened()

    def follow(self) -> None:
        """Start following in the running event loop, unless it goes on already."""
        if not self._tasks or any(task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()
            loop = asyncio.get_running_loop()
            steps = (self._keep_following(), self._keep_pinned())
            self._tasks = [loop.create_task(step) for step in steps]

    async def _keep_following(self) -> None:
        while True:
            await asyncio.sleep(self._poll)
            await asyncio.to_thread(self._refresh)

    async def _keep_pinned(self) -> None:
        """Beside following, since that may be busy opening a snapshot for minutes."""
        while True:
            await asyncio.sleep(PIN_SECONDS / 8)
            await asyncio.to_thread(self.engines.renew, time.time())

    def _refresh(self) -> None:
        """Look for a new snapshot; a failure is told once and the present one goes on serving."""
        try:
            if self.engines.refresh(time.time()):
                ref = self.engines.current().reader.ref
                log.info("serving snapshot %s, %d assets", ref.snapshot_id, ref.assets)
            self._tell("", "")
        except EcmError as error:
            # Readiness is for everybody: it gets the kind of trouble, the log its words and paths.
            self._tell(f"what is published cannot be followed [{error.code}]", str(error))

    def _tell(self, trouble: str, words: str) -> None:
        words = words or self.engines.unpinned
        if words and words != self._told:
            log.warning("cannot follow the published snapshot: %s", words)
        self._told = words
        self.trouble = trouble or ("open snapshots are not pinned" if words else "")

    def _published(self) -> SnapshotRef | None:
        return published_ref(self.store())

    def _opened(self, ref: SnapshotRef) -> SearchEngine:
        """What is damaged is to be noticed now, while the one before can go on answering."""
        store = self.store()
        if store.storage.lance_options is None:  # from afar it is copied, with its sums compared
            check_sizes(store, ref)
        reader = SnapshotReader.open(store, ref)
        engine = SearchEngine(
            reader,
            _EncodesElsewhere(),
            self.ranking,
            self._parts.search,
            structure=structure_of(self._parts),
        )
        if self._parts.search.warm and not self._begun:
            warm(engine, self._parts.evidence)
        self._begun = True
        return engine
