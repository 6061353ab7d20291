"""Every example of docs/clients.md, run in order against a service, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import PICTURES, Service, service

REPO = Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "clients.md"
ADDRESS = "http://127.0.0.1:8000"
KEY = "key-of-t"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working folder with the picture that the examples name."""
    (tmp_path / "photo.jpg").write_bytes(PICTURES["red-1.png"])
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_the_examples_in_python(
    running: Service, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = blocks("python")
    assert len(found) >= 8
    scope: dict[str, object] = {"__name__": "example"}
    try:
        for block in found:
            told = block.replace(ADDRESS, running.address).replace("ecm_…", KEY)
            exec(compile(told, str(PAGE), "exec"), scope)
    finally:
        client = scope.get("client")
        if client is not None:
            client.close()  # type: ignore[attr-defined]
    said = capsys.readouterr().out
    assert "red" in said
    assert "query.asset_unknown" in said
    assert said.splitlines()[-1] == "3 0 0"


@pytest.mark.needs("curl")
@pytest.mark.needs("jq")
def test_the_examples_with_curl(running: Service, folder: Path) -> None:
    found = blocks("sh")
    assert len(found) >= 4
    script = "set -euo pipefail\n" + "\n".join(found).replace(ADDRESS, running.address)
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "KEY": KEY},
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.count('"snapshot_id"') >= 8
    assert '"stored":3' in done.stdout
    assert (folder / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
