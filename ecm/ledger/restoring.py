"""Restoring what is done from what is stored, after a ledger was lost or an old copy was put back.

A restored task never ran here: it enters in state done, under a job of its own whose books
balance. Tasks that wait or were given up and whose evidence lies in the store are done as well;
what is held, reported or committed is left alone. Knows no store: what was found is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ecm.contracts.identity import KeyDigest, dedupe_key
from ecm.contracts.task import RetryPolicy, task_id_of
from ecm.errors import ContractError
from ecm.ledger.connector import Params, Row, Session, Value
from ecm.ledger.duty import (
    Duty,
    Move,
    Step,
    add_tally,
    bump,
    json_list,
    stored_deadline,
    take,
)
from ecm.ledger.enqueue import Streams
from ecm.ledger.existing import PREFIX
from ecm.ledger.records import RestoredResource, RestoredTask, RestoreOutcome, Right
from ecm.ledger.rights import check_right
from ecm.ledger.states import RESTORABLE, JobState, TaskState

_FENCES_PER_SECOND = 1000


@dataclass(frozen=True, slots=True)
class _Found:
    """A task, its resource, and the resource's identity key."""

    key: str
    resource: RestoredResource
    task: RestoredTask


class Restoring(Duty):
    """The done set, told by the evidence store. For operators, who hold the right to commit."""

    def begin_restore(self, now: float) -> None:
        """Let every fence from now on exceed all that a lost ledger can have given out.

        Fences count at most a thousand a second, so the time in milliseconds is above them all.
        """
        self._operator("begin_restore")
        with self._db.write("restore") as session:
            session.one("raise_fence", {"value": int(now * _FENCES_PER_SECOND)})

    def restore(
        self,
        job_id: str,
        resources: Sequence[RestoredResource],
        now: float,
        right: Right | None = None,
    ) -> RestoreOutcome:
        """Enter resources whose evidence is stored, in one transaction; repeating changes nothing.

        Where the same resource was seen with other bytes, what was seen later stands. Raises
        ContractError unless the job's listing is open, LeaseLost when `right` has been taken.
        """
        self._operator("restore")
        by_key = {r.identity.key(): r for r in sorted(resources, key=lambda r: r.observed_at)}
        with self._db.write("restore") as session:
            check_right(session, right)
            job = self._lock_job(session, job_id)
            session.one("lock_listing", {"tenant_id": job["tenant_id"]})
            if job["state"] != JobState.LISTING:
                raise ContractError(f"job {job_id} is {job['state']}", "ledger.listing_closed")
            wanted = _tasks_of(job, by_key)
            rows = session.all("lock_tasks", {"task_ids": json_list(wanted)})
            known = {row["task_id"]: row for row in rows}
            chunk = _Chunk(session, job, now)
            new = {task_id: found for task_id, found in wanted.items() if task_id not in known}
            moved = [row for row in rows if row["state"] in RESTORABLE]
            again = [row for row in rows if chunk.holds_older(row, wanted[row["task_id"]].task)]
            listed = chunk.list(by_key, new)
            chunk.settle(moved, again, wanted)
            session.run("index_evidence", {"task_ids": json_list(wanted)})
            add_tally(session, job["tenant_id"], "persisted", len(new) + len(moved))
            add_tally(session, job["tenant_id"], "done", len(new) + len(moved))
        return RestoreOutcome(listed, len(new), len(moved))

    def restore_batches(self, batches: Mapping[str, float]) -> None:
        """Know these batches as persisted; `batches` are ids and when they were last observed."""
        self._operator("restore_batches")
        with self._db.write("restore") as session:
            states = session.all("find_batches", {"batch_ids": json_list(batches)})
            known = {row["batch_id"] for row in states}
            session.many(
                "restore_batch",
                (
                    {"batch_id": name, "tasks": 0, "reported_at": at, "persisted_at": at}
                    for name, at in batches.items()
                    if name not in known
                ),
            )


def _tasks_of(job: Row, by_key: Mapping[str, RestoredResource]) -> dict[str, _Found]:
    """Every task of the resources by its id."""
    tenant = job["tenant_id"]
    return {
        task_id_of(dedupe_key(tenant, key, task.transform, task.task_type.value)): _Found(
            key, resource, task
        )
        for key, resource in by_key.items()
        for task in resource.tasks
    }


class _Chunk:
    """One transaction's writes into the job and its batch, which bears the job's name."""

    def __init__(self, session: Session, job: Row, now: float) -> None:
        self._session = session
        self._job = job
        self._now = now
        row = session.one("lock_batch", {"batch_id": job["job_id"]})
        self._batch = None if row is None else int(row["batch_seq"])

    def holds_older(self, row: Row, task: RestoredTask) -> bool:
        """Whether this very job restored the task with other bytes, which were seen earlier."""
        return (
            self._batch is not None
            and row["batch_seq"] == self._batch
            and row["evidence_key"] != task.evidence_key
        )

    def list(self, by_key: Mapping[str, RestoredResource], new: Mapping[str, _Found]) -> int:
        """Write new tasks with their resources and count them in the job's books."""
        keys = {found.key for found in new.values()}
        ids, fresh = self._resources({key: by_key[key] for key in keys})
        streams = Streams(self._session, self._job)
        retries = RetryPolicy()
        stored = self._stored(found.task for found in new.values())
        batch = self._grow(len(new))
        rows: list[dict[str, Value]] = []
        for task_id, found in new.items():
            task = found.task
            stream = streams.id_of(task.task_type, task.transform, task.model, retries)
            rows.append(
                {
                    "task_id": task_id,
                    "resource_id": ids[found.key],
                    "stream_id": stream,
                    "deadline_at": stored_deadline(None),
                    "batch_seq": batch,
                    "now": self._now,
                    **_said(found, stored),
                }
            )
        self._session.many("restore_task", rows)
        streams.join()
        self._count(fresh, new)
        return fresh.count

    def settle(
        self, moved: Sequence[Row], again: Sequence[Row], wanted: Mapping[str, _Found]
    ) -> None:
        """Tasks that are there already: `moved` become done, `again` are told what came later."""
        take(self._session, [_restored(row, self._now) for row in moved], self._now)
        batch = self._grow(len(moved)) if moved else self._batch
        rows = [*moved, *again]
        stored = self._stored(wanted[row["task_id"]].task for row in rows)
        self._session.many(
            "settle_task",
            (
                {
                    "seq": row["seq"],
                    "batch_seq": batch,
                    "now": self._now,
                    **_said(wanted[row["task_id"]], stored),
                }
                for row in rows
            ),
        )

    def _stored(self, tasks: Iterable[RestoredTask]) -> set[str]:
        """Those of the tasks' evidence keys that some task of the ledger has made."""
        prefixes = json_list({task.evidence_key[:PREFIX] for task in tasks})
        rows = self._session.all("find_evidence", {"prefixes": prefixes})
        return {row["evidence_key"] for row in rows}

    def _grow(self, tasks: int) -> int | None:
        """The batch, with so many tasks more; it is made with its first task."""
        if not tasks:
            return self._batch
        name = self._job["job_id"]
        row: Params = {
            "batch_id": name, "tasks": tasks, "reported_at": self._now, "persisted_at": None
        }  # fmt: skip
        self._session.many("restore_batch", [row])
        if self._batch is None:
            made = self._session.one("lock_batch", {"batch_id": name})
            self._batch = None if made is None else int(made["batch_seq"])
        return self._batch

    def _resources(
        self, by_key: Mapping[str, RestoredResource]
    ) -> tuple[dict[str, int], KeyDigest]:
        """The ids of resources, which are made if need be, and the keys that are new to the job."""
        asked: Params = {
            "job_seq": self._job["job_seq"],
            "tenant_id": self._job["tenant_id"],
            "identity_keys": json_list(by_key),
        }
        rows = {row["identity_key"]: row for row in self._session.all("find_resources", asked)}
        ids = {key: int(row["resource_id"]) for key, row in rows.items()}
        missing = [key for key in by_key if key not in ids]
        first = bump(self._session, "resource", by=len(missing)) - len(missing) + 1
        ids |= {key: first + offset for offset, key in enumerate(missing)}
        self._session.many(
            "insert_resource",
            (
                {
                    "resource_id": ids[key],
                    "tenant_id": self._job["tenant_id"],
                    "identity_key": key,
                    **by_key[key].identity.model_dump(),
                }
                for key in missing
            ),
        )
        fresh = [key for key in by_key if key not in rows or not rows[key]["repeated"]]
        self._session.many(
            "insert_job_resource",
            ({"job_seq": self._job["job_seq"], "resource_id": ids[key]} for key in fresh),
        )
        return ids, KeyDigest(fresh)

    def _count(self, resources: KeyDigest, task_ids: Iterable[str]) -> None:
        """Enter what was listed into the job's books."""
        job = self._job
        sums: dict[str, Value] = {"job_seq": job["job_seq"], "cursor": job["cursor"]}
        for name in ("filtered", "reused", "reused_keys"):
            sums |= {name: job[name], f"{name}_digest": job[f"{name}_digest"]}
        for name, more in (("listed", resources), ("tasks", KeyDigest(task_ids))):
            total = KeyDigest.parse(job[f"{name}_digest"], job[name]) + more
            sums |= {name: total.count, f"{name}_digest": str(total)}
        self._session.run("count_chunk", sums)


def _said(found: _Found, stored: set[str]) -> dict[str, Value]:
    """What a task's row says of its evidence; whoever comes second to it is linked."""
    key = found.task.evidence_key
    linked = key in stored
    stored.add(key)
    return {
        "asset_id": found.resource.asset_id,
        "evidence_key": key,
        "linked": int(linked),
        "observed_at": found.resource.observed_at,
    }


def _restored(task: Row, now: float) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.DONE, "its evidence was found in the store"),),
        run_after=now,
        failures=None,
        expiries=0,
    )
