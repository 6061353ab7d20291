"""`ecm experiment`: begun from a file, changed by those who may, judged by schedulers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecm.contracts.experiment import Definition
from ecm.evaluation.online.click_models import Cascade
from ecm.evaluation.online.played import World, played
from ecm.evidence.experiments import ExperimentState, named
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.evidence.store import EvidenceStore
from jobs.cli import run
from tests.factories import fake_profile
from tests.serving import REPO

EXAMPLE = REPO / "conf/experiments/example.yaml"
NAME = "structure-counts-more"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    EvidenceStore.create(fake_profile(tmp_path).evidence, time.time())
    return tmp_path


def ecm(home: Path, *words: str) -> int:
    return run(["experiment", *words, "--home", str(home), "--set", "tenant=t"])


def told(home: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert ecm(home, *words, "--json") == code
    return json.loads(capsys.readouterr().out)


def refused(home: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert ecm(home, *words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def test_the_example_is_begun_and_taken_from_stage_to_stage(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = told(home, capsys, "start", str(EXAMPLE), "--by", "mary")
    assert (value["id"], value["state"], value["method"], value["pct"]) == (
        NAME, "running", "interleaving", 10,
    )  # fmt: skip
    assert (value["started_by"], value["verdict"]) == ("mary", "go_on")
    assert value["control"]["digest"] != value["treatment"]["digest"]
    assert "there was an experiment" in refused(home, capsys, "start", str(EXAMPLE))
    for pct in (10, 25, 50):
        value = told(home, capsys, "advance", "--reason", "holds")
        assert (value["method"], value["pct"]) == ("split", pct)
    assert "last stage" in refused(home, capsys, "advance")
    assert told(home, capsys, "pause")["state"] == "paused"
    assert "paused" in refused(home, capsys, "advance")
    assert told(home, capsys, "resume")["stage"] == 3
    assert "cannot become running" in refused(home, capsys, "resume")
    ended = told(home, capsys, "stop", NAME, "--reason", "enough", "--by", "paul")
    assert (ended["state"], ended["reason"], ended["by"]) == ("stopped", "enough", "paul")
    assert "cannot become stopped" in refused(home, capsys, "stop")
    (item,) = told(home, capsys, "list")["items"]
    assert (item["id"], item["state"]) == (NAME, "stopped")
    assert ecm(home, "status") == ecm(home, "list") == 0
    assert "enough" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("id: one\ntreatment: default\n", "ranks as"),
        ("id: one\ntreatment: nowhere\n", "cannot be read"),
        ("id: one\ntreatment: x\nstages: [50, 10]\n", "stages must rise"),
        ("id: one\ntreatment: x\ncolour: blue\n", "colour"),
        ("- a list\n", "file"),
        ("{", "not YAML"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_in_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], said: str, says: str
) -> None:
    file = home / "wrong.yaml"
    file.write_text(said)
    assert says in refused(home, capsys, "start", str(file))
    assert "cannot be read" in refused(home, capsys, "start", str(home / "no.yaml"))


def test_without_a_store_or_an_experiment_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "index something first" in refused(tmp_path, capsys, "status")
    EvidenceStore.create(fake_profile(tmp_path).evidence, time.time())
    assert "ecm experiment start" in refused(tmp_path, capsys, "status")
    assert told(tmp_path, capsys, "list") == {"items": []}


def feed(home: Path, definition: Definition, world: World, sessions: int) -> None:
    """What users of a service would have left, an hour ago."""
    storage = open_storage(fake_profile(home).evidence)
    rng = np.random.default_rng(0)
    start = time.time() - 3600
    coming = played(definition, 0, world, Cascade(), range(sessions), rng, start, apart=0.5)
    FeedbackStore(storage).add(list(coming))


def test_a_check_ends_what_is_significantly_worse(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "worse.yaml"
    useful = "useful: {dwell: 5, reformulated: 30, idle: 60, cap: 60}"
    treatment = REPO / "conf/experiments/example-treatment.yaml"
    file.write_text(f"id: one\ntreatment: {treatment}\ninterleaved_pct: 100\n{useful}\n")
    assert told(home, capsys, "start", str(file))["state"] == "running"
    assert told(home, capsys, "check")["verdict"] == "go_on"
    storage = open_storage(fake_profile(home).evidence)
    begun = named(storage, "one")
    early = begun.events[0].model_copy(update={"at": begun.started_at - 7200})
    storage.put(f"experiments/{begun.record}/0000.json", early.model_dump_json().encode())
    worse = World.made(np.random.default_rng(3), 0.4, 3.0, questions=40)
    feed(home, begun.definition, worse, 300)
    value = told(home, capsys, "status")
    assert (value["verdict"], value["state"]) == ("worse", "running")
    (metric,) = value["stages"][0]["metrics"]
    assert metric["upper"] < 0
    assert "--anyway" in refused(home, capsys, "advance")
    value = told(home, capsys, "check", code=1)
    assert (value["state"], value["cause"]) == ("aborted", "loss")
    assert "preference changes by" in value["reason"]
    assert named(storage, "one").last.state is ExperimentState.ABORTED
    assert told(home, capsys, "check", code=1)["state"] == "aborted"
