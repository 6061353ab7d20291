"""Quarantines told and done again: a notice is stored at once; later, once it is asked for, its
rows leave the tables and its tasks are queued.

Tasks come first then, rows second, the record last: whoever dies in between is repeated and finds
what is left. Touches only rows of the notice's run: what another run has derived meanwhile stays.
The caller holds the right to commit. Runs no model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.quarantine import QuarantineNotice
from ecm.crashpoints import crash_point
from ecm.errors import ConfigError
from ecm.evidence.committer import StillMine, delete_rows
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.quarantine import (
    Quarantine,
    QuarantineState,
    Redone,
    mark_redone,
    quarantine,
    quarantines,
    shut_out_by,
)
from ecm.evidence.refs import published_ref
from ecm.evidence.schema import is_evidence_table
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Redrive
from ecm.ledger.states import TaskState

log = logging.getLogger("ecm.quarantine")

_KEYS_AT_ONCE: Final = 5000


@dataclass(frozen=True)
class RedoneNow:
    """What a redo did this time: rows deleted, committed tasks queued, blocked tasks queued."""

    quarantine_id: str
    rows: int
    reopened: int
    unblocked: int

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def tell(evidence: EvidenceConfig, notice: QuarantineNotice) -> str:
    """Make a notice durable, for which the right to commit is not needed; its id. Repeatable.

    Raises StoreUnavailable.
    """
    quarantine_id = quarantine(EvidenceStore.open(evidence), notice)
    crash_point("quarantine.told")
    log.warning("%s: %s; %d keys", quarantine_id, notice.line(), len(notice.keys))
    return quarantine_id


def line_of(one: Quarantine) -> str:
    """One line for a person about a quarantine: model, probe, what was measured, and the mend."""
    notice = one.notice
    return (
        f"{one.quarantine_id}: {notice.line()}; what it said since its probes last passed is "
        f"quarantined ({len(notice.keys)} evidence keys), its tasks are blocked (model_mismatch): "
        f"give this machine the declared model, then ecm quarantine redo {one.quarantine_id}"
    )


def quarantine_problems(store: EvidenceStore, tenant_id: str | None) -> tuple[str, ...]:
    """Quarantines nobody has decided about, and those that the published snapshot does not know.

    Of one tenant, or (None) of all. Raises StoreCorrupt, StoreUnavailable.
    """
    mine = [one for one in quarantines(store) if tenant_id in (None, one.notice.tenant_id)]
    problems = [line_of(one) for one in mine if one.state is QuarantineState.OPEN]
    ref = published_ref(store)
    late = [
        one.quarantine_id
        for one in mine
        if ref is not None
        and one.state is not QuarantineState.RELEASED
        and one.quarantine_id not in ref.quarantines
    ]
    if ref is not None and late:
        problems.append(
            f"the published snapshot {ref.snapshot_id} was built before quarantine "
            f"{', '.join(late)} and may show its evidence: ecm materialize"
        )
    return tuple(problems)


def redo(ledger: Ledger, store: EvidenceStore, one: Quarantine, still_mine: StillMine) -> RedoneNow:
    """Take the rows of a quarantine out and queue what they were; then blocked tasks, too.

    Repeatable: a second time nothing is left to do. Raises ConfigError for a released one,
    LeaseLost, StoreUnavailable, LedgerUnavailable.
    """
    if one.state is QuarantineState.RELEASED:
        raise ConfigError(
            f"{one.quarantine_id} was released: its evidence is right",
            "quarantine.released",
        )
    notice = one.notice
    found = _found(store, one)
    keys = sorted({key for table in found.values() for key in table})
    cause = f"{one.quarantine_id}: {notice.drift.said}"[:500]
    reopened = 0
    if keys:
        reopened = ledger.reopen_evidence(notice.tenant_id, keys, cause, ledger.now())
    crash_point("quarantine.reopened")
    rows = sum(_delete(store, name, some, one, still_mine) for name, some in found.items())
    unblocked = sum(
        ledger.redrive(
            Redrive(tenant_id=notice.tenant_id, transform=mark, state=TaskState.MODEL_MISMATCH),
            ledger.now(),
        )
        for mark in notice.transforms
    )
    still_mine()
    mark_redone(store, one, Redone(at=ledger.now(), rows=rows, tasks=reopened))
    return RedoneNow(one.quarantine_id, rows, reopened, unblocked)


def _found(store: EvidenceStore, one: Quarantine) -> dict[str, list[str]]:
    """The evidence keys of its rows that are stored, by table."""
    named = shut_out_by(one)
    found = {}
    for name in filter(is_evidence_table, store.tables()):
        keys = pc.unique(named.rows_of(store.dataset(name))["evidence_key"])
        if len(keys):
            found[name] = keys.to_pylist()
    return found


def _delete(
    store: EvidenceStore, name: str, keys: Sequence[str], one: Quarantine, still_mine: StillMine
) -> int:
    rows = 0
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = pa.array(keys[start : start + _KEYS_AT_ONCE])
        where = pc.field("evidence_key").isin(some)
        where = where & (pc.field("run_id") == one.notice.run_id)
        where = where & (pc.field("tenant_id") == one.notice.tenant_id)
        rows += delete_rows(store, name, where, still_mine)
        crash_point("quarantine.deleted")
    return rows
