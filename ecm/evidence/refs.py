"""SnapshotRef and what is published: small JSON documents below `snapshots/`.

Knows how references are written and read. Knows nothing of how a snapshot is built or searched.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, Literal, TypeVar

from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.search import Axis
from ecm.errors import ContractError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.store import EvidenceStore

SNAPSHOT_FORMAT_VERSION: Final = 1
TEXT_COLUMNS: Final = ("caption", "tags", "classification", "ocr", "name")
"""The columns of words that every snapshot has, each with its index."""
LATER_TEXT_COLUMNS: Final = ("path", "user")
"""Those that snapshots of earlier releases lack: words of folders, and what people wrote into the
file. One that the schema of a snapshot does not have is not there; that is no damage."""
VECTOR_AXES: Final = (Axis.VV, Axis.X, Axis.MV)
SNAPSHOTS: Final = "snapshots"

PUBLISHED_NAME: Final = "published.json"
_ID: Final = re.compile(r"^s-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")
_Document = TypeVar("_Document", bound=Contract)


class EvidenceTable(Contract):
    """A table of evidence as a snapshot saw it.

    `mark` is what the table was given when it was made, empty if it was made by a release that gave
    none. By mark, version and rows a later build tells what came since and whether anything went.
    """

    mark: str
    version: int = Field(ge=1, description="its Lance version")
    rows: int = Field(ge=0)


class Lineage(Contract):
    """How a snapshot was built: anew, or from another one of its policy by what changed since."""

    base: str | None = Field(default=None, description="the snapshot it was built from; null: anew")
    reason: str = Field(default="", description="why it was built anew")
    steps: int = Field(default=0, ge=0, description="builds since the one anew")
    touched: int = Field(default=0, ge=0, description="assets looked at again in this build")
    removed: int = Field(default=0, ge=0, description="rows taken away since the build anew")
    added: int = Field(default=0, ge=0, description="rows added since the build anew")


class Shortfall(Contract):
    """A measurement that is beyond its limit."""

    measurement: str
    value: float
    limit: float
    message: str = Field(description="one line for a person")


class SnapshotMeasurements(Contract):
    """What was found when the finished snapshot was measured, before it was referred to."""

    coverage: dict[str, float] = Field(description="share of assets with each axis or text column")
    indexed_rows: dict[str, int] = Field(description="rows in each index")
    neighbours: dict[str, float] = Field(
        description="per indexed axis, share of a sample that the index finds at distance 0"
    )
    queries: dict[str, float] = Field(
        default_factory=dict,
        description="per text column, share of sampled texts that find their own asset",
    )
    vectors_compared: int = Field(default=0, ge=0, description="sampled and equal to the evidence")
    superseded: int = Field(ge=0, description="assets left out: nothing of theirs lies anywhere")
    quarantined: int = Field(
        default=0, ge=0, description="rows of its tables left out: a golden probe failed after them"
    )
    seconds: float = Field(ge=0)
    shortfalls: tuple[Shortfall, ...] = Field(
        default=(), description="why it is not published; empty: it may be"
    )


class SnapshotRef(Contract):
    """A finished snapshot. Written last: what has no reference is not a snapshot.

    `table` is its generation, a Lance table that several snapshots may be versions of; the Lance
    tag of the snapshot's id holds `version` there.
    """

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
    evidence: dict[str, EvidenceTable] = Field(default_factory=dict)
    lineage: Lineage = Lineage()
    quarantines: tuple[str, ...] = Field(
        default=(), description="ids of those whose evidence it leaves out"
    )
    files_sha256: Digest | None = Field(
        default=None, description="of the list of its files; null: an earlier release made none"
    )
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


def is_snapshot_id(text: str) -> bool:
    return _ID.match(text) is not None


def folder_of(snapshot_id: str) -> str:
    """The folder of a snapshot inside the store. Raises SnapshotNotFound for a malformed id."""
    if not _ID.match(snapshot_id):
        raise SnapshotNotFound(
            f"{snapshot_id[:100]!r} is not a snapshot id",
            hint="`ecm snapshots list` shows those there are",
        )
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


def remove_ref(store: EvidenceStore, snapshot_id: str) -> None:
    """Make a snapshot cease to exist; its files stay. Nothing happens when it does not exist."""
    store.storage.remove(f"{folder_of(snapshot_id)}/ref.json")


def has_ref(store: EvidenceStore, snapshot_id: str) -> bool:
    """Whether a finished snapshot of this id exists. Raises SnapshotNotFound for a malformed id."""
    return store.storage.read(f"{folder_of(snapshot_id)}/ref.json") is not None


def told_to(ref: SnapshotRef, tenants: Collection[str]) -> SnapshotRef:
    """What some tenants may know of a snapshot: nothing of the others but that it is theirs, too.

    Row counts of whole tables are left out; digests stay those of the snapshot as it is.
    """
    counts = {tenant: assets for tenant, assets in ref.tenants.items() if tenant in tenants}
    theirs = {t: policy for t, policy in ref.policy.tenants.items() if t in tenants}
    return ref.model_copy(
        update={
            "policy": ref.policy.model_copy(update={"tenants": theirs}),
            "assets": sum(counts.values()),
            "tenants": counts,
            "evidence": {},
            "quarantines": (),
        }
    )


def all_refs(store: EvidenceStore) -> tuple[SnapshotRef, ...]:
    """Every finished snapshot, newest first; unfinished ones have no reference and do not count.

    Raises StoreCorrupt when a reference is damaged.
    """
    refs, damaged = refs_and_damage(store)
    for error in damaged.values():
        raise error
    return refs


def refs_and_damage(
    store: EvidenceStore,
) -> tuple[tuple[SnapshotRef, ...], dict[str, StoreCorrupt]]:
    """Like `all_refs`, and what is wrong with those that cannot be read, by snapshot id."""
    found, damaged = [], {}
    for name in filter(is_snapshot_id, store.storage.children(SNAPSHOTS)):
        try:
            found.append(read_ref(store, name))
        except SnapshotNotFound:
            continue  # it is not finished, or was collected since it was listed
        except StoreCorrupt as error:
            damaged[name] = error
    return tuple(sorted(found, key=lambda ref: (-ref.created_at, ref.snapshot_id))), damaged


def read_published(store: EvidenceStore) -> Published | None:
    """What is published, or None. Raises StoreCorrupt when the document is damaged."""
    raw = store.storage.read(PUBLISHED_NAME)
    return None if raw is None else _parsed(Published, raw, PUBLISHED_NAME)


def write_published(store: EvidenceStore, published: Published) -> None:
    store.storage.put(PUBLISHED_NAME, published.model_dump_json().encode())


def published_ref(store: EvidenceStore) -> SnapshotRef | None:
    """The snapshot that is served now, or None. Raises StoreCorrupt, SnapshotNotFound."""
    published = read_published(store)
    return None if published is None else read_ref(store, published.current.snapshot_id)


def _parsed(kind: type[_Document], raw: bytes, what: str) -> _Document:
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(
            f"{what} is damaged",
            hint="`ecm repair` puts another in its place; or restore it from a copy",
        ) from error
