"""What people and metrics see: status, dead letters, the history of a task. Only reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.errors import ContractError
from ecm.ledger.connector import Row, Session
from ecm.ledger.duty import Duty, job_seq
from ecm.ledger.reports import (
    DeadLetter,
    HistoryEntry,
    Latency,
    LedgerStatus,
    QueueDepth,
    TaskHistory,
)
from ecm.ledger.states import TRANSIENT, TaskState

_LATENCY_BATCHES = 20
_NORMAL_PATH = (
    ("created_at", TaskState.QUEUED, "listed"),
    ("leased_at", TaskState.LEASED, "claimed"),
    ("started_at", TaskState.RUNNING, "started"),
    ("reported_at", TaskState.REPORTED, "reported"),
    ("persisted_at", TaskState.PERSISTED, "committed"),
    ("done_at", TaskState.DONE, "audited"),
)


class Views(Duty):
    """Reads for people and metrics."""

    def status(self, now: float) -> LedgerStatus:
        """The queue now, and rates and latencies over the configured window before now."""
        window = self._config.metrics_window
        with self._db.read() as session:
            depth = tuple(map(_depth, session.all("count_depth", {})))
            committed = session.one("count_committed", {"since": now - window})
            failed = session.one("count_recent_failures", {"since": now - window})
            oldest = session.one("find_oldest_claim", {})
            recent = {"since": now - window, "batches": _LATENCY_BATCHES}
            latencies = [row["seconds"] for row in session.all("list_recent_latencies", recent)]
            dead = session.all("count_dead", {})
            stale, done = _counter(session, "stale"), _counter(session, "done")
        committed_recently = committed["recent"] if committed else 0
        failures = failed["failures"] if failed else 0
        leased_at = oldest["leased_at"] if oldest else None
        return LedgerStatus(
            states=_states(depth, (committed["committed"] if committed else 0) - done, done),
            depth=depth,
            oldest_lease_seconds=None if leased_at is None else max(0.0, now - leased_at),
            latency_ms=Latency(*(percentile(latencies, share) for share in (0.5, 0.95, 0.99))),
            throughput_per_s=committed_recently / window,
            failure_rate=failures / max(1, failures + committed_recently),
            dead_letters={ErrorClass(row["error_class"]): row["tasks"] for row in dead},
            stale=stale,
        )

    def dead_letters(
        self,
        limit: int,
        tenant_id: str | None = None,
        job_id: str | None = None,
        error_class: ErrorClass | None = None,
    ) -> tuple[DeadLetter, ...]:
        """Tasks given up, latest first, of one tenant, job or error class if asked."""
        with self._db.read() as session:
            selection = {
                "limit": limit,
                "tenant_id": tenant_id,
                "job_seq": job_seq(session, job_id),
                "error_class": error_class,
            }
            return tuple(map(_dead_letter, session.all("list_dead", selection)))

    def task_history(self, task_id: str) -> TaskHistory:
        """Everything the ledger remembers of a task. Raises ContractError for an unknown one."""
        with self._db.read() as session:
            task = session.one("find_task", {"task_id": task_id})
            if task is None:
                raise ContractError(f"no task {task_id} in this ledger", "ledger.task_unknown")
            events = session.all("list_events", {"seq": task["seq"]})
        normal = [
            HistoryEntry(task[column], state, task["attempt"] if number else 0, cause)
            for number, (column, state, cause) in enumerate(_NORMAL_PATH)
            if task[column] is not None
        ]
        return TaskHistory(
            task_id=task_id,
            state=TaskState(task["state"]),
            attempt=task["attempt"],
            fence=task["fence"],
            entries=_in_order(normal, [_entry(event) for event in events]),
        )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Nearest-rank percentile of ascending seconds, in milliseconds; null for no values.

    >>> percentile([0.001, 0.002, 0.004], 0.5), percentile([], 0.5)
    (2.0, None)
    """
    if not ordered:
        return None
    return ordered[math.ceil(share * len(ordered)) - 1] * 1000.0


def _depth(row: Row) -> QueueDepth:
    return QueueDepth(TaskState(row["state"]), row["tenant_id"], row["priority"], row["tasks"])


def _states(depth: Sequence[QueueDepth], persisted: int, done: int) -> dict[TaskState, int]:
    states = {state: 0 for state in TaskState if state not in TRANSIENT}
    for part in depth:
        states[part.state] += part.tasks
    states[TaskState.PERSISTED] = persisted
    states[TaskState.DONE] = done
    return states


def _counter(session: Session, name: str) -> int:
    row = session.one("read_counter", {"name": name})
    return 0 if row is None else int(row["value"])


def _dead_letter(row: Row) -> DeadLetter:
    return DeadLetter(
        task_id=row["task_id"],
        tenant_id=row["tenant_id"],
        job_id=row["job_id"],
        uri=row["uri"],
        task_type=row["task_type"],
        transform=row["transform"],
        asset_id=row["asset_id"],
        error=_error(row),
        attempts=row["attempt"],
        at=row["at"],
    )


def _error(row: Row) -> EnvelopeError:
    return EnvelopeError.model_validate(
        {
            "class": row["error_class"],
            "code": row["code"],
            "stage": row["stage"],
            "message": row["message"],
        }
    )


def _entry(event: Row) -> HistoryEntry:
    return HistoryEntry(
        at=event["at"],
        state=TaskState(event["to_state"]),
        attempt=event["attempt"],
        cause=event["cause"],
        error=_error(event) if event["error_class"] is not None else None,
    )


def _in_order(normal: list[HistoryEntry], events: list[HistoryEntry]) -> tuple[HistoryEntry, ...]:
    """By time; at equal times by attempt, then the normal path before its events."""
    return tuple(sorted([*normal, *events], key=lambda entry: (entry.at, entry.attempt)))
