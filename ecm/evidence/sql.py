"""DuckDB over the tables of a store: one SELECT, read only, no files, no network, no settings.

Knows SQL and nothing else; the names are those of the tables, `search_materialized` is the
published snapshot, and `evidence_vectors` is a view over all vector tables without their vectors.
"""

from __future__ import annotations

import re
from typing import Any, Final

import duckdb
import pyarrow as pa

from ecm.errors import QueryError
from ecm.evidence.refs import published_ref
from ecm.evidence.schema import EVIDENCE_VECTORS, is_vector_table
from ecm.evidence.store import EvidenceStore

MAX_QUERY_CHARS: Final = 100_000
_NAME: Final = re.compile(r"^[a-z][a-z0-9_]*$")
_LOCKS: Final = (
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


def answer(store: EvidenceStore, query: str) -> pa.Table:
    """The result of one SELECT (or WITH, DESCRIBE, SHOW, SUMMARIZE) as an Arrow table.

    Raises QueryError, one line, for anything else, and for every error of DuckDB.
    """
    if len(query) > MAX_QUERY_CHARS:
        raise QueryError(f"query has {len(query)} characters, the limit is {MAX_QUERY_CHARS}")
    with duckdb.connect(":memory:") as connection:
        _register(connection, store)
        try:
            statements = connection.extract_statements(query)
            if [s.type for s in statements] != [duckdb.StatementType.SELECT]:
                raise QueryError(
                    "the query must be one SELECT statement", hint="the store is read only"
                )
            return connection.sql(query).to_arrow_table()
        except (duckdb.Error, pa.ArrowException, ValueError, OSError, RuntimeError) as error:
            line = (str(error) or type(error).__name__).strip().splitlines()[0][:500]
            raise QueryError(f"query failed: {line}") from error


def _register(connection: Any, store: EvidenceStore) -> None:
    vectors = []
    for name in store.tables():
        if not _NAME.match(name):
            continue
        dataset = store.dataset(name)
        connection.register(name, dataset)
        if is_vector_table(name):
            columns = ", ".join(c for c in dataset.schema.names if c != "vector")
            space = dataset.schema.metadata[b"ecm.space"].decode()
            vectors.append(
                f"SELECT '{space}' AS space, {columns}, '{name}' AS table_name FROM {name}"  # noqa: S608 - names of our own schema
            )
    if vectors:
        connection.execute(f"CREATE VIEW {EVIDENCE_VECTORS} AS " + " UNION ALL ".join(vectors))
    ref = published_ref(store)
    if ref is not None:
        connection.register("search_materialized", store.open_lance(ref.table, ref.version))
    for lock in _LOCKS:
        connection.execute(lock)
