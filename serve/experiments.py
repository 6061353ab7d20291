"""The experiments that a replica takes part in: followed as the published snapshot is.

Knows records and since when they were not to be read; knows no route and no ranking. What cannot be
read is no experiment: everybody gets control, and why is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ecm.contracts.experiment import Arm, Assigned
from ecm.contracts.search import SearchResponse
from ecm.errors import EcmError
from ecm.evidence.experiments import Experiment, ExperimentRecords
from ecm.evidence.storage import Storage

log = logging.getLogger("ray.serve")

STALE_SECONDS = 10.0
"""Records that could not be looked at for so long (or ten polls) are as good as unreadable."""


@dataclass(frozen=True)
class Drawn:
    """The arm that a unit was dealt: what an ingress replica asks the holder of the snapshot for.

    `unit` is its mark.
    """

    experiment: str
    arm: Arm
    stage: int
    unit: str

    def assigned(self) -> Assigned:
        return Assigned(id=self.experiment, arm=self.arm, stage=self.stage)


@dataclass(frozen=True)
class ArmAnswer:
    """A SearchResponse as JSON; `exposed` is what it is to be counted as, None for control in place
    of an arm (and `trouble`, why) or for a page of a search that began in another arm. `teams` are
    as in Exposure. What an impression says of the answer stands beside it, so that nobody needs to
    read it again: snapshot, digest of the ranking, and ids and ranks of hits.
    """

    body: bytes
    exposed: Assigned | None
    teams: str | None = None
    trouble: str = ""
    snapshot_id: str = ""
    ranking: str = ""
    shown: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(
        cls, answer: SearchResponse, body: bytes, teams: str | None = None, trouble: str = ""
    ) -> ArmAnswer:
        """That of an answer, which says itself what it is counted as."""
        shown = tuple((hit.asset_id, hit.rank) for hit in answer.hits)
        return cls(
            body,
            answer.experiment,
            teams,
            trouble,
            answer.snapshot_id,
            answer.ranking.digest,
            shown,
        )


class FollowedExperiments:
    """What runs now.

    Args:
        storage_of: the storage of records; blocks, raises EcmError.
        poll: seconds between two looks.
        prepared: what else a replica needs for an experiment, done once each look; blocks, raises
            EcmError, and then there is none.
        wall: Unix seconds.
    """

    def __init__(
        self,
        storage_of: Callable[[], Storage],
        poll: float,
        prepared: Callable[[Experiment], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._storage_of = storage_of
        self._poll = poll
        self._prepared = prepared
        self._wall = wall
        self._records: ExperimentRecords | None = None
        self._open: tuple[Experiment, ...] = ()
        self._read_at = 0.0
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str:
        """Why there are no experiments though there may be some; empty when all is well."""
        if not self._trouble and self._is_stale():
            return "the records of experiments were not looked at for too long"
        return self._trouble

    def of(self, tenant_id: str) -> Experiment | None:
        """The experiment that deals a tenant's units now."""
        if not self._open or self._is_stale():
            return None
        now = self._wall()
        for one in self._open:
            if one.deals(now) and one.concerns(tenant_id):
                return one
        return None

    def running(self) -> tuple[Experiment, ...]:
        """All that deal units now."""
        now = self._wall()
        return () if self._is_stale() else tuple(one for one in self._open if one.deals(now))

    def refresh(self) -> None:
        """Look once; blocks. A failure leaves no experiment, and is told once."""
        try:
            if self._records is None:
                self._records = ExperimentRecords(self._storage_of())
            found = tuple(one for one in self._records.all() if one.open)
            for one in found:
                self._prepared(one)
        except EcmError as error:
            if self._trouble != str(error):
                log.warning("experiments cannot be followed, control answers: %s", error)
            self._open, self._trouble = (), str(error)
            return
        self._tell(found)
        self._open, self._trouble, self._read_at = found, "", self._wall()

    def follow(self) -> None:
        """Go on looking in the running event loop, unless that goes on already."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def close(self) -> None:
        """Look no longer."""
        if self._task is not None:
            self._task.cancel()

    async def _keep(self) -> None:
        while True:
            await asyncio.to_thread(self.refresh)
            await asyncio.sleep(self._poll)

    def _is_stale(self) -> bool:
        return self._wall() - self._read_at > max(STALE_SECONDS, 10 * self._poll)

    def _tell(self, found: tuple[Experiment, ...]) -> None:
        before = {(one.id, one.last.number) for one in self._open}
        for one in found:
            if (one.id, one.last.number) not in before:
                log.info("experiment %s is %s, stage %d", one.id, one.last.state.value, one.stage)
        for name in {one.id for one in self._open} - {one.id for one in found}:
            log.info("experiment %s has ended", name)
