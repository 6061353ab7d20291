"""The queue as people see it: jobs with their books, dead letters, status. Only shapes.

Knows the ledger's reports and the names the commands give them; asks nothing.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.contracts.result import ErrorClass
from ecm.ledger.records import Job, JobCounts
from ecm.ledger.reports import DeadLetter, LedgerStatus
from ecm.ledger.states import JobState, TaskState


class Counts(Contract):
    """Resources of a job by what became of them."""

    listed: int
    committed: int
    reused: int
    filtered: int
    dead: int
    pending: int
    key_digest: str = Field(description="order-free digest of the evidence keys")
    balanced: bool = Field(description="nothing lost, nothing doubled")

    @classmethod
    def of(cls, books: JobCounts) -> Self:
        return cls(
            listed=books.listed,
            committed=books.committed,
            reused=books.reused,
            filtered=books.filtered,
            dead=books.dead,
            pending=books.pending,
            key_digest=str(books.key_digest),
            balanced=books.balanced,
        )


class JobView(Contract):
    """A job, and how far it is. Times are Unix seconds (UTC)."""

    job_id: str
    tenant_id: str
    source: str
    state: JobState
    transforms: tuple[str, ...]
    created_at: float
    listed_at: float | None
    finished_at: float | None
    open_tasks: int
    counts: Counts | None = Field(default=None, description="null unless asked for")

    @classmethod
    def of(cls, job: Job, open_tasks: int, books: JobCounts | None = None) -> Self:
        return cls(
            job_id=job.record.job_id,
            tenant_id=job.record.tenant_id,
            source=job.record.source,
            state=job.state,
            transforms=job.record.transforms,
            created_at=job.record.created_at,
            listed_at=job.listed_at,
            finished_at=job.finished_at,
            open_tasks=open_tasks,
            counts=None if books is None else Counts.of(books),
        )


class Cancelled(Contract):
    """How many tasks a cancellation stopped."""

    cancelled: int


class Redriven(Contract):
    """How many tasks are tried again."""

    redriven: int


class DeadLetterView(Contract):
    """A task given up: what, where in the pipeline, why, after how many attempts, when."""

    task_id: str
    job_id: str
    resource: str
    task_type: str
    transform: str
    asset_id: str | None
    stage: str
    error_class: ErrorClass = Field(alias="class")
    code: str
    message: str
    attempts: int
    at: float = Field(description="Unix seconds (UTC)")


class DeadLetters(Contract):
    """Dead letters, latest first."""

    items: tuple[DeadLetterView, ...]

    @classmethod
    def of(cls, letters: tuple[DeadLetter, ...]) -> Self:
        return cls(
            items=tuple(
                DeadLetterView(
                    task_id=letter.task_id,
                    job_id=letter.job_id,
                    resource=letter.uri,
                    task_type=letter.task_type,
                    transform=letter.transform,
                    asset_id=letter.asset_id,
                    stage=letter.error.stage,
                    error_class=letter.error.error_class,  # type: ignore[call-arg]
                    code=letter.error.code,
                    message=letter.error.message,
                    attempts=letter.attempts,
                    at=letter.at,
                )
                for letter in letters
            )
        )


class DepthView(Contract):
    state: TaskState
    tenant_id: str
    priority: int
    tasks: int


class LatencyView(Contract):
    """Milliseconds from claim to commit; null when nothing was committed lately."""

    p50: float | None
    p95: float | None
    p99: float | None


class WorkerView(Contract):
    worker: str
    reported: int
    failed: dict[ErrorClass, int]
    expired: int
    failure_rate: float


class QueueView(Contract):
    """The queue now; rates and latency are over the last minutes."""

    queue: dict[TaskState, int]
    depth: tuple[DepthView, ...]
    oldest_lease_seconds: float | None
    latency_ms: LatencyView
    throughput_per_s: float
    failure_rate: float
    dead_letters: dict[ErrorClass, int]
    stale: int = Field(description="results refused because of their fence, since the beginning")
    workers: tuple[WorkerView, ...]

    @classmethod
    def of(cls, status: LedgerStatus) -> Self:
        latency = status.latency_ms
        return cls(
            queue=status.states,
            depth=tuple(
                DepthView(
                    state=part.state,
                    tenant_id=part.tenant_id,
                    priority=part.priority,
                    tasks=part.tasks,
                )
                for part in status.depth
            ),
            oldest_lease_seconds=status.oldest_lease_seconds,
            latency_ms=LatencyView(p50=latency.p50, p95=latency.p95, p99=latency.p99),
            throughput_per_s=status.throughput_per_s,
            failure_rate=status.failure_rate,
            dead_letters=status.dead_letters,
            stale=status.stale,
            workers=tuple(
                WorkerView(
                    worker=worker.worker,
                    reported=worker.reported,
                    failed=worker.failed,
                    expired=worker.expired,
                    failure_rate=worker.failure_rate,
                )
                for worker in status.workers
            ),
        )
