"""Jobs: opened, listed, audited, over. Knows nothing of leases and results."""

from __future__ import annotations

import json
from functools import partial

from ecm.errors import ContractError
from ecm.ledger.connector import Params, Row, Session
from ecm.ledger.duty import Duty, Move, Step, add_tally, again_on_conflict, count_of, take
from ecm.ledger.records import Job, JobRecord
from ecm.ledger.states import JobState, TaskState


class Jobs(Duty):
    """The life of a job around its tasks."""

    def open_job(self, record: JobRecord, now: float) -> Job:
        """Enter a job, or find it again: the same id with the same request goes on where it was.

        Raises ContractError when the id belongs to another request, Forbidden for another tenant.
        """
        self._tenant(record.tenant_id)
        with self._db.write("open_job") as session:
            session.run(
                "insert_job",
                {
                    "job_id": record.job_id,
                    "tenant_id": record.tenant_id,
                    "source": record.source,
                    "transforms": json.dumps(record.transforms),
                    "created_at": record.created_at,
                },
            )
            job = _job(self._job_row(session, record.job_id))
        known = job.record
        if (known.tenant_id, known.source, known.transforms) != (
            record.tenant_id,
            record.source,
            record.transforms,
        ):
            raise ContractError(f"job {record.job_id} exists with another request", "ledger.job")
        return job

    def job(self, job_id: str) -> Job | None:
        """The job, or None when this ledger does not know it."""
        with self._db.read() as session:
            row = session.one("find_job", {"job_id": job_id})
        known = row is not None and self._scope in (None, row["tenant_id"])
        return _job(row) if row is not None and known else None

    def unfinished_jobs(self, tenant_id: str) -> tuple[Job, ...]:
        """Jobs of a tenant that are neither finished nor cancelled, oldest first."""
        with self._db.read() as session:
            wanted = {"tenant_id": self._tenant(tenant_id)}
            return tuple(map(_job, session.all("list_unfinished_jobs", wanted)))

    def jobs(self, limit: int, tenant_id: str | None = None) -> tuple[Job, ...]:
        """The jobs opened last, newest first: of one tenant, or of all this ledger may see."""
        with self._db.read() as session:
            wanted: Params = {"tenant_id": self._tenant(tenant_id), "limit": limit}
            return tuple(map(_job, session.all("list_jobs", wanted)))

    def close_listing(self, job_id: str, now: float) -> None:
        """Everything is listed. Closing twice is harmless."""
        with self._db.write("close_listing") as session:
            row = self._lock_job(session, job_id)
            session.run("close_listing", {"job_seq": row["job_seq"], "now": now})
        self._db.tune()

    def complete_job(self, job_id: str, now: float) -> int:
        """The audit balanced: persisted tasks become done. Returns how many; repeatable."""
        done = 0
        after: int | None = 0
        while after is not None:
            with self._db.write("complete_job") as session:
                job = self._lock_job(session, job_id)
                bounds = self._slice(session, job, after)
                completed = session.run("complete_tasks", {**bounds, "now": now})
                add_tally(session, job["tenant_id"], "done", completed)
            done += completed
            after = bounds["upto"]
        with self._db.write("complete_job") as session:
            session.run("prune_attempts", {"before": int(now - self._config.metrics_keep)})
        return done

    def finish_job(self, job_id: str, now: float) -> None:
        """The job is over. Raises ContractError while tasks have work before them; repeatable."""
        with self._db.write("finish_job") as session:
            job = self._lock_job(session, job_id)["job_seq"]
            open_tasks = count_of(session, "count_open_tasks", {"job_seq": job})
            if open_tasks:
                raise ContractError(
                    f"job {job_id} still has {open_tasks} open tasks", "ledger.job_open"
                )
            session.run("end_job", {"job_seq": job, "state": JobState.FINISHED, "now": now})

    def cancel_job(self, job_id: str, now: float) -> int:
        """Stop a job: its tasks that wait or run are cancelled unless another unfinished job wants
        them too; what is already reported is still committed. Returns the number cancelled.
        """
        with self._db.write("cancel_job") as session:  # first, so that nobody lists into it
            job = self._lock_job(session, job_id)["job_seq"]
            session.run("end_job", {"job_seq": job, "state": JobState.CANCELLED, "now": now})
        cancelled = 0
        after: int | None = 0
        while after is not None:
            slice_of = partial(self._cancel_slice, job_id, after, now)
            number, after = again_on_conflict(slice_of)
            cancelled += number
        return cancelled

    def _cancel_slice(self, job_id: str, after: int, now: float) -> tuple[int, int | None]:
        """Cancel among the next resources; how many tasks, and where the slice ends."""
        with self._db.write("cancel_job") as session:
            row = self._lock_job(session, job_id)
            # Another job that is listing the same resource may be about to want its tasks.
            session.one("lock_listing", {"tenant_id": row["tenant_id"]})
            bounds = self._slice(session, row, after)
            rows = session.all("list_cancellable", bounds)
            take(session, [_cancelled(row, job_id) for row in rows], now)
        return len(rows), bounds["upto"]

    def _slice(self, session: Session, row: Row, after: int) -> dict[str, int | None]:
        """The next resources of a job: those above `after` up to `upto`, null behind the last."""
        job = int(row["job_seq"])
        limit = max(1, self._config.slice_tasks // 4)  # a resource has about four tasks
        end = session.one("end_of_slice", {"job_seq": job, "after": after, "limit": limit})
        return {"job_seq": job, "after": after, "upto": end["upto"] if end else None}


def _cancelled(task: Row, job_id: str) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.CANCELLED, f"job {job_id} was cancelled"),),
        run_after=0.0,
        failures=task["failures"],
        expiries=task["expiries"],
    )


def _job(row: Row) -> Job:
    return Job(
        record=JobRecord(
            job_id=row["job_id"],
            tenant_id=row["tenant_id"],
            source=row["source"],
            transforms=tuple(json.loads(row["transforms"])),
            created_at=row["created_at"],
        ),
        state=JobState(row["state"]),
        cursor=row["cursor"],
        listed_at=row["listed_at"],
        finished_at=row["finished_at"],
        listed=row["listed"],
        reused=row["reused"],
        filtered=row["filtered"],
    )
