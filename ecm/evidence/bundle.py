"""What a bundle is: its manifest, the names and sizes it may have, and how it names itself.

A bundle is a folder: `manifest.json`, written last, and `tables/` with one Parquet file or one
Lance dataset per evidence table. Knows the document and its limits; reads and writes no table.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from ecm.contracts.identity import Contract, Digest, KeyDigest, TenantId, digest
from ecm.contracts.task import ModelSpec
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.faults import file_errors

BUNDLE_FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
SNAPSHOT: Final = "snapshot.json"
TABLES: Final = "tables"

MAX_MANIFEST_BYTES: Final = 64 << 20
MAX_FILES: Final = 100_000
MAX_TABLES: Final = 2_000

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
FileName = Annotated[str, StringConstraints(pattern=rf"^{_PART}(/{_PART}){{0,4}}$", max_length=512)]


class BundleFormat(StrEnum):
    """How the tables of a bundle are stored."""

    LANCE = "lance"
    PARQUET = "parquet"


class BundleFile(Contract):
    """A file of the bundle; `name` is relative to its folder, `size` in bytes."""

    name: FileName
    size: int = Field(ge=0)
    sha256: Digest


class BundleColumn(Contract):
    """A column and its Arrow type, for people and other programs."""

    name: str = Field(max_length=64)
    type: str = Field(max_length=512)


class BundleTable(Contract):
    """One table: its rows in order of tenant and asset, and the order-free digest of their ids.

    `space`, `transform` and `dim` are those of a vector table.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    rows: int = Field(ge=1)
    key_digest: KeyDigest
    columns: tuple[BundleColumn, ...]
    files: tuple[BundleFile, ...] = Field(min_length=1, max_length=MAX_FILES)
    space: Literal["vv", "x", "mv"] | None = None
    transform: Digest | None = None
    dim: int | None = Field(default=None, ge=1, le=16384)


class WeightFile(Contract):
    """A file that a model read: its name in the model manifest, its size in bytes and sha256."""

    name: str = Field(max_length=63)
    bytes: int = Field(ge=0)
    sha256: Digest


class ModelNote(Contract):
    """The model behind a transform: the name of its manifest, its spec, every file it read."""

    name: str = Field(min_length=1, max_length=63)
    spec: ModelSpec
    files: tuple[WeightFile, ...] = Field(default=(), max_length=1000)

    def __str__(self) -> str:
        return f"{self.name} ({self.spec.model_id}@{self.spec.revision})"


class BundleTransform(Contract):
    """A transform with evidence in the bundle; `model` is None where the exporter did not know."""

    fingerprint: Digest
    task_types: tuple[str, ...] = Field(min_length=1, max_length=16)
    model: ModelNote | None = None


class BundleManifest(Contract):
    """`manifest.json`. `bundle_id` is the digest of everything else in it."""

    format: Literal["ecm-bundle"] = "ecm-bundle"
    format_version: int = BUNDLE_FORMAT_VERSION
    bundle_id: Digest
    ecm_version: str = Field(max_length=64)
    schema_version: int = Field(description="of the evidence tables")
    store_id: str = Field(min_length=1, max_length=64)
    created_at: float = Field(ge=0, description="Unix seconds (UTC)")
    file_format: BundleFormat
    tenants: dict[TenantId, int] = Field(description="assets per tenant")
    transforms: tuple[BundleTransform, ...] = Field(default=(), max_length=10_000)
    tables: tuple[BundleTable, ...] = Field(default=(), max_length=MAX_TABLES)
    snapshot_id: str | None = Field(default=None, max_length=64)
    snapshot: BundleFile | None = Field(default=None, description="the SnapshotRef it belongs to")

    @classmethod
    def named(cls, **fields: Any) -> BundleManifest:
        """A manifest with its own id computed."""
        draft = cls(bundle_id="0" * 64, **fields)
        return draft.model_copy(update={"bundle_id": draft.content_id()})

    def content_id(self) -> str:
        return digest(self.model_dump(mode="json", exclude={"bundle_id"}))

    def files(self) -> Iterable[BundleFile]:
        """Every file of the bundle but the manifest."""
        for table in self.tables:
            yield from table.files
        if self.snapshot is not None:
            yield self.snapshot

    def table(self, name: str) -> BundleTable | None:
        return next((table for table in self.tables if table.name == name), None)


class _Version(Contract, extra="ignore"):
    format: str = ""
    format_version: int = 0


_VERSION: Final = TypeAdapter(_Version)


def read_manifest(folder: Path) -> BundleManifest:
    """The manifest of the bundle in `folder`.

    Raises ConfigError when there is none, StoreCorrupt (code `bundle.manifest`) when it is damaged,
    of another version, or names two files alike.
    """
    path = folder / MANIFEST
    with file_errors(f"cannot read {path}"):
        if not path.is_file() or path.is_symlink():
            raise ConfigError(
                f"{folder} is not a bundle: it has no {MANIFEST}",
                code="bundle.none",
                hint="ecm export writes one; an export that was cut off has none",
            )
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise _damaged(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes")
        raw = path.read_bytes()
    try:
        version = _VERSION.validate_json(raw)
        if version.format != "ecm-bundle" or version.format_version != BUNDLE_FORMAT_VERSION:
            raise StoreCorrupt(
                f"{path} is {version.format or 'no bundle'} of version {version.format_version}, "
                f"this release reads ecm-bundle {BUNDLE_FORMAT_VERSION}",
                code="bundle.version",
                hint="use the release that wrote it",
            )
        manifest = BundleManifest.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "whole"
        raise _damaged(f"{MANIFEST}: {where}: {first['msg']}") from error
    if manifest.content_id() != manifest.bundle_id:
        raise _damaged(f"{MANIFEST} does not have the digest it states")
    names = [file.name for file in manifest.files()]
    if len(names) > MAX_FILES or len(set(names)) != len(names):
        raise _damaged(f"{MANIFEST} names {len(names)} files, some twice or too many")
    tables = [table.name for table in manifest.tables]
    if len(set(tables)) != len(tables):
        raise _damaged(f"{MANIFEST} names a table twice")
    return manifest


def damaged(problems: list[str]) -> StoreCorrupt:
    """One line for everything that is wrong with a bundle: the first of it, and how much more."""
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return _damaged(problems[0] + more)


def _damaged(what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"the bundle is damaged: {what}", code="bundle.damaged", hint="copy or export it again"
    )
