"""DuckDB over the tables of a store: one SELECT, read only, no files, no network, no settings.

Knows how a query is run within limits. What can be read is `relations`, what may be asked
`sql_rules`.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from ecm.errors import QueryError
from ecm.evidence import sql_rules
from ecm.evidence.relations import ALL_TENANTS, Registered, Relation, available, register
from ecm.evidence.store import EvidenceStore

__all__ = [
    "ALL_TENANTS",
    "NO_LIMITS",
    "Answer",
    "Column",
    "Described",
    "Limits",
    "answer",
    "described",
]

_ROWS_PER_BATCH: Final = 2048
_LOCKS: Final = (
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one query may take: rows answered, seconds, bytes of memory and of spilled data."""

    rows: int = 10_000
    seconds: float = 60.0
    memory: int = 1 << 30
    spill: int = 4 << 30


NO_LIMITS: Final = Limits(rows=1 << 62, seconds=threading.TIMEOUT_MAX, memory=16 << 30)


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of a query; `truncated`: it had more of them than the limit lets through."""

    table: pa.Table
    truncated: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation and its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Described:
    """A relation that queries may name, and its columns."""

    relation: Relation
    columns: tuple[Column, ...]


def answer(
    store: EvidenceStore, query: str, tenant_id: str, limits: Limits | None = None
) -> Answer:
    """The result of one SELECT (or WITH, DESCRIBE, SHOW TABLES, SUMMARIZE) as an Arrow table.

    The query sees the rows of `tenant_id` alone, of everybody with ALL_TENANTS. Raises QueryError,
    one line, for anything else than such a query, for every error in it, and when it takes too
    long (code `query.timeout`) or too much memory (`query.memory`); ContractError for a malformed
    tenant; StoreCorrupt or StoreUnavailable when the tables cannot be read.
    """
    bounds = limits or Limits()
    names = {relation.name for relation in available(store)}
    with _connected(bounds) as connection:
        with _query_errors(bounds):
            read = sql_rules.check(connection, query, names)
        found = _registered(connection, store, tenant_id, read)
        with _query_errors(bounds, found):
            return _answered(connection, query, bounds)


def described(store: EvidenceStore, tenant_id: str) -> tuple[Described, ...]:
    """Every relation that queries may name, with what it is for and its columns."""
    relations = available(store)
    with _connected(Limits()) as connection:
        found = _registered(connection, store, tenant_id, {each.name for each in relations})
        with _query_errors(Limits(), found):
            return tuple(Described(each, _columns(connection, each.name)) for each in relations)


def _columns(connection: Any, name: str) -> tuple[Column, ...]:
    rows = connection.sql(f"DESCRIBE {name}").fetchall()
    return tuple(Column(column, kind) for column, kind, *_ in rows)


@contextmanager
def _connected(limits: Limits) -> Iterator[Any]:
    """A connection with a folder to spill to."""
    with (
        tempfile.TemporaryDirectory(prefix="ecm-sql-") as folder,
        duckdb.connect(":memory:") as connection,
    ):
        connection.execute("SET temp_directory = $folder", {"folder": folder})
        connection.execute(f"SET memory_limit = '{limits.memory}B'")
        connection.execute(f"SET max_temp_directory_size = '{limits.spill}B'")
        yield connection


def _registered(
    connection: Any, store: EvidenceStore, tenant_id: str, names: Collection[str]
) -> Registered:
    """Let a connection reach some rows of a tenant, and from then on nothing else."""
    found = register(connection, store, tenant_id, names)
    for lock in _LOCKS:
        connection.execute(lock)
    return found


def _answered(connection: Any, query: str, limits: Limits) -> Answer:
    timer = threading.Timer(limits.seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        return _bounded(connection.sql(query).to_arrow_reader(_ROWS_PER_BATCH), limits.rows)
    finally:
        timer.cancel()
        timer.join()


def _bounded(reader: pa.RecordBatchReader, rows: int) -> Answer:
    batches, left = [], rows
    with reader:
        for batch in reader:
            batches.append(batch[:left])
            if batch.num_rows > left:
                return Answer(pa.Table.from_batches(batches, reader.schema), truncated=True)
            left -= batch.num_rows
        return Answer(pa.Table.from_batches(batches, reader.schema), truncated=False)


@contextmanager
def _query_errors(limits: Limits, found: Registered | None = None) -> Iterator[None]:
    """What goes wrong is the tables' fault when Lance says so, else the query's."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, ValueError, OSError, RuntimeError) as error:
        if found is not None:
            found.check()
        line = (str(error) or type(error).__name__).strip().splitlines()[0][:500]
        if "INTERRUPT" in line:
            raise QueryError(
                f"query stopped after {limits.seconds:g} s",
                code="query.timeout",
                hint="ask for less, or give it more time",
            ) from error
        if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory" in line:
            raise QueryError(
                f"query needs more than {limits.memory >> 20} MiB of memory",
                code="query.memory",
                hint="ask for fewer rows or columns",
            ) from error
        raise QueryError(f"query failed: {line}") from error
