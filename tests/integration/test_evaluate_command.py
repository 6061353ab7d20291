"""`ecm evaluate` on a small store: run, compare, stop, go on, list, accept, forget; exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.config import Profile, conf_folder
from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.measured import Schedule
from ecm.contracts.search import QueryType
from ecm.evaluation.settings import Asked
from ecm.evaluation.shelf import digest_of
from jobs.cli import run
from jobs.concluding import Desk
from jobs.evaluating import Order, evaluate
from tests.evaluated import NOW
from tests.factories import Indexer, asset_id, fake_profile, gallery

PICTURES = gallery(3)
FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text", "tenant=t")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A store of 24 pictures, a query for the name of each, and what answers it."""
    profile = fake_profile(tmp_path_factory.mktemp("evaluated"))
    indexer = Indexer(profile)
    indexer.add(PICTURES)
    indexer.publish()
    _put_sets(Desk.of(profile), "names", PICTURES)
    return profile


def _put_sets(desk: Desk, name: str, pictures: dict[str, bytes]) -> None:
    queries = tuple(
        EvaluationQuery(
            query_id=f"q{at:02d}",
            query_text=picture,
            query_type=QueryType.KEYWORD,
            kind=QueryKind.KNOWN_ITEM,
            source=QuerySource.WRITTEN,
            created_at=NOW,
            difficulty=Difficulty.EASY,
            split=Split.HELD_OUT,
            group=picture,
        )
        for at, picture in enumerate(pictures)
    )
    lines = tuple(
        Label(
            query_id=one.query_id,
            asset_id=asset_id(pictures[one.group]),
            relevance=2,
            label_source=LabelSource.HUMAN,
        )
        for one in queries
    )
    head = QuerySet(
        tenant_id="t",
        name=name,
        version=1,
        created_at=NOW,
        digest=digest_of(queries),
        queries=len(queries),
        seed=0,
    )
    labels = LabelSet(
        tenant_id="t",
        name=name,
        label_version=1,
        created_at=NOW,
        digest=digest_of(lines),
        labels=len(lines),
        query_set=name,
        query_set_digest=head.digest,
        complete=tuple(one.query_id for one in queries),
    )
    assert desk.shelf.add_queries(head, queries)
    assert desk.shelf.add_labels(labels, lines)


class Said:
    """One command line: its exit code, what it printed, and what it told on stderr."""

    def __init__(self, settings: Profile, capsys: pytest.CaptureFixture[str]) -> None:
        self._settings = settings
        self._capsys = capsys
        self.err = ""

    def __call__(self, *words: str) -> tuple[int, Any]:
        fixed = ["--home", str(self._settings.home), "--json"]
        for setting in (*FAKES, "search.time_ceiling_ms=60000", "search.rerank_ceiling_ms=60000"):
            fixed += ["--set", setting]
        code = run(["evaluate", *words, *fixed])
        printed = self._capsys.readouterr()
        self.err = printed.err
        return code, json.loads(printed.out) if printed.out else None


@pytest.fixture
def ecm(settings: Profile, capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(settings, capsys)


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped ranking profile, but for the axis of words and the feature of names."""
    tree = yaml.safe_load((conf_folder({}) / "ranking" / "default.yaml").read_text("utf-8"))
    for row in tree["weights"].values():
        row["fts"] = 0.0
    for row in tree["rerank"]["weights"].values():
        for feature in ("name_match", "ocr_hit", "bm25.user", "rrf"):
            row.pop(feature, None)
    path = tmp_path_factory.mktemp("rankings") / "deaf.yaml"
    path.write_text(yaml.safe_dump(tree), "utf-8")
    return path


ASKED = ("--queries", "names", "--labels", "names")


def test_an_unchanged_build_passes_and_one_that_does_not_read_is_blocked(
    ecm: Said, deaf: Path, tmp_path: Path
) -> None:
    code, first = ecm("run", *ASKED, "--out", str(tmp_path / "out"))
    assert (code, first["gates"]) == (0, None), "nothing to compare with, nothing judged"
    (figures,) = first["figures"]
    assert figures["all"]["values"]["ndcg@10"] > 0.9
    head = first["head"]
    assert head["state"] == "complete"
    assert head["engines"][0]["ranking_digest"]
    assert head["engines"][0]["snapshot_id"]
    assert head["machine"]
    assert head["code_version"]
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert "summary.json" in written
    assert any(name.startswith("evaluation_report_") for name in written)

    code, same = ecm("run", *ASKED, "--baseline", head["run_id"])
    quality = {one["name"]: one["verdict"] for one in same["gates"]["checks"]}
    assert quality["ndcg@10"] == quality["recall@50"] == "pass"
    assert code in (0, 1, 3), "the machine may be busy, so that latencies differ"

    code, damaged = ecm("run", *ASKED, "--candidate-ranking", str(deaf))
    assert (code, damaged["verdict"], damaged["failed_gate"]) == (1, "block", "ndcg@10")
    assert [one["engine_id"] for one in damaged["head"]["engines"]] == ["internal", "candidate"]
    assert (damaged["gates"]["baseline"], damaged["gates"]["candidate"]) == (
        "internal",
        "candidate",
    )

    code, compared = ecm("compare", head["run_id"], f"{damaged['head']['run_id']}:candidate")
    assert (code, compared["gates"]["verdict"]) == (1, "block")
    assert compared["queries"] == 24


def test_a_run_that_is_stopped_can_be_read_and_gone_on_with(
    settings: Profile, ecm: Said, capsys: pytest.CaptureFixture[str]
) -> None:
    order = Order(Schedule.RUN, ("internal",), Asked(rounds=2), 0, "names", "names")

    def told(run_id: str, done: int, total: int) -> None:
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(settings, order, told)
    capsys.readouterr()
    _, listed = ecm("list")
    stopped = next(one for one in listed["items"] if one["state"] == "unfinished")["run_id"]
    code, shown = ecm("show", stopped)
    assert (code, shown["of"]) == (0, 48)
    assert 10 <= shown["answers"] < 48
    assert f"--resume {stopped}" in ecm.err
    assert shown["figures"][0]["all"]["queries"] == shown["answers"]
    kept = Desk.of(settings).runs.answers(stopped)

    code, done = ecm("run", "--resume", stopped)
    assert (code, done["head"]["run_id"], done["head"]["state"]) == (0, stopped, "complete")
    answers = {(one.round, one.query_id): one for one in Desk.of(settings).runs.answers(stopped)}
    assert len(answers) == 48
    assert all(answers[one.round, one.query_id] == one for one in kept), "as they were"
    code, _ = ecm("run", "--resume", stopped)
    assert code == 2
    assert "is finished" in ecm.err


def test_what_cannot_be_compared_is_refused(settings: Profile, ecm: Said) -> None:
    some = dict(list(PICTURES.items())[:22])
    _put_sets(Desk.of(settings), "fewer", some)
    _, few = ecm("run", "--queries", "fewer", "--labels", "fewer")
    code, _ = ecm("run", *ASKED, "--baseline", few["head"]["run_id"])
    assert code == 2
    assert "not the same queries" in ecm.err
    assert "--queries names@1" in ecm.err
    code, _ = ecm("run", "--queries", "names", "--labels", "fewer")
    assert code == 2
    assert "of other queries" in ecm.err
    for words in (
        ("--baseline", "no-such-run"),
        ("--engines", "nobody"),
        ("--queries", "none"),
        ("--baseline", "internal"),
        ("--resume", few["head"]["run_id"]),
    ):
        code, _ = ecm("run", *ASKED, *words)
        assert code == 2, words
        assert ecm.err.count("\n") == 1, ecm.err
    states = [one["state"] for one in ecm("list")[1]["items"]]
    assert set(states) == {"complete"}, "refused before anything was asked"


def test_an_engine_that_cannot_be_reached_leaves_a_partial_run(ecm: Said) -> None:
    gone = "gone=internal@http://127.0.0.1:9"
    code, done = ecm("run", *ASKED, "--engines", f"internal,{gone}", "--baseline", "internal")
    assert (code, done["head"]["state"], done["verdict"]) == (75, "partial_failed", "inconclusive")
    assert done["head"]["reason"].startswith("gone: ")
    assert done["gates"] is None
    assert "no common query" in done["remarks"][0]
    by_engine = {one["engine_id"]: one["all"]["queries"] for one in done["figures"]}
    assert by_engine == {"internal": 24, "gone": 0}


def test_a_release_halts_until_somebody_accepts_it(ecm: Said) -> None:
    code, first = ecm("release", *ASKED)
    assert (code, first["verdict"]) == (3, "inconclusive"), "nothing to compare with"
    run_id = first["head"]["run_id"]
    code, accepted = ecm("accept", run_id, "--reason", "the first of all", "--by", "ada")
    assert (code, accepted["by"], accepted["verdict"]) == (0, "ada", "inconclusive")
    code, _ = ecm("accept", run_id, "--reason", "again", "--by", "bob")
    assert code == 2
    assert "accepted by ada" in ecm.err
    _, shown = ecm("show", run_id)
    assert shown["accepted"]["reason"] == "the first of all"

    code, second = ecm("release", *ASKED, "--accept", "latencies of a busy machine", "--by", "bob")
    assert code == 0
    assert second["head"]["baseline"] == f"{run_id}:internal", "compared with what was accepted"
    assert second["head"]["rounds"] == 3
    code, _ = ecm("release", *ASKED, "--accept", "no name")
    assert code == 2


def test_a_nightly_is_compared_with_the_last_and_writes_an_issue(ecm: Said, tmp_path: Path) -> None:
    issue = tmp_path / "issue.md"
    code, first = ecm("nightly", *ASKED, "--on-failure", str(issue))
    assert code == 3
    assert issue.read_text("utf-8").startswith("# Evaluation: measured, compared with nothing")
    code, second = ecm("nightly", *ASKED, "--count", "20")
    assert second["head"]["baseline"] == f"{first['head']['run_id']}:internal"
    assert len(second["head"]["queries"]) == 20
    assert second["remarks"] == ["compared on the 20 queries that both were asked"]


def test_old_runs_are_forgotten(ecm: Said) -> None:
    _, before = ecm("list")
    assert before["items"]
    code, removed = ecm("forget", "--older-than", "1h")
    assert (code, removed["removed"]) == (0, [])
    code, removed = ecm("forget", "--older-than", "0s")
    assert code == 0
    assert sorted(removed["removed"]) == sorted(one["run_id"] for one in before["items"])
    assert ecm("list")[1]["items"] == []
