"""SnapshotRef and what is published: small JSON documents below `snapshots/`.

Knows how references are written and read. Knows nothing of how a snapshot is built or searched.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeVar

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest, TenantId, digest
from ecm.contracts.search import Axis
from ecm.errors import ContractError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.store import EvidenceStore

SNAPSHOT_FORMAT_VERSION: Final = 1
SNAPSHOT_RECIPE: Final = "recipe-3"
"""How texts are made of statements; a new recipe makes new snapshots of the same evidence."""

TEXT_COLUMNS: Final = ("caption", "tags", "classification", "ocr", "name")
VECTOR_AXES: Final = (Axis.VV, Axis.X, Axis.MV)
SNAPSHOTS: Final = "snapshots"

_PUBLISHED: Final = "published.json"
_ID: Final = re.compile(r"^s-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")
_Document = TypeVar("_Document", bound=Contract)


class SnapshotPolicy(Contract):
    """Whose evidence a snapshot shows.

    `transforms` lists fingerprints in order of preference: on `fts` for texts, on vv, x and mv for
    vectors, of which a snapshot has one transform per axis: the first that has any. With `others`
    "last", texts of transforms not listed stand in where no listed one spoke, with "never" not;
    those of `apart` never do.
    """

    transforms: dict[Axis, tuple[Digest, ...]]
    others: Literal["last", "never"] = "last"
    apart: tuple[Digest, ...] = ()

    def digest(self) -> str:
        """Of the policy and of the recipe by which it is carried out."""
        return digest([SNAPSHOT_RECIPE, self.model_dump(mode="json")])


class SnapshotMeasurements(Contract):
    """What was found when the finished snapshot was measured, before it was referred to."""

    coverage: dict[str, float] = Field(description="share of assets with each axis or text column")
    indexed_rows: dict[str, int] = Field(description="rows in each index")
    neighbours: dict[str, float] = Field(
        description="per indexed axis, share of a sample that the index finds at distance 0"
    )
    superseded: int = Field(ge=0, description="assets left out: every place they lay holds others")
    seconds: float = Field(ge=0)


class SnapshotRef(Contract):
    """A finished snapshot. Written last: what has no reference is not a snapshot."""

    format_version: int = SNAPSHOT_FORMAT_VERSION
    snapshot_id: str = Field(pattern=_ID.pattern)
    store_id: str
    created_at: float = Field(description="Unix seconds (UTC)")
    table: str = Field(description="name of the Lance table inside the store")
    version: int = Field(ge=1, description="its Lance version")
    policy: SnapshotPolicy
    policy_digest: Digest
    transforms: dict[Axis, tuple[Digest, ...]] = Field(description="those behind each axis")
    dims: dict[Axis, int]
    assets: int = Field(ge=0)
    tenants: dict[TenantId, int] = Field(description="assets per tenant")
    evidence_versions: dict[str, int]
    measurements: SnapshotMeasurements


class Publication(Contract):
    snapshot_id: str = Field(pattern=_ID.pattern)
    at: float = Field(description="Unix seconds (UTC)")


class Published(Contract):
    """`published.json`: what is served now, and what was before, newest last."""

    format_version: Literal[1] = 1
    current: Publication
    history: tuple[Publication, ...] = ()
    log: tuple[Publication, ...] = Field(
        default=(), description="the newest publications, also those that were taken back"
    )

    def publications(self) -> tuple[Publication, ...]:
        """Every one on record, newest last."""
        return self.log or (*self.history, self.current)


def folder_of(snapshot_id: str) -> str:
    """The folder of a snapshot inside the store. Raises SnapshotNotFound for a malformed id."""
    if not _ID.match(snapshot_id):
        raise SnapshotNotFound(f"{snapshot_id[:100]!r} is not a snapshot id")
    return f"{SNAPSHOTS}/{snapshot_id}"


def write_ref(store: EvidenceStore, ref: SnapshotRef) -> None:
    """Make a snapshot exist. Raises ContractError when one of this id does already."""
    name = f"{folder_of(ref.snapshot_id)}/ref.json"
    if not store.storage.put_new(name, ref.model_dump_json().encode()):
        raise ContractError(f"snapshot {ref.snapshot_id} exists already")


def read_ref(store: EvidenceStore, snapshot_id: str) -> SnapshotRef:
    """Raises SnapshotNotFound, or StoreCorrupt for a damaged or unknown reference."""
    raw = store.storage.read(f"{folder_of(snapshot_id)}/ref.json")
    if raw is None:
        raise SnapshotNotFound(
            f"no snapshot {snapshot_id}", hint="`ecm snapshots list` shows those there are"
        )
    ref = _parsed(SnapshotRef, raw, f"the reference of snapshot {snapshot_id}")
    if ref.format_version != SNAPSHOT_FORMAT_VERSION:
        raise StoreCorrupt(
            f"snapshot {snapshot_id} has format {ref.format_version}, "
            f"this release reads {SNAPSHOT_FORMAT_VERSION}",
            code="store.version",
            hint="build a new snapshot",
        )
    if ref.store_id != store.header.store_id:
        raise StoreCorrupt(f"snapshot {snapshot_id} belongs to another store")
    return ref


def has_ref(store: EvidenceStore, snapshot_id: str) -> bool:
    """Whether a finished snapshot of this id exists. Raises SnapshotNotFound for a malformed id."""
    return store.storage.read(f"{folder_of(snapshot_id)}/ref.json") is not None


def all_refs(store: EvidenceStore) -> tuple[SnapshotRef, ...]:
    """Every finished snapshot, newest first; unfinished ones have no reference and do not count."""
    found = []
    for name in store.storage.children(SNAPSHOTS):
        if _ID.match(name) and store.storage.read(f"{folder_of(name)}/ref.json") is not None:
            found.append(read_ref(store, name))
    return tuple(sorted(found, key=lambda ref: (-ref.created_at, ref.snapshot_id)))


def read_published(store: EvidenceStore) -> Published | None:
    """What is published, or None. Raises StoreCorrupt when the document is damaged."""
    raw = store.storage.read(_PUBLISHED)
    return None if raw is None else _parsed(Published, raw, _PUBLISHED)


def write_published(store: EvidenceStore, published: Published) -> None:
    store.storage.put(_PUBLISHED, published.model_dump_json().encode())


def published_ref(store: EvidenceStore) -> SnapshotRef | None:
    """The snapshot that is served now, or None. Raises StoreCorrupt, SnapshotNotFound."""
    published = read_published(store)
    return None if published is None else read_ref(store, published.current.snapshot_id)


def _parsed(kind: type[_Document], raw: bytes, what: str) -> _Document:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(
            f"{what} is damaged", hint="restore it from a copy, or build and publish a new snapshot"
        ) from error
