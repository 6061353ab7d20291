"""Jobs, resources and tasks for tests of the ledger: small, deterministic, over any back end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ecm.contracts.identity import ContentIdentity, digest, evidence_key
from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ModelSpec, TaskSpec, TaskType
from ecm.ledger import Ledger
from ecm.ledger.records import (
    ClaimedTask,
    Failure,
    JobRecord,
    Lease,
    ListingChunk,
    ListingOutcome,
    Reported,
    ReportOutcome,
    ResourceTasks,
    SkippedResource,
    TaskFence,
)

START = 1_790_000_000.0
TTL = 60.0
TENANT = "studio"
MODEL = ModelSpec(backend="fake", model_id="fake", revision="1")
VISION, VV = digest("vision transform"), digest("vv transform")
KINDS = {VISION: TaskType.VISION, VV: TaskType.VV_EMBED}
BOTH = (VISION, VV)


def identity(name: str, size: int = 10) -> ContentIdentity:
    return ContentIdentity(uri=f"file:///photos/{name}.jpg", size=size, mtime_ns=1)


def resource(
    job_id: str,
    name: str,
    transforms: Sequence[str] = BOTH,
    tenant_id: str = TENANT,
    **fields: Any,
) -> ResourceTasks:
    found = identity(name)
    tasks = [
        TaskSpec.create(
            tenant_id=tenant_id,
            job_id=job_id,
            identity=found,
            task_type=KINDS[transform],
            model=MODEL,
            transform=transform,
            **fields,
        )
        for transform in transforms
    ]
    return ResourceTasks(found, tuple(tasks))


def open_job(ledger: Ledger, job_id: str, tenant_id: str = TENANT) -> None:
    ledger.open_job(
        JobRecord(
            job_id=job_id,
            tenant_id=tenant_id,
            source="file:///photos",
            transforms=BOTH,
            created_at=START,
        ),
        START,
    )


def chunk(
    resources: Iterable[ResourceTasks], cursor: str = "end", skipped: Sequence[str] = ()
) -> ListingChunk:
    return ListingChunk(
        tuple(resources), tuple(SkippedResource(uri, "hidden") for uri in skipped), cursor
    )


def list_names(
    ledger: Ledger, job_id: str, names: Iterable[str], now: float = START, **fields: Any
) -> ListingOutcome:
    """Open the job, list the names in one chunk and close the listing."""
    tenant_id = fields.get("tenant_id", TENANT)
    open_job(ledger, job_id, tenant_id)
    outcome = ledger.record_listing(
        job_id, chunk(resource(job_id, name, **fields) for name in names), now
    )
    ledger.close_listing(job_id, now)
    return outcome


def claim(
    ledger: Ledger, lease: Lease, limit: int = 100, now: float = START, **only: Any
) -> tuple[ClaimedTask, ...]:
    return ledger.claim(
        lease,
        only.get("transforms", BOTH),
        only.get("tenant_id"),
        only.get("job_id"),
        limit,
        now,
    )


def names_of(tasks: Iterable[ClaimedTask]) -> list[str]:
    """Resource names in order of claiming, each once."""
    names = (task.identity.uri.removeprefix("file:///photos/")[:-4] for task in tasks)
    return list(dict.fromkeys(names))


def result(task: ClaimedTask, linked: bool = False) -> Reported:
    """The result of a task on bytes that are its resource's identity."""
    asset_id = task.resource_key
    key = evidence_key(task.tenant_id, asset_id, task.task_type, task.transform)
    return Reported(task.task_id, task.fence, asset_id, key, linked)


def report(
    ledger: Ledger, batch_id: str, tasks: Iterable[ClaimedTask], now: float = START
) -> ReportOutcome:
    return ledger.report(batch_id, [result(task) for task in tasks], now)


def commit(ledger: Ledger, batch_id: str, tasks: Iterable[ClaimedTask], now: float = START) -> int:
    report(ledger, batch_id, tasks, now)
    return ledger.persist(batch_id, {"assets": 1}, now)


def failure(task: ClaimedTask, error_class: ErrorClass = ErrorClass.NETWORK) -> Failure:
    error = EnvelopeError.model_validate(
        {"class": error_class, "code": "read.gone", "stage": "read", "message": "went away"}
    )
    return Failure(task.task_id, task.fence, error)


def fences(tasks: Iterable[ClaimedTask]) -> list[TaskFence]:
    return [TaskFence(task.task_id, task.fence) for task in tasks]


def ids(tasks: Iterable[ClaimedTask]) -> frozenset[str]:
    return frozenset(task.task_id for task in tasks)
