"""What people and metrics see: status, dead letters, the history of a task. Only reads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ModelSpec
from ecm.errors import ContractError
from ecm.ledger.connector import Params, Row
from ecm.ledger.duty import Duty
from ecm.ledger.reports import (
    DeadLetter,
    HistoryEntry,
    Latency,
    LedgerStatus,
    OpenTask,
    QueueDepth,
    TaskHistory,
    WorkerRate,
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

    def status(self, now: float, tenant_id: str | None = None) -> LedgerStatus:
        """The queue now, and rates and latencies over the configured window before now.

        Of one tenant, or of all that this ledger may see.
        """
        tenant = self._tenant(tenant_id)
        window = self._config.metrics_window
        with self._db.read() as session:
            whose: Params = {"tenant_id": tenant}
            depth = tuple(map(_depth, session.all("count_depth", whose)))
            lately: Params = {**whose, "since": now - window, "batches": _LATENCY_BATCHES}
            workers = _workers(session.all("list_attempts", lately))
            latencies = [row["seconds"] for row in session.all("list_recent_latencies", lately)]
            oldest = session.one("find_oldest_claim", whose)
            dead = session.all("count_dead", whose)
            totals = {row["what"]: int(row["tasks"]) for row in session.all("list_tallies", whose)}
        failed = sum((Counter(worker.failed) for worker in workers), Counter[ErrorClass]())
        reported = sum(worker.reported for worker in workers)
        leased_at = oldest["leased_at"] if oldest else None
        return LedgerStatus(
            states=_states(depth, totals.get("persisted", 0), totals.get("done", 0)),
            depth=depth,
            oldest_lease_seconds=None if leased_at is None else max(0.0, now - leased_at),
            latency_ms=Latency(*(percentile(latencies, share) for share in (0.5, 0.95, 0.99))),
            throughput_per_s=reported / window,
            failure_rate=failed.total() / max(1, failed.total() + reported),
            dead_letters={ErrorClass(row["error_class"]): row["tasks"] for row in dead},
            stale=totals.get("stale", 0),
            failed=dict(failed),
            workers=workers,
        )

    def dead_letters(
        self,
        limit: int,
        tenant_id: str | None = None,
        job_id: str | None = None,
        error_class: ErrorClass | None = None,
        code: str | None = None,
        text: str | None = None,
    ) -> tuple[DeadLetter, ...]:
        """Tasks given up, latest first: of one tenant, job, error class or code if asked.

        `text`: those whose URI, message or cause contains it, whatever the case of its letters.
        """
        tenant = self._tenant(tenant_id)
        with self._db.read() as session:
            selection = {
                "limit": limit,
                "tenant_id": tenant,
                "job_seq": self._job_seq(session, job_id),
                "error_class": error_class,
                "code": code,
                "text": text,
            }
            return tuple(map(_dead_letter, session.all("list_dead", selection)))

    def open_tasks_in(
        self, limit: int, tenant_id: str | None = None, state: TaskState | None = None
    ) -> tuple[OpenTask, ...]:
        """Tasks that are not committed, at most `limit`, of one tenant or state if asked."""
        wanted: Params = {"limit": limit, "tenant_id": self._tenant(tenant_id), "state": state}
        with self._db.read() as session:
            return tuple(map(_open_task, session.all("list_open", wanted)))

    def task_history(self, task_id: str) -> TaskHistory:
        """Everything the ledger remembers of a task. Raises ContractError for an unknown one."""
        with self._db.read() as session:
            task = session.one("find_task", {"task_id": task_id})
            if task is None or self._scope not in (None, task["tenant_id"]):
                raise ContractError(f"no task {task_id} in this ledger", "ledger.task_unknown")
            events = session.all("list_events", {"seq": task["seq"]})
        normal = [
            HistoryEntry(task[column], state, task["attempt"] if number else 0, cause)
            for number, (column, state, cause) in enumerate(_NORMAL_PATH)
            if task[column] is not None
        ]
        return TaskHistory(
            task_id=task_id,
            tenant_id=task["tenant_id"],
            uri=task["uri"],
            task_type=task["task_type"],
            transform=task["transform"],
            state=TaskState(task["state"]),
            attempt=task["attempt"],
            fence=task["fence"],
            job_id=task["job_id"],
            model=ModelSpec.model_validate_json(task["model_spec"]),
            asset_id=task["asset_id"],
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


def _states(depth: Sequence[QueueDepth], committed: int, done: int) -> dict[TaskState, int]:
    states = {state: 0 for state in TaskState if state not in TRANSIENT}
    for part in depth:
        states[part.state] += part.tasks
    states[TaskState.PERSISTED] = committed - done
    states[TaskState.DONE] = done
    return states


def _workers(rows: Sequence[Row]) -> tuple[WorkerRate, ...]:
    by_worker: dict[str, Counter[str]] = {}
    for row in rows:
        by_worker.setdefault(row["worker"], Counter())[row["outcome"]] += int(row["tasks"])
    return tuple(
        WorkerRate(
            worker=worker,
            reported=ended["reported"],
            failed={kind: ended[kind] for kind in ErrorClass if ended[kind]},
            expired=ended["expired"],
        )
        for worker, ended in by_worker.items()
    )


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


def _open_task(row: Row) -> OpenTask:
    return OpenTask(
        task_id=row["task_id"],
        tenant_id=row["tenant_id"],
        job_id=row["job_id"],
        uri=row["uri"],
        task_type=row["task_type"],
        transform=row["transform"],
        state=TaskState(row["state"]),
        attempt=row["attempt"],
        priority=row["priority"],
        run_after=row["run_after"],
        cause=row["cause"] or "",
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
        worker=event["worker"],
    )


def _in_order(normal: list[HistoryEntry], events: list[HistoryEntry]) -> tuple[HistoryEntry, ...]:
    """By time; at equal times by attempt, then the normal path before its events."""
    return tuple(sorted([*normal, *events], key=lambda entry: (entry.at, entry.attempt)))
