"""What a query of DuckDB may see of a store: every table and view, with the rows of one tenant.

Knows which relations there are, what each is for, and how filters and columns asked for reach
Lance. What is registered here is all that a connection can reach. Knows no rules about queries.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from ecm.contracts.result import Space
from ecm.evidence.faults import lance_errors
from ecm.evidence.quarantine import listed
from ecm.evidence.refs import published_ref
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    EVIDENCE_VECTORS,
    THUMBNAILS,
    fixed_schema,
    is_vector_table,
    vector_schema,
)
from ecm.evidence.store import EvidenceStore, of_tenant

ALL_TENANTS: Final = "*"
"""In place of a tenant: the rows of all of them, for whoever runs the store."""

WIDE_ROWS: Final = 1024
"""Rows per batch when vectors are read: Lance keeps some batches ready."""

SEARCH_MATERIALIZED: Final = "search_materialized"
RUNS: Final = "runs"
QUARANTINED: Final = "quarantined"

_ABOUT: Final = {
    ASSETS: "one row per image content: its size in bytes, width, height, format",
    ASSET_VERSIONS: "where each content was seen: uri, size, mtime_ns or etag, when",
    ASSET_SIGHTINGS: "what a later look at a place found: present, gone or altered",
    ASSET_WORDS: "what people wrote into the file itself, and when it says it was taken",
    THUMBNAILS: "one small JPEG per asset",
    EVIDENCE_TEXT: "captions, tags, classes and recognised text: one statement a row",
    EVIDENCE_REGIONS: "where words that were read stand: shares of the picture's width and height",
    EVIDENCE_MEASURES: "named numbers a task reported about an image",
    EVIDENCE_VECTORS: "all vectors of all spaces and transforms, without their values",
    ANALYSIS_RUNS: "two rows per run: one when it began, one when it ended",
    QUARANTINED: "evidence keys said before a golden probe failed, by run, and what became of them",
    RUNS: "one row per run in its last state, with its transforms and counts",
    SEARCH_MATERIALIZED: "the published snapshot: the evidence that is searched, an asset a row",
}
_VECTOR_ABOUT: Final = "vectors of one space and one transform, with their values"
_FIXED: Final = (
    ASSETS,
    ASSET_VERSIONS,
    ASSET_SIGHTINGS,
    ASSET_WORDS,
    THUMBNAILS,
    EVIDENCE_TEXT,
    EVIDENCE_REGIONS,
    EVIDENCE_MEASURES,
    ANALYSIS_RUNS,
)

_RUNS: Final = f"""
CREATE TEMP VIEW {RUNS} AS
SELECT tenant_id, run_id, job_id, state, started_at, finished_at,
    finished_at - started_at AS seconds, transforms,
    map_from_entries(counts) AS counts, map_from_entries(telemetry) AS telemetry,
    config_digest, code_version
FROM {ANALYSIS_RUNS}
QUALIFY row_number() OVER (
    PARTITION BY tenant_id, run_id ORDER BY recorded_at DESC, state = 'running'
) = 1
"""  # noqa: S608 - names of our own schema


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that queries may name; `about` is one line for a person."""

    name: str
    about: str


class Rows(pads.Dataset):  # type: ignore[misc]  # pyarrow has no types; DuckDB scans Datasets only
    """The rows of a Lance dataset that a filter lets through, as DuckDB scans a dataset.

    DuckDB asks `schema` and `scanner`; whatever it asks for goes to Lance together with the filter,
    which nothing that DuckDB sends can widen. `failure` is what Lance raised meanwhile, if it did.
    """

    def __init__(self, dataset: Any, where: pc.Expression | None) -> None:
        self._dataset = dataset
        self._where = where
        self.failure: BaseException | None = None

    @property
    def schema(self) -> pa.Schema:
        return self._dataset.schema

    def scanner(self, columns: list[str] | None, filter: pc.Expression | None) -> _Scan:
        return _Scan(self, columns, filter)

    def read(self, columns: list[str] | None, wanted: pc.Expression | None) -> pa.RecordBatchReader:
        """Some columns of the rows that both filters let through."""
        try:
            reader = self._open(columns, wanted)
        except BaseException as error:
            self.failure = error
            raise
        return pa.RecordBatchReader.from_batches(reader.schema, self._watched(reader))

    def _open(
        self, columns: list[str] | None, wanted: pc.Expression | None
    ) -> pa.RecordBatchReader:
        if wanted is not None and "FieldRef.Nested" in str(wanted):
            # Lance takes no filter on a field of a struct: Arrow applies it to what Lance reads.
            rows = self._dataset.scanner(filter=self._where, batch_size=WIDE_ROWS).to_reader()
            return pads.Scanner.from_batches(rows, columns=columns, filter=wanted).to_reader()
        both = [part for part in (self._where, wanted) if part is not None]
        where = both[0] & both[1] if len(both) == 2 else next(iter(both), None)
        size = WIDE_ROWS if self._has_vectors(columns) else None
        return self._dataset.scanner(columns=columns, filter=where, batch_size=size).to_reader()

    def _has_vectors(self, columns: list[str] | None) -> bool:
        fields = self.schema if columns is None else map(self.schema.field, columns)
        return any(pa.types.is_fixed_size_list(field.type) for field in fields)

    def _watched(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except GeneratorExit:
            raise
        except BaseException as error:
            self.failure = error
            raise


@dataclass(frozen=True, slots=True)
class _Scan:
    rows: Rows
    columns: list[str] | None
    wanted: pc.Expression | None

    def to_reader(self) -> pa.RecordBatchReader:
        return self.rows.read(self.columns, self.wanted)


class Registered:
    """What was registered with a connection, and what Lance said while it was read."""

    def __init__(self, sources: Mapping[str, Rows]) -> None:
        self._sources = sources

    def check(self) -> None:
        """Raise what Lance raised while rows were read, translated; return if it did not."""
        for name, rows in self._sources.items():
            if rows.failure is not None:
                with lance_errors(f"cannot read {name}"):
                    raise rows.failure


def available(store: EvidenceStore) -> tuple[Relation, ...]:
    """Every relation that queries may name; opens no table.

    Tables that nothing was written to yet are among them; `search_materialized` is when a snapshot
    is published. Raises StoreCorrupt, StoreUnavailable.
    """
    names = [*_FIXED, EVIDENCE_VECTORS, RUNS, QUARANTINED]
    names += [SEARCH_MATERIALIZED] if published_ref(store) is not None else []
    vectors = [Relation(name, _VECTOR_ABOUT) for name in filter(is_vector_table, store.tables())]
    return (*(Relation(name, _ABOUT[name]) for name in names), *vectors)


def register(
    connection: Any, store: EvidenceStore, tenant_id: str, names: Collection[str]
) -> Registered:
    """Give a DuckDB connection some of these relations, with the rows of one tenant.

    Only tables that are asked for are opened, so that damage of others is no hindrance.
    `tenant_id` may be ALL_TENANTS. Raises ContractError for a malformed tenant, StoreCorrupt,
    StoreUnavailable.
    """
    where = None if tenant_id == ALL_TENANTS else of_tenant(tenant_id)
    stored = store.tables()
    wanted = set(names) | ({ANALYSIS_RUNS} if RUNS in names else set())
    vectors = [name for name in stored if is_vector_table(name)]
    wanted |= set(vectors) if EVIDENCE_VECTORS in names else set()
    tables = [name for name in (*_FIXED, *vectors) if name in wanted]
    sources = {name: Rows(store.dataset(name), where) for name in tables if name in stored}
    ref = published_ref(store) if SEARCH_MATERIALIZED in names else None
    if ref is not None:
        sources[SEARCH_MATERIALIZED] = Rows(store.open_lance(ref.table, ref.version), where)
    for name, rows in sources.items():
        connection.register(name, rows)
    for name in set(tables) - set(stored):
        connection.register(name, fixed_schema(name).empty_table())
    if QUARANTINED in names:
        connection.register(
            QUARANTINED, listed(store, None if tenant_id == ALL_TENANTS else tenant_id)
        )
    if RUNS in names:
        connection.execute(_RUNS)
    if EVIDENCE_VECTORS in names:
        _unite_vectors(connection, vectors)
    return Registered(sources)


def _unite_vectors(connection: Any, names: list[str]) -> None:
    """One view of all vector tables; of none, it is empty and has the same columns."""
    if not names:
        columns = [
            field for field in vector_schema(Space.VV, "0" * 64, 1) if field.name != "vector"
        ]
        ends = [pa.field("space", pa.string()), pa.field("table_name", pa.string())]
        schema = pa.schema([ends[0], *columns, ends[1]])
        connection.register(EVIDENCE_VECTORS, schema.empty_table())
        return
    parts = [
        f"SELECT '{name.split('_')[2]}' AS space, * EXCLUDE (vector), '{name}' AS table_name "  # noqa: S608 - names of our own schema
        f"FROM {name}"
        for name in names
    ]
    connection.execute(f"CREATE TEMP VIEW {EVIDENCE_VECTORS} AS " + " UNION ALL ".join(parts))
