"""The books of a job: what was listed and what became of it, by number and by key. Only reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from ecm.contracts.identity import KeyDigest
from ecm.ledger.connector import Row
from ecm.ledger.duty import Duty, count_of
from ecm.ledger.records import JobCounts, SkippedResource
from ecm.ledger.states import COMMITTED, PENDING, TaskState


class Books(Duty):
    """Conservation: nothing lost, nothing doubled."""

    def job_counts(self, job_id: str) -> JobCounts:
        """Count a job's resources and digest their keys, in one pass and constant memory."""
        tally = _Tally()
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            for _, rows in groupby(
                session.stream("stream_job", {"job_seq": job["job_seq"]}),
                key=itemgetter("resource_id"),
            ):
                tally.add(rows)
        counted = job["tasks"] is not None
        reused = KeyDigest.parse(job["reused_digest"], job["reused"])
        filtered = KeyDigest.parse(job["filtered_digest"], job["filtered"])
        reused_keys = KeyDigest.parse(job["reused_keys_digest"], job["reused_keys"])
        return JobCounts(
            listed=job["listed"],
            committed=tally.committed,
            reused=reused.count,
            filtered=filtered.count + tally.cancelled,
            dead=tally.dead,
            pending=tally.pending,
            open_tasks=tally.open_tasks,
            key_digest=tally.keys + reused_keys,
            listed_digest=KeyDigest.parse(job["listed_digest"], job["listed"]),
            accounted_digest=tally.resources + reused + filtered,
            listed_tasks=KeyDigest.parse(job["tasks_digest"], job["tasks"]) if counted else None,
            found_tasks=tally.tasks if counted else None,
        )

    def open_tasks(self, job_id: str) -> int:
        """Tasks of a job that still have work before them; cheaper than its books."""
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            return count_of(session, "count_open_tasks", {"job_seq": job["job_seq"]})

    def evidence_keys(self, job_id: str) -> Iterator[str]:
        """Evidence keys of the job's committed tasks, one per task; reused resources leave none."""
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            for row in session.stream("stream_evidence", {"job_seq": job["job_seq"]}):
                yield row["evidence_key"]

    def skipped(self, job_id: str) -> Iterator[SkippedResource]:
        """What the lister skipped and why, in order of URI."""
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            for row in session.stream("stream_skipped", {"job_seq": job["job_seq"]}):
                yield SkippedResource(row["uri"], row["reason"])


@dataclass(slots=True)
class _Tally:
    """Running sums over resources."""

    committed: int = 0
    cancelled: int = 0
    dead: int = 0
    pending: int = 0
    open_tasks: int = 0
    keys: KeyDigest = field(default_factory=KeyDigest)
    resources: KeyDigest = field(default_factory=KeyDigest)
    tasks: KeyDigest = field(default_factory=KeyDigest)

    def add(self, rows: Iterable[Row]) -> None:
        """One resource with all its tasks, into the first class that any of them is in."""
        states: set[str] = set()
        evidence: list[str] = []
        identity_key = ""
        for row in rows:
            state = row["state"]
            states.add(state)
            self.open_tasks += state in PENDING
            if state in COMMITTED:
                evidence.append(row["evidence_key"])
            identity_key = row["identity_key"]
            self.tasks.add(row["task_id"])
        self.resources.add(identity_key)
        if TaskState.DEAD_LETTER in states:
            self.dead += 1
        elif states & PENDING:
            self.pending += 1
        elif TaskState.CANCELLED in states:
            self.cancelled += 1
        else:
            self.committed += 1
            for key in evidence:
                self.keys.add(key)
