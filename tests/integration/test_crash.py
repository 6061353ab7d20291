"""kill -9 in the middle of a run, twice, and again: the same evidence as one run that was left alone."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from ecm.config import load_profile
from ecm.evidence.store import EvidenceStore

REPO = Path(__file__).resolve().parents[2]
IMAGES = 60
SETTINGS = [
    "models.vision=fake-image",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "pipeline.block_images=4",
    "pipeline.commit_envelopes=16",
    "pipeline.commit_seconds=0.1",
    "pipeline.object_store_bytes=100000000",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        buffer = io.BytesIO()
        Image.new("RGB", (32 + number, 32), (4 * number, 255 - number, 90)).save(buffer, "PNG")
        (folder / f"{number:03d}.png").write_bytes(buffer.getvalue())
    return folder


def start(photos: Path, home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "jobs.index", str(photos), "--home", str(home), "--json"]
    for setting in SETTINGS:
        command += ["--set", setting]
    return subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    summary: dict[str, Any] = json.loads(out)
    return summary


def kill_after_batches(process: subprocess.Popen[str], home: Path, batches: int) -> int:
    """SIGKILL the driver and everything it started once `batches` more batches lie in the spool."""
    spool = home / "spool"
    before = len(list(spool.glob("*.arrow")))
    deadline = time.monotonic() + 120
    while len(list(spool.glob("*.arrow"))) < before + batches:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for member in family[1:]:
        if member.is_running():
            member.kill()
    psutil.wait_procs(family[1:], timeout=30)
    return len(list(spool.glob("*.arrow")))


def evidence(home: Path) -> dict[str, Any]:
    profile = load_profile("L1", home=home, environ={})
    store = EvidenceStore.open(profile.evidence)
    keys = store.sql(
        "SELECT evidence_id FROM evidence_text UNION ALL SELECT evidence_id FROM evidence_vectors"
    )
    ids = sorted(keys.column(0).to_pylist())
    assert len(ids) == len(set(ids)), "evidence was doubled"
    return {"ids": ids, "assets": store.counts()["assets"]}


def test_killed_twice_the_evidence_is_that_of_a_clean_run(photos: Path, tmp_path: Path) -> None:
    clean = finished(start(photos, tmp_path / "clean"))
    home = tmp_path / "killed"
    spooled = 0
    for batches in (1, 2):
        spooled = kill_after_batches(start(photos, home), home, batches)
    last = finished(start(photos, home))
    assert spooled >= 3
    assert last["pending"] == last["dead"] == 0
    assert last["committed"] + last["reused"] == IMAGES
    assert last["key_digest"] == clean["key_digest"]
    assert evidence(home) == evidence(tmp_path / "clean")


def test_what_reached_the_spool_is_not_computed_again(photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    kill_after_batches(start(photos, home), home, 3)
    spooled = len(list((home / "spool").glob("*.arrow")))
    last = finished(start(photos, home))
    tasks_in_spool = spooled * 16
    assert last["images_through_models"] <= IMAGES - tasks_in_spool // 4
