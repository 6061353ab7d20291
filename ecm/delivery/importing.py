"""Importing a bundle: all of it is checked before any of it is written, then it enters once.

Its rows go through the committer under the right to commit, in batches whose names follow from the
bundle and its tenants, so that an import which is repeated, or killed and repeated, adds nothing
twice. The ledger is told afterwards by a rebuild. Runs no model and reads no image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ecm.contracts.identity import digest
from ecm.crashpoints import crash_point
from ecm.delivery.fingerprints import Mismatch, mismatches
from ecm.errors import ConfigError, ManifestMismatch
from ecm.evidence.apart import KeptApart, keep_apart
from ecm.evidence.bundle import BundleTable
from ecm.evidence.bundle_reading import Bundle, Progress
from ecm.evidence.bundle_rekeying import rekeyed
from ecm.evidence.bundle_rows import Claims, RowChecks
from ecm.evidence.committer import EvidenceCommitter, StillMine
from ecm.evidence.imports import ImportRecord, write_import
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    THUMBNAILS,
)
from ecm.evidence.store import EvidenceStore
from ecm.stages.plan import TransformPlan

_FIRST: Final = (ASSETS, ASSET_VERSIONS, ASSET_SIGHTINGS, ASSET_WORDS, THUMBNAILS)
_BETWEEN: Final = (EVIDENCE_TEXT, EVIDENCE_REGIONS, EVIDENCE_MEASURES)
APPEND_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Import:
    """A bundle, as whom its tenants come, and what of it is not the profile's own."""

    bundle: Bundle
    tenants: Mapping[str, str]
    mismatches: tuple[Mismatch, ...]

    @property
    def import_id(self) -> str:
        """Names this bundle under these tenants: batches of the same import are called alike."""
        return digest(["import", self.bundle.manifest.bundle_id, dict(self.tenants)])[:32]

    def refuse_mismatches(self) -> None:
        """Raises ManifestMismatch when something in the bundle claims to be what it is not."""
        if self.mismatches:
            more = f" (and {len(self.mismatches) - 1} more)" if len(self.mismatches) > 1 else ""
            raise ManifestMismatch(
                f"the bundle is of other models: {self.mismatches[0]}{more}",
                code="bundle.fingerprint",
                hint="--keep-apart imports that evidence beside, where no snapshot chooses it",
            )

    def tables(self) -> Iterator[BundleTable]:
        """The tables in the order they are written: what evidence is about before the evidence."""
        tables = {table.name: table for table in self.bundle.manifest.tables}
        vectors = sorted(set(tables) - {*_FIRST, *_BETWEEN, ANALYSIS_RUNS})
        for name in (*_FIRST, *_BETWEEN, *vectors, ANALYSIS_RUNS):
            if name in tables:
                yield tables[name]


@dataclass(frozen=True)
class Imported:
    """Rows of the bundle and rows that were not there yet, by table."""

    import_id: str
    rows: Mapping[str, int]
    added: Mapping[str, int]


def planned(bundle: Bundle, ours: TransformPlan, tenant_id: str | None) -> Import:
    """What importing the bundle would mean; `tenant_id` is the tenant its only one becomes.

    Reads no table. Raises ConfigError for several tenants that are to become one, ManifestMismatch
    for forged weights.
    """
    theirs = sorted(bundle.manifest.tenants)
    if tenant_id is not None and len(theirs) != 1:
        raise ConfigError(
            f"the bundle has {len(theirs)} tenants: {', '.join(theirs[:5])}",
            code="import.tenants",
            hint="without --tenant they keep their names; export them one by one to rename them",
        )
    tenants = {name: tenant_id or name for name in theirs}
    return Import(bundle, tenants, mismatches(bundle.manifest.transforms, ours))


def check_bundle(bundle: Bundle, report: Progress) -> None:
    """Read all of a bundle: every file against its checksum, every row against what it can be.

    Raises StoreCorrupt that names what is wrong. `report` is called with bytes, then with rows.
    """
    bundle.verify_files(report)
    total = sum(table.rows for table in bundle.manifest.tables)
    done = 0
    manifest = bundle.manifest
    claims = Claims(manifest.tenants, manifest.created_at, manifest.transforms)
    for table in manifest.tables:
        checks = RowChecks(table.name, claims)
        for rows in bundle.portions(table):
            checks.check(rows)
            done += rows.num_rows
            report(done, total, table.name)
        checks.finish(table.rows, table.key_digest)


def import_rows(
    plan: Import, store: EvidenceStore, still_mine: StillMine, now: float, report: Progress
) -> Imported:
    """Write the rows of a checked bundle; what the store has already is left alone.

    What does not match the profile is named as kept apart before any row of it is there. Raises
    LeaseLost when another takes the right to commit, and as `EvidenceCommitter.append`.
    """
    manifest = plan.bundle.manifest
    apart = {
        each.theirs.fingerprint: KeptApart(
            bundle_id=manifest.bundle_id, model=str(each.theirs.model or "unknown"), at=now
        )
        for each in plan.mismatches
    }
    still_mine()
    keep_apart(store, apart)
    crash_point("import.apart")
    before = store.counts()
    committer = EvidenceCommitter(store)
    total = sum(table.rows for table in manifest.tables)
    done = 0
    for table in plan.tables():
        for number, rows in enumerate(_appendable(plan, table)):
            batch = f"import-{plan.import_id}-{table.name}-{number:06d}"
            ours = rekeyed(table.name, rows, plan.tenants, batch)
            committer.append_rows(table.name, ours, batch, still_mine)
            done += rows.num_rows
            report(done, total, table.name)
        crash_point("import.table")
    still_mine()
    write_import(store, _record(plan, tuple(sorted(apart)), now))
    after = store.counts()
    names = [table.name for table in manifest.tables]
    return Imported(
        import_id=plan.import_id,
        rows={table.name: table.rows for table in manifest.tables},
        added={name: after.get(name, 0) - before.get(name, 0) for name in names},
    )


def _appendable(plan: Import, table: BundleTable) -> Iterator[pa.Table]:
    """Portions put together until an append is worth its version of the table."""
    held: list[pa.Table] = []
    size = 0
    for rows in plan.bundle.portions(table):
        held.append(rows)
        size += rows.nbytes
        if size >= APPEND_BYTES:
            yield pa.concat_tables(held)
            held, size = [], 0
    if held:
        yield pa.concat_tables(held)


def _record(plan: Import, apart: tuple[str, ...], now: float) -> ImportRecord:
    manifest = plan.bundle.manifest
    return ImportRecord(
        import_id=plan.import_id,
        bundle_id=manifest.bundle_id,
        store_id=manifest.store_id,
        at=now,
        tenants=dict(plan.tenants),
        transforms=manifest.transforms,
        apart=apart,
        snapshot_id=manifest.snapshot_id,
    )
