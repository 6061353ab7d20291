"""What a run leaves undone once a golden probe has failed in it, and goes on with.

The tasks of all transforms that rest on the drifted model are blocked, of this run's tenant alone:
other runs may have it right. The others of the plan go on. Knows notices in the store, not how
they come there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ecm.contracts.identity import TenantId
from ecm.contracts.task import TaskType
from ecm.delivery.quarantining import line_of
from ecm.evidence.quarantine import quarantines
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.stages.plan import TransformPlan

_WORDS = frozenset({TaskType.VISION, TaskType.OCR})


@dataclass
class Blocked:
    """The quarantines of a run that are known to it: a line for a person each, and the cause by
    transform.
    """

    lines: dict[str, str] = field(default_factory=dict)
    causes: dict[str, str] = field(default_factory=dict)

    def notice_new(self, store: EvidenceStore, run_id: str, plan: TransformPlan) -> bool:
        """Look for quarantines of the run that are new; whether there were any."""
        new = [
            one
            for one in quarantines(store)
            if one.notice.run_id == run_id and one.quarantine_id not in self.lines
        ]
        for one in new:
            self.lines[one.quarantine_id] = line_of(one)
            for fingerprint in resting_on(plan, one.notice.manifest):
                self.causes[fingerprint] = one.notice.line()
        return bool(new)

    def mark(self, ledger: Ledger, tenant_id: TenantId) -> None:
        """Block the tasks of these transforms that are queued by now. Repeatable."""
        for fingerprint, cause in self.causes.items():
            ledger.scoped(tenant_id).mark_mismatch(fingerprint, cause, ledger.now())

    def left_of(self, plan: TransformPlan) -> TransformPlan:
        """The part of a plan that is not blocked."""
        return TransformPlan(
            {kind: t for kind, t in plan.by_type.items() if t.fingerprint not in self.causes}
        )


def resting_on(plan: TransformPlan, manifest: str) -> Iterator[str]:
    """The transforms a manifest computes, and meaning vectors when they embed what it says."""
    mine = {kind for kind, t in plan.by_type.items() if t.manifest.name == manifest}
    if mine & _WORDS:
        mine |= {TaskType.MV_EMBED} & plan.by_type.keys()
    yield from (plan.by_type[kind].fingerprint for kind in mine)
