"""`ecm worker --local`: no Ray, no service; the ledger and the store of the home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.config import Profile
from ecm.delivery.audit import audit_job
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.ledger.states import TaskState
from tests.factories import FAKE_MODELS, fake_profile, gallery
from tests.serving import REPO
from tests.workers import TASKS, put, queued

PICTURES = gallery(3)
SETTINGS = [*FAKE_MODELS, "pipeline.commit_seconds=0.1", "pipeline.commit_envelopes=16"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return put(tmp_path / "photos", PICTURES)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return fake_profile(tmp_path / "home", *SETTINGS)


@pytest.fixture
def job(profile: Profile, photos: Path) -> str:
    profile.home.mkdir()
    with open_ledger(profile.ledger) as ledger:
        return queued(ledger, profile, photos)


def run(profile: Profile, *more: str, crash: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.cli", "worker", "--local", "--once", "--block", "4"]
    command += ["--home", str(profile.home), "--json"]
    for value in (*SETTINGS, *more):
        command += ["--set", value]
    environ = {**os.environ, **({"ECM_CRASH": crash} if crash else {})}
    return subprocess.run(
        command, cwd=REPO, env=environ, capture_output=True, text=True, check=False, timeout=120
    )


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_was_queued_is_analysed_audited_and_published(profile: Profile, job: str) -> None:
    told = summary(run(profile))
    assert told["images"] == told["images_through_models"] == len(PICTURES)
    assert told["committed"] == len(PICTURES) * TASKS
    with open_ledger(profile.ledger) as ledger:
        assert ledger.status(ledger.now()).states[TaskState.DONE] == len(PICTURES) * TASKS
    published = SnapshotStore(EvidenceStore.open(profile.evidence)).published()
    assert published is not None
    assert published.assets == len(PICTURES)
    assert summary(run(profile))["images"] == 0, "nothing is left"


@pytest.mark.parametrize(
    "point",
    [
        "ledger.claim.committed:2",
        "commit.spooled:2",
        "commit.reported:1",
        "commit.appended:2",
        "commit.persisted:1",
    ],
)
def test_killed_anywhere_the_next_worker_goes_on(profile: Profile, job: str, point: str) -> None:
    assert run(profile, crash=point).returncode == -signal.SIGKILL
    told = summary(run(profile))
    assert told["dead"] == told["stale"] == 0
    with open_ledger(profile.ledger) as ledger:
        store = EvidenceStore.open(profile.evidence)
        audit = audit_job(ledger, store, job)
        assert (audit.balanced, audit.committed, audit.pending) == (True, len(PICTURES), 0)
        for table in store.tables():
            if "evidence_id" in store.dataset(table).schema.names:
                marks = store.read(table, ["evidence_id"]).column(0).to_pylist()
                assert len(marks) == len(set(marks)), table


def test_a_worker_leaves_tasks_alone_whose_model_is_not_the_declared_one(
    profile: Profile, photos: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for file in (REPO / "conf" / "models").glob("*.yaml"):
        manifest = yaml.safe_load(file.read_text("utf-8"))
        if file.stem == "fake-image":
            weights = tmp_path / "weights.bin"
            weights.write_bytes(b"other weights")
            declared = {"name": "weights", "path": str(weights), "sha256": "0" * 64, "bytes": 13}
            manifest["files"] = [declared]
        (models / file.name).write_text(yaml.safe_dump(manifest), "utf-8")
    folder = f"models_folder={models}"
    odd = fake_profile(profile.home, *SETTINGS, folder)
    odd.home.mkdir()
    with open_ledger(odd.ledger) as ledger:
        queued(ledger, odd, photos)
    done = run(odd, folder)
    assert summary(done)["committed"] == len(PICTURES)
    said = [line for line in done.stderr.splitlines() if "to others" in line]
    assert len(said) == 2
    assert all("fake-image" in line for line in said)
    with open_ledger(odd.ledger) as ledger:
        assert ledger.status(ledger.now()).states[TaskState.QUEUED] == 3 * len(PICTURES)
