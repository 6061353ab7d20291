"""List sources and enqueue one task per image and transform: `python -m jobs.enqueue --help`.

Reads directory entries, never image bytes. What is unchanged and already has evidence is counted as
reused; what is no image is counted as filtered, with its reason.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from ecm.contracts.identity import ContentIdentity
from ecm.contracts.task import RetryPolicy, TaskSpec
from ecm.errors import Overloaded, SourceError
from ecm.images.listing import Found, Skipped, former_root, list_source, source_root
from ecm.ledger.config import LedgerConfig
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.ledger.records import JobRecord, ListingChunk, ResourceTasks, SkippedResource
from ecm.stages.plan import TransformPlan

CHUNK_RESOURCES = 500


@dataclass(frozen=True)
class EnqueueRequest:
    """What to list for whom, and the transforms wanted of every image."""

    tenant_id: str
    sources: tuple[str, ...]
    plan: TransformPlan
    roots: tuple[str, ...] = ()
    priority: int = 0
    deadline_at: float | None = None
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    job_id: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:16]}")


@dataclass
class ListingProgress:
    """Running totals of a listing; written by one thread, read by any.

    `waiting` says what the producer waits for right now, and is empty while it lists; `detail`
    says what it does besides listing, if it does.
    """

    listed: int = 0
    queued: int = 0
    reused: int = 0
    dead: int = 0
    filtered: int = 0
    throttled_seconds: float = 0.0
    waiting: str = ""
    closed: bool = False
    detail: Callable[[], str] = str


class Onlooker(Protocol):
    """Sees a listing as it goes, and may add to it before it is closed."""

    def noted(self, chunk: Sequence[Found | Skipped]) -> None:
        """A chunk that the ledger has."""

    def closing(
        self, progress: ListingProgress, stop: threading.Event
    ) -> Iterator[Sequence[Found]]:
        """Every source has been listed to its end; chunks to be queued besides."""


class Nobody:
    """The onlooker of a listing that nobody looks on."""

    def noted(self, chunk: Sequence[Found | Skipped]) -> None:
        """Nothing is kept."""

    def closing(
        self, progress: ListingProgress, stop: threading.Event
    ) -> Iterator[Sequence[Found]]:
        """Nothing is added."""
        return iter(())


class Listing(threading.Thread):
    """Lists and enqueues in the background, with its own ledger connection."""

    def __init__(
        self, config: LedgerConfig, request: EnqueueRequest, onlooker: Onlooker | None = None
    ) -> None:
        super().__init__(name="listing", daemon=True)
        self._config = config
        self._request = request
        self._onlooker = onlooker or Nobody()
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self.progress = ListingProgress()

    def run(self) -> None:
        try:
            with open_ledger(self._config) as ledger:
                enqueue(ledger, self._request, self.progress, self._stopping, self._onlooker)
        except BaseException as error:  # noqa: BLE001 - re-raised in the driver by check()
            self._failure = error
        self.progress.closed = True

    def check(self) -> None:
        """Raise here what went wrong there."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def enqueue(
    ledger: Ledger,
    request: EnqueueRequest,
    progress: ListingProgress,
    stop: threading.Event,
    onlooker: Onlooker | None = None,
) -> None:
    """List every source in chunks, one ledger transaction each: a kill loses one chunk at most."""
    onlooker = onlooker or Nobody()
    for source in request.sources:
        confine(source, request.roots)
    now = ledger.now()
    ledger.open_job(
        JobRecord(
            job_id=request.job_id,
            tenant_id=request.tenant_id,
            source="\n".join(request.sources),
            transforms=request.plan.fingerprints,
            created_at=now,
        ),
        now,
    )
    for chunk in _chunks(request):
        if stop.is_set():
            return
        _record(ledger, request, chunk, progress, stop)
        onlooker.noted(chunk)
    for more in onlooker.closing(progress, stop):
        _record(ledger, request, more, progress, stop, besides="+")
    if stop.is_set():
        return
    ledger.close_listing(request.job_id, ledger.now())


def confine(source: str, roots: Sequence[str]) -> None:
    """Raises SourceError unless the source lies below one of the profile's roots, if it has any.

    A source that is not there any more is judged by where it lay.
    """
    place = former_root(source)
    allowed = [source_root(root).rstrip("/") for root in roots]
    if allowed and not any(place == root or place.startswith(root + "/") for root in allowed):
        raise SourceError(
            f"{source} is outside the configured roots", "source.root", "see roots in the profile"
        )


def _chunks(request: EnqueueRequest) -> Iterator[list[Found | Skipped]]:
    for source in request.sources:
        entries = list_source(source)
        while chunk := list(islice(entries, CHUNK_RESOURCES)):
            yield chunk


def _record(
    ledger: Ledger,
    request: EnqueueRequest,
    chunk: Sequence[Found | Skipped],
    progress: ListingProgress,
    stop: threading.Event,
    besides: str = "",
) -> None:
    """Enqueue one chunk; a full queue makes the producer wait, visibly, and try again.

    `besides` tells chunks apart that end at the same URI.
    """
    found = [entry.identity for entry in chunk if isinstance(entry, Found)]
    skipped = [entry for entry in chunk if isinstance(entry, Skipped)]
    listing = ListingChunk(
        found=tuple(
            ResourceTasks(identity, tuple(_tasks(request, identity))) for identity in found
        ),
        skipped=tuple(SkippedResource(entry.uri, entry.reason) for entry in skipped),
        cursor=(found[-1].uri if found else skipped[-1].uri) + besides,
    )
    while not stop.is_set():
        try:
            outcome = ledger.record_listing(request.job_id, listing, ledger.now())
        except Overloaded as overload:
            _wait(progress, stop, overload.retry_after, overload.message)
            continue
        progress.listed += len(chunk) - outcome.repeated
        progress.queued += outcome.queued
        progress.reused += outcome.reused
        progress.dead += outcome.dead
        progress.filtered += outcome.filtered
        if outcome.throttle_seconds:
            _wait(progress, stop, outcome.throttle_seconds, "its tasks are to be worked off first")
        return


def _wait(progress: ListingProgress, stop: threading.Event, seconds: float, why: str) -> None:
    """Back-pressure: wait as long as the ledger asks, or until stopped, and say so meanwhile."""
    progress.waiting = f"queue is full: waiting {seconds:g} s ({why})"
    began = time.monotonic()
    stop.wait(seconds)
    progress.throttled_seconds += time.monotonic() - began
    progress.waiting = ""


def _tasks(request: EnqueueRequest, identity: ContentIdentity) -> Iterator[TaskSpec]:
    for transform in request.plan.by_type.values():
        yield TaskSpec.create(
            tenant_id=request.tenant_id,
            job_id=request.job_id,
            identity=identity,
            task_type=transform.task_type,
            model=transform.model,
            transform=transform.fingerprint,
            priority=request.priority,
            deadline_at=request.deadline_at,
            retry_policy=request.retry_policy,
        )


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["enqueue", *sys.argv[1:]]))
