"""`ecm evaluate labels`: from a run to a version of labels that people have made, by commands."""

from __future__ import annotations

import io
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ecm.contracts.feedback import Click, FeedbackEvent, Impression, Shown
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import LocalStorage
from jobs.cli import run
from tests.label_sets import NOW, asset, labelled_home, vote, work_in

OPTIONS = ("--set", "tenant=t")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(indexed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(indexed, tmp_path / "home"))


def ecm(home: Path, *words: str) -> int:
    return run(["evaluate", "labels", *words, "--home", str(home), *OPTIONS])


def told(home: Path, capsys: Capture, *words: str) -> dict[str, Any]:
    assert ecm(home, *words, "--json") == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def judge(home: Path, monkeypatch: pytest.MonkeyPatch, labeler: str, keys: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(keys) + "\n"))
    return ecm(home, "judge", "--labeler", labeler)


def test_from_a_run_to_labels(home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = told(home, capsys, "pool", "gold", "--runs", "run-1", "--depth", "3")
    assert (pool["pairs"], pool["queries"], pool["unjudged"]) == (8, 2, 8)
    assert pool["found_alone"] == {"run-1:internal": 2, "run-1:other": 2}
    batch = told(home, capsys, "batch", "--pairs", "4")
    assert (batch["name"], batch["pairs"], batch["left"]) == ("gold", 4, 4)
    assert batch["by_type"] == {"keyword": 2, "visual": 2}
    assert ecm(home, "agreement") == 3
    assert "no pair has two labelers" in capsys.readouterr().out
    assert judge(home, monkeypatch, "ann", "01?2s") == 0
    said = capsys.readouterr().out
    assert "something red" in said
    assert "4 votes; 0 pairs to judge" in said
    assert judge(home, monkeypatch, "bob", "0u21") == 0
    assert "you said 0" in capsys.readouterr().out
    votes = [one for one in work_votes(home) if one["labeler"] == "bob"]
    assert len({one["asset_id"] + one["query_id"] for one in votes}) == 2
    made = told(home, capsys, "publish")
    assert made["label_version"] == 2
    assert made["by_source"]["weak"] == 1
    assert told(home, capsys, "publish")["label_version"] is None
    listed = told(home, capsys, "list")
    assert [one["label_version"] for one in listed["items"]] == [1, 2]
    work = listed["work"]["gold"]
    (now,) = work["batches"]
    assert (work["pools"], work["votes"], now["pairs"], now["overlap"]) == (1, 7, 4, 2)
    states = ("unsaid", "single", "agreed", "disputed", "settled", "undecidable")
    assert sum(now[state] for state in states) == 4
    stats = told(home, capsys, "stats", "gold")
    assert stats["queries"] == 2
    assert [one["label_version"] for one in stats["history"]] == [1, 2]
    assert told(home, capsys, "show", "gold", "--query", "red")["labels"]
    assert ecm(home, "show", "gold", "--query", "none") == 2
    for words in (("list",), ("stats", "gold"), ("show", "gold", "--query", "red")):
        assert ecm(home, *words) == 0


def work_votes(home: Path) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json") for one in work_in(home / "store").votes()]


def test_agreement_has_the_exit_code_of_a_gate(home: Path, capsys: Capture, tmp_path: Path) -> None:
    def imported(name: str, differ: int) -> None:
        lines = [
            vote("red", asset((name, n)), (n + (who == "bob" and n < differ)) % 3, who, NOW + n)
            for n in range(40)
            for who in ("ann", "bob")
        ]
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(one.model_dump_json() + "\n" for one in lines))
        words = (name, str(file), "--votes", "--queries", "gold")
        assert told(home, capsys, "import", *words)["new"] == 80
        assert told(home, capsys, "import", *words)["new"] == 0

    imported("good", 4)
    imported("bad", 30)
    value = told(home, capsys, "agreement", "good")
    assert (value["enough"], value["kind"]) == ("met", "Cohen")
    assert ecm(home, "agreement", "bad", "--json") == 1
    value = json.loads(capsys.readouterr().out)
    assert value["kappa"] < 0.6
    assert value["two"][0]["pairs"] == 40
    assert ecm(home, "agreement", "bad") == 1
    assert "Cohen's kappa" in capsys.readouterr().out
    assert ecm(home, "agreement", "good", "--target", "0.99") == 1
    assert ecm(home, "agreement") == 2
    assert "name one of bad, good" in capsys.readouterr().err


def test_labels_and_votes_go_out_and_come_in(home: Path, capsys: Capture, tmp_path: Path) -> None:
    assert ecm(home, "export", "gold") == 0
    lines = capsys.readouterr().out
    assert json.loads(lines)["label_source"] == "weak"
    file = tmp_path / "labels.jsonl"
    file.write_text(lines.replace('"weak"', '"adjudicated"').replace('"captions"', "null"))
    made = told(home, capsys, "import", "gold", str(file))
    assert (made["label_version"], made["changed"]) == (2, 1)
    made = told(home, capsys, "import", "copy", str(file), "--queries", "gold@1")
    assert (made["label_version"], made["added"]) == (1, 1)
    file.write_text(lines.replace('"red"', '"unknown"'))
    assert ecm(home, "import", "gold", str(file)) == 1
    assert "line 1: the query set has no query unknown" in capsys.readouterr().err
    assert ecm(home, "import", "gold", str(tmp_path / "none")) == 2


def test_clicks_become_weak_labels(home: Path, capsys: Capture) -> None:
    good, bad = asset("good"), asset("bad")
    now = time.time()
    events: list[FeedbackEvent] = []
    for n in range(120):
        shown = (good, bad) if n % 2 else (bad, good)
        said = {"at": now - n, "query_id": f"s{n}", "unit": f"u{n}", "session": None}
        events.append(
            Impression(
                **said,
                snapshot_id="s-1",
                ranking="0123456789abcdef",
                query="Something  RED",
                shown=tuple(Shown(asset_id=one, rank=k) for k, one in enumerate(shown, 1)),
            )
        )
        if n % 4 != 3:
            events.append(Click(**said, asset_id=good, rank=shown.index(good) + 1))
    store = FeedbackStore(LocalStorage(home / "store"))
    store.add([store.sealed("t", one) for one in events])
    trial = told(home, capsys, "weak", "gold", "--since", "30d", "--dry-run")
    assert trial["weak_by_relevance"] == {"0": 1, "1": 0, "2": 1}
    assert (trial["searches"], trial["unidentified_ranks"]) == (120, [])
    made = told(home, capsys, "weak", "gold")
    assert (made["label_version"], made["added"]) == (2, 2)
    shown = told(home, capsys, "show", "gold", "--query", "red")
    made_from = shown["head"]["made_from"]
    assert (made_from["by"], made_from["good"], made_from["searches"]) == (
        "clicks-pbm",
        "0.5",
        "120",
    )
    labels = shown["labels"]
    found = {one["asset_id"]: (one["relevance"], one["labeler"]) for one in labels}
    assert found[good] == (2, "clicks-pbm")
    assert found[bad] == (0, "clicks-pbm")
    assert ecm(home, "weak", "gold", "--model", "coec") == 0
    assert "weak labels" in capsys.readouterr().out
    assert ecm(home, "weak", "gold", "--model", "other") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pool", "gold"), "no run is named"),
        (("pool", "gold", "--runs", "none"), "no run none"),
        (("pool", "Gold", "--runs", "run-1"), "no label set has the name"),
        (("batch",), "there is no label work yet"),
        (("batch", "gold"), "there is no pool"),
        (("serve", "gold"), "who judges?"),
        (("serve", "gold", "--labeler", "a b"), "no labeler has the name"),
        (("serve", "gold", "--labeler", "ann"), "no batch of gold waits"),
        (("stats", "none"), "no label set none"),
        (("weak", "gold", "--good", "0.1"), "--partly is to be below --good"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    indexed: Path, capsys: Capture, words: tuple[str, ...], said: str
) -> None:
    assert ecm(indexed, *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
