"""What export, import and relink do with a profile: its store, its ledger, its models, in order.

Knows which parts of a profile each step needs; how a bundle is written, checked and entered is
known to `ecm.delivery` and `ecm.evidence`. `python -m jobs.export DEST` is `ecm export DEST`.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import ecm
from ecm.config import Profile
from ecm.delivery import relinking
from ecm.delivery.exporting import ExportSettings, UnderWay, export_bundle
from ecm.delivery.fingerprints import known_transforms, note_of
from ecm.delivery.importing import Import, Imported, check_bundle, import_rows, planned
from ecm.delivery.rebuild import Rebuilt, rebuild
from ecm.delivery.relinking import Findings, Move, Relinked, Relinking
from ecm.delivery.tenure import commit_tenure
from ecm.evidence.bundle import BundleFormat, BundleManifest
from ecm.evidence.bundle_reading import Bundle, Progress
from ecm.evidence.refs import published_ref, read_ref
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.schema import THUMBNAILS
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.models.manifest import list_manifests
from ecm.opening import plan_of
from jobs.cli_ledger import check_exists, missing_ledger
from jobs.enqueue import confine
from jobs.rebuilding import audit_problems, rebuild_settings


@dataclass(frozen=True)
class ExportRequest:
    """What to export where; `tenants` None: all of them, `snapshot` None: the published one."""

    dest: Path
    tenants: tuple[str, ...] | None
    file_format: BundleFormat
    left_out: frozenset[str] = frozenset()
    snapshot: str | None = None


THUMBNAIL_TABLES = frozenset({THUMBNAILS})
"""What an export may leave out."""


@dataclass
class Told:
    """What became of an import or a relink, of the ledger, and what its audit says."""

    imported: Imported | None = None
    relinked: dict[str, Relinked] = field(default_factory=dict)
    ledger: Rebuilt | None = None
    problems: list[str] = field(default_factory=list)


def run_export(
    profile: Profile, request: ExportRequest, report: Callable[[int, int, str], None]
) -> BundleManifest:
    """Write the bundle. Raises as `export_bundle`; SnapshotNotFound for an unknown snapshot."""
    store = EvidenceStore.open(profile.evidence)
    snapshot = read_ref(store, request.snapshot) if request.snapshot else published_ref(store)
    known = known_transforms(
        plan_of(profile), list_manifests(profile.models_folder, profile.pinned_models)
    )
    settings = ExportSettings(
        tenants=request.tenants,
        file_format=request.file_format,
        tables_left_out=request.left_out,
        snapshot=snapshot,
        models={fingerprint: note_of(transform) for fingerprint, transform in known.items()},
        ecm_version=ecm.__version__,
    )
    total = sum(n for name, n in store.counts().items() if name not in request.left_out)
    with _under_way(profile) as under_way:
        return export_bundle(
            store,
            under_way,
            settings,
            request.dest,
            time.time(),
            lambda rows, table: report(rows, total, table),
        )


@contextmanager
def _under_way(profile: Profile) -> Iterator[UnderWay]:
    """The batches that the ledger knows as reported; none where there is a store and no ledger."""
    if missing_ledger(profile):
        yield lambda: ()
        return
    with open_ledger(profile.ledger) as ledger:
        yield lambda: [batch.batch_id for batch in ledger.unresolved_batches()]


def plan_import(profile: Profile, folder: Path, tenant_id: str | None) -> Import:
    """Open a bundle and compare its models with the profile's. Raises as `planned`."""
    return planned(Bundle.open(folder), plan_of(profile), tenant_id)


def check_import(plan: Import, report: Progress) -> None:
    """Read all of it. Raises StoreCorrupt that names what is wrong."""
    check_bundle(plan.bundle, report)


def run_import(
    profile: Profile,
    plan: Import,
    moves: tuple[Move, ...],
    report: Progress,
) -> Told:
    """Enter a checked bundle, find its files again where there are moves, and tell the ledger."""
    _confine(profile, moves)
    now = time.time()
    store = EvidenceStore.create(profile.evidence, now)
    told = Told()
    with commit_tenure(profile.ledger, store) as tenure:
        told.imported = import_rows(plan, store, tenure.confirm, now, report)
    tenants = sorted(set(plan.tenants.values()))
    source = f"bundle {plan.bundle.manifest.bundle_id}"
    try:
        for tenant in tenants if moves else ():
            told.relinked[tenant] = _relink(profile, store, tenant, moves, report)
    finally:
        _tell_ledger(profile, store, tenants, ("import", source), told, report)
    return told


def look_for(
    profile: Profile, tenants: Iterable[str], moves: tuple[Move, ...], report: Progress
) -> dict[str, Relinked]:
    """What a relink would do, by tenant; changes nothing."""
    _confine(profile, moves)
    store = EvidenceStore.open(profile.evidence)
    return {tenant: _look(profile, store, tenant, moves, report)[1].counts for tenant in tenants}


def run_relink(profile: Profile, moves: tuple[Move, ...], report: Progress) -> Told:
    """Find the files of the profile's tenant again, and tell the ledger."""
    _confine(profile, moves)
    check_exists(profile)
    store = EvidenceStore.open(profile.evidence)
    told = Told()
    tenant = profile.tenant
    told.relinked[tenant] = _relink(profile, store, tenant, moves, report)
    source = ", ".join(f"{move.old} now {move.new}" for move in moves)
    _tell_ledger(profile, store, [tenant], ("relink", f"relink {source}"), told, report)
    return told


def _confine(profile: Profile, moves: Iterable[Move]) -> None:
    for move in moves:
        confine(move.new, profile.roots)


def _look(
    profile: Profile,
    store: EvidenceStore,
    tenant: str,
    moves: tuple[Move, ...],
    report: Progress,
) -> tuple[Relinking, Findings]:
    wanted = Relinking(
        tenant_id=tenant,
        moves=moves,
        run_id=f"relink-{uuid.uuid4().hex[:16]}",
        now=time.time(),
    )
    return wanted, relinking.look(
        store, wanted, lambda seen: report(seen.files, 0, f"{seen.read:,} files read")
    )


def _relink(
    profile: Profile,
    store: EvidenceStore,
    tenant: str,
    moves: tuple[Move, ...],
    report: Progress,
) -> Relinked:
    """Files are read without the right to commit, since that may take hours; who has it is asked
    before and after.
    """
    with commit_tenure(profile.ledger, store):
        pass  # refused now rather than then
    wanted, findings = _look(profile, store, tenant, moves, report)
    with commit_tenure(profile.ledger, store) as tenure:
        relinking.record(store, wanted, findings, tenure.confirm)
        if findings.changes:
            record_run(store, _run_of(profile, wanted, findings.counts))
    return findings.counts


def _run_of(profile: Profile, wanted: Relinking, counts: Relinked) -> RunRecord:
    """A relink is a run: what it put on record bears its name."""
    begun = RunRecord(
        run_id=wanted.run_id,
        tenant_id=wanted.tenant_id,
        job_id=wanted.run_id,
        transforms=(relinking.RELINK_TRANSFORM,),
        config_digest=profile.digest(),
        code_version=ecm.__version__,
        started_at=wanted.now,
    )
    return begun.finished(time.time(), counts.to_json())


def _tell_ledger(
    profile: Profile,
    store: EvidenceStore,
    tenants: list[str],
    work: tuple[str, str],
    told: Told,
    report: Progress,
) -> None:
    settings = replace(
        rebuild_settings(profile, store, work[0]),
        work=work[0],
        source=work[1],
        tenants=frozenset(tenants),
    )
    with open_ledger(profile.ledger) as ledger:
        told.ledger = rebuild(
            ledger,
            store,
            Spool(profile.spool),
            settings,
            lambda done: report(done.versions, done.of, f"{done.tasks:,} tasks in the ledger"),
        )
        told.problems = audit_problems(ledger, store, told.ledger.jobs.values())


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["export", *sys.argv[1:]]))
