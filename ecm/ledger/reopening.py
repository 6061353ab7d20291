"""Committed tasks that are to be done once more, since their evidence is damaged or lost.

The ledger forgets that their evidence exists, so that whoever claims them derives it again. Knows
no store: which evidence is lost, and why, is an argument. Bulk operations run in slices; one that
is interrupted is repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ecm.contracts.identity import TenantId
from ecm.ledger.connector import Params, Row, Session
from ecm.ledger.duty import Move, Step, add_tally, again_on_conflict, json_list, take
from ecm.ledger.existing import Existing
from ecm.ledger.states import TaskState


class Reopening(Existing):
    """The only way back from committed."""

    def reopen_evidence(
        self, tenant_id: TenantId, evidence_keys: Collection[str], cause: str, now: float
    ) -> int:
        """Queue every committed task of a tenant behind these keys again. Returns how many.

        Tasks that were linked to the evidence are queued with the one that made it: the first to
        be done makes it anew, whichever path can still be read. Finished jobs that own them have
        work again. Evidence keys have no index over all tasks, so that every call walks all
        batches: give many keys at once.
        """
        asked: Params = {
            "tenant_id": self._tenant(tenant_id),
            "evidence_keys": json_list(evidence_keys),
        }
        # Every process forgets recent evidence when it is folded: hence before, and once more after
        # for those that read it meanwhile.
        self._fold(at_least=1)
        with self._db.read() as session:
            rows = session.stream("find_committed_by_evidence", asked)
            found = [int(row["seq"]) for row in rows]
        reopened = 0
        for start in range(0, len(found), self._config.slice_tasks):
            seqs = found[start : start + self._config.slice_tasks]
            reopened += again_on_conflict(lambda seqs=seqs: self._slice_of(seqs, cause, now))  # type: ignore[misc]
        self._fold(at_least=1)
        return reopened

    def _slice_of(self, seqs: Sequence[int], cause: str, now: float) -> int:
        with self._db.write("reopen") as session:
            rows = session.all("lock_committed", {"seqs": json_list(seqs)})
            _subtract(session, rows)
            take(session, [_reopened(row, cause, now) for row in rows], now)
            session.run("reopen_jobs", {"seqs": json_list(int(row["seq"]) for row in rows)})
        return len(rows)


def _subtract(session: Session, rows: Sequence[Row]) -> None:
    """Totals of committed tasks are counted up when they are committed, so down when they are not
    any more.
    """
    sums: Counter[tuple[TenantId, str]] = Counter()
    for row in rows:
        sums[row["tenant_id"], "persisted"] += 1
        sums[row["tenant_id"], "done"] += row["state"] == TaskState.DONE
    for (tenant_id, what), tasks in sorted(sums.items()):
        add_tally(session, tenant_id, what, -tasks)


def _reopened(task: Row, cause: str, now: float) -> Move:
    return Move(
        task=task,
        steps=(Step(TaskState.QUEUED, cause),),
        run_after=now,
        failures=None,
        expiries=0,
    )
