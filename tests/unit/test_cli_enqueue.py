"""`ecm enqueue`: what is queued, in which order, and what a producer says while it must wait."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ecm.config import load_profile
from ecm.contracts.task import TaskType
from ecm.delivery.tenure import commit_tenure
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from jobs.cli import run as ecm
from tests.factories import FAKE_MODELS, Indexer, picture
from tests.ledger_tasks import list_names

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(picture("red", number, (32, 32)))
    (folder / "notes.txt").write_text("no image")
    return folder


def arguments(home: Path, *words: str) -> list[str]:
    sets = [part for setting in FAKE_MODELS for part in ("--set", setting)]
    return [*words, "--home", str(home), *sets]


def enqueue(home: Path, photos: Path, *more: str) -> list[str]:
    return arguments(home, "enqueue", str(photos), "--json", *more)


def claimed(home: Path, now: float) -> list[Any]:
    profile = load_profile(None, home=home, environ={})
    with open_ledger(profile.ledger) as ledger:
        lease = ledger.acquire_lease("worker", now, 60)
        transforms = {t for job in ledger.jobs(9) for t in job.record.transforms}
        return list(ledger.claim(lease, sorted(transforms), "t", None, 100, now))


def test_priority_and_deadline_come_with_every_task(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(enqueue(tmp_path, photos, "--priority", "7", "--deadline", "3600")) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert (said["listed"], said["queued"], said["filtered"]) == (4, 3, 1)
    assert said["throttled_seconds"] == 0.0
    assert "listing: " in captured.err
    with open_ledger(load_profile(None, home=tmp_path, environ={}).ledger) as ledger:
        now = ledger.now()
    tasks = claimed(tmp_path, now)
    assert {task.priority for task in tasks} == {7}
    assert all(now < task.deadline_at <= now + 3600 for task in tasks)
    assert len(tasks) == 3 * 4


def test_wrong_numbers_are_refused(tmp_path: Path, photos: Path) -> None:
    assert ecm(enqueue(tmp_path, photos, "--priority", "101")) == 2
    assert ecm(enqueue(tmp_path, photos, "--deadline", "-1")) == 2


@pytest.mark.parametrize("whose", ["everybody", "tenant"])
def test_a_producer_waits_visibly_for_a_full_queue_and_goes_on(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], whose: str
) -> None:
    """Limits of all tenants together, or of this one alone."""
    limits = {"throttle_at": 4, "refuse_at": 1000}
    more = ["--set", "ledger.retry_after=0.3"]
    if whose == "tenant":
        more += ["--set", f"ledger.tenants={json.dumps({'t': limits})}"]
    else:
        more += [f"--set=ledger.{name}={value}" for name, value in limits.items()]
    assert ecm(enqueue(tmp_path, photos, *more)) == 0
    assert json.loads(capsys.readouterr().out)["throttled_seconds"] == 0.0
    other = photos.parent / "more"
    photos.rename(other)
    assert ecm(enqueue(tmp_path, other, *more)) == 0
    captured = capsys.readouterr()
    assert "queue is full: waiting 0.3 s (its tasks are to be worked off first)" in captured.err
    said = json.loads(captured.out)
    assert (said["queued"], said["throttled_seconds"] >= 0.3) == (3, True)


def test_a_tenant_at_its_limit_does_not_hold_up_others(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = json.dumps({"crowd": {"throttle_at": 1, "refuse_at": 1}})
    profile = load_profile(None, home=tmp_path, environ={})
    with open_ledger(profile.ledger) as ledger:
        list_names(ledger, "crowd", ["a", "b", "c"], tenant_id="crowd")
    assert ecm(enqueue(tmp_path, photos, "--set", f"ledger.tenants={limits}")) == 0
    assert json.loads(capsys.readouterr().out)["throttled_seconds"] == 0.0


def test_low_priority_waits_while_it_is_refused_and_is_taken_when_there_is_room(
    tmp_path: Path, photos: Path
) -> None:
    """The refused listing waits; as soon as others are worked off, it goes on by itself."""
    profile = load_profile(None, home=tmp_path, environ={})
    with open_ledger(profile.ledger) as ledger:
        list_names(ledger, "crowd", ["a", "b", "c"], tenant_id="crowd")
        limits = ["--set=ledger.throttle_at=2", "--set=ledger.refuse_at=2"]
        words = enqueue(tmp_path, photos, "--priority", "-5", *limits, "--set=ledger.retry_after=1")
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *words],
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "queue is full: waiting 1 s (more than 2 tasks are queued)" in line:
                break
        else:
            pytest.fail("it never said that it waits")
        ledger.cancel_job("crowd", ledger.now())
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["queued"] == 3


@pytest.mark.parametrize("terminal", [False, True])
def test_a_watched_status_is_shown_again_and_again_until_interrupted(
    tmp_path: Path, terminal: bool
) -> None:
    profile = load_profile(None, home=tmp_path, environ={})
    open_ledger(profile.ledger).close()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobs.cli", "status", "--watch", "--every", "0.1"]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path)],
        cwd=REPO,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "40"},
        stdout=theirs if terminal else subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background jobs ignore the interrupt, and so would this process.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    stream = ours if terminal or process.stdout is None else process.stdout.fileno()
    text = b""
    while text.count(b"committer: none") < 3:
        read = os.read(stream, 4096)
        assert read, "it ended by itself"
        text += read
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert error == b""
    redrawn = b"\x1b[1A" in text
    assert redrawn == terminal


def test_what_is_gone_is_marked_when_the_listing_is_complete(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = load_profile(None, home=tmp_path / "home", overrides=FAKE_MODELS, environ={})
    files = sorted(photos.glob("*.png"))
    Indexer(profile).add({path.as_uri(): path.read_bytes() for path in files})
    files[0].unlink()
    assert ecm(enqueue(tmp_path / "home", photos)) == 0
    assert json.loads(capsys.readouterr().out)["gone"] == 1
    store = EvidenceStore.open(profile.evidence)
    ref = SnapshotStore(store).published()
    assert ref is not None
    assert ref.assets == 2
    with commit_tenure(profile.ledger, store):
        files[1].unlink()
        assert ecm(enqueue(tmp_path / "home", photos)) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["gone"] == 0
    assert "what is gone was not looked for" in said.err
    for path in photos.glob("*.png"):
        path.unlink()
    assert ecm(enqueue(tmp_path / "home", photos)) == 1
    assert "is it mounted?" in capsys.readouterr().err
    assert ecm(enqueue(tmp_path / "home", photos, "--accept-gone")) == 0
    assert json.loads(capsys.readouterr().out)["gone"] == 2


def test_a_snapshot_beyond_a_limit_is_a_problem_and_the_job_is_told_all_the_same(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = load_profile(None, home=tmp_path / "home", overrides=FAKE_MODELS, environ={})
    indexer = Indexer(profile)
    files = sorted(photos.glob("*.png"))
    pictures = {path.as_uri(): path.read_bytes() for path in files}
    indexer.add(pictures, without=[TaskType.VV_EMBED])
    files[0].unlink()
    limit = ("--set", 'snapshots.limits.min_coverage={"vv": 0.9}')
    assert ecm(enqueue(tmp_path / "home", photos, *limit)) == 1
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said["gone"] == 1
    assert said["job_id"].startswith("job-")
    assert "vv covers 0.0% of the assets" in said["problems"][0]
    assert "vv covers 0.0% of the assets" in captured.err
