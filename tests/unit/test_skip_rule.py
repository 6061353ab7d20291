"""The rule of tests/conftest.py: an absent back end is a skip, and a failure under CI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"
INNER = """
import pytest

@pytest.mark.needs("chromium")
def test_browser():
    pass

def test_data(shared_data):
    pass
"""


@pytest.mark.parametrize(
    ("ci", "outcome", "code"),
    [("", "2 skipped", 0), ("true", "1 skipped, 1 error", 1)],
)
def test_an_absent_back_end_fails_only_under_ci(
    tmp_path: Path, ci: str, outcome: str, code: int
) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = needs(name): x\n")
    environment = {
        **os.environ,
        "CI": ci,
        "PATH": str(tmp_path),
        "PYTHONPATH": str(CONFTEST.parents[1]),
        "ECM_SHARED": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert done.returncode == code
    assert "apt-get install chromium" in done.stdout
    assert f"no development data at {tmp_path}" in done.stdout
