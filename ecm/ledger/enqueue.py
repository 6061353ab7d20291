"""Writing what a chunk adds: resources, streams, tasks and the job's membership in them.

Knows rows; which resources come here was decided before (see chunk.py).
"""

from __future__ import annotations

from ecm.contracts.task import ModelSpec, RetryPolicy, TaskType
from ecm.errors import ContractError
from ecm.ledger.chunk import ChunkBooks, Known
from ecm.ledger.connector import Params, Row, Session, Value
from ecm.ledger.duty import Move, Step, bump, stored_deadline, take
from ecm.ledger.states import TaskState

_StreamKey = tuple[TaskType, str, ModelSpec, RetryPolicy]


def enqueue(session: Session, job: Row, books: ChunkBooks, known: Known, now: float) -> None:
    """Write everything that is not reused; tasks that exist already are joined."""
    resource_ids = _insert_resources(session, job, books, known)
    session.many(
        "insert_job_resource",
        ({"job_seq": job["job_seq"], "resource_id": resource_ids[key]} for key, _ in books.queued),
    )
    streams = Streams(session, job)
    turns = _first_turns(session, job["tenant_id"], books, known)
    rows: list[dict[str, Value]] = []
    for offset, (key, found) in enumerate(books.queued):
        for task in found.tasks:
            existing = known.tasks.get(task.task_id)
            if existing is not None:
                streams.joined.add(existing["stream_id"])
                continue
            rows.append(
                {
                    "task_id": task.task_id,
                    "resource_id": resource_ids[key],
                    "stream_id": streams.id_of(
                        task.task_type, task.transform, task.model, task.retry_policy
                    ),
                    "priority": task.priority,
                    "deadline_at": stored_deadline(task.deadline_at),
                    "turn": turns[task.priority] + offset,
                    "now": now,
                }
            )
    session.many("insert_task", rows)
    streams.join()
    take(session, [_wanted_again(row, job["job_id"], now) for row in books.wanted_again], now)


class Streams:
    """The streams a chunk's tasks lie in: found or made once, then joined by the job."""

    def __init__(self, session: Session, job: Row) -> None:
        self._session = session
        self._job = job
        self._ids: dict[_StreamKey, int] = {}
        self.joined: set[int] = set()

    def id_of(
        self, task_type: TaskType, transform: str, model: ModelSpec, retries: RetryPolicy
    ) -> int:
        key = (task_type, transform, model, retries)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = self._make(key)
            self.joined.add(found)
        return found

    def join(self) -> None:
        job_seq = self._job["job_seq"]
        self._session.many(
            "join_stream",
            ({"job_seq": job_seq, "stream_id": stream} for stream in sorted(self.joined)),
        )

    def _make(self, key: _StreamKey) -> int:
        task_type, transform, model, retries = key
        stream: dict[str, Value] = {
            "job_seq": self._job["job_seq"],
            "task_type": task_type,
            "transform": transform,
            "model_spec": model.model_dump_json(),
            "retry_policy": retries.model_dump_json(),
        }
        self._session.run("insert_stream", stream)
        row = self._session.one("find_stream", stream)
        if row is None:
            raise ContractError("a stream vanished while it was made", "ledger.stream")
        return int(row["stream_id"])


def _insert_resources(
    session: Session, job: Row, books: ChunkBooks, known: Known
) -> dict[str, int]:
    """Write resources the ledger does not know yet; returns the ids of all by identity key."""
    ids = {key: int(row["resource_id"]) for key, row in known.resources.items()}
    new = [(key, found.identity) for key, found in books.queued if key not in ids]
    first = bump(session, "resource", by=len(new)) - len(new) + 1
    rows: list[dict[str, Value]] = []
    for offset, (key, identity) in enumerate(new):
        ids[key] = first + offset
        rows.append(
            {
                "resource_id": ids[key],
                "tenant_id": job["tenant_id"],
                "identity_key": key,
                "uri": identity.uri,
                "size": identity.size,
                "mtime_ns": identity.mtime_ns,
                "etag": identity.etag,
            }
        )
    session.many("insert_resource", rows)
    return ids


def _first_turns(
    session: Session, tenant_id: str, books: ChunkBooks, known: Known
) -> dict[int, int]:
    """Reserve consecutive places in the fair order of tenants; the first of each priority."""
    wanted = {
        task.priority
        for _, found in books.queued
        for task in found.tasks
        if task.task_id not in known.tasks
    }
    places = len(books.queued)
    return {
        priority: _last_turn(session, tenant_id, priority, places) - places + 1
        for priority in sorted(wanted)
    }


def _last_turn(session: Session, tenant_id: str, priority: int, places: int) -> int:
    """The last of so many places that a tenant gets among the tasks of a priority."""
    whose: Params = {"tenant_id": tenant_id, "priority": priority}
    session.run("open_turn", {"priority": priority})
    waits = session.one("find_waiting", whose) is not None
    row = session.one("take_turns", {**whose, "turns": places, "waits": int(waits)})
    if row is None:
        raise ContractError("a tenant got no turn", "ledger.turn")
    return int(row["turn"])


def _wanted_again(task: Row, job_id: str, now: float) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.RETRY_QUEUED, f"listed again by job {job_id}"),),
        run_after=now,
        failures=None,
        expiries=0,
    )
