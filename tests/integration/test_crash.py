"""kill -9 in a real run, of driver, feeder or all: the same evidence as of a run left alone."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from ecm.config import load_profile
from ecm.crashpoints import VARIABLE
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore

REPO = Path(__file__).resolve().parents[2]
IMAGES = 60
BATCH = 16
SETTINGS = [
    "models.vision=fake-image",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "pipeline.block_images=4",
    f"pipeline.commit_envelopes={BATCH}",
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


@pytest.fixture(scope="module")
def clean(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The home of a run that nobody disturbs, and what it said."""
    home = tmp_path_factory.mktemp("clean")
    return home, finished(photos, home)


@contextmanager
def run(photos: Path, home: Path, crash: str = "") -> Iterator[subprocess.Popen[str]]:
    """A driver of its own; whatever happens in the test, nothing of it is left."""
    command = [sys.executable, "-m", "jobs.index", str(photos), "--home", str(home), "--json"]
    for setting in SETTINGS:
        command += ["--set", setting]
    environment = {**os.environ, VARIABLE: crash}
    process = subprocess.Popen(
        command, cwd=REPO, stdout=subprocess.PIPE, text=True, env=environment
    )
    family: list[psutil.Process] = []
    try:
        yield process
    finally:
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=5)


def finished(photos: Path, home: Path) -> dict[str, Any]:
    with run(photos, home) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    summary: dict[str, Any] = json.loads(out)
    return summary


def killed(photos: Path, home: Path, batches: int) -> int:
    """SIGKILL a driver once it has spooled `batches` more; returns the tasks in the spool."""
    folder = home / "spool"
    before = len(list(folder.glob("*.arrow")))
    with run(photos, home) as process:
        while len(list(folder.glob("*.arrow"))) < before + batches:
            assert process.poll() is None, "the run ended before it could be killed"
        family = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=5)
    spool = Spool(folder)
    spooled = [spool.read(batch) for batch in spool.list()]
    return sum(len(batch.envelopes) for batch in spooled if batch is not None)


def evidence(home: Path) -> dict[str, Any]:
    profile = load_profile("L1", home=home, environ={})
    store = EvidenceStore.open(profile.evidence)
    keys = store.sql(
        "SELECT evidence_id FROM evidence_text UNION ALL SELECT evidence_id FROM evidence_vectors"
    )
    ids = sorted(keys.column(0).to_pylist())
    assert len(ids) == len(set(ids)), "evidence was doubled"
    return {"ids": ids, "assets": store.counts()["assets"]}


def test_killed_twice_the_evidence_is_that_of_a_clean_run(
    photos: Path, tmp_path: Path, clean: tuple[Path, dict[str, Any]]
) -> None:
    home = tmp_path / "killed"
    killed(photos, home, 1)
    spooled = killed(photos, home, 2)
    last = finished(photos, home)
    assert spooled >= 3 * BATCH
    assert last["pending"] == last["dead"] == 0
    assert last["committed"] + last["reused"] == IMAGES
    # Nothing that reached the spool is computed again: four tasks an image.
    assert last["images_through_models"] <= IMAGES - spooled // 4
    assert last["key_digest"] == clean[1]["key_digest"]
    assert evidence(home) == evidence(clean[0])


@pytest.mark.parametrize(
    ("crash", "who"),
    [("commit.appended:2", "driver"), ("ledger.claim.committed:3", "feeder")],
)
def test_a_part_of_a_run_that_dies_at_a_crash_point_costs_nothing(
    photos: Path, tmp_path: Path, clean: tuple[Path, dict[str, Any]], crash: str, who: str
) -> None:
    with run(photos, tmp_path, crash) as process:
        process.communicate()
    assert process.returncode == (-signal.SIGKILL if who == "driver" else 1)
    last = finished(photos, tmp_path)
    assert last["committed"] + last["reused"] == IMAGES
    assert last["key_digest"] == clean[1]["key_digest"]
    assert evidence(tmp_path) == evidence(clean[0])
