"""Exports, imports and relinks that are killed leave nothing half: repeated, all is there once."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecm.config import Profile
from ecm.crashpoints import STORE_POINTS
from ecm.evidence.bundle_reading import Bundle
from ecm.evidence.inventory import doubled_rows
from ecm.evidence.store import EvidenceStore
from jobs.cli import run as ecm
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery

REPO = Path(__file__).resolve().parents[2]
PICTURES = gallery(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    profile = fake_profile(tmp_path_factory.mktemp("a"))
    Indexer(profile).add(PICTURES)
    return profile


@pytest.fixture(scope="module")
def bundle(home: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("bundles") / "bundle"
    assert run(home, "export", str(dest))[0] == 0
    return dest


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "moved"
    folder.mkdir()
    for number, data in enumerate(PICTURES.values()):
        (folder / f"{number}.png").write_bytes(data)
    return folder


def arguments(profile: Profile, *words: str) -> list[str]:
    sets = [part for setting in FAKE_MODELS for part in ("--set", setting)]
    return [*words, "--home", str(profile.home), *sets, "--json"]


def run(profile: Profile, *words: str) -> tuple[int, dict[str, Any]]:
    """A command on a home, in this process: its exit code and its JSON."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        code = ecm(arguments(profile, *words))
    return code, json.loads(out.getvalue() or "{}")


def killed(profile: Profile, point: str, *words: str) -> None:
    """The same command in a process of its own, which dies at the point."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments(profile, *words)],
        cwd=REPO,
        env={**os.environ, "ECM_CRASH": point},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def points(kind: str) -> list[str]:
    return [point for point in STORE_POINTS if point.startswith(f"{kind}.")]


@pytest.mark.parametrize("point", points("bundle"))
def test_an_export_killed_here_leaves_no_bundle(home: Profile, tmp_path: Path, point: str) -> None:
    dest = tmp_path / "bundle"
    killed(home, point, "export", str(dest))
    assert not dest.exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert run(home, "export", str(dest))[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    Bundle.open(dest).verify_files(lambda *_: None)


@pytest.mark.parametrize(
    "point", [*points("import"), "table.committed:2", "ledger.restore.committed"]
)
def test_an_import_killed_here_goes_on(bundle: Path, tmp_path: Path, point: str) -> None:
    profile = fake_profile(tmp_path / "b")
    killed(profile, point, "import", str(bundle))
    code, said = run(profile, "import", str(bundle))
    assert (code, said["problems"]) == (0, [])
    store = EvidenceStore.open(profile.evidence)
    assert store.counts() == said["rows"]
    assert doubled_rows(store, 5).rows == 0
    assert run(profile, "audit", "--all")[0] == 0
    assert sum(run(profile, "import", str(bundle))[1]["added"].values()) == 0
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("point", points("relink"))
def test_a_relink_killed_here_goes_on(
    bundle: Path, photos: Path, tmp_path: Path, point: str
) -> None:
    profile = fake_profile(tmp_path / "b")
    assert run(profile, "import", str(bundle))[0] == 0
    killed(profile, point, "relink", f"/photos={photos}")
    code, said = run(profile, "relink", f"/photos={photos}")
    assert (code, said["problems"]) == (0, [])
    assert (said["known"], said["gone"]) == (len(PICTURES), len(PICTURES))
    counts = EvidenceStore.open(profile.evidence).counts()
    assert (counts["asset_versions"], counts["asset_sightings"]) == (
        2 * len(PICTURES),
        len(PICTURES),
    )
    assert run(profile, "audit", "--all")[0] == 0
