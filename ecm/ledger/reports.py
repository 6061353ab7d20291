"""What the ledger tells people and metrics: status, dead letters, the history of one task."""

from __future__ import annotations

from dataclasses import dataclass

from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ModelSpec
from ecm.ledger.states import TaskState


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Number of unsettled or blocked tasks of one state, tenant and priority."""

    state: TaskState
    tenant_id: str
    priority: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles from claim to commit in milliseconds; null when nothing was committed lately."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class WorkerRate:
    """Attempts that ended at one worker: reported, failed by class, and expired without a word."""

    worker: str
    reported: int
    failed: dict[ErrorClass, int]
    expired: int = 0

    @property
    def failure_rate(self) -> float:
        """Attempts that failed or expired by all that ended, 0 to 1."""
        bad = sum(self.failed.values()) + self.expired
        return bad / max(1, bad + self.reported)


@dataclass(frozen=True, slots=True)
class LedgerStatus:
    """The queue at one moment; rates and latency are over the configured window before it.

    `throughput_per_s` counts tasks whose results were taken in; `failure_rate` is failed attempts
    by all attempts that ended, 0 to 1, `failed` the number of them by class; `stale` counts results
    refused because of their fence, since the beginning.
    """

    states: dict[TaskState, int]
    depth: tuple[QueueDepth, ...]
    oldest_lease_seconds: float | None
    latency_ms: Latency
    throughput_per_s: float
    failure_rate: float
    dead_letters: dict[ErrorClass, int]
    stale: int
    failed: dict[ErrorClass, int]
    workers: tuple[WorkerRate, ...]

    @property
    def queued(self) -> int:
        """Tasks that wait to be claimed."""
        return self.states[TaskState.QUEUED] + self.states[TaskState.RETRY_QUEUED]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task given up: what, where, why, after how many attempts and when."""

    task_id: str
    tenant_id: str
    job_id: str
    uri: str
    task_type: str
    transform: str
    asset_id: str | None
    error: EnvelopeError
    attempts: int
    at: float


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task that is not committed: where it stands, and the cause of its last exceptional step.

    `run_after` (Unix seconds) is when a waiting task may be claimed.
    """

    task_id: str
    tenant_id: str
    job_id: str
    uri: str
    task_type: str
    transform: str
    state: TaskState
    attempt: int
    priority: int
    run_after: float
    cause: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of a task. `cause` is one line; `error` and `worker` are given for failures."""

    at: float
    state: TaskState
    attempt: int
    cause: str
    error: EnvelopeError | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class TaskHistory:
    """Everything the ledger remembers of a task, oldest first.

    The normal path of the latest attempt comes from timestamps on its row, every exceptional step
    of all attempts from task_events.
    """

    task_id: str
    tenant_id: str
    uri: str
    task_type: str
    transform: str
    state: TaskState
    attempt: int
    fence: int
    job_id: str
    model: ModelSpec
    asset_id: str | None
    entries: tuple[HistoryEntry, ...]
