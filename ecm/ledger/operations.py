"""What operators and model checks do to many tasks at once: block, redrive.

Bulk operations run in slices, so that no transaction is long; one that is interrupted is repeated.
"""

from __future__ import annotations

from ecm.contracts.identity import TenantId
from ecm.ledger.connector import Params, Row, Session, Value
from ecm.ledger.duty import Duty, Move, Step, again_on_conflict, count_of, json_list, take
from ecm.ledger.records import Redrive
from ecm.ledger.states import TaskState


class Operations(Duty):
    """Exceptional steps of many tasks."""

    def mark_mismatch(
        self, transform: str, cause: str, now: float, tenant_id: TenantId | None = None
    ) -> int:
        """No worker may do this transform: block its waiting and leased tasks until a redrive.

        Those of one tenant, or in an operator's ledger of all where none is named. Tasks already
        running are left to their workers. Returns how many were blocked.
        """
        blocked = 0
        selection: Params = {
            "transform": transform,
            "tenant_id": self._tenant(tenant_id),
            "limit": self._config.slice_tasks,
        }
        while True:
            with self._db.write("mark_mismatch") as session:
                rows = session.all("list_mismatched", selection)
                take(session, [_mismatched(row, cause) for row in rows], now)
            blocked += len(rows)
            if len(rows) < self._config.slice_tasks:
                return blocked

    def redrive(self, selector: Redrive, now: float) -> int:
        """Try blocked tasks again with a clean slate. Returns how many; see Redrive for which.

        What is given up again meanwhile, after `now`, stays as it is.
        """
        redriven = 0
        while True:
            moved = again_on_conflict(lambda: self._redrive_slice(selector, now))
            redriven += moved
            if moved < self._config.slice_tasks:
                return redriven

    def _redrive_slice(self, selector: Redrive, now: float) -> int:
        with self._db.write("redrive") as session:
            selection = self._selection(session, selector)
            this = {"now": now, "limit": self._config.slice_tasks}
            rows = session.all("list_redrivable", selection | this)
            take(session, [_redriven(row, now) for row in rows], now)
            session.run("reopen_jobs", {"seqs": json_list(int(row["seq"]) for row in rows)})
        return len(rows)

    def redrivable(self, selector: Redrive) -> int:
        """How many tasks a redrive would queue again now."""
        with self._db.read() as session:
            return count_of(session, "count_redrivable", self._selection(session, selector))

    def _selection(self, session: Session, selector: Redrive) -> dict[str, Value]:
        return {
            "job_seq": self._job_seq(session, selector.job_id),
            "tenant_id": self._tenant(selector.tenant_id),
            "transform": selector.transform,
            "error_class": selector.error_class,
            "code": selector.code,
            "state": selector.state,
            "text": selector.text,
            "task_ids": json_list(selector.task_ids) if selector.task_ids else None,
        }


def _mismatched(task: Row, cause: str) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.MODEL_MISMATCH, cause),),
        run_after=0.0,
        failures=task["failures"],
        expiries=task["expiries"],
    )


def _redriven(task: Row, now: float) -> Move:
    """Failures and expiries before a redrive do not count any more."""
    return Move(
        task=task,
        steps=(Step(TaskState.RETRY_QUEUED, "redriven"),),
        run_after=now,
        failures=None,
        expiries=0,
    )
