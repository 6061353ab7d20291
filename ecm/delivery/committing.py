"""The commit loop: envelopes in, evidence and ledger out, in the order that makes a kill harmless.

Spool, report, append, persist (ARCHITECTURE.md, "Commit protocol"), and now and then one bounded
step of upkeep. Runs in one thread of its own under a fenced right; the only place where ledger and
evidence meet. Runs no model and reads no image.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ecm.contracts.result import ErrorClass
from ecm.crashpoints import crash_point
from ecm.delivery.entries import Entry, Fate, OnSettled, Settled
from ecm.delivery.maintaining import BetweenBatches
from ecm.delivery.pending import CommitTotals, PendingWork
from ecm.delivery.recovery import Recovered, recover
from ecm.delivery.reporting import Taken, failure, report_batch
from ecm.delivery.taking_over import claim_right
from ecm.delivery.tenure import commit_right
from ecm.errors import LeaseLost, TransientError
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.schema import ANALYSIS_RUNS
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.ledger.records import Failure, Right, TaskFence
from ecm.ledger.states import HELD

QUEUE_BLOCKS = 8
WAKE_SECONDS = 0.2
RETRIES = 6


@dataclass(frozen=True)
class CommitSettings:
    """Batch size in envelopes, longest wait in seconds, and who commits."""

    run_id: str
    holder: str
    envelopes: int
    seconds: float


Answer = TypeVar("Answer")


class CommitLoop:
    """A thread that commits what `submit` hands it. Use as a context manager.

    Args:
        ledger: configuration; the thread opens its own connection.
        store: where evidence goes; this thread is its only committer.
        spool: where batches lie until the run is audited.
        settings: batch limits and the holder of the right.
        settled: called by the thread with what has left the loop; must neither block nor raise.
    """

    def __init__(
        self,
        ledger: LedgerConfig,
        store: EvidenceStore,
        spool: Spool,
        settings: CommitSettings,
        settled: OnSettled,
    ) -> None:
        self._config = ledger
        self._store = store
        self._committer = EvidenceCommitter(store)
        self._upkeep = BetweenBatches(store)
        self._spool = spool
        self._settings = settings
        self._settled = settled
        self._blocks: queue.Queue[Sequence[Entry]] = queue.Queue(QUEUE_BLOCKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="committer", daemon=True)
        self._work = PendingWork()
        self._pause = threading.Event()
        self._closing = threading.Event()
        self._draining = threading.Event()
        self._drained = threading.Event()
        self._recovered = threading.Event()
        self._right: Right | None = None
        self._facts = 0
        self.recovered = Recovered()
        self.totals = CommitTotals()

    def __enter__(self) -> CommitLoop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if self._failure is not None and kind is None:
            raise self._failure

    def stop(self) -> None:
        """End the thread after the step it is in; what it has not committed stays undone."""
        if self._thread.is_alive():
            self._closing.set()
            self._thread.join()

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread before its time."""
        return self._failure

    def wait_until_recovered(self) -> Recovered:
        """Returns once the right is held and earlier batches are resolved; raises what prevents."""
        while not self._recovered.wait(WAKE_SECONDS):
            self._check()
        self._check()
        return self.recovered

    @property
    def right(self) -> Right:
        """What this loop commits under. Raises LeaseLost before it is known."""
        if self._right is None:
            raise LeaseLost("the right to commit is not held yet")
        return self._right

    def submit(self, entries: Sequence[Entry]) -> None:
        """Hand over results; blocks while the committer is behind."""
        while entries:
            self._check()
            try:
                return self._blocks.put(entries, timeout=WAKE_SECONDS)
            except queue.Full:
                continue

    def drain(self, waiting: Callable[[], None]) -> None:
        """Returns when everything submitted is committed or given back, calling `waiting`."""
        self._drained.clear()
        self._draining.set()
        while not self._drained.wait(WAKE_SECONDS):
            self._check()
            waiting()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _guard(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - handed to the driver, which raises it
            self._failure = error
            self._recovered.set()
            self._drained.set()

    def _run(self) -> None:
        with open_ledger(self._config) as ledger:
            name, holder = commit_right(self._store), self._settings.holder
            right, before = claim_right(ledger, name, holder, self._config.lease_seconds)
            self._right = right
            if before is not None:
                self._retrying(self._committer.fence)
            try:
                self.recovered = recover(ledger, self._committer, self._spool, right)
                if self._store.has_table(ANALYSIS_RUNS):
                    self._upkeep.committed((ANALYSIS_RUNS,))  # every run adds to it, by itself
                self._recovered.set()
                renewed = time.monotonic()
                while not self._closing.is_set():
                    if time.monotonic() - renewed > self._config.lease_seconds / 4:
                        self._renew(ledger, right)
                        renewed = time.monotonic()
                    self._step(ledger, right)
            finally:
                ledger.release_right(right.name, right.fence)

    def _step(self, ledger: Ledger, right: Right) -> None:
        """Take what has come; commit when the batch is full or old, or everything must be out."""
        try:
            self._take(self._blocks.get(timeout=WAKE_SECONDS))
        except queue.Empty:
            if self._draining.is_set():
                self._commit_all(ledger, right)
                self._give_back(ledger)
                self._upkeep.step(ledger, lambda: ledger.confirm_right(right))
                self._draining.clear()
                self._drained.set()
                return
            self._upkeep.step(ledger, lambda: ledger.confirm_right(right))
        if self._work.is_due(self._settings.envelopes, self._settings.seconds):
            self._commit_all(ledger, right)

    def _take(self, entries: Sequence[Entry]) -> None:
        self._work.take(entries)
        self.totals.bytes_read += sum(entry.bytes_read for entry in entries)
        self.totals.images_through_models += sum(entry.modelled for entry in entries)

    def _commit_all(self, ledger: Ledger, right: Right) -> None:
        """Commit everything at hand in batches; links that became ready follow in the next."""
        while batch := self._work.next_batch(self._settings.envelopes):
            self._commit(ledger, right, batch)
            self._upkeep.step(ledger, lambda: ledger.confirm_right(right))

    def _commit(self, ledger: Ledger, right: Right, batch: list[Entry]) -> None:
        crash_point("commit.begun")
        failed = [entry for entry in batch if entry.failed]
        ready = self._ready(ledger, [entry for entry in batch if not entry.failed])
        if ready:
            self._persist(ledger, right, ready)
        if failed:
            self._keep_facts(ledger, right, failed)
            self._fail(ledger, failed)

    def _ready(self, ledger: Ledger, entries: list[Entry]) -> list[Entry]:
        """Analysed entries, and links to evidence that exists or comes with this batch."""
        first = {e.key for e in entries if not e.linked}
        linked = [e.key for e in entries if e.linked and e.key and e.key not in first]
        stored = self._retrying(lambda: ledger.done_evidence(tuple(linked)))
        known = first | set(stored)
        ready = []
        for entry in entries:
            if entry.linked and entry.key not in known:
                self._work.wait(entry)
            else:
                ready.append(entry)
        return ready

    def _persist(self, ledger: Ledger, right: Right, ready: list[Entry]) -> None:
        """Every step is repeatable under the same batch id, in this process or after a crash."""
        self._renew(ledger, right)
        self.totals.batches += 1
        batch_id = f"{self._settings.run_id}-{self.totals.batches:06d}"
        envelopes = [entry.envelope for entry in ready]
        self._retrying(lambda: self._spool.write(batch_id, envelopes, ledger.now()))
        crash_point("commit.spooled")
        taken = self._retrying(lambda: report_batch(ledger, batch_id, envelopes, right))
        crash_point("commit.reported")
        kept = [e for e in envelopes if e.task_id in taken.accepted]
        if kept:
            versions = self._retrying(
                lambda: self._committer.append(batch_id, kept, lambda: ledger.confirm_right(right))
            )
            crash_point("commit.appended")
            self._retrying(lambda: ledger.persist(batch_id, versions, ledger.now(), right))
            crash_point("commit.persisted")
            self._upkeep.committed(versions)
        self._settle([Settled(entry, _fate(entry, taken)) for entry in ready if _out(entry, taken)])
        self._free_links(ledger, ready, taken)

    def _free_links(self, ledger: Ledger, ready: list[Entry], taken: Taken) -> None:
        """Links to what was committed follow; links to what came too late try themselves."""
        orphans = [entry for entry in ready if not _out(entry, taken)]
        for entry in ready:
            if entry.linked:
                continue
            links = self._work.links_to(entry)
            if entry.envelope.task_id in taken.accepted:
                self._work.entries += links
            else:
                orphans += links
        self._release(ledger, orphans)

    def _keep_facts(self, ledger: Ledger, right: Right, failed: Sequence[Entry]) -> None:
        """Which bytes were found where is known of what failed too: whatever lay there before is
        no more. Stored before the ledger gives the task up, after which nobody reads it again.
        """
        read = [entry for entry in failed if entry.key is not None]
        if not read:
            return
        standing = self._retrying(lambda: ledger.standing([e.attempt.task_id for e in read]))
        held = {
            TaskFence(task_id, stands.fence)
            for task_id, stands in standing.items()
            if stands.state in HELD
        }
        ours = [entry.envelope for entry in read if entry.attempt in held]
        if ours:
            self._facts += 1
            batch_id = f"{self._settings.run_id}-facts-{self._facts:06d}"
            self._retrying(
                lambda: self._committer.append(batch_id, ours, lambda: ledger.confirm_right(right))
            )
            crash_point("commit.facts")

    def _fail(self, ledger: Ledger, failed: list[Entry]) -> None:
        failures = [failure(entry.envelope) for entry in failed]
        outcome = self._retrying(lambda: ledger.fail(failures, ledger.now()))
        crash_point("commit.failed")
        fates = dict.fromkeys(outcome.retried, Fate.RETRIED) | dict.fromkeys(
            outcome.dead, Fate.DEAD
        )
        self._settle([Settled(e, fates.get(e.envelope.task_id, Fate.STALE)) for e in failed])
        for entry in failed:
            self._resolve_links(ledger, entry)

    def _resolve_links(self, ledger: Ledger, entry: Entry) -> None:
        """Bytes that can never be analysed fail for every path; else the links try themselves."""
        links = self._work.links_to(entry)
        error = entry.envelope.error
        if error is None or error.error_class is not ErrorClass.INPUT:
            self._release(ledger, links)
            return
        content = entry.envelope.resource_fingerprint.content_hash
        doomed = [
            Failure(e.attempt.task_id, e.attempt.fence, error, content, e.envelope.worker_id)
            for e in links
        ]
        if doomed:
            dead = self._retrying(lambda: ledger.fail(doomed, ledger.now())).dead
            self._settle(
                [Settled(e, Fate.DEAD if e.envelope.task_id in dead else Fate.STALE) for e in links]
            )

    def _give_back(self, ledger: Ledger) -> None:
        """Links whose first analysis never came out are returned to the queue."""
        self._release(ledger, self._work.all_links())

    def _release(self, ledger: Ledger, links: Sequence[Entry]) -> None:
        if links:
            claims = [entry.attempt for entry in links]
            self._retrying(lambda: ledger.release(claims, ledger.now()))
            self._settle([Settled(entry, Fate.RELEASED) for entry in links])

    def _settle(self, settled: Sequence[Settled]) -> None:
        self.totals.count(settled)
        self._settled(settled)

    def _renew(self, ledger: Ledger, right: Right) -> None:
        ttl = self._config.lease_seconds
        renewed = self._retrying(
            lambda: ledger.renew_right(right.name, right.fence, ttl, ledger.now())
        )
        if not renewed:
            raise LeaseLost("another committer took over this store; nothing was lost")

    def _retrying(self, step: Callable[[], Answer]) -> Answer:
        """Store and ledger may be away for a moment; each step of a commit can be repeated."""
        for attempt in range(RETRIES):
            try:
                return step()
            except TransientError:
                if attempt == RETRIES - 1:
                    raise
                self._pause.wait(min(2.0**attempt * 0.25, 8.0))
        raise AssertionError("unreachable")


def _out(entry: Entry, taken: Taken) -> bool:
    """Whether the batch has decided about an entry: a link without evidence is still to go."""
    return entry.envelope.task_id not in taken.unbacked


def _fate(entry: Entry, taken: Taken) -> Fate:
    if entry.envelope.task_id not in taken.accepted:
        return Fate.STALE
    return Fate.LINKED if entry.linked else Fate.COMMITTED
