"""Mending a store: damaged rows and files are taken out, and the tasks behind them are done again.

What is lost is written down first, then its tasks are queued, then tables and snapshots are put
right: whoever dies in between leaves the damage to be found again. The caller holds the right to
commit. Runs no model: what has been queued, the next `ecm index` or any worker derives.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Final

from ecm.crashpoints import crash_point
from ecm.delivery.deep_audit import DeepAudit
from ecm.errors import EcmError, LeaseLost, TransientError
from ecm.evidence.committer import EvidenceCommitter, StillMine
from ecm.evidence.mending import TableMending
from ecm.evidence.refs import PUBLISHED_NAME, SnapshotRef, folder_of, remove_ref
from ecm.evidence.snapshot_exam import SnapshotExam
from ecm.evidence.store import EvidenceStore
from ecm.evidence.table_heads import DAMAGED
from ecm.ledger.ledger import Ledger

REPORTS: Final = "repairs"
_KEYS_AT_ONCE: Final = 10_000

PublishAnew = Callable[[EvidenceStore], SnapshotRef]
"""Builds a snapshot from the evidence alone and publishes it."""

Told = Callable[[str], None]
"""Hears a line for a person about each step."""


@dataclass
class Repaired:
    """What a repair did. `report` names the file in the store that lists every key it queued."""

    name: str
    report: str
    reopened: int = 0
    steps: list[str] = field(default_factory=list)
    snapshots_removed: list[str] = field(default_factory=list)
    snapshot_built: str | None = None
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def repair(
    ledger: Ledger,
    store: EvidenceStore,
    found: DeepAudit,
    publish_anew: PublishAnew,
    still_mine: StillMine,
    told: Told,
) -> Repaired:
    """Mend what a deep audit under the same right has found. Repeatable.

    `publish_anew` makes what takes the place of a damaged published snapshot. Raises LeaseLost when
    another has taken the right, StoreUnavailable, LedgerUnavailable.
    """
    work = _Repair(ledger, store, found, still_mine, told)
    work.write_down()
    work.reopen()
    work.mend_tables()
    work.mend_snapshots(publish_anew)
    return work.done


class _Repair:
    """One repair, step by step."""

    def __init__(
        self,
        ledger: Ledger,
        store: EvidenceStore,
        found: DeepAudit,
        still_mine: StillMine,
        told: Told,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._found = found
        self._still_mine = still_mine
        self._told = told
        now = ledger.now()
        name = "repair-" + time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{now % 1:.3f}"[2:]
        self.done = Repaired(name, f"{REPORTS}/{name}.json")

    def write_down(self) -> None:
        """What is damaged and every key that is queued for it, before anything is changed."""
        document = {
            **self._found.to_json(None),
            "evidence_keys": {
                tenant: sorted(keys) for tenant, keys in sorted(self._found.affected.keys.items())
            },
        }
        self._still_mine()
        self._store.storage.put(self.done.report, json.dumps(document, indent=1).encode())

    def reopen(self) -> None:
        """Queue the tasks behind what is lost. Before the tables: a missing row is the proof."""
        tables = sorted({damage.table for damage in self._found.tables.damages})
        where = ", ".join(tables) or "the store"
        for tenant, keys in sorted(self._found.affected.keys.items()):
            ordered = sorted(keys)
            for start in range(0, len(ordered), _KEYS_AT_ONCE):
                some = ordered[start : start + _KEYS_AT_ONCE]
                cause = f"{self.done.name}: evidence was damaged or lost in {where}"
                self.done.reopened += self._ledger.reopen_evidence(
                    tenant, some, cause[:500], self._ledger.now()
                )
        crash_point("repair.reopened")
        if self.done.reopened:
            self._step(f"queued {self.done.reopened:,} tasks to be done again")

    def mend_tables(self) -> None:
        for table in self._found.tables.tables.values():
            if table.damages:
                mending = TableMending(self._store, table, self.done.name, self._still_mine)
                for step in mending.mend():
                    self._step(step)
        self._store = EvidenceStore.open(self._store.config)  # knows what tables there were
        EvidenceCommitter(self._store).fence()

    def mend_snapshots(self, publish_anew: PublishAnew) -> None:
        """References to damaged snapshots go; that of the published one when another takes over.

        One that cannot be read goes at once, and the document that names it: nobody can open it.
        """
        damaged = self._found.damaged_snapshots
        served = [exam for exam in damaged if exam.published]
        if any(exam.ref is None for exam in served):
            self._put_aside(PUBLISHED_NAME)
        for exam in damaged:
            if exam.snapshot_id != PUBLISHED_NAME and (exam.ref is None or not exam.published):
                self._remove(exam)
        if served and self._publish_anew(publish_anew):
            for exam in served:
                if exam.ref is not None:
                    self._remove(exam)

    def _publish_anew(self, publish_anew: PublishAnew) -> bool:
        """Build from the evidence that is left and publish it; whether that could be done."""
        self._still_mine()
        try:
            ref = publish_anew(self._store)
        except (LeaseLost, TransientError):
            raise
        except EcmError as error:
            line = f"no snapshot could take the place of the damaged one: {error.message}"
            self.done.problems.append(line)
            self._step(line)
            return False
        self.done.snapshot_built = ref.snapshot_id
        self._step(f"published snapshot {ref.snapshot_id} of {ref.assets:,} assets, built anew")
        return True

    def _remove(self, exam: SnapshotExam) -> None:
        self._put_aside(f"{folder_of(exam.snapshot_id)}/ref.json")
        remove_ref(self._store, exam.snapshot_id)
        crash_point("repair.unreferenced")
        self.done.snapshots_removed.append(exam.snapshot_id)
        self._step(f"snapshot {exam.snapshot_id} is damaged and is none any more")

    def _put_aside(self, name: str) -> None:
        raw = self._store.storage.read(name)
        self._still_mine()
        if raw is not None:
            self._store.storage.put(f"{DAMAGED}/{self.done.name}/{name}", raw)
            self._store.storage.remove(name)

    def _step(self, line: str) -> None:
        self.done.steps.append(line)
        self._told(line)
