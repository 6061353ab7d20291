"""What was imported into a store: one small document per import, written when all rows are there.

Remembers which models a bundle named, so that an export of this store can name them in its turn.
Knows documents below `imports/`; moves no rows.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.errors import StoreCorrupt
from ecm.evidence.bundle import BundleTransform, ModelNote
from ecm.evidence.store import EvidenceStore

IMPORTS: Final = "imports"


class ImportRecord(Contract):
    """One import: the bundle, as whom its tenants came, and the models it named.

    `at` in Unix seconds (UTC); `snapshot_id` is the choice that was published where it comes from.
    """

    format_version: Literal[1] = 1
    import_id: str = Field(pattern=r"^[0-9a-f]{32}$")
    bundle_id: Digest
    store_id: str
    at: float
    tenants: dict[TenantId, TenantId]
    transforms: tuple[BundleTransform, ...]
    apart: tuple[Digest, ...] = ()
    snapshot_id: str | None = None


def write_import(store: EvidenceStore, record: ImportRecord) -> None:
    """Put an import on record; the first record of the same import stays."""
    name = f"{IMPORTS}/{record.import_id}.json"
    store.storage.put_new(name, record.model_dump_json().encode())


def all_imports(store: EvidenceStore) -> tuple[ImportRecord, ...]:
    """Every import on record, oldest first. Raises StoreCorrupt for a damaged document."""
    found = []
    for name in store.storage.children(IMPORTS):
        raw = store.storage.read(f"{IMPORTS}/{name}")
        if raw is None or not name.endswith(".json"):
            continue
        try:
            found.append(ImportRecord.model_validate_json(raw))
        except ValidationError as error:
            raise StoreCorrupt(
                f"{IMPORTS}/{name} of the evidence store is damaged",
                hint="remove it: the models it named are then unknown",
            ) from error
    return tuple(sorted(found, key=lambda record: (record.at, record.import_id)))


def imported_models(store: EvidenceStore) -> dict[str, ModelNote]:
    """The models that imported bundles named, by fingerprint."""
    return {
        transform.fingerprint: transform.model
        for record in all_imports(store)
        for transform in record.transforms
        if transform.model is not None
    }
