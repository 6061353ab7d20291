"""Named places where a process can be made to die, so that tests can prove that dying is harmless.

    ECM_CRASH=commit.spooled            SIGKILL at the first passage
    ECM_CRASH=ledger.claim.committed:3  at the third
    ECM_CRASH=commit.appended:1:stop    SIGSTOP instead: a process that sleeps past its lease

Inert unless `arm` found the variable; a passage then costs one comparison. POINTS is what
ARCHITECTURE.md prints and what the fault tests walk. Knows nothing of what happens at a point.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from ecm.errors import ConfigError

VARIABLE = "ECM_CRASH"

COMMIT_POINTS: Mapping[str, str] = {
    "commit.begun": "a batch is full, nothing of it is written",
    "spool.written": "the spool file is written and synced under a temporary name",
    "commit.spooled": "the batch is in the spool, the ledger has not heard of it",
    "commit.reported": "the ledger holds the batch as reported, no table has it",
    "table.fragments": "fragments of one table are written, their transaction is not committed",
    "table.committed": "one table has the batch, others may not",
    "commit.appended": "every table has the batch, the ledger says reported",
    "commit.persisted": "the ledger says persisted, the loop has not gone on",
    "commit.facts": "where the bytes of failed attempts lay is stored, the ledger has not heard",
    "commit.failed": "failed attempts are recorded, their credit is not given back",
    "recover.begun": "the right to commit is held, nothing is resolved yet",
    "recover.batch": "one earlier batch is resolved, others may not be",
    "recover.rows_deleted": "rows of a lost batch are deleted, its tasks are not queued yet",
    "audit.balanced": "the audit balanced, nothing is done yet",
    "audit.completed": "tasks are done, the spool is still there",
    "audit.dropped": "one file of the spool is dropped, others may not be",
    "run.finished": "the job is over, no snapshot is made",
    "rescan.gone": "what a re-scan did not find is marked as gone, what is back is not yet",
    "rescan.recorded": "what a re-scan found is on record, no snapshot shows it",
    "snapshot.reduced": "touched assets are out of the generation, their new rows are not in it",
    "snapshot.extended": "touched assets are in the generation again, in no index",
    "snapshot.built": "the generation and its indices are written, nothing refers to it",
    "snapshot.tagged": "its version has its tag, its files are not listed",
    "snapshot.described": "the SnapshotRef is written, it is not published",
    "snapshot.published": "the snapshot is published, the run has no row",
}
"""The commit protocol and the end of a run, line by line."""

STORE_POINTS: Mapping[str, str] = {
    "gc.condemned": "a snapshot is condemned, its reference is still there",
    "gc.unreferenced": "its reference is gone, its tag and its files are still there",
    "gc.untagged": "a shared table has only the tags of snapshots, old versions are still there",
    "gc.cleaned": "old versions of shared tables are gone, folders that nothing names are not",
    "gc.swept": "one folder that nothing named is removed, others may not be",
    "maintain.rewritten": "small fragments are written anew as one, no version has it",
    "maintain.compacted": "the version with the merged fragment is committed, the old files lie",
    "maintain.indexed": "the indices of one table are up to date, others may not be",
    "maintain.fenced": "old versions are about to be removed, a fence is above them",
    "maintain.cleaned": "old versions of one table are removed, orphans still lie",
    "maintain.swept": "one file that nothing refers to is removed, others may not be",
    "repair.reopened": "tasks behind what is damaged are queued, the damage is still there",
    "repair.reverted": "manifests that nothing can read are put aside, their version is not passed",
    "repair.dropped": "damaged fragments have left one table, other damage is still there",
    "repair.deleted": "some damaged rows have left one table, others have not",
    "repair.indexed": "a damaged index is made anew, damaged snapshots are still there",
    "repair.unreferenced": "one damaged snapshot has no reference any more, others have",
    "quarantine.told": "a notice is stored, whoever saw the probe fail has no answer",
    "quarantine.reopened": "tasks behind quarantined rows are queued, the rows are still there",
    "quarantine.deleted": "some quarantined rows have left one table, others have not",
    "bundle.written": "every table of an export is written, its manifest is not",
    "bundle.described": "the manifest is written, the bundle is not under its name",
    "import.apart": "what an import keeps apart is named, none of its rows is there",
    "import.table": "one table has its rows of an import, others may not",
    "rollout.begun": "a step is on record as begun, none of its tasks is queued",
    "rollout.computed": "the evidence of a step is committed and audited, nothing is compared",
    "rollout.compared": "what was measured of a step is on record, nothing follows from it yet",
    "rollout.flipping": "every step passed and that is on record, the snapshot is not built",
    "rollout.published": "the snapshot of the new model is served, it is not on record as promoted",
    "rollout.restored": "the old snapshot is served again, the rollback is not on record",
    "relink.attached": "new places of known content are on record, old ones are not gone yet",
}
"""What is done to a store between runs, line by line."""

OPERATIONS: tuple[str, ...] = (
    "open_job",
    "record_listing",
    "close_listing",
    "complete_job",
    "finish_job",
    "cancel_job",
    "acquire_lease",
    "claim",
    "start",
    "heartbeat",
    "release_lease",
    "rescue",
    "report",
    "fail",
    "release",
    "persist",
    "requeue_batch",
    "mark_mismatch",
    "redrive",
    "reopen",
    "acquire_right",
    "renew_right",
    "release_right",
    "expire_right",
    "restore",
    "fold_evidence",
)
"""Every transaction of the ledger, by the name it is given in `Connector.write`."""

POINTS: Mapping[str, str] = {
    **COMMIT_POINTS,
    **STORE_POINTS,
    **{
        f"ledger.{name}.uncommitted": f"{name}: all is written, COMMIT is next"
        for name in OPERATIONS
    },
    **{
        f"ledger.{name}.committed": f"{name}: committed, the caller has no answer"
        for name in OPERATIONS
    },
}


@dataclass
class _Armed:
    """Where to act, at which passage, how."""

    point: str
    passages_left: int
    signal: signal.Signals


_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_armed: _Armed | None = None


def arm(environ: Mapping[str, str]) -> None:
    """Read the variable; called once at the edge of a process. Raises ConfigError for a bad one."""
    global _armed
    text = environ.get(VARIABLE, "")
    _armed = _parse(text) if text else None


def crash_point(name: str) -> None:
    """Die or stop here if this is the armed point and its turn has come."""
    if _armed is None or _armed.point != name:
        return
    _armed.passages_left -= 1
    if _armed.passages_left == 0:
        # To this thread: one for the process may be taken by another while this one goes on.
        signal.pthread_kill(threading.get_ident(), _armed.signal)


def _parse(text: str) -> _Armed:
    name, *rest = text.split(":")
    if name not in POINTS:
        raise ConfigError(f"{VARIABLE}: no crash point {name}", "crash.unknown")
    number, action = (rest + ["1", "kill"][len(rest) :])[:2]
    if len(rest) > 2 or not number.isdigit() or int(number) < 1 or action not in _ACTIONS:
        raise ConfigError(f"{VARIABLE}: write it as point[:number[:kill|stop]]", "crash.syntax")
    return _Armed(name, int(number), _ACTIONS[action])
