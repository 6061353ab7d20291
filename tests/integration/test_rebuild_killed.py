"""A rebuild that is killed anywhere goes on where it was; its ledger is that of one left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.delivery.audit import audit_job
from ecm.delivery.committing import CommitSettings
from ecm.delivery.rebuild import RebuildSettings, rebuild
from ecm.delivery.tenure import commit_right
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.states import JobState, TaskState
from tests.factories import Indexer, fake_profile, gallery

REPO = Path(__file__).resolve().parents[2]
PICTURES = gallery(2)
POINTS = [
    "ledger.restore.uncommitted:1",
    "ledger.acquire_right.committed:1",
    "recover.begun:1",
    "ledger.open_job.committed:2",
    "ledger.restore.uncommitted:2",
    "ledger.restore.committed:2",
    "ledger.restore.committed:3",
    "ledger.restore.uncommitted:4",
    "ledger.restore.committed:4",
    "ledger.close_listing.committed:1",
    "ledger.finish_job.uncommitted:1",
    "ledger.finish_job.committed:2",
    "ledger.release_right.uncommitted:1",
]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a store of two tenants, one of them with copies, and no ledger."""
    home = tmp_path_factory.mktemp("home")
    indexer = Indexer(fake_profile(home))
    indexer.add(PICTURES)
    indexer.add({f"copy of {name}": data for name, data in list(PICTURES.items())[:3]})
    indexer.add(dict(list(PICTURES.items())[:5]), tenant="other")
    return home


@pytest.fixture
def profile(indexed: Path, tmp_path: Path) -> Profile:
    shutil.copytree(indexed, tmp_path / "home")
    return fake_profile(tmp_path / "home")


def rebuilt(profile: Profile, crash: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", "ledger", "rebuild", "--json"]
    command += ["--home", str(profile.home), "--set", "models.vision=fake-image"]
    command += ["--set", "models.vv=fake-image", "--set", "models.mv=fake-text"]
    environ = {**os.environ, **({"ECM_CRASH": crash} if crash else {})}
    return subprocess.run(command, cwd=REPO, env=environ, capture_output=True, text=True)


def check(profile: Profile) -> None:
    """Both tenants' tasks are done once, and the books of every job balance against the store."""
    store = Indexer(profile).store
    with open_ledger(profile.ledger) as ledger:
        ledger.verify()
        for tenant, images in (("t", len(PICTURES) + 3), ("other", 5)):
            states = ledger.status(ledger.now(), tenant).states
            assert states[TaskState.DONE] == 4 * images
            assert sum(states.values()) == 4 * images
            jobs = ledger.jobs(100, tenant)
            assert {job.state for job in jobs} == {JobState.FINISHED}
            audits = [audit_job(ledger, store, job.record.job_id) for job in jobs]
            assert all(audit.balanced for audit in audits)
            assert sum(audit.committed for audit in audits) == images


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_point_and_repeated_nothing_is_lost_or_doubled(
    profile: Profile, point: str
) -> None:
    assert rebuilt(profile, point).returncode == -signal.SIGKILL
    again = rebuilt(profile)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["problems"] == []
    check(profile)


def test_chunks_may_be_of_any_size(profile: Profile) -> None:
    commit = CommitSettings("rebuild", "here", 100, 1.0)
    settings = RebuildSettings(commit, 60.0, models={}, chunk=4)
    readings: list[int] = []
    store, spool = Indexer(profile).store, Spool(profile.spool)
    with open_ledger(profile.ledger) as ledger:
        done = rebuild(ledger, store, spool, settings, lambda seen: readings.append(seen.versions))
    assert all(0 <= after - before <= 4 for before, after in pairwise([0, *readings]))
    assert done.versions == done.of == len(PICTURES) + 3 + 5
    check(profile)


def test_a_rebuild_waits_for_nobody_who_commits(profile: Profile) -> None:
    with open_ledger(profile.ledger) as ledger:
        right = commit_right(EvidenceStore.open(profile.evidence))
        ledger.acquire_right(right, "another-machine/1/1/x", 60, ledger.now())
    refused = rebuilt(profile)
    assert refused.returncode == 75
    assert "another run is committing" in refused.stderr
