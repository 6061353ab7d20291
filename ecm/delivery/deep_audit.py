"""The deep audit: every byte of a store is read, and what is damaged or lost is named.

Tables row by row, snapshots file by file, and the ledger asked what has been lost. Changes nothing
but seals (see `ecm.evidence.seals`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ecm.contracts.identity import TenantId
from ecm.delivery.affected import Affected, affected_by, beyond_repair
from ecm.evidence.examination import Examination, examine
from ecm.evidence.examiners import Asked
from ecm.evidence.schema import ASSETS
from ecm.evidence.snapshot_exam import SnapshotExam, examine_snapshots
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger

Progress = Callable[[str, int, int], None]
"""Told what is being read, rows read so far and rows of all tables."""


@dataclass(frozen=True)
class DeepAudit:
    """What was found in a store as a whole, whoever's it is."""

    tables: Examination
    snapshots: tuple[SnapshotExam, ...]
    affected: Affected

    @property
    def sound(self) -> bool:
        """Nothing is damaged, and everything the ledger calls done is there."""
        return not (self.tables.damages or self.damaged_snapshots or self.affected.count)

    @property
    def damaged_snapshots(self) -> tuple[SnapshotExam, ...]:
        return tuple(exam for exam in self.snapshots if exam.problems)

    def to_json(self, tenant_id: TenantId | None) -> dict[str, object]:
        """For `--json`. Places are named where they are of this tenant, or of all with None."""
        told = self.affected
        return {
            "sound": self.sound,
            "rows_read": self.tables.rows,
            "tables": {
                name: {
                    "version": table.head.version,
                    "fragments": len(table.head.fragments),
                    "rows": table.head.rows,
                    "sound_keys": len(table.keys),
                }
                for name, table in self.tables.tables.items()
            },
            "damages": [asdict(damage) for damage in self.tables.damages],
            "damages_by_kind": dict(Counter(d.kind.value for d in self.tables.damages)),
            "snapshots_read": sum(exam.ref is not None for exam in self.snapshots),
            "unfounded_rows": {e.snapshot_id: e.unfounded for e in self.snapshots if e.unfounded},
            "snapshots": [
                {
                    "snapshot_id": exam.snapshot_id,
                    "published": exam.published,
                    "problems": list(exam.problems),
                }
                for exam in self.damaged_snapshots
            ],
            "affected": {
                "evidence_keys": told.count,
                "assets": len(told.assets),
                "by_table": dict(sorted(told.by_table.items())),
                "examples": [place for whose, place in told.named if tenant_id in (None, whose)],
            },
            "beyond_repair": list(beyond_repair(self.tables)),
            "mend": None if self.sound else "ecm repair",
        }


def deep_audit(
    ledger: Ledger, store: EvidenceStore, examiners: Asked, progress: Progress
) -> DeepAudit:
    """Read everything, each table in its newest version of now.

    Others may commit meanwhile, but not repair. What is merged and cleaned away while it reads may
    look like a loss (see `evidence.maintenance.versions_seconds`). Raises StoreUnavailable,
    LedgerUnavailable, ConfigError, and StoreCorrupt (`store.version`) for a store of another
    release; damage is a finding.
    """
    began = ledger.now()
    tables = examine(store, examiners, progress)
    rows = tables.rows
    assets = tables.tables.get(ASSETS)
    snapshots = examine_snapshots(
        store,
        None if assets is None or assets.lacks_rows else assets,
        examiners,
        lambda name: progress(name, rows, rows),
    )
    return DeepAudit(tables, snapshots, affected_by(ledger, tables, began))
