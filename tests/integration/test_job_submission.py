"""`ray job submit … -- python -m jobs.index …` against a local head, as docs/cluster.md says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
RAY = Path(sys.executable).with_name("ray")
FAKES = ["models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text"]


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture
def head() -> Iterator[dict[str, str]]:
    """The environment in which `ray job submit` reaches a head of our own; stopped by its group."""
    gcs, dashboard, agent = _free_ports(3)
    # Ray's sockets lie below its folder, and a socket's path has at most 107 bytes.
    folder = tempfile.mkdtemp(prefix="ecm-ray-", dir="/tmp")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}",
        "PATH": f"{RAY.parent}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("RAY_ADDRESS", None)
    command = [
        *(str(RAY), "start", "--head", f"--port={gcs}", "--num-cpus=4", f"--temp-dir={folder}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        *(f"--dashboard-agent-listen-port={agent}", "--object-store-memory=200000000"),
    ]
    # Without --block the command returns when the head is up; what it leaves behind is its group.
    with (Path(folder) / "start.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        assert process.wait(120) == 0, (Path(folder) / "start.log").read_text()
        yield environment
    finally:
        family = _group(process.pid)
        os.killpg(process.pid, signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=30)
        for member in left:
            member.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _group(group: int) -> list[psutil.Process]:
    """The processes of a process group; others may end while we look."""
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == group:
                members.append(process)
    return members


def _submit(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """`ray job submit` from the repository, as a user types it."""
    return subprocess.run(
        [str(RAY), "job", "submit", "--working-dir", ".", "--", *command],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(400)
def test_a_submitted_job_indexes_and_says_so(head: dict[str, str], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for shade in range(3):
        pixels = np.full((32, 48, 3), 40 + 60 * shade, np.uint8)
        Image.fromarray(pixels).save(photos / f"{shade}.png")
    settings = [part for fake in FAKES for part in ("--set", fake)]
    places = ["--home", str(tmp_path / "home"), "--json", str(photos)]
    run = ["python", "-m", "jobs.index", "--profile", "conf/L1.yaml", *settings]

    done = _submit(head, *run, *places)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith('{"run_id"')]
    summary = json.loads(line)
    assert (summary["listed"], summary["committed"], summary["problems"]) == (3, 3, [])
