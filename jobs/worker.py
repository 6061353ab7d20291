"""A worker without Ray: lease, claim, analyse, deliver, until there is nothing left or it is told.

Two blocks are in its hands at most: one is analysed while the one before it is delivered. Whatever
dies, nothing is lost: the lease runs out and another worker takes the tasks. Knows the stages and
the workplace; whether that is near or far it does not know.
"""

from __future__ import annotations

import math
import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import pyarrow as pa

from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.claimed import block_of
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.receipts import WorkerRun
from ecm.delivery.workplace import Workplace
from ecm.errors import LeaseLost, ModelDrifted, Overloaded, TransientError
from ecm.ledger.records import ClaimedTask, Lease
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from jobs.analyst import LeaseGone
from jobs.progress import LiveProgress, Reading

BLOCKS = 2
BUSY_SECONDS = 0.1
LINK_SECONDS = 0.5
COUNT_SECONDS = 30.0
"""Between two counts of what is left: the ledger looks through the whole queue for one."""

GRACE_SECONDS = 10.0
FIRST_WAIT, LONGEST_WAIT = 0.25, 15.0

FATES = ("committed", "linked", "retried", "dead", "stale", "released")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class WorkSettings:
    """Resources in a block, seconds between two looks at an empty queue and two heartbeats.

    `once`: stop when nothing is left to claim, now or after a retry's waiting time.
    """

    block: int
    once: bool
    poll_seconds: float
    beat_seconds: float


@dataclass
class WorkSummary:
    """What a worker did; tasks, but for what is named images. The JSON of `ecm worker`."""

    run_id: str
    worker_id: str
    images: int = 0
    images_through_models: int = 0
    bytes_read: int = 0
    committed: int = 0
    linked: int = 0
    retried: int = 0
    dead: int = 0
    stale: int = 0
    released: int = 0
    dropped: int = 0
    blocks: int = 0
    leases: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def worker_id_of(holder: Incarnation) -> str:
    """Host, process and a mark of this very process: who it was, in results and statistics."""
    return f"{socket.gethostname()}/{holder.pid}/{holder.nonce}"


@dataclass
class Tenure:
    """A lease, whether it is known to be lost, and whether a claim under it was not answered.

    What such a claim took nobody works on, and every heartbeat would keep it from all others.
    """

    lease: Lease
    lost: threading.Event = field(default_factory=threading.Event)
    doubtful: bool = False


@dataclass(frozen=True)
class Sealed:
    """The results of a block and the lease they belong to."""

    tenure: Tenure
    envelopes: tuple[ResultEnvelope, ...]


class Worker:
    """One worker: `run` in the main thread, heartbeats and deliveries in threads of their own."""

    def __init__(
        self,
        place: Workplace,
        settings: WorkSettings,
        holder: str,
        record: WorkerRun,
        summary: WorkSummary,
        progress: LiveProgress,
    ) -> None:
        self._place = place
        self._settings = settings
        self._holder = holder
        self._record = record
        self.summary = summary
        self._progress = progress
        self._stop = threading.Event()
        self._tenure: Tenure | None = None
        self._outgoing: queue.Queue[Sealed] = queue.Queue()
        self._links: list[Sealed] = []
        self._counting = threading.Lock()
        self._claimed = 0
        self._total = 0
        self._failure: BaseException | None = None
        self._note = ""

    def admit(self, requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
        """For the stages: ask, however long it takes. Raises LeaseGone."""
        return self._patiently(lambda: self._place.admit(requests), self._tenure)

    def quarantine(self, notice: QuarantineNotice) -> None:
        """For the stages: returns when a notice is durable, however long it takes."""
        self._patiently(lambda: self._place.quarantine(notice), None)

    def run(self, analyse: Callable[[pa.Table], pa.Table]) -> None:
        """Work until nothing is left (`once`) or an interrupt; the lease is given back either way.

        Raises what makes further work impossible, such as Forbidden. With ModelDrifted nothing more
        is delivered: what this worker still holds goes back to the queue.
        """
        threads = [
            threading.Thread(target=self._guarded, args=(part,), name=name, daemon=True)
            for name, part in (("heartbeat", self._beat), ("delivery", self._deliver_all))
        ]
        for thread in threads:
            thread.start()
        try:
            self._patiently(lambda: self._place.record(self._record), None)
            while not self._stop.is_set():
                self._check()
                self._turn(analyse)
        except ModelDrifted:
            self._abandon()
            raise
        finally:
            self._finish(threads)
        self._check()

    def _abandon(self) -> None:
        """Give everything back; deliveries that are under way are refused by their fences."""
        tenure = self._tenure
        if tenure is not None and not tenure.lost.is_set():
            tenure.lost.set()
            self._patiently(lambda: self._place.release(tenure.lease), None)

    def _turn(self, analyse: Callable[[pa.Table], pa.Table]) -> None:
        """Claim and work off one block, or wait for one."""
        doubtful = self._tenure is not None and self._tenure.doubtful
        if self._outgoing.unfinished_tasks >= BLOCKS or (doubtful and self._busy()):
            self._show()
            self._stop.wait(BUSY_SECONDS)
            return
        try:
            tenure = self._held()
            claimed = self._patiently(lambda: self._claim(tenure), tenure)
            if claimed:
                self._work_off(tenure, claimed, analyse)
                return
        except LeaseGone:
            return
        except LeaseLost:
            tenure.lost.set()
            return
        self._show()
        if self._busy():
            self._stop.wait(BUSY_SECONDS)
        elif self._settings.once and not tenure.doubtful and self._nothing_left(tenure):
            self._stop.set()
        else:
            self._stop.wait(self._settings.poll_seconds)

    def _claim(self, tenure: Tenure) -> tuple[ClaimedTask, ...]:
        try:
            return self._place.claim(tenure.lease, self._settings.block)
        except TransientError:
            tenure.doubtful = True
            raise

    def _held(self) -> Tenure:
        """The lease in force, a new one when it was lost or holds what nobody works on."""
        doubtful = self._tenure
        if doubtful is not None and doubtful.doubtful and not doubtful.lost.is_set():
            self._patiently(lambda: self._place.release(doubtful.lease), doubtful)
            doubtful.lost.set()
        if self._tenure is None or self._tenure.lost.is_set():
            lease = self._patiently(lambda: self._place.lease(self._holder), None)
            self._tenure = Tenure(lease)
            self.summary.leases += 1
        return self._tenure

    def _work_off(
        self,
        tenure: Tenure,
        claimed: Sequence[ClaimedTask],
        analyse: Callable[[pa.Table], pa.Table],
    ) -> None:
        block = block_of(claimed)
        self._claimed += block.num_rows
        try:
            sealed = analyse(block)
        except LeaseGone:
            self._drop(len(claimed))
            return
        rows = sealed.to_pylist()
        envelopes = tuple(ResultEnvelope.model_validate_json(row["envelope"]) for row in rows)
        self.summary.blocks += 1
        self.summary.images += block.num_rows
        self.summary.images_through_models += sum(row["modelled"] for row in rows)
        self.summary.bytes_read += sum(row["bytes_read"] for row in rows)
        self._outgoing.put(Sealed(tenure, envelopes))
        self._show()

    def _nothing_left(self, tenure: Tenure) -> bool:
        try:
            left = self._patiently(self._place.runnable, tenure)
        except LeaseGone:
            return False
        return left.resources == 0 and left.next_at is None

    def _busy(self) -> bool:
        return bool(self._outgoing.unfinished_tasks or self._links)

    def _beat(self) -> None:
        """Prolong the lease; one that is lost is known from here or from the next claim."""
        counted = -math.inf
        while not self._stop.wait(self._settings.beat_seconds):
            tenure = self._tenure
            if tenure is None or tenure.lost.is_set():
                continue
            try:
                if not self._place.heartbeat(tenure.lease, self.summary.images):
                    tenure.lost.set()
                if self._progress.is_watched and time.monotonic() - counted >= COUNT_SECONDS:
                    counted = time.monotonic()
                    self._total = self._claimed + self._place.runnable().resources
            except TransientError as error:
                self._note = error.message

    def _deliver_all(self) -> None:
        """Deliver blocks as they come, and links again whose evidence was not there yet."""
        while True:
            try:
                sealed = self._outgoing.get(timeout=LINK_SECONDS)
            except queue.Empty:
                if self._stop.is_set():
                    return
                self._links = [left for links in self._links for left in self._delivered(links)]
                continue
            self._links += self._delivered(sealed)
            self._outgoing.task_done()

    def _delivered(self, sealed: Sealed) -> list[Sealed]:
        """Deliver; what is to be delivered again."""
        try:
            receipt = self._patiently(lambda: self._place.deliver(sealed.envelopes), sealed.tenure)
        except LeaseGone:
            self._drop(len(sealed.envelopes))
            return []
        with self._counting:
            for name in FATES:
                here = getattr(self.summary, name) + len(getattr(receipt, name))
                setattr(self.summary, name, here)
        waiting = frozenset(receipt.waiting)
        links = tuple(e for e in sealed.envelopes if e.task_id in waiting)
        return [Sealed(sealed.tenure, links)] if links else []

    def _drop(self, tasks: int) -> None:
        with self._counting:
            self.summary.dropped += tasks

    def _patiently(self, call: Callable[[], Answer], tenure: Tenure | None) -> Answer:
        """Try until it is done; the wait grows. Raises LeaseGone when the lease is lost meanwhile,
        and the last error when the worker is stopping.
        """
        wait = FIRST_WAIT
        while True:
            if tenure is not None and tenure.lost.is_set():
                raise LeaseGone
            try:
                answer = call()
            except TransientError as error:
                if self._stop.is_set():
                    raise
                self._note = error.message
                self._show()
                asked = error.retry_after if isinstance(error, Overloaded) else 0.0
                self._stop.wait(max(asked, wait))
                wait = min(LONGEST_WAIT, wait * 2)
                continue
            self._note = ""
            return answer

    def _finish(self, threads: Sequence[threading.Thread]) -> None:
        """Give what is analysed a moment to be delivered, then the lease back."""
        self._stop.set()
        deadline = time.monotonic() + GRACE_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        tenure = self._tenure
        try:
            if tenure is not None and not tenure.lost.is_set():
                self._place.release(tenure.lease)
            self._place.record(self._ended())
        except TransientError as error:
            self._note = f"it ended without a word to the server: {error.message}"
        self._show()

    def _ended(self) -> WorkerRun:
        told = self.summary.to_json().items()
        counts = {name: value for name, value in told if isinstance(value, int)}
        return self._record.model_copy(update={"finished_at": time.time(), "counts": counts})

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except TransientError as error:
            self._note = error.message  # only when stopping
        except BaseException as error:  # noqa: BLE001 - raised in the main thread by _check
            self._failure = error
            self._stop.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _show(self) -> None:
        done = self.summary.images
        note = self._note or f"{self.summary.committed} tasks committed"
        total = max(self._total, self._claimed)
        self._progress.show(Reading(total, done, 0, self.summary.dead, note))
