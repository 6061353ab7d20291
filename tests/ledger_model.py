"""A task ledger in a few dictionaries: what the random walk compares every back end with."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ecm.contracts.result import ErrorClass
from ecm.ledger.states import PENDING, TaskState


@dataclass
class ModelTask:
    """What the model knows of one task."""

    state: TaskState = TaskState.QUEUED
    attempt: int = 0
    fence: int = 0
    lease_id: str = ""
    batch_id: str = ""
    run_after: float = 0.0
    failures: Counter[ErrorClass] = field(default_factory=Counter)
    expiries: int = 0

    def requeue(self, now: float) -> None:
        self.state, self.run_after = TaskState.RETRY_QUEUED, now

    def start_over(self, now: float) -> None:
        self.requeue(now)
        self.failures.clear()
        self.expiries = 0

    def give_back(self, now: float) -> None:
        self.requeue(now)
        self.attempt -= 1
        if not self.attempt:
            self.state = TaskState.QUEUED


@dataclass
class ModelJob:
    """What the model knows of one job."""

    members: set[str] = field(default_factory=set)
    reused: int = 0
    cancelled: bool = False


def outcome_of(states: set[TaskState]) -> str:
    """The class in the books of a resource whose tasks are in these states."""
    if TaskState.DEAD_LETTER in states:
        return "dead"
    if states & PENDING:
        return "pending"
    return "filtered" if TaskState.CANCELLED in states else "committed"
