"""Bundles for tests: a small store of two tenants, its exports, and imports of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecm.contracts.identity import ContentIdentity, digest
from ecm.contracts.result import ImageFacts, Outputs, Written, WrittenKind, WrittenSource
from ecm.delivery.exporting import ExportSettings, export_bundle
from ecm.delivery.importing import check_bundle, import_rows, planned
from ecm.evidence.bundle import BundleFormat, BundleManifest
from ecm.evidence.bundle_reading import Bundle
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.schema import ASSET_SIGHTINGS, EVIDENCE_TEXT, Sighting
from ecm.evidence.sightings import Seen, sighting_rows
from ecm.evidence.store import EvidenceStore
from ecm.stages.plan import TransformPlan
from tests.evidence_envelopes import JPEG, START, content_of, envelope, everything, vision

NAMED = ImageFacts(
    width=640,
    height=480,
    format="JPEG",
    written=(
        Written(kind=WrittenKind.TITLE, source=WrittenSource.XMP, text="Ann at the lake"),
        Written(
            kind=WrittenKind.TAKEN,
            source=WrittenSource.EXIF,
            text="2021-05-03T10:11:12",
            taken_at=1620036672.0,
        ),
    ),
)
"""Facts of an image in whose file somebody wrote something."""
NOBODY = TransformPlan({})
LATER = START + 1000.0


def quiet(*_: object) -> None:
    """Progress that nobody watches."""


def store_at(folder: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(folder)), START)


def filled(store: EvidenceStore) -> EvidenceStore:
    """Two tenants who know some of the same images, a deleted row, a run, a place that is gone."""
    committer = EvidenceCommitter(store)
    said = [e for seed in range(6) for e in everything(seed, "red", "car")]
    pictures = [vision(seed, "pictured", thumbnail=JPEG) for seed in range(8, 10)]
    measured = envelope("measured", image=NAMED, outputs=Outputs(measures={"sharpness": 0.5}))
    committer.append("b1", [*said[:12], *pictures, measured])
    committer.append("b2", said[12:])
    committer.append("b3", everything(1, "red", tenant="u", image=NAMED))
    store.dataset(EVIDENCE_TEXT).delete(f"asset_id = '{content_of(0)}'")
    place = ContentIdentity(uri="file:///photos/1.jpg", size=123, mtime_ns=77)
    gone = Seen("t", content_of(1), Sighting.GONE, place, START + 5)
    committer.append_rows(ASSET_SIGHTINGS, sighting_rows([gone], "run-2", "s1"), "s1")
    record_run(
        store,
        RunRecord(
            run_id="run-1",
            tenant_id="t",
            job_id="job",
            config_digest=digest("config"),
            code_version="1",
            started_at=START,
            counts={"listed": 6},
        ),
    )
    return store


def settings_of(tenants: tuple[str, ...] | None = None, **changes: Any) -> ExportSettings:
    fields: dict[str, Any] = {
        "tenants": tenants,
        "file_format": BundleFormat.PARQUET,
        "tables_left_out": frozenset(),
        "snapshot": None,
        "models": {},
        "ecm_version": "test",
    }
    return ExportSettings(**fields | changes)


def exported(store: EvidenceStore, dest: Path, **changes: Any) -> BundleManifest:
    return export_bundle(store, lambda: (), settings_of(**changes), dest, LATER, quiet)


def imported(folder: Path, store: EvidenceStore, tenant: str | None = None) -> dict[str, int]:
    plan = planned(Bundle.open(folder), NOBODY, tenant)
    check_bundle(plan.bundle, quiet)
    return dict(import_rows(plan, store, unquestioned, LATER, quiet).added)


def said_by(manifest: BundleManifest) -> dict[str, tuple[int, str]]:
    return {table.name: (table.rows, str(table.key_digest)) for table in manifest.tables}
