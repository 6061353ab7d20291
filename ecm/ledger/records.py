"""What goes into the ledger and what comes out of it, except reports for people (see reports.py).

Plain frozen values. Times are Unix seconds (UTC), ids are text, digests are 64 hex characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

from ecm.contracts.identity import ContentIdentity, Contract, Digest, KeyDigest, TenantId
from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ModelSpec, TaskSpec, TaskType
from ecm.ledger.states import JobState, TaskState

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class JobRecord(Contract):
    """What a job is asked to do: every resource of `source`, by each of `transforms`."""

    job_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    tenant_id: TenantId
    source: str = Field(max_length=65536)
    transforms: tuple[Digest, ...] = Field(min_length=1)
    created_at: float


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the ledger knows it; listing goes on strictly after `cursor`.

    `listed` counts resources so far, `reused` and `filtered` those among them without work.
    """

    record: JobRecord
    state: JobState
    cursor: str | None
    listed_at: float | None
    finished_at: float | None
    listed: int = 0
    reused: int = 0
    filtered: int = 0


@dataclass(frozen=True, slots=True)
class ResourceTasks:
    """One listed resource and every task the job wants done on it."""

    identity: ContentIdentity
    tasks: tuple[TaskSpec, ...]


@dataclass(frozen=True, slots=True)
class SkippedResource:
    """One listed name that is not analysed, and why (a short code)."""

    uri: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListingChunk:
    """A piece of a listing; `cursor` names its end and makes recording it idempotent."""

    found: tuple[ResourceTasks, ...]
    skipped: tuple[SkippedResource, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class ListingOutcome:
    """Resources of a chunk by what became of them.

    `queued` have work to do (new or joined), `reused` are finished already, `dead` were given up
    earlier, `filtered` were skipped by the lister, `repeated` were listed by the same job before.
    `throttle_seconds` above 0 asks the lister to wait that long before the next chunk.
    """

    queued: int
    reused: int
    dead: int
    filtered: int
    repeated: int = 0
    throttle_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """A time-limited right of one incarnation (`holder`) to the tasks claimed under it."""

    lease_id: str
    holder: str
    fence: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task given to a worker. `fence` must come back with every word about this attempt."""

    task_id: str
    job_id: str
    tenant_id: str
    task_type: TaskType
    transform: str
    model: ModelSpec
    identity: ContentIdentity
    resource_key: str
    priority: int
    deadline_at: float | None
    attempt: int
    fence: int


@dataclass(frozen=True, slots=True)
class TaskFence:
    """One attempt: the task and the fence it was claimed with."""

    task_id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Reported:
    """A result in a commit batch; `linked`: its evidence is that of another task on equal bytes."""

    task_id: str
    fence: int
    asset_id: str
    evidence_key: str
    linked: bool = False
    worker: str = ""


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """Which results belong to the batch now, and which came too late and must be dropped."""

    accepted: frozenset[str]
    stale: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnresolvedBatch:
    """A batch that was reported and neither persisted nor requeued."""

    batch_id: str
    task_ids: tuple[str, ...]
    reported_at: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt with its cause, and the asset if the bytes could be read."""

    task_id: str
    fence: int
    error: EnvelopeError
    asset_id: str | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class FailOutcome:
    """Task ids by what the retry policy made of them; `stale` had another holder already."""

    retried: frozenset[str]
    dead: frozenset[str]
    stale: frozenset[str]


@dataclass(frozen=True, slots=True)
class Redrive:
    """Which blocked tasks are tried again: those that match every field given.

    `task_ids` empty means all. Dead letters and model mismatches are meant; `state` narrows it to
    one of the two, `error_class` and `code` to dead letters with that cause, `text` to tasks whose
    URI, message or cause contains it, whatever the case of its letters.
    """

    job_id: str | None = None
    tenant_id: str | None = None
    transform: str | None = None
    error_class: ErrorClass | None = None
    code: str | None = None
    task_ids: Sequence[str] = ()
    state: TaskState | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class RestoredTask:
    """A task whose evidence lies in the store; `model` is as much as is known of who made it."""

    task_type: TaskType
    transform: str
    model: ModelSpec
    evidence_key: str


@dataclass(frozen=True, slots=True)
class RestoredResource:
    """A resource as the store saw it: its bytes (`asset_id`), when, and all that is known of it."""

    identity: ContentIdentity
    asset_id: str
    observed_at: float
    tasks: tuple[RestoredTask, ...]


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """Resources and tasks entered anew, and tasks that were waiting or given up and are done."""

    resources: int
    tasks: int
    settled: int


@dataclass(frozen=True, slots=True)
class ShortResource:
    """A resource of a job with fewer tasks than the job has transforms."""

    uri: str
    identity_key: str
    tasks: int
    transforms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job saw what an evidence key is about."""

    evidence_key: str
    task_id: str
    uri: str
    task_type: str


@dataclass(frozen=True, slots=True)
class Committed:
    """A committed task: what it said (`evidence_key`) about which bytes, where they lay, and when.

    `persisted_at` in Unix seconds; of a task restored from a store, when its bytes were seen.
    """

    tenant_id: str
    task_id: str
    task_type: str
    transform: str
    asset_id: str
    evidence_key: str
    identity: ContentIdentity
    persisted_at: float


@dataclass(frozen=True, slots=True)
class Granted:
    """The right is ours until `expires_at`; `fence` exceeds that of every earlier holder."""

    fence: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Right:
    """A right by name, as it was granted: whoever has taken it since has another fence."""

    name: str
    fence: int


@dataclass(frozen=True, slots=True)
class Held:
    """Someone else has the right."""

    holder: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class LiveHolder:
    """An incarnation with unexpired leases: until when, how many, and what they cover."""

    holder: str
    expires_at: float
    leases: int
    tasks: int
    progress: int


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The books of a job, in resources; a resource has the first outcome of dead, pending,
    filtered, committed that any of its tasks has. Tasks of a cancelled job count as filtered.

    `key_digest` covers the evidence keys of committed and reused resources, one per task;
    `listed_digest` and `accounted_digest` cover the resources listed and those found in the books.
    `open_tasks` are tasks that still have work before them, also on resources that count as dead.
    `listed_tasks` and `found_tasks` cover the ids of the tasks asked for and of those that are
    there; null for a job that an older ecm listed.
    """

    listed: int
    committed: int
    reused: int
    filtered: int
    dead: int
    pending: int
    open_tasks: int
    key_digest: KeyDigest
    listed_digest: KeyDigest
    accounted_digest: KeyDigest
    listed_tasks: KeyDigest | None = None
    found_tasks: KeyDigest | None = None

    @property
    def balanced(self) -> bool:
        """Nothing lost, nothing doubled, by number and by key."""
        accounted = self.committed + self.reused + self.filtered + self.dead + self.pending
        return self.listed == accounted and self.listed_digest == self.accounted_digest
