"""The evidence store: a folder with a header, Lance tables below `tables/`, snapshots beside them.

Opens, creates and reads tables, and translates Lance's errors. Writing batches is the committer's
work, choosing evidence the snapshot's; the ledger is unknown here.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Any, Final, Literal

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, TypeAdapter, ValidationError

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.errors import ConfigError, ContractError, StoreCorrupt, StoreUnavailable
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.faults import lance_errors
from ecm.evidence.known import TableKeys
from ecm.evidence.schema import (
    ASSET_WORDS,
    EVIDENCE_TEXT,
    THUMBNAILS,
    check_schema,
    is_evidence_table,
)
from ecm.evidence.statement import AssetTexts, Statement
from ecm.evidence.storage import ASIDE, STORE_HEADER, Storage, open_storage

STORE_FORMAT_VERSION: Final = 1
TABLE_MARK: Final = b"ecm.table"
"""Schema metadata of a table: a random mark made with it, which no other table has."""

_TABLES: Final = "tables"
_SESSION_BYTES: Final = 64 << 20
_ASSET_INDEX: Final = "asset_id_lookup"
_SUFFIX: Final = ".lance"
_TENANT: Final = TypeAdapter(TenantId)
_DIGESTS: Final = TypeAdapter(tuple[Digest, ...])


class StoreHeader(Contract):
    """`store.json`, written before anything else: what this folder is."""

    format: Literal["ecm-evidence"] = "ecm-evidence"
    format_version: int
    store_id: str = Field(min_length=1, max_length=64)
    created_at: float = Field(description="Unix seconds (UTC)")


class EvidenceStore:
    """Read access to every table, and the opening and creating of tables. Thread-safe."""

    def __init__(self, config: EvidenceConfig, storage: Storage, header: StoreHeader) -> None:
        self.config = config
        self.storage = storage
        self.header = header
        self._keys = TableKeys()
        self._written: set[str] = set()
        self._session = _session() if storage.lance_options is not None else None

    @classmethod
    def create(cls, config: EvidenceConfig, now: float) -> EvidenceStore:
        """The store at `config.uri`, made if the folder is missing or empty.

        Raises ConfigError for a folder with other things in it, StoreCorrupt as `open` does.
        """
        storage = open_storage(config)
        if storage.read(STORE_HEADER) is None:
            strangers = [name for name in storage.children("") if not _is_ours(name)]
            if strangers and storage.read(STORE_HEADER) is None:  # nobody else has made it since
                raise _not_a_store(storage)
            storage.check_promises()
            header = StoreHeader(
                format_version=STORE_FORMAT_VERSION, store_id=uuid.uuid4().hex, created_at=now
            )
            storage.put_new(STORE_HEADER, header.model_dump_json().encode())
        return cls.open(config)

    @classmethod
    def open(cls, config: EvidenceConfig) -> EvidenceStore:
        """The existing store at `config.uri`.

        Raises ConfigError when there is none, StoreCorrupt when its header is damaged or unknown.
        """
        storage = open_storage(config)
        raw = storage.read(STORE_HEADER)
        if raw is None:
            if storage.children(""):
                raise _not_a_store(storage)
            raise ConfigError(
                f"no evidence store at {storage.root}",
                code="config.no_store",
                hint="index something first, or check the path",
            )
        return cls(config, storage, _header(storage, raw))

    def tables(self) -> tuple[str, ...]:
        """Names of the tables that exist, sorted."""
        found = self.storage.children(_TABLES)
        names = [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]
        return tuple(name for name in names if self._is_written(name))

    def has_table(self, name: str) -> bool:
        return self._is_written(name)

    def dataset(self, name: str, version: int | None = None) -> Any:
        """The Lance dataset of a table, at its newest version or a given one.

        Raises StoreCorrupt when the table is missing, damaged or of an unknown schema version.
        """
        dataset = self.open_lance(f"{_TABLES}/{name}{_SUFFIX}", version)
        check_schema(name, dataset.schema)
        return dataset

    def open_lance(self, name: str, version: int | None = None) -> Any:
        """The Lance dataset at a name inside the store.

        Raises StoreUnavailable when the store as a whole has gone, else StoreCorrupt.
        """
        try:
            with lance_errors(f"cannot open {name} of {self.storage.root}"):
                return lance.dataset(
                    self.storage.location(name),
                    version=version,
                    storage_options=self._options(),
                    session=self._session,
                )
        except StoreCorrupt:
            self.check_there()
            raise

    def ensure_table(self, name: str, schema: pa.Schema) -> Any:
        """The newest dataset of a table, created empty when it does not exist yet.

        A table is written aside and brought into place, since Lance's own racing creators can
        overwrite one another, on S3 too. Raises StoreCorrupt when the stored schema is another.
        """
        if not self._is_written(name):
            self.check_there()
            aside = f"{ASIDE}/{name}-{uuid.uuid4().hex}{_SUFFIX}"
            # Rows keep their ids and the versions they came with through compaction: by these a
            # snapshot knows what is new to it, and by the mark that it is still the same table.
            marked = schema.with_metadata({**(schema.metadata or {}), TABLE_MARK: uuid.uuid4().hex})
            with lance_errors(f"cannot create table {name}"):
                lance.write_dataset(
                    marked.empty_table(),
                    self.storage.location(aside),
                    schema=marked,
                    mode="create",
                    enable_stable_row_ids=True,
                    storage_options=self._options(),
                )
            self.storage.move_new(aside, f"{_TABLES}/{name}{_SUFFIX}")
        dataset = self.dataset(name)
        check_schema(name, dataset.schema, schema)
        return dataset

    def versions(self) -> dict[str, int]:
        """The newest version of every table."""
        return {name: int(self.dataset(name).version) for name in self.tables()}

    def counts(self) -> dict[str, int]:
        """Rows per table."""
        counts: dict[str, int] = {}
        for name in self.tables():
            dataset = self.dataset(name)
            with lance_errors(f"cannot count table {name}"):
                counts[name] = int(dataset.count_rows())
        return counts

    def read(self, name: str, columns: list[str], where: pc.Expression | None = None) -> pa.Table:
        """Some columns of a table, of all rows or those an expression of typed values matches."""
        dataset = self.dataset(name)
        with lance_errors(f"cannot read table {name}"):
            return dataset.to_table(columns=columns, filter=where)

    def texts_of(
        self, tenant_id: str, asset_ids: Collection[str], transform: str
    ) -> dict[str, AssetTexts]:
        """What one transform said in words about some assets of a tenant, by asset id.

        Assets it never saw are absent. Ask for many at once: each call reads an index or scans the
        table. Raises ContractError for malformed ids.
        """
        if not self.has_table(EVIDENCE_TEXT) or not asset_ids:
            return {}
        where = of_assets(tenant_id, asset_ids) & (pc.field("transform") == _digest(transform))
        found: dict[str, list[Statement]] = {}
        columns = ["asset_id", *Statement.__slots__]
        for row in self.read(EVIDENCE_TEXT, columns, where).to_pylist():
            found.setdefault(row["asset_id"], []).append(Statement.of(row))
        return {asset_id: AssetTexts.of(said) for asset_id, said in found.items()}

    def evidence_keys_present(self, keys: Iterable[str]) -> frozenset[str]:
        """Those of `keys` that have at least one row in some evidence table.

        The keys of a table are read once per version and kept, so asking in portions is cheap.
        """
        asked = sorted(set(keys))
        present = np.zeros(len(asked), dtype=np.bool_)
        for name in filter(is_evidence_table, self.tables()):
            present |= self._keys.of(name, self.dataset(name)).keys.contains(asked)
        return frozenset(key for key, there in zip(asked, present, strict=True) if there)

    def index_lookups(self) -> None:
        """Bring the indices by which one asset is looked up (texts, words in files, thumbnails) up
        to date; idempotent.

        Adds versions but no rows, and takes no transaction away.
        """
        for name in (EVIDENCE_TEXT, ASSET_WORDS, THUMBNAILS):
            if self.has_table(name):
                dataset = self.dataset(name)
                with lance_errors(f"cannot index table {name}"):
                    _index_assets(dataset)

    def thumbnail(self, tenant_id: str, asset_id: str) -> bytes | None:
        """The small JPEG of an asset, or None when none was kept."""
        if not self.has_table(THUMBNAILS):
            return None
        found = self.read(THUMBNAILS, ["jpeg"], of_assets(tenant_id, [asset_id]))
        return found["jpeg"][0].as_py() if found.num_rows else None

    def sql(self, query: str) -> pa.Table:
        """The answer of DuckDB to one SELECT over the rows of all tenants, however many rows.

        For whoever runs the store; `ecm.evidence.sql.answer` asks for one tenant and within limits.
        Raises QueryError.
        """
        from ecm.evidence.sql import ALL_TENANTS, NO_LIMITS, answer

        return answer(self, query, ALL_TENANTS, NO_LIMITS).table

    def check_there(self) -> None:
        """Raises StoreUnavailable when the store as a whole has gone: then nothing is missing."""
        if self.storage.read(STORE_HEADER) is None:
            raise StoreUnavailable(
                f"the evidence store at {self.storage.root} has gone",
                hint="check that its disk is mounted, or its bucket",
            )

    def _is_written(self, name: str) -> bool:
        """Whether a table was ever created; remembered, since tables are not dropped."""
        if name not in self._written:
            folder = f"{_TABLES}/{name}{_SUFFIX}"
            manifests = self.storage.children(f"{folder}/_versions")
            if not manifests and not self.storage.children(f"{folder}/data"):
                return False
            self._written.add(name)
        return True

    def _options(self) -> dict[str, str] | None:
        options = self.storage.lance_options
        return None if options is None else dict(options)


def _session() -> Any:
    """What all openings of tables on object storage keep in common, in bounded memory.

    Files never change, so what was read of them stays right: a look-up by index then costs two
    requests instead of six.
    """
    return lance.Session(
        index_cache_size_bytes=_SESSION_BYTES, metadata_cache_size_bytes=_SESSION_BYTES
    )


def _index_assets(dataset: Any) -> None:
    """A BTREE on asset_id, extended only when a tenth of the rows is outside it."""
    indexed = sum(
        index.num_rows_indexed for index in dataset.describe_indices() if index.name == _ASSET_INDEX
    )
    rows = dataset.count_rows()
    if not indexed and rows:
        dataset.create_scalar_index("asset_id", "BTREE", name=_ASSET_INDEX)
    elif rows - indexed > rows // 10:
        dataset.optimize.optimize_indices(index_names=[_ASSET_INDEX])


def of_assets(tenant_id: str, asset_ids: Collection[str]) -> pc.Expression:
    """The filter for some assets of a tenant, from checked values. Raises ContractError."""
    try:
        tenant = _TENANT.validate_python(tenant_id)
        assets = _DIGESTS.validate_python(tuple(asset_ids))
    except ValidationError as error:
        raise ContractError(f"malformed tenant or asset id: {error.errors()[0]['msg']}") from error
    return (pc.field("tenant_id") == tenant) & pc.field("asset_id").isin(list(assets))


def of_tenant(tenant_id: str) -> pc.Expression:
    """The filter for one tenant, from a checked value. Raises ContractError."""
    try:
        return pc.field("tenant_id") == _TENANT.validate_python(tenant_id)
    except ValidationError as error:
        raise ContractError(f"malformed tenant id {tenant_id!r}") from error


def _digest(value: str) -> str:
    try:
        return _DIGESTS.validate_python((value,))[0]
    except ValidationError as error:
        raise ContractError(f"malformed digest {value!r}") from error


def _is_ours(name: str) -> bool:
    """What creating a store may have left before its header was written."""
    return name.startswith(".writing-") or name == ASIDE


def _header(storage: Storage, raw: bytes) -> StoreHeader:
    try:
        header = StoreHeader.model_validate_json(raw)
    except ValidationError as error:
        raise StoreCorrupt(
            f"the header of the evidence store at {storage.root} is damaged",
            hint=f"restore {STORE_HEADER} from a copy",
        ) from error
    if header.format_version != STORE_FORMAT_VERSION:
        raise StoreCorrupt(
            f"evidence store at {storage.root} has format {header.format_version}, "
            f"this release reads {STORE_FORMAT_VERSION}",
            code="store.version",
            hint="use the release that wrote it",
        )
    return header


def _not_a_store(storage: Storage) -> ConfigError:
    return ConfigError(
        f"{storage.root} is not an evidence store",
        code="config.not_a_store",
        hint="give an empty folder, a new one or an existing store",
    )
