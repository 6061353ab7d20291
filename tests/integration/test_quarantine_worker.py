"""A worker without Ray whose model drifts: it stops, others go on, and no notice is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.contracts.identity import evidence_key
from ecm.contracts.task import TaskType
from ecm.evidence.quarantine import open_quarantines
from ecm.evidence.schema import EVIDENCE_TEXT
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.states import TaskState
from ecm.opening import plan_of
from tests.drifting import BLOCK, EVERY, Drifting, drifting
from tests.factories import asset_id, picture
from tests.serving import REPO
from tests.workers import put, queued

PROBE_PICTURES = 4
PICTURES = {f"{n:02d}.png": picture("red", n, (64, 48)) for n in range(6 * BLOCK)}


@pytest.fixture
def model(tmp_path: Path) -> Drifting:
    return drifting(tmp_path / "drifting")


@pytest.fixture
def profile(model: Drifting, tmp_path: Path) -> Profile:
    made = model.profile(tmp_path / "home")
    made.home.mkdir()
    with open_ledger(made.ledger) as ledger:
        queued(ledger, made, put(tmp_path / "photos", PICTURES))
    return made


def work(model: Drifting, profile: Profile, crash: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", "worker", "--local", "--once"]
    command += ["--block", str(BLOCK), "--home", str(profile.home), "--tenant", "t"]
    command += [word for setting in model.settings() for word in ("--set", setting)]
    environ = {**os.environ, **({"ECM_CRASH": crash} if crash else {})}
    return subprocess.run(
        command, cwd=REPO, env=environ, capture_output=True, text=True, check=False, timeout=200
    )


def doubtful(profile: Profile, keys: frozenset[str]) -> set[str]:
    """The assets whose captions are quarantined."""
    transform = plan_of(profile).by_type[TaskType.VISION].fingerprint
    assets = {asset_id(data) for data in PICTURES.values()}
    return {a for a in assets if evidence_key("t", a, TaskType.VISION.value, transform) in keys}


def test_only_this_worker_stops_and_another_does_the_rest(
    model: Drifting, profile: Profile
) -> None:
    model.drift()
    stopped = work(model, profile)
    assert stopped.returncode == 1, stopped.stderr
    told = stopped.stderr.strip().splitlines()[-1]
    assert "model fake-image: probe waves: vv cosine" in told
    assert "[model.mismatch]" in told
    store = EvidenceStore.open(profile.evidence)
    (one,) = open_quarantines(store, "t")
    named = doubtful(profile, frozenset(one.notice.keys))
    assert len(named) == EVERY
    with open_ledger(profile.ledger) as ledger:
        states = ledger.status(ledger.now(), "t").states
    assert states[TaskState.MODEL_MISMATCH] == states[TaskState.DEAD_LETTER] == 0

    model.mend()
    sound = work(model, profile)
    assert sound.returncode == 0, sound.stderr
    ref = SnapshotStore(store).published()
    assert ref is not None
    table = store.open_lance(ref.table, ref.version).to_table(columns=["asset_id", "caption"])
    shown = {row["asset_id"] for row in table.to_pylist() if row["caption"] is not None}
    rows = store.read(EVIDENCE_TEXT, ["asset_id", "run_id"]).to_pylist()
    drifted = {row["asset_id"] for row in rows if row["run_id"] == one.notice.run_id}
    assert shown == {asset_id(data) for data in PICTURES.values()} - (drifted & named)


def test_a_kill_right_after_the_notice_loses_nothing(model: Drifting, profile: Profile) -> None:
    model.drift()
    assert work(model, profile, "quarantine.told").returncode == -signal.SIGKILL
    (one,) = open_quarantines(EvidenceStore.open(profile.evidence), "t")
    assert len(doubtful(profile, frozenset(one.notice.keys))) == EVERY


def test_what_a_worker_said_last_is_probed_as_it_ends(model: Drifting, profile: Profile) -> None:
    few = {name: PICTURES[name] for name in sorted(PICTURES)[: EVERY - 1]}
    home = model.profile(profile.home.parent / "few")
    home.home.mkdir()
    with open_ledger(home.ledger) as ledger:
        queued(ledger, home, put(profile.home.parent / "some", few))
    model.drift(after=PROBE_PICTURES + len(few))
    ended = work(model, home)
    assert ended.returncode == 1
    assert "[model.mismatch]" in ended.stderr.strip().splitlines()[-1]
    (one,) = open_quarantines(EvidenceStore.open(home.evidence), "t")
    assert len(doubtful(home, frozenset(one.notice.keys))) == len(few)
