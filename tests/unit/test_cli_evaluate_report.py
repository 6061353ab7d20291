"""`ecm evaluate report` and `trend`: runs that are kept told again, in the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ecm.contracts.measured import RunPlan
from ecm.evidence.store import EvidenceStore
from jobs.cli import run
from jobs.concluding import Concluded, Desk, Sets, conclude
from tests.factories import fake_profile
from tests.measured_runs import NOW, THREE, MeasuredRun, measured_run

DAY = 86_400.0


def ecm(home: Path, *words: str) -> int:
    return run(["evaluate", *words, "--home", str(home), "--tenant", "t"])


def kept(desk: Desk, done: MeasuredRun) -> Concluded:
    """A run on the shelf, as the product concludes it."""
    head = done.summary.head
    desk.shelf.add_queries(done.queries.head, done.queries.queries)
    desk.shelf.add_labels(done.labels.head, done.labels.labels)
    desk.runs.begin(RunPlan.model_validate(head.model_dump(include=set(RunPlan.model_fields))))
    return conclude(desk, head, done.answers, Sets.of(desk, head))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, the second compared with the first; a third that was stopped."""
    folder = tmp_path_factory.mktemp("home")
    profile = fake_profile(folder, "tenant=t")
    EvidenceStore.create(profile.evidence, NOW)
    desk = Desk.of(profile)
    kept(desk, measured_run(40, THREE[:2], run_id="r-1", at=NOW - DAY))
    later = {"baseline": "r-1:internal", "candidate": "internal"}
    kept(desk, measured_run(40, THREE[:2], run_id="r-2", at=NOW, **later))
    stopped = measured_run(40, THREE[:1], run_id="r-3", at=NOW + DAY).summary.head
    desk.runs.begin(RunPlan.model_validate(stopped.model_dump(include=set(RunPlan.model_fields))))
    return folder


def stored(home: Path, run_id: str) -> Mapping[str, bytes]:
    folder = home / "store" / "evaluation" / "t" / "runs" / run_id
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.name == "report.md" or path.parent.name == "report_files"
    }


@pytest.mark.parametrize("run_id", ["r-1", "r-2"])
def test_a_report_made_again_has_the_bytes_of_the_one_that_is_kept(
    home: Path, tmp_path: Path, run_id: str
) -> None:
    assert ecm(home, "report", run_id, "--out", str(tmp_path)) == 0
    made = {
        str(path.relative_to(tmp_path)): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    (name,) = (one for one in made if one.endswith(".md"))
    assert name.startswith("evaluation_report_2026-09-2")
    made["report.md"] = made.pop(name)
    summary = json.loads(made.pop("summary.json"))
    assert summary["head"]["run_id"] == run_id
    assert made == stored(home, run_id)


def test_a_baseline_of_another_run_is_in_the_report(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "report", "last") == 0
    told = capsys.readouterr().out
    assert "`internal` against `r-1:internal`" in told
    assert "| `r-1:internal` (baseline) |" in told
    assert "The one before is `r-1`" in told


def test_the_page_of_a_report_holds_its_pictures(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "report", "r-2", "--out", str(tmp_path), "--html", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert value["run_id"] == "r-2"
    (name,) = (one for one in value["files"] if one.endswith(".html"))
    page = (tmp_path / name).read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert "report_files/" not in page


def test_what_is_not_there_is_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ecm(home, "report", "r-9") == 2
    assert "no run r-9" in capsys.readouterr().err
    assert ecm(home, "report", "../r-1") == 2
    assert "no run ../r-1" in capsys.readouterr().err
    assert ecm(home, "report", "r-3") == 2
    assert "--resume r-3" in capsys.readouterr().err
    assert ecm(home, "report", "r-1", "--html") == 2
    assert "--out" in capsys.readouterr().err


def test_a_trend_links_to_its_reports(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "trend", "--out", str(tmp_path), "--reports", "1", "--json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [one["run_id"] for one in value["runs"]] == ["r-1", "r-2"]
    assert value["runs"][0]["points"][0]["ndcg_10"]["lower"] is not None
    page = (tmp_path / "index.html").read_text()
    assert '<a href="reports/r-2.html">' in page
    assert "r-1.html" not in page
    assert "nDCG@10" in (tmp_path / "reports" / "r-2.html").read_text()
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")


def test_a_trend_of_one_schedule_has_no_others(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "trend", "--schedule", "release", "--json") == 0
    assert json.loads(capsys.readouterr().out)["runs"] == []
    assert ecm(home, "trend", "--schedule", "nightly") == 0
    assert "r-2" in capsys.readouterr().out


def test_a_folder_may_be_called_anything(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What looks like markup of a terminal library is a name like any other."""
    out = tmp_path / "of [/x] [bold]"
    assert ecm(home, "report", "r-2", "--out", str(out)) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert "of [/x] [bold]" in said
    assert list(out.glob("evaluation_report_*.md"))
