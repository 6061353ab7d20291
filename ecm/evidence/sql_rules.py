"""Which queries are answered: one SELECT over tables it may name, by functions that only compute.

Reads the syntax tree that DuckDB's own parser makes and refuses what it does not know. This is the
second of two walls: the first is that nothing else is within a connection's reach.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

import duckdb

from ecm.errors import QueryError

MAX_QUERY_CHARS: Final = 100_000

_TABLE_FUNCTIONS: Final = frozenset(
    ("range", "generate_series", "unnest", "json_each", "json_tree", "repeat")
)
_NODES: Final = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
_REFERENCES: Final = frozenset(
    ("BASE_TABLE", "EMPTY", "EXPRESSION_LIST", "JOIN", "PIVOT", "SUBQUERY", "SHOW_REF")
)
_SHOWN: Final = frozenset(('"tables"', "__show_tables_expanded"))
# Settings, catalogs, logs, other connections' state, waiting, and what only DuckDB itself calls.
_FUNCTIONS: Final = frozenset(
    (
        "combine", "current_query", "current_setting", "currval", "finalize", "getenv",
        "getvariable", "in_search_path", "invoke", "json_execute_serialized_sql",
        "json_serialize_plan", "nextval", "query", "query_table", "setval", "sleep_ms", "stats",
        "to_aggregate_state", "write_log",
    )
)  # fmt: skip
_FUNCTION_FAMILIES: Final = ("__internal", "pg_", "has_", "inet_", "read_", "duckdb_", "pragma_")
_CTE_NAME: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
_HINT: Final = "the store is read only: one SELECT, WITH, DESCRIBE, SUMMARIZE or SHOW TABLES"


def check(connection: Any, query: str, names: Collection[str]) -> frozenset[str]:
    """Which of `names`, the relations there are, the query reads; all if it lists them.

    Raises QueryError, saying why, unless the query is one that may be answered. Nothing of it is
    executed here.
    """
    if len(query) > MAX_QUERY_CHARS:
        raise QueryError(f"query has {len(query)} characters, the limit is {MAX_QUERY_CHARS}")
    kinds = [statement.type for statement in connection.extract_statements(query)]
    if kinds != [duckdb.StatementType.SELECT]:
        raise QueryError("the query must be one SELECT statement", hint=_HINT)
    tree = _tree(connection, query)
    own = {entry["key"].lower() for entry in _entries(tree)}
    _check_ctes(connection, own)
    known = frozenset(name.lower() for name in names)
    read: set[str] = set()
    for part in _parts(tree):
        name = _read_by(part)
        if name in _SHOWN:
            read |= known
        elif name is not None and name not in known | own:
            raise QueryError(
                f"there is no table {name[:100]!r}", hint="`ecm sql --schema` lists the tables"
            )
        elif name is not None:
            read.add(name)
    return known & read


def _tree(connection: Any, query: str) -> Any:
    row = connection.execute("SELECT json_serialize_sql($q::VARCHAR)", {"q": query}).fetchone()
    try:
        tree = json.loads(row[0])
        if tree["error"]:
            raise QueryError(str(tree["error_message"])[:200], hint=_HINT)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply") from error
    return tree["statements"]


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree, without recursion."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _entries(tree: Any) -> Iterator[dict[str, Any]]:
    for part in _parts(tree):
        if "cte_map" in part:
            yield from part["cte_map"]["map"]
        if part.get("type") in ("CTE_NODE", "RECURSIVE_CTE_NODE"):
            yield {"key": part["cte_name"]}


def _check_ctes(connection: Any, own: Collection[str]) -> None:
    """A name given in WITH may be used where it does not hold: there it must mean nothing else."""
    views = "SELECT lower(view_name) FROM duckdb_views() WHERE internal"
    system = {name for (name,) in connection.execute(views).fetchall()}
    for name in own:
        if name in system or not _CTE_NAME.match(name):
            raise QueryError(f"WITH may not define {name[:100]!r}", hint="use another name")


def _read_by(part: dict[str, Any]) -> str | None:
    """The relation that a part of the tree names, or the listing it asks for; None for others."""
    kind = part.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and kind not in _NODES:
        raise QueryError(f"the query has a part that is not a SELECT ({kind})", hint=_HINT)
    if "function_name" in part:
        _check_function(part["function_name"])
    if "class" in part or "sample" not in part or "alias" not in part:
        return None
    if kind == "TABLE_FUNCTION":
        _check_table_function(part["function"])
    elif kind not in _REFERENCES:
        raise QueryError(f"the query reads from something that is no table ({kind})", hint=_HINT)
    elif kind == "BASE_TABLE" or (kind == "SHOW_REF" and part["query"] is None):
        return _name_of(part)
    return None


def _check_function(name: str) -> None:
    plain = name.lower().strip('"')
    if plain in _FUNCTIONS or plain.startswith(_FUNCTION_FAMILIES):
        raise QueryError(f"function {plain[:100]} is not available here")


def _check_table_function(call: dict[str, Any]) -> None:
    name = str(call.get("function_name", "")).lower()
    if name not in _TABLE_FUNCTIONS or call.get("schema") or call.get("catalog"):
        raise QueryError(
            f"table function {name[:100]} is not available here",
            hint="read from the tables that `ecm sql --schema` lists",
        )


def _name_of(part: dict[str, Any]) -> str:
    path = [str(step) for step in part["qualified_name"]["path"]]
    name = str(part["table_name"])
    if path != [name] or part["schema_name"] or part["catalog_name"]:
        raise QueryError(f"name tables without a schema: {'.'.join(path)[:200]!r}")
    return name.lower()
