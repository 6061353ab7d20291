"""What an engine's owner leaves behind when it is killed: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from ecm.models.orphans import Warden, children

OWNER = """
import subprocess, sys, time
from ecm.models.orphans import Warden, children
warden = Warden()
with warden.starting():
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(sleeper.pid, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_what_a_killed_process_started_is_ended() -> None:
    root = str(Path(__file__).resolve().parents[2])
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert owner.stdout is not None
    sleeper = int(owner.stdout.readline())
    assert psutil.pid_exists(sleeper)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert gone(sleeper)


def test_what_is_watched_ends_with_the_warden_and_others_do_not() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    watched, other = subprocess.Popen(command), subprocess.Popen(command)
    try:
        assert {watched.pid, other.pid} <= children()
        with Warden() as warden:
            warden.watch([watched.pid])
        assert watched.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
