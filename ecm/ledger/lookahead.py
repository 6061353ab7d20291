"""What is left to claim and where tasks stand, for whoever plans what comes next. Only reads."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ecm.ledger.connector import Params
from ecm.ledger.duty import Duty, json_list
from ecm.ledger.states import TaskState


@dataclass(frozen=True, slots=True)
class Runnable:
    """Resources claimable now, and when (Unix seconds) the next retry is due, if one waits."""

    resources: int
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a task stands, the fence it was last claimed with, whose it is, what it asks for."""

    state: TaskState
    fence: int
    tenant_id: str
    task_type: str
    transform: str


class Lookahead(Duty):
    """Reads for planning."""

    def runnable(self, tenant_id: str | None, transforms: Collection[str], now: float) -> Runnable:
        """What a claim of this tenant under these transforms would find, now and later.

        None: the ledger's own tenant, or all of an operator's ledger.
        """
        tenant = self._tenant(tenant_id)
        wanted: Params = {"tenant_id": tenant, "transforms": json_list(transforms), "now": now}
        with self._db.read() as session:
            row = session.one("find_runnable", wanted)
        return Runnable(row["resources"], row["next_at"]) if row else Runnable(0, None)

    def standing(self, task_ids: Collection[str]) -> dict[str, Standing]:
        """Where tasks stand, by id; without those this ledger does not know."""
        asked: Params = {"task_ids": json_list(task_ids), "tenant_id": self._scope}
        with self._db.read() as session:
            return {
                row["task_id"]: Standing(
                    state=TaskState(row["state"]),
                    fence=row["fence"],
                    tenant_id=row["tenant_id"],
                    task_type=row["task_type"],
                    transform=row["transform"],
                )
                for row in session.all("find_standing", asked)
            }

    def last_job(self, tenant_id: str) -> str | None:
        """The id of the job a tenant opened last, or None."""
        with self._db.read() as session:
            row = session.one("find_last_job", {"tenant_id": self._tenant(tenant_id)})
        return row["job_id"] if row else None
