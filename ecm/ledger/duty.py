"""What the duties of the ledger share: the connector, the settings, whose ledger it is, and steps.

Every step off the normal path goes through `take`, which checks it against the table of
transitions, writes its rows into task_events and moves the task. Knows no duty.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from ecm.contracts.identity import TenantId
from ecm.contracts.result import EnvelopeError
from ecm.errors import ContractError, Forbidden, LedgerUnavailable
from ecm.ledger.config import LedgerConfig
from ecm.ledger.connector import Connector, Params, Row, Session
from ecm.ledger.pressure import Depths
from ecm.ledger.recent import Recent
from ecm.ledger.states import TRANSIENT, TaskState, transition

Answer = TypeVar("Answer")


class Duty:
    """Base of every duty; holds no state of its own beside the connection.

    `scope` is the one tenant whose ledger this is, or None for an operator's; `recent` is what this
    process remembers of evidence that exists, `depths` what it knows of the length of the queue.
    """

    def __init__(
        self,
        connector: Connector,
        config: LedgerConfig,
        recent: Recent,
        depths: Depths,
        scope: TenantId | None = None,
    ) -> None:
        self._db = connector
        self._config = config
        self._recent = recent
        self._depths = depths
        self._scope = scope

    def now(self) -> float:
        """Unix seconds by the database's clock: the time to pass to every method."""
        return self._db.clock()

    def _operator(self, operation: str) -> None:
        """Raises Forbidden in a tenant's ledger."""
        if self._scope is not None:
            raise Forbidden(f"{operation} is for operators of the ledger", "access.operator")

    def _tenant(self, tenant_id: TenantId | None) -> TenantId | None:
        """The tenant meant; in a tenant's ledger its own alone. Raises Forbidden."""
        if self._scope is None or tenant_id in (None, self._scope):
            return self._scope if tenant_id is None else tenant_id
        raise Forbidden(f"this ledger is not that of tenant {tenant_id!r}", "access.tenant")

    def _job_row(self, session: Session, job_id: str) -> Row:
        """A job to read. Raises ContractError for one this ledger does not know."""
        return self._own_job(session.one("find_job", {"job_id": job_id}), job_id)

    def _lock_job(self, session: Session, job_id: str) -> Row:
        """A job about to be changed. Raises ContractError for one this ledger does not know."""
        return self._own_job(session.one("lock_job", {"job_id": job_id}), job_id)

    def _job_seq(self, session: Session, job_id: str | None) -> int | None:
        """The number of a job, or None where no job is asked for."""
        return None if job_id is None else int(self._job_row(session, job_id)["job_seq"])

    def _own_job(self, row: Row | None, job_id: str) -> Row:
        if row is None or self._scope not in (None, row["tenant_id"]):
            raise ContractError(f"no job {job_id} in this ledger", "ledger.job_unknown")
        return row

    def _own(self, session: Session, rows: Iterable[Row]) -> list[Row]:
        """Those of the tasks (rows with a stream_id) that exist in this ledger."""
        tasks = list(rows)
        if self._scope is None:
            return tasks
        tenants = tenants_of(session, (task["stream_id"] for task in tasks))
        return [task for task in tasks if tenants[task["stream_id"]] == self._scope]


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
    worker: str = ""

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
                "worker": move.worker,
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


CONFLICTS = 3
"""How often a slice is tried that the database ended because two had waited for each other."""


def again_on_conflict(step: Callable[[], Answer]) -> Answer:
    """Repeat a transaction that was undone for a conflict with another. Raises what it raises."""
    for _ in range(CONFLICTS - 1):
        try:
            return step()
        except LedgerUnavailable as error:
            if error.code != "ledger.conflict":
                raise
    return step()


def bump(session: Session, counter: str, by: int = 1) -> int:
    """Raise a monotone counter and return its new value."""
    row = session.one("bump_counter", {"name": counter, "by": by})
    if row is None:
        raise ContractError(f"no counter {counter}", "ledger.counter")
    return int(row["value"])


def tenants_of(session: Session, stream_ids: Iterable[int]) -> dict[int, TenantId]:
    """Whose tasks lie in the streams."""
    rows = session.all("list_stream_tenants", {"stream_ids": json_list(set(stream_ids))})
    return {row["stream_id"]: row["tenant_id"] for row in rows}


SLOT_SECONDS: Final = 10
"""Ended attempts are counted by tens of seconds."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended: in which stream, by which worker, and how (see table attempts)."""

    stream_id: int
    worker: str
    outcome: str


def count_attempts(session: Session, ended: Iterable[Ended], now: float) -> None:
    """Add ended attempts to the rates of their workers."""
    counts = Counter(ended)
    if not counts:
        return
    tenants = tenants_of(session, (each.stream_id for each in counts))
    sums: Counter[tuple[TenantId, str, str]] = Counter()
    for each, number in counts.items():
        sums[tenants[each.stream_id], each.worker, each.outcome] += number
    slot = int(now // SLOT_SECONDS) * SLOT_SECONDS
    session.many(
        "add_attempts",
        (
            {"slot": slot, "tenant_id": t, "worker": w, "outcome": o, "tasks": number}
            for (t, w, o), number in sorted(sums.items())
        ),
    )


def add_tally(session: Session, tenant_id: TenantId, what: str, tasks: int) -> None:
    """Add to a tenant's total since the beginning."""
    if tasks:
        session.run("add_tally", {"tenant_id": tenant_id, "what": what, "tasks": tasks})


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
