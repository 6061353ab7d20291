"""The desk: takes results from workers and answers when they are committed.

Owns the admission and a commit loop; the right to commit is taken when work comes and given back
when none has come for a while, or it has come without a break for long: then jobs come to their
end, and another run may commit to the same store in between. Every delivery may be repeated, after
a lost answer or the death of this process. Knows no HTTP.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from ecm.contracts.identity import TenantId
from ecm.contracts.quarantine import QuarantineNotice
from ecm.contracts.result import ResultEnvelope, Space
from ecm.delivery.admission import Admission
from ecm.delivery.closing import Books
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.entries import Entry, Fate, Settled
from ecm.delivery.quarantining import tell
from ecm.delivery.receipts import Receipt, WorkerRun
from ecm.delivery.recovery import free_the_dead
from ecm.delivery.scrutiny import Dimensions, check_task
from ecm.errors import EcmError, LeaseLost, TransientError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.runs import RunRecord, RunState, record_run
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import TaskFence
from ecm.ledger.states import COMMITTED
from ecm.stages.prepare import AdmitDecision, AdmitRequest

log = logging.getLogger("ecm.desk")

TEND_SECONDS = 0.25
CLOSING_SECONDS = 2.0
"""Results wait about so long for a pass over the books; then they go first."""

ANY_JOB = "*"
"""The job of a worker's run: it works for whatever is queued."""

ANSWER_SECONDS = 0.5
"""Longest wait of a batch: workers wait for it."""


@dataclass(frozen=True)
class DeskSettings:
    """Where results go, how they are batched, and how long (seconds) the right is kept unused, and
    kept at all. `dimensions` are declared ones, by space and transform.
    """

    ledger: LedgerConfig
    evidence: EvidenceConfig
    spool: Path
    envelopes: int
    seconds: float
    idle_seconds: float
    busy_seconds: float
    dimensions: tuple[tuple[Space, str, int], ...] = ()


@dataclass
class _Delivery:
    """A delivery that has no answer yet: the fate of each attempt, None while it is unknown."""

    fates: dict[TaskFence, Fate | None]
    waiting: tuple[str, ...]
    left: int
    answer: Future[Receipt] = field(default_factory=Future)


class Desk:
    """One for each store at a time. Thread-safe; a context manager with a thread of its own.

    Args:
        settings: where results go.
        holder: the incarnation that holds the right to commit.
        ledger: an operator's ledger, which stays the caller's to close.
        closed: called after jobs came to their end, while the right to commit is still held.
    """

    def __init__(
        self,
        settings: DeskSettings,
        holder: str,
        ledger: Ledger,
        closed: Callable[[EvidenceStore], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._holder = holder
        self._ledger = ledger
        self._closed = closed
        self._admission = Admission(ledger, settings.evidence)
        self._spool = Spool(settings.spool)
        self._dimensions = Dimensions(settings.dimensions)
        self._working = threading.Lock()  # held to open, feed or close the loop
        self._loop: CommitLoop | None = None
        self._store: EvidenceStore | None = None
        self._books: Books | None = None  # while they are being closed
        self._used = 0.0
        self._since = 0.0
        self._answers = threading.Lock()  # never held while anything else is waited for
        self._open: dict[TaskFence, list[_Delivery]] = defaultdict(list)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="desk", daemon=True)

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What was taken in is committed first."""
        self._stopping.set()
        self._thread.join()
        with self._working:
            if self._loop is not None:
                self._leave(self._loop, math.inf)

    def admit(
        self, requests: Sequence[AdmitRequest], vision: str | None, ocr: str | None = None
    ) -> list[AdmitDecision]:
        """See Admission."""
        return self._admission.admit(requests, vision, ocr)

    def record(self, run: WorkerRun, tenant_id: TenantId) -> None:
        """Put a worker's run on record. May be repeated. Raises TransientError as `deliver`."""
        record = RunRecord(
            run_id=run.run_id,
            tenant_id=tenant_id,
            job_id=ANY_JOB,
            state=RunState.RUNNING if run.finished_at is None else RunState.FINISHED,
            transforms=run.transforms,
            config_digest=run.config_digest,
            code_version=run.code_version,
            started_at=run.started_at,
            finished_at=run.finished_at,
            counts=run.counts,
        )
        with self._working:
            self._opened()
            record_run(self._opened_store(), record)
            self._used = time.monotonic()

    def quarantine(self, notice: QuarantineNotice) -> None:
        """See `quarantining.tell`."""
        tell(self._settings.evidence, notice)

    def deliver(self, envelopes: Sequence[ResultEnvelope]) -> Future[Receipt]:
        """Take results in; the answer comes when each of them is committed or refused.

        Raises TransientError (code `committer.held`) while another run commits to the store: keep
        the results and deliver them again. Raises ContractError when one of them is not what its
        task asks for; then none is taken.
        """
        entries = {entry.attempt: entry for entry in map(Entry.of, envelopes)}
        fates = self._known(entries)
        with self._working:
            loop = self._opened()
            self._dimensions.check(self._opened_store(), envelopes)
            fresh, waiting, orphans = self._sorted(entries, fates)
            fates.update(self._released(orphans))
            delivery = self._registered(fates, waiting, fresh)
            # Links go first: then the evidence they wait for is never behind them.
            self._feed(loop, sorted(fresh.values(), key=lambda entry: not entry.linked))
            self._used = time.monotonic()
        return delivery.answer

    def _feed(self, loop: CommitLoop, entries: Sequence[Entry]) -> None:
        try:
            loop.submit(entries)
        except BaseException as error:
            self._drop(loop)
            raise TransientError(f"the committer stopped: {error}", "committer.stopped") from error

    def _known(self, entries: Mapping[TaskFence, Entry]) -> dict[TaskFence, Fate | None]:
        """What is known at once: results committed when they were delivered before, and tasks that
        are not their tenant's, which are nobody's here. None: still to be decided.
        """
        standing = self._ledger.standing([attempt.task_id for attempt in entries])
        fates: dict[TaskFence, Fate | None] = {}
        for attempt, entry in entries.items():
            stands = standing.get(attempt.task_id)
            if stands is None or stands.tenant_id != entry.envelope.tenant_id:
                fates[attempt] = Fate.STALE
                continue
            check_task(entry.envelope, stands)
            committed = stands.fence == attempt.fence and stands.state in COMMITTED
            fate = Fate.LINKED if entry.linked else Fate.COMMITTED
            fates[attempt] = fate if committed else None
        return fates

    def _sorted(
        self, entries: Mapping[TaskFence, Entry], fates: Mapping[TaskFence, Fate | None]
    ) -> tuple[dict[TaskFence, Entry], list[Entry], list[Entry]]:
        """New results for the loop, links that wait for others, and links nobody works for."""
        with self._answers:
            new = {
                attempt: entry
                for attempt, entry in entries.items()
                if fates[attempt] is None and attempt not in self._open
            }
        here = {entry.key for entry in new.values() if not entry.linked}
        away = [e for e in new.values() if e.linked and e.key not in here]
        keys = {entry.key for entry in away if entry.key}
        working = self._admission.in_flight(keys)  # before the next: what ends now is then done
        done = self._ledger.done_evidence(keys)
        waiting = [e for e in away if e.key in working - done]
        orphans = [e for e in away if e.key not in working | done]
        for entry in (*waiting, *orphans):
            del new[entry.attempt]
        return new, waiting, orphans

    def _released(self, orphans: Sequence[Entry]) -> dict[TaskFence, Fate]:
        """Links whose evidence will not come are queued again, to be analysed themselves."""
        if not orphans:
            return {}
        released = self._ledger.release([e.attempt for e in orphans], self._ledger.now())
        return {
            e.attempt: Fate.RELEASED if e.attempt.task_id in released else Fate.STALE
            for e in orphans
        }

    def _registered(
        self,
        fates: dict[TaskFence, Fate | None],
        waiting: Sequence[Entry],
        fresh: Mapping[TaskFence, Entry],
    ) -> _Delivery:
        """Whoever delivers the same attempts meanwhile waits for the same fates."""
        for entry in waiting:
            del fates[entry.attempt]
        ids = tuple(entry.envelope.task_id for entry in waiting)
        with self._answers:
            unknown = [attempt for attempt, fate in fates.items() if fate is None]
            if not all(attempt in fresh or attempt in self._open for attempt in unknown):
                # What an earlier delivery brought has left the loop a moment ago.
                raise TransientError("these results are just being settled", "desk.again")
            delivery = _Delivery(fates, ids, len(unknown))
            for attempt in unknown:
                self._open[attempt].append(delivery)
        if not unknown:
            delivery.answer.set_result(_receipt(delivery))
        return delivery

    def _settle(self, settled: Sequence[Settled]) -> None:
        """Called by the loop's thread."""
        self._admission.settled([each.of_key for each in settled if each.entry.key])
        answered = []
        with self._answers:
            for each in settled:
                for delivery in self._open.pop(each.entry.attempt, ()):
                    delivery.fates[each.entry.attempt] = each.fate
                    delivery.left -= 1
                    if not delivery.left:
                        answered.append(delivery)
        for delivery in answered:
            if delivery.answer.set_running_or_notify_cancel():
                delivery.answer.set_result(_receipt(delivery))

    def _opened(self) -> CommitLoop:
        """The running loop, started if there is none. Raises TransientError when it cannot be."""
        if self._loop is not None and self._loop.failure is None:
            return self._loop
        if self._loop is not None:
            self._drop(self._loop)
        run_id = time.strftime("desk-%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]
        settings = CommitSettings(
            run_id=run_id,
            holder=self._holder,
            envelopes=self._settings.envelopes,
            seconds=min(self._settings.seconds, ANSWER_SECONDS),
        )
        store = self._opened_store()
        loop = CommitLoop(self._settings.ledger, store, self._spool, settings, self._settle)
        try:
            loop.__enter__()
            recovered = loop.wait_until_recovered()
        except LeaseLost as held:
            loop.stop()
            raise TransientError(held.message, held.code, held.hint) from held
        except BaseException:
            loop.stop()
            raise
        log.info("committing as %s: %s", run_id, recovered)
        self._loop = loop
        self._used = self._since = time.monotonic()
        return loop

    def _opened_store(self) -> EvidenceStore:
        if self._store is None:
            self._store = EvidenceStore.create(self._settings.evidence, self._ledger.now())
        return self._store

    def _drop(self, loop: CommitLoop) -> None:
        """A loop that failed: whoever waits for it is told to come again."""
        self._loop = self._books = None
        loop.stop()
        with self._answers:
            unanswered = {id(d): d for waiting in self._open.values() for d in waiting}
            self._open.clear()
        for delivery in unanswered.values():
            if delivery.answer.set_running_or_notify_cancel():
                delivery.answer.set_exception(
                    TransientError(f"the committer stopped: {loop.failure}", "committer.stopped")
                )

    def _leave(self, loop: CommitLoop, seconds: float) -> None:
        """Commit what is left, settle the books for so long, and give the right back when they are
        closed; else the loop goes on until the next call.
        """
        try:
            loop.drain(lambda: None)
            store = self._opened_store()
            self._books = self._books or Books(self._ledger, store, self._spool)
            if not self._books.close(loop.right, seconds):
                return
            if self._books.ended:
                self._closed(store)
            loop.stop()
            self._loop = self._books = None
        except EcmError as error:
            log.warning("the books are not closed: %s", error)
            self._drop(loop)

    def _tend(self) -> None:
        """Rescue what dead workers left, leave when it is time, notice a loop that failed."""
        rescue = self._settings.ledger.lease_seconds / 4
        rescued = 0.0
        spooled = True
        while not self._stopping.wait(TEND_SECONDS):
            try:
                spooled = spooled and not self._recovered()
                if time.monotonic() - rescued > rescue:
                    rescued = time.monotonic()
                    free_the_dead(self._ledger)
                    self._admission.sweep()
                self._tend_loop()
            except EcmError as error:
                log.warning("%s", error)
            except Exception:  # the thread goes on: without it nothing is rescued any more
                log.exception("the desk could not be tended")

    def _recovered(self) -> bool:
        """Finish what a desk before this one had spooled, as soon as nobody else commits."""
        with self._working:
            if self._spool.list():
                try:
                    self._opened()
                except TransientError as error:
                    if error.code == "committer.held":
                        return False
                    raise
        return True

    def _tend_loop(self) -> None:
        if not self._working.acquire(blocking=self._due()):  # deliveries hold it most of the time
            return
        try:
            loop = self._loop
            if loop is None:
                return
            if loop.failure is not None:
                log.warning("the committer stopped: %s", loop.failure)
                self._drop(loop)
                return
            with self._answers:
                busy = bool(self._open)
            idle = not busy and time.monotonic() - self._used > self._settings.idle_seconds
            if idle or self._due():
                self._leave(loop, CLOSING_SECONDS)
        finally:
            self._working.release()

    def _due(self) -> bool:
        """Whether the desk must leave, or go on leaving, though work is coming."""
        if self._loop is None:
            return False
        overdue = time.monotonic() - self._since > self._settings.busy_seconds
        return overdue or self._books is not None


def _receipt(delivery: _Delivery) -> Receipt:
    by_fate: dict[str, list[str]] = {fate.value: [] for fate in Fate}
    for attempt, fate in delivery.fates.items():
        if fate is not None:
            by_fate[fate.value].append(attempt.task_id)
    lists = {name: tuple(ids) for name, ids in by_fate.items()}
    return Receipt.model_validate({**lists, "waiting": delivery.waiting})
