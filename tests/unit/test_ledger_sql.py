"""Every statement lies in one file, is used, compiles, and finds its rows by an index."""

from __future__ import annotations

import ast
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import ecm.ledger
from ecm.ledger.connector import load_migrations, load_statements

PACKAGE = Path(ecm.ledger.__file__).parent
DIALECTS = sorted(path.name for path in (PACKAGE / "sql").iterdir())
STATEMENTS = load_statements("sqlite")

# Small tables (leases, jobs, streams and totals of a ledger, a chunk's parameters, common table
# expressions) may be walked, and so may an index that holds nothing but the rows wanted.
SMALL = (
    r"(json_each|leases|jobs|streams|tallies|l|o|b|c|w|p|f|e|s|busy|wanted|candidates|picked|counted"
    r"|\(subquery-\d+\))"
)
WALKS = re.compile(rf"^SCAN {SMALL}(\s|$)")
WANTED_INDEX = re.compile(r"^SCAN \w+ USING (COVERING )?INDEX (tasks_runnable|tasks_by_lease)\b")


# What ANALYZE said of a ledger with fifteen million tasks.
STATISTICS = {
    ("job_resources", "job_resources"): "2501000 2501000 1",
    ("resources", "sqlite_autoindex_resources_1"): "2501000 1 1",
    ("streams", "streams_by_transform"): "4 1",
    ("streams", "sqlite_autoindex_streams_1"): "4 4 1 1 1 1",
    ("batches", "batches_in_order"): "13020 1",
    ("batches", "sqlite_autoindex_batches_1"): "11935 1",
    ("tasks", "tasks_by_batch"): "15434496 501",
    ("tasks", "tasks_by_resource"): "15443820 4",
    ("tasks", "sqlite_autoindex_tasks_1"): "15424300 1",
}
# A filter over one of these would be filled from all of it before the statement begins.
LARGE_FILTER = re.compile(r"^BLOOM FILTER ON (tasks|resources|job_resources|t|q|r|jr)\b")


@pytest.fixture(params=["fresh", "large"])
def schema(request: pytest.FixtureRequest) -> Iterator[sqlite3.Connection]:
    """An empty ledger, and one whose statistics say that it is large."""
    connection = sqlite3.connect(":memory:")
    for version in sorted(load_migrations("sqlite")):
        connection.executescript(load_migrations("sqlite")[version])
    if request.param == "large":
        connection.execute("ANALYZE")
        connection.execute("DELETE FROM sqlite_stat1")
        rows = [(*names, stat) for names, stat in STATISTICS.items()]
        connection.executemany("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", rows)
        connection.execute("ANALYZE sqlite_schema")
    yield connection
    connection.close()


def _names_in_code() -> set[str]:
    """Every string constant in the package, which includes the names of all statements it runs."""
    return {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _called_names() -> set[str]:
    """The constant names passed to a session."""
    verbs = {"all", "one", "run", "many", "stream"}
    return {
        node.args[0].value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in verbs
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_statement_is_used_and_every_used_statement_exists() -> None:
    assert set(STATEMENTS) - _names_in_code() == set()
    assert _called_names() - set(STATEMENTS) == set()


def test_dialects_have_the_same_statements() -> None:
    assert DIALECTS
    for dialect in DIALECTS:
        assert set(load_statements(dialect)) == set(STATEMENTS), dialect


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_file_holds_one_statement_that_compiles_and_needs_no_full_scan(
    schema: sqlite3.Connection, name: str
) -> None:
    text = STATEMENTS[name]
    assert text.endswith(";\n")
    assert sqlite3.complete_statement(text)
    assert text.count(";") == 1
    assert "?" not in text
    params = dict.fromkeys(re.findall(r":(\w+)", re.sub(r"--.*", "", text)))
    plan = [row[3] for row in schema.execute(f"EXPLAIN QUERY PLAN {text}", params)]
    walked = [step for step in plan if step.startswith("SCAN")]
    assert [s for s in walked if not WALKS.match(s) and not WANTED_INDEX.match(s)] == []
    assert not [step for step in plan if "AUTOMATIC" in step or LARGE_FILTER.match(step)]


def test_no_sql_is_hidden_in_python() -> None:
    """Only the connector speaks to its database in its own words, and only about the database."""
    words = re.compile(r"\b(SELECT\s.+\sFROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b", re.DOTALL)
    allowed = {"sqlite.py": {"SELECT count(*) FROM sqlite_schema"}}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        found = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and words.search(node.value)
        }
        assert found <= allowed.get(path.name, set()), path.name
