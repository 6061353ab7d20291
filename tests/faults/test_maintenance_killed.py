"""A maintenance is killed at each of its points, and anywhere; the next one goes on from there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from rich.console import Console

from ecm.config import Profile
from ecm.crashpoints import STORE_POINTS, VARIABLE
from ecm.delivery.maintaining import Maintained
from jobs.maintain import run_maintenance
from tests import maintained
from tests.factories import fake_profile
from tests.maintained import AT_ONCE, contents, is_well, litter, made, maintain, orphans

POINTS = [point for point in STORE_POINTS if point.startswith("maintain.")]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A home with fragments, old versions and debris; and what its tables say."""
    home = tmp_path_factory.mktemp("made") / "home"
    profile = made(home)
    litter(profile)
    assert orphans(profile)
    return home, contents(profile)


@pytest.fixture
def profile(indexed: tuple[Path, dict[str, str]], tmp_path: Path) -> Profile:
    shutil.copytree(indexed[0], tmp_path / "home")
    return fake_profile(tmp_path / "home", *AT_ONCE)


def maintained_again(profile: Profile) -> Maintained:
    """As the command does it; by this process, which takes the right from a dead one."""
    return run_maintenance(profile, Console(quiet=True), lambda: False)


@pytest.mark.parametrize("point", POINTS)
def test_a_maintenance_killed_here_goes_on(
    profile: Profile, indexed: tuple[Path, dict[str, str]], point: str
) -> None:
    killed = maintain(profile, **{VARIABLE: f"{point}:2"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert is_well(profile)
    assert contents(profile) == indexed[1]
    assert maintained_again(profile).problems == []
    assert orphans(profile) == []
    assert is_well(profile)
    assert contents(profile) == indexed[1]


def test_killed_at_any_moment_nothing_is_lost(
    profile: Profile, indexed: tuple[Path, dict[str, str]]
) -> None:
    """Also inside of Lance's own work, where no point can be."""
    for delay in (0.0, 0.05, 0.15):
        process = subprocess.Popen(
            maintained.command(profile), cwd=maintained.REPO, stderr=subprocess.PIPE, env=os.environ
        )
        assert process.stderr is not None
        process.stderr.readline()  # it has begun with the first table
        time.sleep(delay)
        process.kill()
        process.wait()
        process.stderr.close()
        assert is_well(profile)
    assert maintained_again(profile).problems == []
    assert orphans(profile) == []
    assert contents(profile) == indexed[1]
