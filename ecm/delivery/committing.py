"""The commit loop: envelopes in, evidence and ledger out, in the order that makes a kill harmless.

Spool, report, append, persist (ARCHITECTURE.md, "Commit protocol"). Runs in one thread of its own
under a
fenced right; the only place where ledger and evidence meet. Runs no model and reads no image.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

import pyarrow as pa

from ecm.contracts.identity import evidence_key
from ecm.contracts.result import EnvelopeStatus, ErrorClass, ResultEnvelope
from ecm.delivery.incarnation import is_proven_dead
from ecm.delivery.recovery import Recovered, failure, recover, reported
from ecm.errors import LeaseLost, TransientError
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.ledger.records import Failure, Granted, Held, TaskFence

QUEUE_BLOCKS = 8
WAKE_SECONDS = 0.2
RETRIES = 6


@dataclass(frozen=True)
class CommitSettings:
    """Batch size in envelopes, longest wait in seconds, and whose right to commit it is."""

    run_id: str
    holder: str
    right: str
    envelopes: int
    seconds: float


@dataclass
class CommitTotals:
    """What the loop has done so far. `images_*` count resources, the others tasks."""

    batches: int = 0
    committed: int = 0
    retried: int = 0
    dead: int = 0
    stale: int = 0
    images_settled: int = 0
    images_dead: int = 0
    images_through_models: int = 0
    bytes_read: int = 0


@dataclass(frozen=True)
class Entry:
    """One envelope of the pipeline with its evidence key (None when the bytes were never read)."""

    envelope: ResultEnvelope
    key: str | None
    images: int

    @classmethod
    def parse(cls, row: dict[str, object]) -> Entry:
        envelope = ResultEnvelope.model_validate_json(row["envelope"])  # type: ignore[arg-type]
        content = envelope.resource_fingerprint.content_hash
        key = content and evidence_key(
            envelope.tenant_id, content, envelope.task_type, envelope.transform
        )
        return cls(envelope, key, int(row["images"]))  # type: ignore[call-overload]

    @property
    def failed(self) -> bool:
        return self.envelope.status is EnvelopeStatus.FAILED


Settled = Callable[[int, Sequence[str]], None]
Answer = TypeVar("Answer")


@dataclass
class _Work:
    """Entries not yet committed, and links that wait for the first analysis of the same bytes."""

    entries: list[Entry] = field(default_factory=list)
    since: float = 0.0
    waiting: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))


class CommitLoop:
    """A thread that commits what `submit` hands it. Use as a context manager.

    Args:
        ledger: configuration; the thread opens its own connection.
        store: where evidence goes; this thread is its only committer.
        spool: where batches lie until the run is audited.
        settings: batch limits and the right.
        settled: called with (tasks, evidence keys) when work has left the loop.
    """

    def __init__(
        self,
        ledger: LedgerConfig,
        store: EvidenceStore,
        spool: Spool,
        settings: CommitSettings,
        settled: Settled,
    ) -> None:
        self._config = ledger
        self._store = store
        self._committer = EvidenceCommitter(store)
        self._spool = spool
        self._settings = settings
        self._settled = settled
        self._blocks: queue.Queue[pa.Table] = queue.Queue(QUEUE_BLOCKS)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="committer", daemon=True)
        self._work = _Work()
        self._pause = threading.Event()
        self._closing = threading.Event()
        self._draining = threading.Event()
        self._drained = threading.Event()
        self._recovered = threading.Event()
        self.recovered = Recovered()
        self.totals = CommitTotals()

    def __enter__(self) -> CommitLoop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._thread.is_alive():
            self._closing.set()
            self._thread.join()
        if self._failure is not None and kind is None:
            raise self._failure

    def wait_until_recovered(self) -> Recovered:
        """Returns once the right is held and earlier batches are resolved; raises what prevents."""
        while not self._recovered.wait(WAKE_SECONDS):
            self._check()
        self._check()
        return self.recovered

    def submit(self, block: pa.Table) -> None:
        """Hand over an ENVELOPE_SCHEMA block; blocks while the committer is behind."""
        while block.num_rows:
            self._check()
            try:
                return self._blocks.put(block, timeout=WAKE_SECONDS)
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
            fence = claim_right(ledger, self._settings, self._config.lease_seconds)
            try:
                self.recovered = recover(ledger, self._committer, self._spool)
                self._recovered.set()
                renewed = time.monotonic()
                while not self._closing.is_set():
                    if time.monotonic() - renewed > self._config.lease_seconds / 4:
                        self._renew(ledger, fence)
                        renewed = time.monotonic()
                    self._step(ledger, fence)
            finally:
                ledger.release_right(self._settings.right, fence)

    def _step(self, ledger: Ledger, fence: int) -> None:
        """Take what has come; commit when the batch is full or old, or everything must be out."""
        try:
            self._take(self._blocks.get(timeout=WAKE_SECONDS))
        except queue.Empty:
            if self._draining.is_set():
                self._commit_all(ledger, fence)
                self._give_back(ledger)
                self._draining.clear()
                self._drained.set()
                return
        work = self._work
        full = len(work.entries) >= self._settings.envelopes
        if full or (work.entries and time.monotonic() - work.since > self._settings.seconds):
            self._commit_all(ledger, fence)

    def _take(self, block: pa.Table) -> None:
        rows = block.to_pylist()
        if not self._work.entries:
            self._work.since = time.monotonic()
        for row in rows:
            self.totals.bytes_read += row["bytes_read"]
            self.totals.images_through_models += row["modelled"]
            self._work.entries.append(Entry.parse(row))

    def _commit_all(self, ledger: Ledger, fence: int) -> None:
        """Commit everything at hand in batches; links that became ready follow in the next."""
        while self._work.entries:
            size = self._settings.envelopes
            batch, self._work.entries = self._work.entries[:size], self._work.entries[size:]
            self._commit(ledger, fence, batch)

    def _commit(self, ledger: Ledger, fence: int, batch: list[Entry]) -> None:
        failed = [entry for entry in batch if entry.failed]
        ready = self._ready(ledger, [entry for entry in batch if not entry.failed])
        if ready:
            self._persist(ledger, fence, ready)
        if failed:
            self._fail(ledger, failed)
        self._settle(ready + failed)

    def _ready(self, ledger: Ledger, entries: list[Entry]) -> list[Entry]:
        """Analysed entries, and links to evidence that exists or comes with this batch."""
        first = {e.key for e in entries if not e.envelope.linked}
        linked = [e.key for e in entries if e.envelope.linked and e.key and e.key not in first]
        stored = self._retrying(lambda: ledger.done_evidence(tuple(linked)))
        known = first | set(stored)
        ready = []
        for entry in entries:
            if entry.envelope.linked and entry.key not in known:
                self._work.waiting[entry.key or ""].append(entry)
            else:
                ready.append(entry)
        return ready

    def _persist(self, ledger: Ledger, fence: int, ready: list[Entry]) -> None:
        """Every step is repeatable under the same batch id, in this process or after a crash."""
        self._renew(ledger, fence)
        self.totals.batches += 1
        batch_id = f"{self._settings.run_id}-{self.totals.batches:06d}"
        envelopes = [entry.envelope for entry in ready]
        base = self._retrying(self._store.versions)
        self._retrying(lambda: self._spool.write(batch_id, envelopes, base, time.time()))
        reports = [reported(envelope) for envelope in envelopes]
        outcome = self._retrying(lambda: ledger.report(batch_id, reports, time.time()))
        self.totals.stale += len(outcome.stale)
        kept = [e for e in envelopes if e.task_id in outcome.accepted]
        if kept:
            versions = self._retrying(lambda: self._committer.append(batch_id, kept, base))
            self._retrying(lambda: ledger.persist(batch_id, versions, time.time()))
        self.totals.committed += len(kept)
        for entry in ready:
            self._work.entries += self._work.waiting.pop(entry.key or "", [])

    def _fail(self, ledger: Ledger, failed: list[Entry]) -> None:
        failures = [failure(entry.envelope) for entry in failed]
        outcome = self._retrying(lambda: ledger.fail(failures, time.time()))
        self.totals.retried += len(outcome.retried)
        self.totals.dead += len(outcome.dead)
        self.totals.images_dead += sum(
            entry.images for entry in failed if entry.envelope.task_id in outcome.dead
        )
        self.totals.stale += len(outcome.stale)
        for entry in failed:
            self._resolve_links(ledger, entry)

    def _resolve_links(self, ledger: Ledger, entry: Entry) -> None:
        """Bytes that can never be analysed fail for every path; else the links try themselves."""
        links = self._work.waiting.pop(entry.key or "", [])
        error = entry.envelope.error
        if not links or error is None:
            return
        refs = [TaskFence(link.envelope.task_id, link.envelope.fence) for link in links]
        if error.error_class is ErrorClass.INPUT:
            doomed = [
                Failure(r.task_id, r.fence, error, entry.envelope.resource_fingerprint.content_hash)
                for r in refs
            ]
            self.totals.dead += len(ledger.fail(doomed, time.time()).dead)
        else:
            ledger.release(refs, time.time())
        self._settle(links)

    def _give_back(self, ledger: Ledger) -> None:
        """Links whose first analysis never came out are returned to the queue."""
        links = [entry for entries in self._work.waiting.values() for entry in entries]
        self._work.waiting.clear()
        if links:
            refs = [TaskFence(entry.envelope.task_id, entry.envelope.fence) for entry in links]
            ledger.release(refs, time.time())
            self._settle(links)

    def _settle(self, entries: list[Entry]) -> None:
        self.totals.images_settled += sum(entry.images for entry in entries)
        self._settled(len(entries), [entry.key for entry in entries if entry.key])

    def _renew(self, ledger: Ledger, fence: int) -> None:
        ttl = self._config.lease_seconds
        if not ledger.renew_right(self._settings.right, fence, ttl, time.time()):
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


def claim_right(ledger: Ledger, settings: CommitSettings, ttl: float) -> int:
    """The fence of the right to commit; a holder proven dead does not keep it.

    Raises LeaseLost while another committer holds it.
    """
    answer = ledger.acquire_right(settings.right, settings.holder, ttl, time.time())
    if isinstance(answer, Held) and is_proven_dead(answer.holder):
        ledger.expire_right(settings.right, answer.holder)
        answer = ledger.acquire_right(settings.right, settings.holder, ttl, time.time())
    match answer:
        case Granted(fence=fence):
            return fence
        case Held(holder=holder, expires_at=expires):
            wait = max(0.0, expires - time.time())
            raise LeaseLost(
                f"another run is committing to this store (holder {holder})",
                code="committer.held",
                hint=f"wait for it, or {wait:.0f} s if it has died",
            )
        case _:
            assert_never(answer)
