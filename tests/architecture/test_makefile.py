"""The targets of the Makefile are what README and CI take them for."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def test_no_target_is_written_twice() -> None:
    targets = re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert sorted(targets) == sorted(set(targets))


@pytest.mark.parametrize(
    ("target", "programs"),
    [
        ("check", ["ruff format --check", "ruff check", "mypy", "lint-imports", "constraints.py"]),
        ("test", ["pytest"]),
        ("smoke", ["jobs.evaluate smoke"]),
        ("test-faults", ["pytest tests/faults"]),
    ],
)
def test_a_target_runs_what_it_says(target: str, programs: list[str]) -> None:
    said = subprocess.run(
        ["make", "-n", target], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert said.stderr == ""
    assert [program for program in programs if program not in said.stdout] == []


def test_ci_asks_what_is_searched_before_the_whole_suite() -> None:
    lines = (REPO / ".ci" / "run").read_text("utf-8").splitlines()
    called = [line.removesuffix(" </dev/null") for line in lines if line.startswith("make ")]
    assert called[-1] == "make check test"
    assert "make smoke" in called[:-1]
