"""Recording a listing: which resources need work, which are finished, which were given up.

Knows in which order a chunk is checked, sorted and written, and when the queue is too deep; how it
was listed and who will work on it, it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from ecm.contracts.identity import KeyDigest, TenantId, digest
from ecm.errors import ContractError, Overloaded
from ecm.ledger.chunk import ChunkBooks, Known, check, check_ids, sort
from ecm.ledger.connector import Row, Session, Value
from ecm.ledger.duty import Duty, count_of, json_list
from ecm.ledger.enqueue import enqueue
from ecm.ledger.records import ListingChunk, ListingOutcome
from ecm.ledger.states import JobState


class Listing(Duty):
    """Enqueueing, once, by chunks."""

    def record_listing(self, job_id: str, chunk: ListingChunk, now: float) -> ListingOutcome:
        """Record a piece of a listing in one transaction; recording it again changes nothing.

        A task that is already known is joined, never doubled. Raises Overloaded when the queue is
        too deep for tasks of low priority or full, ContractError when the chunk does not fit the
        job or the job's listing is closed.
        """
        by_key = {found.identity.key(): found for found in chunk.found}
        with self._db.write("record_listing") as session:
            job = self._lock_job(session, job_id)
            session.one("lock_listing", {"tenant_id": job["tenant_id"]})
            this = {"job_seq": job["job_seq"], "cursor": chunk.cursor}
            recorded = session.one("find_chunk", this)
            if recorded is not None:
                return _outcome(recorded, 0.0)
            if job["state"] != JobState.LISTING:
                raise ContractError(f"job {job_id} is {job['state']}", "ledger.listing_closed")
            check(job, chunk)
            if self._scope is not None:
                check_ids(chunk)
            throttle_seconds = self._pressure(session, job["tenant_id"], chunk, now)
            known = _known(session, job, chunk, by_key)
            books = sort(by_key, known)
            books.skipped = _insert_skipped(session, job, chunk)
            enqueue(session, job, books, known, now)
            found_again = len(chunk.found) - len(by_key)
            skipped_again = len(chunk.skipped) - books.skipped.count
            books.repeated += found_again + skipped_again
            return _outcome(_close(session, job, chunk.cursor, books), throttle_seconds)

    def _pressure(
        self, session: Session, tenant_id: TenantId, chunk: ListingChunk, now: float
    ) -> float:
        """Seconds the lister should wait after this chunk. Raises Overloaded to refuse it."""
        config = self._config
        priority = max((t.priority for found in chunk.found for t in found.tasks), default=0)
        wait = 0.0
        for whose, limits in ((None, config), (tenant_id, config.tenants.get(tenant_id))):
            if limits is None:
                continue
            depth = self._depths.at_most(
                whose, limits.throttle_at, now, partial(_depth, session, whose, limits.refuse_at)
            )
            if depth > limits.refuse_at and (
                priority < config.low_priority_below
                or _depth(session, None, config.full_at) > config.full_at
            ):
                of_whom = f" of {whose}" if whose else ""
                raise Overloaded(
                    f"more than {limits.refuse_at} tasks{of_whom} are queued",
                    "ledger.queue_full",
                    "come again later or with a higher priority",
                    config.retry_after,
                )
            if depth > limits.throttle_at:
                wait = config.retry_after
        self._depths.add(tenant_id, sum(len(found.tasks) for found in chunk.found))
        return wait


def _depth(session: Session, whose: TenantId | None, upto: int) -> int:
    """Tasks that wait, counted no further than one above `upto`."""
    return count_of(session, "count_runnable", {"tenant_id": whose, "limit": upto + 1})


def _known(session: Session, job: Row, chunk: ListingChunk, keys: Iterable[str]) -> Known:
    """What the ledger already holds of the chunk's resources and tasks."""
    resources = session.all(
        "find_resources",
        {
            "job_seq": job["job_seq"],
            "tenant_id": job["tenant_id"],
            "identity_keys": json_list(keys),
        },
    )
    ids = json_list(task.task_id for found in chunk.found for task in found.tasks)
    tasks = session.all("find_tasks", {"task_ids": ids})
    return Known(
        resources={row["identity_key"]: row for row in resources},
        tasks={row["task_id"]: row for row in tasks},
    )


def _insert_skipped(session: Session, job: Row, chunk: ListingChunk) -> KeyDigest:
    """Write the skipped names that are new to the job and return the digest of their keys."""
    reasons = {skipped.uri: skipped.reason for skipped in chunk.skipped}
    known = session.all("find_skipped", {"job_seq": job["job_seq"], "uris": json_list(reasons)})
    for row in known:
        del reasons[row["uri"]]
    session.many(
        "insert_skipped",
        (
            {"job_seq": job["job_seq"], "uri": uri, "reason": reason}
            for uri, reason in reasons.items()
        ),
    )
    return KeyDigest(digest(["skipped", uri]) for uri in reasons)


def _close(session: Session, job: Row, cursor: str, books: ChunkBooks) -> dict[str, int]:
    """Enter the chunk and its sums into the job's books: the last writes of the transaction."""
    counts = {
        "queued": len(books.queued) - books.dead,
        "reused": books.reused.count,
        "dead": books.dead,
        "filtered": books.skipped.count,
        "repeated": books.repeated,
    }
    session.run("insert_chunk", {"job_seq": job["job_seq"], "cursor": cursor, **counts})
    added = {
        "listed": KeyDigest(key for key, _ in books.queued) + books.reused + books.skipped,
        "filtered": books.skipped,
        "reused": books.reused,
        "reused_keys": books.reused_keys,
        "tasks": KeyDigest(task.task_id for _, found in books.queued for task in found.tasks),
    }
    sums: dict[str, Value] = {"job_seq": job["job_seq"], "cursor": cursor}
    for name, more in added.items():
        if job[name] is None:  # listed in part by an ecm that did not count this
            sums |= {name: None, f"{name}_digest": None}
            continue
        total = KeyDigest.parse(job[f"{name}_digest"], job[name]) + more
        sums |= {name: total.count, f"{name}_digest": str(total)}
    session.run("count_chunk", sums)
    return counts


def _outcome(counts: Row, throttle_seconds: float) -> ListingOutcome:
    return ListingOutcome(
        queued=counts["queued"],
        reused=counts["reused"],
        dead=counts["dead"],
        filtered=counts["filtered"],
        repeated=counts["repeated"],
        throttle_seconds=throttle_seconds,
    )
