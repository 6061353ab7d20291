"""The wheel, installed without the repository around it: what is not Python code came along."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

LOOK = """
import json, os, pathlib
import ecm, jobs, serve
from ecm.config import conf_folder, load_profile
from ecm.doctor import read_pins
from ecm.models.manifest import list_manifests
profile = load_profile("L1", environ={})
packages = [pathlib.Path(module.__file__).parent for module in (ecm, jobs, serve)]
kept = {".sql", ".tsv", ".html", ".js", ".css", ".svg"}
data = [(p, root.parent) for root in packages for p in root.rglob("*") if p.suffix in kept]
files = [str(path.relative_to(parent)) for path, parent in data]
print(json.dumps({
    "conf": str(conf_folder({})),
    "profile": profile.name,
    "manifests": [manifest.name for manifest in list_manifests(profile.models_folder)],
    "ranking": [path.name for path in profile.ranking_folder.iterdir()],
    "pins": len(read_pins(conf_folder({}).parent / "constraints.txt")),
    "files": sorted(files),
}))
"""


def _source(folder: Path) -> Path:
    """The files git knows or would add, elsewhere, so that building leaves no trace here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (REPO / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, folder / name)
    return folder


def test_an_installed_wheel_finds_its_profiles_manifests_and_data(tmp_path: Path) -> None:
    source = _source(tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    build = ["wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*pip, *build, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("ecm-*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    install = ["--python", str(python), "install", "--no-index", "--no-deps", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)

    dependencies = sysconfig.get_path("purelib")
    done = subprocess.run(
        [python, "-c", LOOK],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": dependencies},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert seen["conf"] == str(tmp_path / "venv" / "share" / "ecm" / "conf")
    assert seen["profile"] == "L1"
    for key, folder in (("manifests", "models"), ("ranking", "ranking")):
        in_repo = {path.stem for path in (REPO / "conf" / folder).glob("*.yaml")}
        assert {Path(name).name.removesuffix(".yaml") for name in seen[key]} == in_repo
    assert seen["pins"] > 100
    kept = {".sql", ".tsv", ".html", ".js", ".css", ".svg"}
    data = [path for name in ("ecm", "jobs", "serve") for path in (source / name).rglob("*")]
    expected = sorted(str(p.relative_to(source)) for p in data if p.suffix in kept)
    assert seen["files"] == expected
