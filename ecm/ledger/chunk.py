"""One chunk of a listing, put into classes before anything is written. No I/O, no clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ecm.contracts.identity import KeyDigest, dedupe_key, digest
from ecm.contracts.task import TaskSpec
from ecm.errors import ContractError
from ecm.ledger.connector import Row
from ecm.ledger.records import ListingChunk, ResourceTasks
from ecm.ledger.states import COMMITTED, PENDING, TaskState


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger held before the chunk: resources by identity key, tasks by id."""

    resources: Mapping[str, Row]
    tasks: Mapping[str, Row]


@dataclass(slots=True)
class ChunkBooks:
    """What one chunk adds to its job. `queued` holds all that gets a row, so the dead as well."""

    queued: list[tuple[str, ResourceTasks]] = field(default_factory=list)
    dead: int = 0
    repeated: int = 0
    wanted_again: list[Row] = field(default_factory=list)
    reused: KeyDigest = field(default_factory=KeyDigest)
    reused_keys: KeyDigest = field(default_factory=KeyDigest)
    skipped: KeyDigest = field(default_factory=KeyDigest)


def check(job: Row, chunk: ListingChunk) -> None:
    """Every task must be one this job may ask for. Raises ContractError."""
    transforms = frozenset(json.loads(job["transforms"]))
    for found in chunk.found:
        if not found.tasks:
            raise ContractError(f"{found.identity.uri}: a resource without tasks", "ledger.listing")
        if not all(_fits(task, found, job, transforms) for task in found.tasks):
            raise ContractError(
                f"{found.identity.uri}: a task of another job, tenant, transform or resource",
                "ledger.listing",
            )


def check_ids(chunk: ListingChunk) -> None:
    """Every task must have the ids that follow from what it is. Raises ContractError.

    A made-up id could be that of another tenant's task, which the job would join.
    """
    for found in chunk.found:
        identity_key = found.identity.key()
        for task in found.tasks:
            key = dedupe_key(task.tenant_id, identity_key, task.transform, task.task_type.value)
            if (task.dedupe_key, task.task_id) != (key, digest(["task_id", key])):
                raise ContractError(
                    f"{found.identity.uri}: a task with the id of another", "ledger.listing"
                )


def sort(by_key: Mapping[str, ResourceTasks], known: Known) -> ChunkBooks:
    """Put every resource of the chunk into the one class it belongs to."""
    books = ChunkBooks()
    for key, found in by_key.items():
        resource = known.resources.get(key)
        if resource is not None and resource["repeated"]:
            books.repeated += 1
            continue
        rows = [known.tasks.get(task.task_id) for task in found.tasks]
        old = [row for row in rows if row is not None]
        states = {TaskState(row["state"]) for row in old}
        if len(old) == len(rows) and states <= COMMITTED:
            books.reused.add(key)
            for row in old:
                books.reused_keys.add(row["evidence_key"])
            continue
        books.queued.append((key, found))
        books.wanted_again.extend(row for row in old if row["state"] == TaskState.CANCELLED)
        active = len(old) < len(rows) or states & (PENDING | {TaskState.CANCELLED})
        if TaskState.DEAD_LETTER in states and not active:
            books.dead += 1
    return books


def _fits(task: TaskSpec, found: ResourceTasks, job: Row, transforms: frozenset[str]) -> bool:
    return (
        task.job_id == job["job_id"]
        and task.tenant_id == job["tenant_id"]
        and task.transform in transforms
        and (task.identity is found.identity or task.identity == found.identity)
    )
