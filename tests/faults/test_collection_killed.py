"""A collection of snapshots is killed at each of its points; the next one goes on from there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.crashpoints import STORE_POINTS, VARIABLE
from ecm.delivery.tenure import commit_tenure
from ecm.errors import LeaseLost
from ecm.evidence.collection import collect
from ecm.evidence.pins import is_condemned
from ecm.evidence.publication import publish
from ecm.evidence.retention import Retention
from ecm.evidence.store import EvidenceStore
from jobs.edge import UNAVAILABLE
from tests.factories import fake_profile
from tests.fault_harness import state_of, wait_until
from tests.snapshot_stores import LATER, answers, grow, grown, ids_of, orphans, served

REPO = Path(__file__).resolve().parents[2]
POINTS = [point for point in STORE_POINTS if point.startswith("gc.")]
LEASE = 3.0
TIGHT = Retention(newest=1, rollbacks=1, grace=0.0)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with six snapshots, the newest of them published."""
    home = tmp_path_factory.mktemp("home")
    grown(Path(fake_profile(home).evidence.uri), 6)
    return home


@pytest.fixture
def profile(indexed: Path, tmp_path: Path) -> Profile:
    shutil.copytree(indexed, tmp_path / "home")
    return fake_profile(tmp_path / "home")


@pytest.mark.parametrize("point", POINTS)
def test_a_collection_killed_here_goes_on(profile: Profile, point: str) -> None:
    store = EvidenceStore.open(profile.evidence)
    made = ids_of(store)
    assert _killed_at(point, profile.home) == -signal.SIGKILL
    assert served(store) == made[-1]
    assert all(answers(store, snapshot_id) for snapshot_id in ids_of(store))
    with commit_tenure(profile.ledger, store) as tenure:
        collect(store, TIGHT, LATER, tenure.confirm, lambda _: None)
    assert ids_of(store) == made[-2:]
    assert served(store) == made[-1]
    assert orphans(store) == []
    grow(store, 7)
    assert answers(store, made[-1])
    assert served(store) == ids_of(store)[-1]


def test_a_collection_that_sleeps_past_its_right_removes_nothing_more(profile: Profile) -> None:
    store = EvidenceStore.open(profile.evidence)
    made = ids_of(store)
    sleeper = _started("gc.condemned:1:stop", profile.home, f"ledger.lease_seconds={LEASE}")
    try:
        wait_until(lambda: state_of(sleeper.pid) == "T", "the collection to sleep")
        assert is_condemned(store, made[0])
        _collect_when_free(profile, store)
        assert ids_of(store) == made[-2:]
        publish(store, made[-2], LATER)
    finally:
        sleeper.send_signal(signal.SIGCONT)
        code = sleeper.wait(60)
    assert code == UNAVAILABLE
    assert served(store) == made[-2]
    assert ids_of(store) == made[-2:]
    assert orphans(store) == []


def _collect_when_free(profile: Profile, store: EvidenceStore) -> None:
    """As soon as the sleeper's right has run out."""

    def done() -> bool:
        try:
            with commit_tenure(profile.ledger, store) as tenure:
                collect(store, TIGHT, LATER, tenure.confirm, lambda _: None)
        except LeaseLost:
            return False
        return True

    wait_until(done, "the right to run out")


def _killed_at(point: str, home: Path) -> int:
    return _started(point, home).wait(120)


def _started(point: str, home: Path, *settings: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jobs.cli", "snapshots", "gc", "--home", str(home)]
    command += ["--keep", "1", "--grace", "0"]
    return subprocess.Popen(
        [*command, *(word for setting in settings for word in ("--set", setting))],
        cwd=REPO,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, VARIABLE: point},
    )
