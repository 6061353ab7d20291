"""Leases and what is claimed under them: taken, prolonged, given back, rescued.

A lease is one row that tasks point to, so a heartbeat is one update however much it covers. Knows
nothing of results.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ecm.contracts.identity import ContentIdentity
from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ModelSpec, TaskType
from ecm.errors import ContractError, Forbidden, LeaseLost
from ecm.ledger.connector import Params, Row, Session
from ecm.ledger.duty import (
    Duty,
    Ended,
    Move,
    Step,
    bump,
    count_attempts,
    json_list,
    loaded_deadline,
    take,
)
from ecm.ledger.records import ClaimedTask, Lease, LiveHolder
from ecm.ledger.states import TaskState


class Claims(Duty):
    """Who works on what, for how long."""

    def acquire_lease(self, holder: str, now: float, ttl: float) -> Lease:
        """A new lease for an incarnation, good until `now + ttl` unless prolonged.

        A tenant's lease is good for that tenant's tasks alone.
        """
        with self._db.write("acquire_lease") as session:
            fence = bump(session, "fence")
            lease = Lease(f"{holder}/{fence}", holder, fence, now + ttl)
            session.run(
                "insert_lease",
                {
                    "lease_id": lease.lease_id,
                    "holder": holder,
                    "fence": fence,
                    "tenant_id": self._scope,
                    "now": now,
                    "expires_at": lease.expires_at,
                },
            )
        return lease

    def claim(
        self,
        lease: Lease,
        transforms: Collection[str],
        tenant_id: str | None,
        job_id: str | None,
        max_resources: int,
        now: float,
    ) -> tuple[ClaimedTask, ...]:
        """Lease the best runnable resources: all their runnable tasks of the given transforms.

        Best is: higher priority, earlier deadline, the tenant whose turn it is, older. Tasks of one
        resource stand together. Raises LeaseLost when the lease has run out, Forbidden for another
        tenant than that of the lease or the ledger.
        """
        if max_resources < 1:
            raise ContractError("max_resources must be at least 1", "ledger.claim")
        tenant = self._tenant(tenant_id)
        with self._db.write("claim") as session:
            job = self._job_seq(session, job_id)
            held = self._live(session, lease, now)
            if held["tenant_id"] is not None and tenant not in (None, held["tenant_id"]):
                raise Forbidden(f"the lease is not good for tenant {tenant!r}", "access.tenant")
            fence = bump(session, "fence")
            session.run(
                "claim",
                {
                    "transforms": json_list(transforms),
                    "tenant_id": tenant or held["tenant_id"],
                    "job_seq": job,
                    "max_resources": max_resources,
                    "lease_seq": held["lease_seq"],
                    "fence": fence,
                    "now": now,
                },
            )
            rows = session.all("list_claimed", {"lease_seq": held["lease_seq"], "fence": fence})
            for priority, turn in _turns(rows).items():
                session.run("raise_turn", {"priority": priority, "turn": turn})
        return _claimed(rows, fence)

    def start(self, lease: Lease, now: float) -> int:
        """The worker begins: everything leased under this lease is running. Returns how many."""
        with self._db.write("start") as session:
            held = self._live(session, lease, now)
            return session.run("start_leased", {"lease_seq": held["lease_seq"], "now": now})

    def heartbeat(self, lease: Lease, now: float, ttl: float, progress: int = 0) -> bool:
        """Prolong the lease to `now + ttl`; `progress` counts what its holder has finished.

        False: the lease was released or its tasks were given to others; stop working on them.
        """
        with self._db.write("heartbeat") as session:
            beat: Params = {
                "lease_id": lease.lease_id,
                "fence": lease.fence,
                "now": now,
                "expires_at": now + ttl,
                "progress": progress,
                "tenant_id": self._scope,
            }
            return session.run("heartbeat", beat) == 1

    def release_lease(self, lease: Lease, now: float) -> int:
        """Give the lease up; tasks still under it go back without costing an attempt."""
        with self._db.write("release_lease") as session:
            held = self._lease(session, lease)
            if held is None:
                return 0
            rows = session.all("list_held", {"lease_seq": held["lease_seq"]})
            session.many(
                "release_task",
                ({"seq": row["seq"], "fence": row["fence"], "now": now} for row in rows),
            )
            session.run("delete_lease", {"lease_seq": held["lease_seq"]})
        return len(rows)

    def rescue_expired(self, now: float) -> int:
        """Give tasks of expired leases back to the queue. Returns how many were taken away.

        A task that has seen `max_expiries` expiries is a dead letter (class internal, code
        `lease.expired`): it probably kills whoever works on it. So is one whose deadline has passed
        (code `lease.deadline`). For operators.
        """
        self._operator("rescue_expired")
        return self._rescue("find_expired_lease", {"now": now}, "was not heard of in time", now)

    def expire_holder(self, holder: str, now: float) -> int:
        """The holder is proved dead: treat all its leases as expired. For operators."""
        self._operator("expire_holder")
        return self._rescue("find_lease_of_holder", {"holder": holder}, "is dead", now)

    def live_holders(self, now: float) -> tuple[LiveHolder, ...]:
        """Incarnations with unexpired leases."""
        with self._db.read() as session:
            return tuple(
                LiveHolder(
                    holder=row["holder"],
                    expires_at=row["expires_at"],
                    leases=row["leases"],
                    tasks=row["tasks"],
                    progress=row["progress"],
                )
                for row in session.all("list_holders", {"now": now, "tenant_id": self._scope})
            )

    def _rescue(self, finder: str, params: dict[str, str | float], why: str, now: float) -> int:
        rescued = 0
        while True:
            with self._db.write("rescue") as session:  # one lease at a time: short transactions
                lease = session.one(finder, params)
                if lease is None:
                    return rescued
                rows = session.all("list_held", {"lease_seq": lease["lease_seq"]})
                cause = f"holder {lease['holder']} {why}"
                holder = lease["holder"]
                take(session, [self._expired(row, holder, cause, now) for row in rows], now)
                ended = (Ended(row["stream_id"], holder, "expired") for row in rows)
                count_attempts(session, ended, now)
                session.run("delete_lease", {"lease_seq": lease["lease_seq"]})
                rescued += len(rows)

    def _expired(self, task: Row, holder: str, cause: str, now: float) -> Move:
        expiries = int(task["expiries"]) + 1
        expired = Step(TaskState.LEASE_EXPIRED, cause)
        if expiries >= self._config.max_expiries:
            message = f"its lease expired {expiries} times: it may kill its workers"
            after = _given_up("lease.expired", message)
        elif now > task["deadline_at"]:
            after = _given_up("lease.deadline", "its lease expired after its deadline")
        else:
            after = Step(TaskState.RETRY_QUEUED, "rescued")
        return Move(task, (expired, after), now, task["failures"], expiries, worker=holder)

    def _live(self, session: Session, lease: Lease, now: float) -> Row:
        """The row of a lease in force. Raises LeaseLost."""
        row = self._lease(session, lease)
        if row is None or row["expires_at"] <= now:
            raise LeaseLost(f"lease {lease.lease_id} is over", hint="acquire a new one")
        return row

    def _lease(self, session: Session, lease: Lease) -> Row | None:
        """The row of a lease that exists in this ledger; it stays until the transaction ends."""
        row = session.one("lock_lease", {"lease_id": lease.lease_id, "fence": lease.fence})
        return row if row is not None and self._scope in (None, row["tenant_id"]) else None


def _given_up(code: str, message: str) -> Step:
    error = EnvelopeError.model_validate(
        {"class": ErrorClass.INTERNAL, "code": code, "stage": "lease", "message": message}
    )
    return Step(TaskState.DEAD_LETTER, message, error)


def _turns(rows: Sequence[Row]) -> dict[int, int]:
    """The place that each priority has come to."""
    turns: dict[int, int] = {}
    for row in rows:
        turns[row["priority"]] = max(row["turn"], turns.get(row["priority"], 0))
    return turns


def _claimed(rows: Sequence[Row], fence: int) -> tuple[ClaimedTask, ...]:
    """Rows in claiming order as tasks, those of one resource together."""
    models: dict[int, ModelSpec] = {}
    identities: dict[int, ContentIdentity] = {}
    groups: dict[int, list[ClaimedTask]] = {}
    for row in rows:
        stream, resource = row["stream_id"], row["resource_id"]
        if stream not in models:
            models[stream] = ModelSpec.model_validate_json(row["model_spec"])
        if resource not in identities:
            identities[resource] = ContentIdentity(
                uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
            )
        groups.setdefault(resource, []).append(
            ClaimedTask(
                task_id=row["task_id"],
                job_id=row["job_id"],
                tenant_id=row["tenant_id"],
                task_type=TaskType(row["task_type"]),
                transform=row["transform"],
                model=models[stream],
                identity=identities[resource],
                resource_key=row["identity_key"],
                priority=row["priority"],
                deadline_at=loaded_deadline(row["deadline_at"]),
                attempt=row["attempt"],
                fence=fence,
            )
        )
    return tuple(task for group in groups.values() for task in group)
