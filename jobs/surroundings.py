"""What a run of an evaluation took place on: which code, which machine. Names no host, nobody."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import psutil

import ecm

GIT_SECONDS = 10.0


def code_version() -> str:
    """The version, and in a working tree its commit: `0.9.0+g0123456789ab`, `.changed` where files
    differ from it.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ecm.__version__
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return ecm.__version__
    changed = ".changed" if _git(root, "status", "--porcelain", "--untracked-files=no") else ""
    return f"{ecm.__version__}+g{commit}{changed}"


def machine() -> str:
    """What latencies depend on: `Linux x86_64, 2 CPUs, 8 GiB, Intel Xeon`."""
    gib = psutil.virtual_memory().total / 2**30
    parts = (
        f"{platform.system()} {platform.machine()}",
        f"{os.cpu_count()} CPUs",
        f"{gib:.0f} GiB",
    )
    return ", ".join(filter(None, (*parts, _processor())))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it is not installed or does not know this tree."""
    command = ("git", "-C", str(root), *arguments)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
