"""Exporting: which versions of which tables, whose models, under which names, into a bundle.

Reads one moment of a store that others may be writing to: the versions of all tables at a time at
which none of them changed, without the rows of batches that were under way then. Changes nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ecm.errors import ConfigError, StoreUnavailable
from ecm.evidence import inventory
from ecm.evidence.bundle import BundleFormat, BundleManifest, BundleTransform, ModelNote
from ecm.evidence.bundle_writing import About, Contents, Report, check_destination, write_bundle
from ecm.evidence.held import held
from ecm.evidence.imports import imported_models
from ecm.evidence.quarantine import shut_out
from ecm.evidence.refs import SnapshotRef, told_to
from ecm.evidence.store import EvidenceStore

LOOKS = 60
"""How often the versions are read until two looks agree."""

UnderWay = Callable[[], Iterable[str]]
"""The batches that are being committed now."""


@dataclass(frozen=True)
class ExportSettings:
    """What to export and as what; `tenants` None: all of them. `models` are by fingerprint."""

    tenants: tuple[str, ...] | None
    file_format: BundleFormat
    tables_left_out: frozenset[str]
    snapshot: SnapshotRef | None
    models: Mapping[str, ModelNote]
    ecm_version: str


def export_bundle(
    store: EvidenceStore,
    under_way: UnderWay,
    settings: ExportSettings,
    dest: Path,
    now: float,
    report: Report,
) -> BundleManifest:
    """Write the bundle; its manifest.

    Raises ConfigError for a destination in use or a tenant without anything, StoreUnavailable when
    the store does not hold still, and as `write_bundle`.
    """
    check_destination(dest.absolute())
    contents = pinned(store, under_way, settings)
    notes = {**imported_models(store), **settings.models}
    transforms = _transforms(store, contents, notes)
    whole = settings.snapshot
    snapshot = None if whole is None else told_to(whole, contents.tenants)
    about = About(settings.ecm_version, now, transforms, snapshot)
    with held(store, contents.versions, now):
        return write_bundle(store, contents, about, settings.file_format, dest, report)


def pinned(store: EvidenceStore, under_way: UnderWay, settings: ExportSettings) -> Contents:
    """One moment of the store, without what is quarantined: whoever imports it knows no notices.

    Batches are asked for between two looks at the versions that agree: whatever was half appended
    at that moment is among them, and nothing else is missing.
    """
    versions = store.versions()
    for _ in range(LOOKS):
        batches = frozenset(under_way())
        again = store.versions()
        if again == versions:
            break
        versions = again
    else:
        raise StoreUnavailable("the store does not hold still", hint="try again")
    wanted = {n: v for n, v in versions.items() if n not in settings.tables_left_out}
    tenants = settings.tenants
    present = inventory.tenants(store)
    if tenants is None:
        tenants = present
    missing = sorted(set(tenants) - set(present))
    if missing or not tenants:
        raise ConfigError(
            f"the store has nothing of tenant {', '.join(missing) or 'any'}",
            code="export.nothing",
            hint="--tenant names another, --all-tenants takes all",
        )
    return Contents(wanted, tenants, batches, shut_out=shut_out(store))


def _transforms(
    store: EvidenceStore, contents: Contents, notes: Mapping[str, ModelNote]
) -> tuple[BundleTransform, ...]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for said in inventory.stated(store):
        if said.tenant_id in contents.tenants:
            kinds[said.transform].add(said.task_type)
    return tuple(
        BundleTransform(
            fingerprint=fingerprint,
            task_types=tuple(sorted(kinds[fingerprint])),
            model=notes.get(fingerprint),
        )
        for fingerprint in sorted(kinds)
    )
