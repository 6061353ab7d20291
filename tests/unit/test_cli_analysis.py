"""What `ecm sql`, `ecm runs list` and `ecm compare` print for people and programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecm.config import load_profile
from ecm.contracts.identity import digest
from ecm.contracts.result import Space
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.store import EvidenceStore
from jobs.cli import run as ecm
from tests.evidence_envelopes import START, VISION, embedded, everything, vision

NEW = digest("newer vision")
Said = Callable[..., Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models' words about the pictures of tenant a, and one picture of tenant b."""
    home = tmp_path_factory.mktemp("analysis") / "home"
    profile = load_profile(None, home=home, environ={})
    store = EvidenceStore.create(profile.evidence, START)
    commit = EvidenceCommitter(store)
    old = [e for i in range(8) for e in everything(i, "dog", "cat", tenant="a", run_id="run-old")]
    new = [
        vision(i, f"[b]dog[/b] {i}", ("dog",), tenant="a", transform=NEW, run_id="run-new")
        for i in range(3, 12)
    ]
    vectors = [embedded(i, Space.VV, NEW, tenant="a", run_id="run-new") for i in range(3, 12)]
    commit.append("b1", [*old, *new, *vectors, *everything(0, "secret", tenant="b")])
    record = RunRecord(
        run_id="run-new",
        tenant_id="a",
        job_id="job",
        transforms=(NEW,),
        config_digest=digest("config"),
        code_version="0.1.0",
        started_at=START + 5,
    )
    early = record.model_copy(update={"run_id": "run-old", "started_at": START})
    record_run(store, early.model_copy(update={"transforms": (VISION,)}))
    record_run(store, record.finished(START + 15, {"images_through_models": 9, "dead": 1}))
    return home


@pytest.fixture
def said(home: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command; what it prints, as JSON if it was asked for."""

    def run(*words: str, tenant: str | None = "a", code: int = 0) -> Any:
        whose = ["--tenant", tenant] if tenant else []
        assert ecm([*words, "--home", str(home), *whose]) == code
        printed = capsys.readouterr()
        if code:
            return printed.err
        return json.loads(printed.out) if "--json" in words else printed.out

    return run


def test_sql_answers_a_tenant_and_says_when_it_was_cut(said: Said) -> None:
    query = "SELECT asset_id, tenant_id, {'a': 1} AS s, 0.0 / 0 AS n FROM assets ORDER BY 1"
    whole = said("sql", query, "--json")
    assert whole["columns"] == ["asset_id", "tenant_id", "s", "n"]
    assert {row[1] for row in whole["rows"]} == {"a"}
    assert whole["rows"][0][2:] == [{"a": 1}, None]
    assert (whole["tenant"], whole["truncated"], len(whole["rows"])) == ("a", False, 12)
    cut = said("sql", query, "--json", "--limit", "5")
    assert (cut["truncated"], cut["rows"]) == (True, whole["rows"][:5])
    everybody = said(
        "sql", "SELECT DISTINCT tenant_id FROM assets", "--json", "--all-tenants", tenant=None
    )
    assert sorted(row[0] for row in everybody["rows"]) == ["a", "b"]
    assert everybody["tenant"] is None
    assert said("sql", "SELECT * FROM assets", "--json", tenant=None)["rows"] == []


def test_sql_prints_tables_for_people_and_csv_for_sheets(said: Said) -> None:
    table = said("sql", "SELECT text FROM evidence_text WHERE text LIKE '[b]%' ORDER BY 1 LIMIT 1")
    assert "[b]dog[/b] 10" in table
    printed = said("sql", "SELECT text, [1, 2] AS l FROM evidence_text WHERE text = 'cat'", "--csv")
    rows = list(csv.reader(io.StringIO(printed)))
    assert rows[0] == ["text", "l"]
    assert rows[1:] == [["cat", "[1, 2]"]] * 8


def test_sql_lists_what_can_be_asked(said: Said) -> None:
    tables = {table["name"]: table for table in said("sql", "--schema", "--json")["tables"]}
    assert {"assets", "asset_versions", "asset_sightings", "evidence_vectors", "runs"} <= set(
        tables
    )
    columns = [column["name"] for column in tables["evidence_vectors"]["columns"]]
    assert "space" in columns
    assert "vector" not in columns
    assert "runs: one row per run" in said("sql", "--schema")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sql"], "give either a query or --schema"),
        (["sql", "SELECT 1", "--schema"], "give either a query or --schema"),
        (["sql", "SELECT 1", "--all-tenants"], "exclude each other"),
        (["sql", "DELETE FROM assets"], "must be one SELECT"),
        (["sql", "FROM nowhere"], "[query]"),
        (["sql", "SELECT count(*) FROM range(99999999999)a, range(9999)", "--timeout", "0.1"],
         "[query.timeout]"),
        (["compare", "run-old", "nobody"], "[compare.unknown]"),
        (["compare", "run-", "run-new"], "[compare.ambiguous]"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line_and_exit_code_2(
    said: Said, words: list[str], told: str
) -> None:
    line = said(*words, code=2).splitlines()[-1]
    assert line.startswith("ecm: ")
    assert told in line


def test_runs_are_listed_with_what_compare_takes(said: Said) -> None:
    listed = said("runs", "list", "--json")
    assert (listed["tenant"], listed["more"]) == ("a", False)
    new, old = listed["items"]
    assert (new["run_id"], new["state"], new["seconds"]) == ("run-new", "finished", 10.0)
    assert (old["run_id"], old["state"], old["transforms"]) == ("run-old", "interrupted", [VISION])
    assert said("runs", "list", "--json", "--limit", "1")["more"] is True
    assert said("runs", "list", "--json", tenant="b")["items"] == []
    assert NEW[:12] in said("runs", "list")


def test_compare_tells_numbers_to_programs_and_a_story_to_people(said: Said) -> None:
    found = said("compare", "run-old", "run-new", "--json", "--limit", "2")
    assert (found["common"], found["a"]["only"], found["b"]["only"]) == (5, 3, 4)
    assert found["tags"]["lost"] == [{"tag": "cat", "assets": 5}]
    assert found["b"]["images_per_second"] == pytest.approx(0.9)
    assert len(found["worst"]) == 2
    (space,) = found["spaces"]
    assert space["overlap"]["mean"] == 1.0
    told = said("compare", VISION[:10], NEW[:10])
    for line in ("in common 5 assets", "words alike", "tags lost in b: cat (5)", "[b]dog[/b]"):
        assert line in told
