"""Commit batches: persisted, lost, found again after a crash.

Knows the ledger's half of the commit protocol; where evidence is stored it does not know.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence

from ecm.errors import ContractError, LeaseLost, StoreCorrupt
from ecm.ledger.connector import Params, Row, Session
from ecm.ledger.duty import Move, Step, add_tally, take, tenants_of
from ecm.ledger.existing import Existing
from ecm.ledger.records import Right, UnresolvedBatch
from ecm.ledger.rights import check_right
from ecm.ledger.states import BatchState, TaskState


class Batches(Existing):
    """The committer's words."""

    def persist(
        self, batch_id: str, versions: Mapping[str, int], now: float, right: Right | None = None
    ) -> int:
        """Every table of the batch is committed, at these versions. Returns its number of tasks.

        Repeating it is harmless (0). Raises LeaseLost when the batch was requeued meanwhile, or
        when `right`, the right to commit, has been taken by another.
        """
        self._operator("persist")
        with self._db.write("persist") as session:
            check_right(session, right)
            batch = _batch(session, batch_id)
            if batch["state"] == BatchState.REQUEUED:
                raise LeaseLost(f"batch {batch_id} was requeued", "ledger.batch_requeued")
            this = {"batch_seq": batch["batch_seq"], "now": now}
            parts = session.all("count_batch_by_stream", {"batch_seq": batch["batch_seq"]})
            persisted = session.run("persist_tasks", this)
            listed = json.dumps(dict(versions), sort_keys=True)
            if batch["state"] == BatchState.REPORTED:
                place = _next_place(session)
                done: Params = {**this, "versions": listed, "persisted_as": place}
                session.run("persist_batch", done)
                _tally(session, parts)
        self.fold_evidence(self._config.fold_tasks)
        return persisted

    def unresolved_batches(self) -> tuple[UnresolvedBatch, ...]:
        """Batches that were reported and neither persisted nor requeued, oldest first."""
        self._operator("unresolved_batches")
        tasks: dict[tuple[str, float], list[str]] = {}
        with self._db.read() as session:
            for row in session.all("list_unresolved", {}):
                ids = tasks.setdefault((row["batch_id"], row["reported_at"]), [])
                if row["task_id"] is not None:
                    ids.append(row["task_id"])
        return tuple(
            UnresolvedBatch(batch_id, tuple(ids), at) for (batch_id, at), ids in tasks.items()
        )

    def requeue_batch(self, batch_id: str, now: float, right: Right | None = None) -> int:
        """The batch is lost: its tasks are done again. Returns how many.

        The batch is closed for good. Raises ContractError when it was persisted or never reported,
        LeaseLost when `right` has been taken by another.
        """
        self._operator("requeue_batch")
        with self._db.write("requeue_batch") as session:
            check_right(session, right)
            batch = _batch(session, batch_id)
            if batch["state"] == BatchState.PERSISTED:
                raise ContractError(f"batch {batch_id} is persisted", "ledger.batch_persisted")
            rows = session.all("list_reported", {"batch_seq": batch["batch_seq"]})
            take(session, [_requeued(row, batch_id, now) for row in rows], now)
            session.run("close_batch", {"batch_seq": batch["batch_seq"]})
        return len(rows)


def _tally(session: Session, parts: Sequence[Row]) -> None:
    """Add a batch's tasks to the totals of their tenants."""
    tenants = tenants_of(session, (part["stream_id"] for part in parts))
    sums: Counter[str] = Counter()
    for part in parts:
        sums[tenants[part["stream_id"]]] += part["tasks"]
    for tenant_id, tasks in sorted(sums.items()):
        add_tally(session, tenant_id, "persisted", tasks)


def _next_place(session: Session) -> int:
    """The batch's place in the order of persisting; nobody gets the next one before we are done."""
    row = session.one("number_batch", {})
    if row is None:
        raise StoreCorrupt("the ledger does not count its batches", "ledger.corrupt")
    return int(row["value"])


def _batch(session: Session, batch_id: str) -> Row:
    row = session.one("lock_batch", {"batch_id": batch_id})
    if row is None:
        raise ContractError(f"batch {batch_id} was never reported", "ledger.batch_unknown")
    return row


def _requeued(task: Row, batch_id: str, now: float) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.RETRY_QUEUED, f"batch {batch_id} was lost before it was committed"),),
        run_after=now,
        failures=task["failures"],
        expiries=task["expiries"],
    )
