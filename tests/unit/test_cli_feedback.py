"""`ecm feedback`: events of a tenant written out once each, and counted."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ecm.contracts.feedback import Click, Dwell, FeedbackEvent, Impression, Shown
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.evidence.store import EvidenceStore
from jobs.cli import run
from tests.factories import fake_profile

ASSETS = [f"{n}" * 64 for n in range(1, 6)]
NOW = time.time()
DAY = 86_400.0


def shown(query: str, at: float = NOW) -> Impression:
    return Impression(
        event_id=f"shown-{query}",
        at=at,
        query_id=query,
        snapshot_id="s-1",
        ranking="0123456789abcdef",
        shown=tuple(Shown(asset_id=name, rank=n) for n, name in enumerate(ASSETS, 1)),
    )


def click(query: str, rank: int) -> Click:
    said = {"event_id": f"click-{query}-{rank}", "unit": "mary"}
    return Click(at=NOW, query_id=query, asset_id=ASSETS[rank - 1], rank=rank, **said)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    profile = fake_profile(tmp_path)
    EvidenceStore.create(profile.evidence, NOW)
    feedback = FeedbackStore(open_storage(profile.evidence))
    told: list[FeedbackEvent] = [
        shown("one"),
        shown("two"),
        shown("old", NOW - 40 * DAY),
        click("one", 4),
        click("one", 2),
        click("never-shown", 1),
        Dwell(event_id="dwell-one", at=NOW, query_id="one", asset_id=ASSETS[0], seconds=4.0),
    ]
    feedback.add([feedback.sealed("t", event) for event in told])
    feedback.add([feedback.sealed("t", event) for event in told[:2]])
    feedback.add([feedback.sealed("secret", click("of-another", 1))])
    return tmp_path


def ecm(home: Path, *words: str) -> int:
    return run(["feedback", *words, "--home", str(home), "--set", "tenant=t"])


def test_events_are_written_out_once_and_only_of_the_tenant(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(home, "export", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len({line["event_id"] for line in lines}) == 7
    assert {line["tenant_id"] for line in lines} == {"t"}
    assert "mary" not in json.dumps(lines)
    assert ecm(home, "export", "--since", "30d") == 0
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_a_parquet_file_has_the_same_events(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "events.parquet"
    assert ecm(home, "export", "--parquet", str(path)) == 0
    table = pq.read_table(path)
    assert table.num_rows == 7
    assert sorted(set(table["kind"].to_pylist())) == ["click", "dwell", "impression"]
    assert max(map(len, table["shown"].to_pylist())) == 5
    assert ecm(home, "export", "--json", "--parquet", str(path)) == 2
    assert ecm(home, "export", "--parquet", str(tmp_path / "no" / "folder.parquet")) == 75


def test_what_was_clicked_is_counted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ecm(home, "stats", "--json", "--since", "30d") == 0
    value = json.loads(capsys.readouterr().out)
    said = ("impressions", "clicks", "dwells", "searches", "clicked", "unmatched")
    assert [value[name] for name in said] == [2, 3, 1, 2, 1, 1]
    assert value["first_click_rr"] == pytest.approx(0.25)
    assert value["dwell_median_seconds"] == 4.0
    assert {one["rank"]: (one["shown"], one["clicked"]) for one in value["by_rank"]} == {
        1: (2, 1), 2: (2, 1), 3: (2, 0), 4: (2, 1), 5: (2, 0),
    }  # fmt: skip
    assert value["by_ranking"] == {"0123456789abcdef": 2}
    assert ecm(home, "stats") == 0
    assert "searches" in capsys.readouterr().out


def test_a_damaged_batch_is_told_and_the_rest_is_counted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = max((home / "store" / "feedback" / "events" / "t").rglob("*.jsonl"))
    batch.write_bytes(batch.read_bytes()[:-20])
    assert ecm(home, "stats", "--json") == 1
    told = capsys.readouterr()
    assert len(json.loads(told.out)["damaged"]) == 1
    assert batch.name in told.err
    assert ecm(home, "export") == 1


def test_days_of_long_ago_are_forgotten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ecm(home, "forget", "--older-than", "30d", "--json") == 0
    assert json.loads(capsys.readouterr().out)["removed_days"] == 1
    assert ecm(home, "stats", "--json") == 0
    assert json.loads(capsys.readouterr().out)["impressions"] == 2


def test_where_there_is_no_store_there_is_nothing_to_count(tmp_path: Path) -> None:
    assert ecm(tmp_path, "stats") == 2
