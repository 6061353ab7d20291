"""What the duties of the ledger share: the connector, the settings, and exceptional steps.

Every step off the normal path goes through `take`, which checks it against the table of
transitions, writes its rows into task_events and moves the task. Knows no duty.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecm.contracts.result import EnvelopeError
from ecm.errors import ContractError
from ecm.ledger.config import LedgerConfig
from ecm.ledger.connector import Connector, Params, Row, Session
from ecm.ledger.states import TRANSIENT, TaskState, transition


class Duty:
    """Base of every duty; holds no state of its own beside the connection."""

    def __init__(self, connector: Connector, config: LedgerConfig) -> None:
        self._db = connector
        self._config = config


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an exceptional move: the state reached, a one-line cause, the error behind it."""

    to: TaskState
    cause: str
    error: EnvelopeError | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """A task that leaves the normal path, its steps in order, and what its row says afterwards.

    `task` is a row with seq, state, attempt, fence. `failures` is the JSON kept on the task row.
    """

    task: Row
    steps: tuple[Step, ...]
    run_after: float
    failures: str | None
    expiries: int
    asset_id: str | None = None

    @property
    def target(self) -> TaskState:
        return self.steps[-1].to


def take(session: Session, moves: Sequence[Move], now: float) -> None:
    """Check, record and make exceptional moves. Raises ContractError for an impossible step."""
    events: list[dict[str, str | int | float | None]] = []
    last_of_move: list[int] = []
    for move in moves:
        events.extend(_events(move, now))
        last_of_move.append(len(events) - 1)
    if not events:
        return
    first_id = bump(session, "event", by=len(events)) - len(events) + 1
    for offset, event in enumerate(events):
        event["event_id"] = first_id + offset
    session.many("insert_event", events)
    session.many("move_task", map(_moved, moves, (first_id + last for last in last_of_move)))


def _events(move: Move, now: float) -> Iterable[dict[str, str | int | float | None]]:
    source = TaskState(move.task["state"])
    for step in move.steps:
        if transition(source, step.to).recorded:
            yield {
                "seq": move.task["seq"],
                "at": now,
                "from_state": source,
                "to_state": step.to,
                "attempt": move.task["attempt"],
                "fence": move.task["fence"],
                "cause": step.cause,
                "error_class": step.error.error_class if step.error else None,
                "code": step.error.code if step.error else None,
                "stage": step.error.stage if step.error else None,
                "message": step.error.message if step.error else None,
            }
        source = step.to
    if source in TRANSIENT:
        raise ContractError(f"a task cannot rest in state {source}", "ledger.transition")


def _moved(move: Move, event_id: int) -> Params:
    return {
        "seq": move.task["seq"],
        "fence": move.task["fence"],
        "state": move.target,
        "run_after": move.run_after,
        "failures": move.failures,
        "expiries": move.expiries,
        "event_id": event_id,
        "asset_id": move.asset_id,
    }


def bump(session: Session, counter: str, by: int = 1) -> int:
    """Raise a monotone counter and return its new value."""
    row = session.one("bump_counter", {"name": counter, "by": by})
    if row is None:
        raise ContractError(f"no counter {counter}", "ledger.counter")
    return int(row["value"])


def job_row(session: Session, job_id: str) -> Row:
    """The row of a job. Raises ContractError for a job the ledger does not know."""
    row = session.one("find_job", {"job_id": job_id})
    if row is None:
        raise ContractError(f"no job {job_id} in this ledger", "ledger.job_unknown")
    return row


def job_seq(session: Session, job_id: str | None) -> int | None:
    """The number of a job, or None where no job is asked for."""
    return None if job_id is None else int(job_row(session, job_id)["job_seq"])


def count_of(session: Session, name: str, params: Params) -> int:
    """The number a counting statement answers with, in its column `tasks`."""
    row = session.one(name, params)
    return 0 if row is None else int(row["tasks"])


def json_list(values: Iterable[str] | Iterable[int]) -> str:
    """A list as one parameter; statements unfold it again."""
    return json.dumps(list(values))


def stored_deadline(deadline_at: float | None) -> float:
    """Tasks without a deadline sort after all others."""
    return math.inf if deadline_at is None else deadline_at


def loaded_deadline(deadline_at: float) -> float | None:
    return None if math.isinf(deadline_at) else deadline_at
