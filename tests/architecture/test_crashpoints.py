"""Crash points: all are placed, told in the document, killed at by a test, and inert unarmed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.crashpoints import (
    COMMIT_POINTS,
    OPERATIONS,
    POINTS,
    STORE_POINTS,
    VARIABLE,
    arm,
    crash_point,
)
from ecm.errors import ConfigError
from tests.fault_traps import TRAPS, killed_by

REPO = Path(__file__).resolve().parents[2]
SOURCES = [path for name in ("ecm", "jobs", "serve") for path in (REPO / name).rglob("*.py")]


def _said(pattern: str) -> list[str]:
    texts = (path.read_text("utf-8") for path in SOURCES if path.name != "crashpoints.py")
    return [name for text in texts for name in re.findall(pattern, text)]


def test_every_point_that_has_a_name_is_placed_once_and_no_other() -> None:
    assert sorted(_said(r'\bcrash_point\("([^"]+)"\)')) == sorted(COMMIT_POINTS | STORE_POINTS)


def test_every_transaction_of_the_ledger_has_its_points_and_no_other() -> None:
    assert set(_said(r'\.write\("(\w+)"\)')) == set(OPERATIONS)
    for connector in ("sqlite", "postgres"):
        text = (REPO / "ecm" / "ledger" / f"{connector}.py").read_text("utf-8")
        assert re.findall(r'crash_point\(f"ledger\.\{operation\}\.(\w+)"\)', text) == [
            "uncommitted",
            "committed",
        ]


def test_unarmed_points_do_nothing() -> None:
    arm({})
    for point in POINTS:
        crash_point(point)


@pytest.mark.parametrize(
    "wrong", ["commit.nowhere", "commit.begun:0", "commit.begun:1:sing", "a:b"]
)
def test_what_cannot_be_armed_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        arm({VARIABLE: wrong})


def test_an_armed_point_kills_at_its_passage_and_no_other() -> None:
    program = (
        "import os\n"
        "from ecm.crashpoints import arm, crash_point\n"
        "arm(os.environ)\n"
        "for _ in range(5):\n"
        "    crash_point('commit.begun')\n"
        "    crash_point('commit.spooled')\n"
        "    print('.', end='', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPO,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(REPO), VARIABLE: "commit.spooled:3"},
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "..")


def test_the_table_in_the_document_is_current() -> None:
    done = subprocess.run(
        [sys.executable, ".ci/crash_table.py", "check"],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tests_that_the_document_names_exist() -> None:
    named = {test for tests in TRAPS.values() for test in tests} | {killed_by(p) for p in POINTS}
    folders = sorted({test.partition("::")[0] for test in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *folders],
        cwd=REPO,
        capture_output=True,
        text=True,
    )
    collected = done.stdout.splitlines()
    missing = [test for test in named if not any(line.startswith(test) for line in collected)]
    assert missing == [], done.stdout[-2000:]
