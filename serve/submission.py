"""What people and producers send and see of the queue, and how resources become tasks.

Knows which transforms a job's resources get and how a submission is recorded so that sending it
again adds nothing; knows no HTTP.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from ecm.contracts.identity import ContentIdentity, Contract, Digest, TenantId, digest
from ecm.contracts.result import ErrorClass
from ecm.contracts.task import ModelSpec, RetryPolicy, TaskSpec, TaskType
from ecm.errors import ContractError
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Job, JobRecord, ListingChunk, ResourceTasks
from ecm.ledger.states import JobState
from ecm.stages.plan import TransformPlan

MAX_RESOURCES = 1000
MAX_TASK_IDS = 10_000
SUBMISSION_BYTES = 4 * 2**20
REDRIVE_BYTES = 2**20

JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")]
Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=256)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Moment = Annotated[float, Field(allow_inf_nan=False, description="Unix seconds (UTC)")]


class NamedTransform(Contract):
    """A transform that is not in the service's own profile."""

    task_type: TaskType
    transform: Digest
    model: ModelSpec = Field(alias="model_spec")


class Wanted(Contract):
    """Which transforms: those of the service's profile, all or of some task types, or named."""

    task_types: tuple[TaskType, ...] | None = Field(
        default=None, min_length=1, description="of the service's profile; null: all it has"
    )
    transforms: tuple[NamedTransform, ...] | None = Field(
        default=None, min_length=1, max_length=64, description="instead of those of the profile"
    )
    tenant_id: TenantId | None = Field(default=None, description="the caller's own, if given")


class NewJob(Wanted):
    """A job to be made. The same `job_id` with the same request finds the job again."""

    job_id: JobId | None = Field(default=None, description="null: the service makes one")
    source: Plain = Field(default="", description="a label for people")


class Resource(ContentIdentity):
    """An image by its URI (`file:///…` or `s3://…`), size in bytes, and mtime_ns or etag."""

    uri: str = Field(min_length=1, max_length=8192)
    size: int = Field(ge=0, lt=2**63)
    mtime_ns: Whole | None = None
    etag: Plain | None = None


class Submission(Wanted):
    """Resources to be analysed, for a job whose listing is open or for a new job of their own."""

    resources: tuple[Resource, ...] = Field(min_length=1, max_length=MAX_RESOURCES)
    job_id: JobId | None = Field(default=None, description="null: a new job, closed at once")
    priority: int = Field(default=0, ge=-100, le=100, description="higher goes first")
    deadline_at: Moment | None = None
    retry_policy: RetryPolicy = RetryPolicy()


class TaskName(Contract):
    """One task of a submission; the same resource and transform always have the same id."""

    uri: str
    task_type: TaskType
    task_id: Digest


class Submitted(Contract):
    """What became of the resources: see `queued`, `reused`, `dead`, `repeated`.

    `throttle_seconds` above 0 asks to wait so long before the next submission; so does Retry-After.
    """

    job_id: str
    queued: int = Field(description="resources with work to do, new or joined")
    reused: int = Field(description="resources that are finished already")
    dead: int = Field(description="resources that were given up earlier")
    repeated: int = Field(description="resources this job had already")
    throttle_seconds: float
    tasks: tuple[TaskName, ...]


class Selection(Contract):
    """Which blocked tasks: those that match every field that is given; none given: all."""

    task_ids: tuple[Digest, ...] = Field(default=(), max_length=MAX_TASK_IDS)
    job_id: Plain | None = None
    error_class: ErrorClass | None = Field(default=None, alias="class")
    code: Plain | None = None
    transform: Digest | None = None
    text: Plain | None = Field(default=None, description="in its URI, message or cause")


class Producer:
    """Makes jobs and tasks of what callers send. `plan` tells the transforms of the profile."""

    def __init__(
        self, plan: Callable[[], TransformPlan], confine: Callable[[Iterable[str]], list[str]]
    ) -> None:
        self._plan = plan
        self._confine = confine

    def open_job(self, ledger: Ledger, tenant_id: str, asked: NewJob, now: float) -> Job:
        """The job, made or found again. Raises ContractError; see `Ledger.open_job`."""
        job_id = asked.job_id or _new_name()
        wanted = self._wanted(asked)
        return ledger.open_job(
            JobRecord(
                job_id=job_id,
                tenant_id=tenant_id,
                source=asked.source,
                transforms=tuple(wanted),
                created_at=now,
            ),
            now,
        )

    def submit(self, ledger: Ledger, tenant_id: str, asked: Submission, now: float) -> Submitted:
        """Record resources as tasks of a job. Sent again, it says the same and adds nothing.

        Raises Overloaded when the queue is too deep, ContractError when the job's listing is
        closed, SourceError for a resource that may not be read.
        """
        uris = self._confine(resource.uri for resource in asked.resources)
        found = [
            ContentIdentity(uri=uri, size=each.size, mtime_ns=each.mtime_ns, etag=each.etag)
            for uri, each in zip(uris, asked.resources, strict=True)
        ]
        if asked.job_id is not None:
            job, wanted = self._job(ledger, tenant_id, asked.job_id, asked)
            return _record(ledger, job, found, wanted, asked, now)
        wanted = self._wanted(asked)
        name = f"job-{digest([tenant_id, sorted(wanted), _cursor(asked)])[:32]}"
        try:
            return self._record_alone(ledger, tenant_id, name, found, wanted, asked, now)
        except ContractError as error:
            if error.code != "ledger.listing_closed":
                raise
        # It was refused before, or cancelled since: what is asked for again is wanted again.
        name = _new_name()
        return self._record_alone(ledger, tenant_id, name, found, wanted, asked, now)

    def _record_alone(
        self,
        ledger: Ledger,
        tenant_id: str,
        job_id: str,
        found: Sequence[ContentIdentity],
        wanted: Mapping[str, NamedTransform],
        asked: Submission,
        now: float,
    ) -> Submitted:
        """In a job of its own, which is closed whatever happens: nobody else knows of it.

        When the answer is lost, who sends the same again finds the job again by its name.
        """
        made = NewJob(
            job_id=job_id,
            source="submitted",
            task_types=asked.task_types,
            transforms=asked.transforms,
        )
        job = self.open_job(ledger, tenant_id, made, now)
        try:
            _refuse_cancelled(job)
            return _record(ledger, job, found, wanted, asked, now)
        finally:
            ledger.close_listing(job_id, now)

    def _job(
        self, ledger: Ledger, tenant_id: str, job_id: str, asked: Submission
    ) -> tuple[Job, Mapping[str, NamedTransform]]:
        """The job a submission names, and its transforms by fingerprint. Raises ContractError."""
        job = ledger.job(job_id)
        if job is None or job.record.tenant_id != tenant_id:
            raise ContractError(f"no job {job_id} in this ledger", "ledger.job_unknown")
        _refuse_cancelled(job)
        if asked.task_types is not None:
            raise ContractError(
                f"the task types of job {job_id} are those it was made with",
                "ledger.transform",
            )
        known = self._wanted(asked)
        missing = [each for each in job.record.transforms if each not in known]
        if missing:
            raise ContractError(
                f"the service has no transform {missing[0]}, which job {job_id} asks for",
                "ledger.transform",
                "name the job's transforms in the submission too",
            )
        return job, {each: known[each] for each in job.record.transforms}

    def _wanted(self, asked: Wanted) -> dict[str, NamedTransform]:
        """Transforms by fingerprint. Raises ContractError for a task type the profile lacks."""
        if asked.transforms is not None:
            kinds = asked.task_types or tuple(TaskType)
            found = {each.transform: each for each in asked.transforms if each.task_type in kinds}
            if not found:
                raise ContractError("no transform is of a task type asked for", "ledger.transform")
            return found
        by_type = self._plan().by_type
        missing = [kind for kind in asked.task_types or () if kind not in by_type]
        if missing:
            raise ContractError(
                f"the profile of this service has no model for {missing[0]}", "ledger.transform"
            )
        return {
            each.fingerprint: NamedTransform(
                task_type=each.task_type, transform=each.fingerprint, model_spec=each.model
            )
            for kind, each in by_type.items()
            if asked.task_types is None or kind in asked.task_types
        }


def _record(
    ledger: Ledger,
    job: Job,
    found: Sequence[ContentIdentity],
    wanted: Mapping[str, NamedTransform],
    asked: Submission,
    now: float,
) -> Submitted:
    job_id = job.record.job_id
    listed = tuple(ResourceTasks(each, tuple(_tasks(job, each, wanted, asked))) for each in found)
    said = ledger.record_listing(job_id, ListingChunk(listed, (), _cursor(asked)), now)
    return Submitted(
        job_id=job_id,
        queued=said.queued,
        reused=said.reused,
        dead=said.dead,
        repeated=said.repeated,
        throttle_seconds=said.throttle_seconds,
        tasks=tuple(
            TaskName(uri=each.identity.uri, task_type=task.task_type, task_id=task.task_id)
            for each in listed
            for task in each.tasks
        ),
    )


def _refuse_cancelled(job: Job) -> None:
    if job.state is JobState.CANCELLED:
        raise ContractError(f"job {job.record.job_id} is cancelled", "ledger.listing_closed")


def _new_name() -> str:
    return f"job-{uuid.uuid4().hex[:16]}"


def _tasks(
    job: Job, identity: ContentIdentity, wanted: Mapping[str, NamedTransform], asked: Submission
) -> Iterable[TaskSpec]:
    for each in wanted.values():
        yield TaskSpec.create(
            tenant_id=job.record.tenant_id,
            job_id=job.record.job_id,
            identity=identity,
            task_type=each.task_type,
            model=each.model,
            transform=each.transform,
            priority=asked.priority,
            deadline_at=asked.deadline_at,
            retry_policy=asked.retry_policy,
        )


def _cursor(asked: Submission) -> str:
    """The name of a submission: equal for an equal one, so that the job takes it once."""
    return f"submitted-{digest(asked.model_dump(mode='json', by_alias=True))}"
