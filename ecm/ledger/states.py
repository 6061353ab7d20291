"""The states of a task and every step between them, each with its cause. Pure: no I/O, no clock.

    queued ──claimed──▶ leased ──started──▶ running ──▶ reported ──▶ persisted ──▶ done
       ▲                  │  │                 │ │          │
       │                  │  └─▶ model_mismatch│ │          └─ batch lost ─▶ retry_queued
       └──── released ────┴────────────────────┘ │
                 leased | running ──▶ failed ────┴──▶ retry_queued | dead_letter
                 leased | running ──▶ lease_expired ─▶ retry_queued | dead_letter
                 persisted | done ──▶ queued, when its evidence is damaged or lost

`failed` and `lease_expired` are passed through inside one transaction: they are rows in the task's
history and never the state a task rests in. Which statement takes a step is the
business of the other modules; whether the step exists is decided here alone. Tasks enter as queued,
or as done when a lost ledger is restored from its evidence store.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ecm.errors import ContractError


class TaskState(StrEnum):
    """Where a task stands."""

    QUEUED = "queued"
    LEASED = "leased"
    RUNNING = "running"
    REPORTED = "reported"
    PERSISTED = "persisted"
    DONE = "done"
    FAILED = "failed"
    RETRY_QUEUED = "retry_queued"
    LEASE_EXPIRED = "lease_expired"
    MODEL_MISMATCH = "model_mismatch"
    DEAD_LETTER = "dead_letter"
    CANCELLED = "cancelled"


class JobState(StrEnum):
    """Where a job stands: its listing is open, its listing is complete, or it is over."""

    LISTING = "listing"
    LISTED = "listed"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class BatchState(StrEnum):
    """Where a commit batch stands; a requeued batch is closed for good."""

    REPORTED = "reported"
    PERSISTED = "persisted"
    REQUEUED = "requeued"


@dataclass(frozen=True, slots=True)
class Transition:
    """Why a step is taken. `recorded` steps leave a row in task_events, the others a timestamp."""

    cause: str
    recorded: bool = False


_S = TaskState

TRANSITIONS: dict[tuple[TaskState, TaskState], Transition] = {
    (_S.QUEUED, _S.LEASED): Transition("claimed"),
    (_S.RETRY_QUEUED, _S.LEASED): Transition("claimed again after its waiting time"),
    (_S.LEASED, _S.RUNNING): Transition("the worker started"),
    (_S.RUNNING, _S.REPORTED): Transition("the committer took the result into a batch"),
    (_S.LEASED, _S.REPORTED): Transition("reported by a worker that did not announce its start"),
    (_S.REPORTED, _S.PERSISTED): Transition("every table of the batch is committed"),
    (_S.PERSISTED, _S.DONE): Transition("the audit of the job balanced"),
    (_S.LEASED, _S.QUEUED): Transition("released untouched"),
    (_S.RUNNING, _S.QUEUED): Transition("released unfinished"),
    (_S.LEASED, _S.RETRY_QUEUED): Transition("a later attempt released untouched"),
    (_S.RUNNING, _S.RETRY_QUEUED): Transition("a later attempt released unfinished"),
    (_S.LEASED, _S.FAILED): Transition("failed before it announced its start", recorded=True),
    (_S.RUNNING, _S.FAILED): Transition("failed", recorded=True),
    (_S.FAILED, _S.RETRY_QUEUED): Transition("the policy of its error class allows another try"),
    (_S.FAILED, _S.DEAD_LETTER): Transition("given up", recorded=True),
    (_S.LEASED, _S.LEASE_EXPIRED): Transition("the holder was not heard of", recorded=True),
    (_S.RUNNING, _S.LEASE_EXPIRED): Transition("the holder was not heard of", recorded=True),
    (_S.LEASE_EXPIRED, _S.RETRY_QUEUED): Transition("rescued"),
    (_S.LEASE_EXPIRED, _S.DEAD_LETTER): Transition("expired too often", recorded=True),
    (_S.QUEUED, _S.MODEL_MISMATCH): Transition("no worker has the declared model", recorded=True),
    (_S.RETRY_QUEUED, _S.MODEL_MISMATCH): Transition(
        "no worker has the declared model", recorded=True
    ),
    (_S.LEASED, _S.MODEL_MISMATCH): Transition("the worker's model differs", recorded=True),
    (_S.REPORTED, _S.RETRY_QUEUED): Transition("the batch was lost", recorded=True),
    (_S.DEAD_LETTER, _S.RETRY_QUEUED): Transition("redriven", recorded=True),
    (_S.MODEL_MISMATCH, _S.RETRY_QUEUED): Transition("redriven", recorded=True),
    (_S.CANCELLED, _S.RETRY_QUEUED): Transition("wanted again", recorded=True),
    (_S.QUEUED, _S.DONE): Transition("its evidence was found in the store", recorded=True),
    (_S.RETRY_QUEUED, _S.DONE): Transition("its evidence was found in the store", recorded=True),
    (_S.DEAD_LETTER, _S.DONE): Transition("its evidence was found in the store", recorded=True),
    (_S.MODEL_MISMATCH, _S.DONE): Transition("its evidence was found in the store", recorded=True),
    (_S.PERSISTED, _S.QUEUED): Transition("to be derived again", recorded=True),
    (_S.DONE, _S.QUEUED): Transition("to be derived again", recorded=True),
    (_S.QUEUED, _S.CANCELLED): Transition("its job was cancelled", recorded=True),
    (_S.RETRY_QUEUED, _S.CANCELLED): Transition("its job was cancelled", recorded=True),
    (_S.LEASED, _S.CANCELLED): Transition("its job was cancelled", recorded=True),
    (_S.RUNNING, _S.CANCELLED): Transition("its job was cancelled", recorded=True),
    (_S.MODEL_MISMATCH, _S.CANCELLED): Transition("its job was cancelled", recorded=True),
}

INITIAL = _S.QUEUED
TRANSIENT = frozenset({_S.FAILED, _S.LEASE_EXPIRED})
RUNNABLE = frozenset({_S.QUEUED, _S.RETRY_QUEUED})
HELD = frozenset({_S.LEASED, _S.RUNNING})
COMMITTED = frozenset({_S.PERSISTED, _S.DONE})
PENDING = RUNNABLE | HELD | {_S.REPORTED, _S.MODEL_MISMATCH}
RESTORABLE = RUNNABLE | {_S.DEAD_LETTER, _S.MODEL_MISMATCH}
SETTLED = COMMITTED | {_S.DEAD_LETTER, _S.CANCELLED}


def allowed(source: TaskState, target: TaskState) -> bool:
    """Whether a task may step from `source` to `target`.

    >>> allowed(TaskState.REPORTED, TaskState.PERSISTED), allowed(TaskState.DONE, TaskState.LEASED)
    (True, False)
    """
    return (source, target) in TRANSITIONS


def transition(source: TaskState, target: TaskState) -> Transition:
    """The step from `source` to `target`. Raises ContractError when there is none."""
    found = TRANSITIONS.get((source, target))
    if found is None:
        raise ContractError(f"a task cannot go from {source} to {target}", "ledger.transition")
    return found
