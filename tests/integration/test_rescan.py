"""Files changed, moved, deleted, restored and altered between runs, as a user sees them."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from ecm.config import Profile
from ecm.contracts.identity import uri_path
from ecm.contracts.search import Axis, SearchRequest
from ecm.delivery.audit import audit_store
from ecm.evidence.history import asset_at, asset_history
from ecm.evidence.store import EvidenceStore
from ecm.evidence.story import AssetHistory
from ecm.ledger import open_ledger
from ecm.opening import open_engine
from jobs.cli import run
from jobs.index import IndexSummary, Rereading, run_index
from tests.factories import FAKE_MODELS, asset_id, fake_profile, picture

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
SMALL = ("pipeline.block_images=5", "pipeline.commit_seconds=0.2")
VERIFY = Rereading(verify_content=True)


@dataclass(frozen=True)
class Album:
    """A folder of photos and the home it is indexed into."""

    folder: Path
    profile: Profile

    def put(self, name: str, data: bytes, like: os.stat_result | None = None) -> None:
        """Write a file, with the date of another if asked."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        if like is not None:
            os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))

    def index(self, rereading: Rereading | None = None) -> IndexSummary:
        quiet = Console(file=io.StringIO())
        return run_index(self.profile, (str(self.folder),), "t", quiet, rereading)

    def command(self, *arguments: str) -> int:
        """The exit code of an `ecm` command about this home."""
        settings = [part for name in (*FAKE_MODELS, *SMALL) for part in ("--set", name)]
        return run([*arguments, "--home", str(self.profile.home), *settings])

    def shown(self) -> dict[str, str]:
        """The asset that the search shows at each name."""
        with open_engine(self.profile) as engine:
            request = SearchRequest(tenant_id="t", text="picture", limit=100, axes=(Axis.FTS,))
            hits = engine.search(request).hits
        below = len(str(self.folder)) + 1
        return {uri_path(uri)[below:]: hit.asset_id for hit in hits for uri in hit.uris}

    def told(self, name: str) -> AssetHistory:
        """The history of what lies, or lay last, at a name."""
        store = EvidenceStore.open(self.profile.evidence)
        asset = asset_at(store, "t", (self.folder / name).as_uri())
        return asset_history(store, "t", asset, {})

    def events(self, name: str) -> list[str]:
        here = (self.folder / name).as_uri()
        return [event.what.value for event in self.told(name).events if event.uri == here]

    def balanced(self) -> bool:
        store = EvidenceStore.open(self.profile.evidence)
        with open_ledger(self.profile.ledger) as ledger:
            jobs = [job.record.job_id for job in ledger.jobs(100)]
            return not audit_store(ledger, store, ["t"], jobs).problems


def content(number: int) -> bytes:
    return picture(COLOURS[number], number)


@pytest.fixture(scope="module")
def indexed(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Album:
    """Six photos, indexed once."""
    root = tmp_path_factory.mktemp("album")
    album = Album(root / "photos", fake_profile(root / "home", *SMALL))
    album.folder.mkdir()
    for number, colour in enumerate(COLOURS):
        album.put(f"{colour}.png", content(number))
    assert album.index().committed == len(COLOURS)
    return album


@pytest.fixture
def album(indexed: Album, tmp_path: Path) -> Iterator[Album]:
    """The same photos at the same paths, and a copy of their home, to be changed at will."""
    shutil.copytree(indexed.folder, tmp_path / "kept")
    shutil.copytree(indexed.profile.home, tmp_path / "home")
    yield Album(indexed.folder, fake_profile(tmp_path / "home", *SMALL))
    shutil.rmtree(indexed.folder)
    shutil.copytree(tmp_path / "kept", indexed.folder)


def test_what_is_changed_moved_deleted_and_restored_between_runs(album: Album) -> None:
    kept = {path.name: path.stat() for path in album.folder.iterdir()}
    new = picture("grey", 3)
    album.put("red.png", new)
    (album.folder / "2026").mkdir()
    (album.folder / "green.png").rename(album.folder / "2026" / "meadow.png")
    (album.folder / "blue.png").unlink()
    album.put("copy of yellow.png", content(3))
    changed = album.index()
    assert (changed.gone, changed.moved, changed.returned) == (2, 1, 0)
    assert (changed.committed, changed.reused, changed.problems) == (3, 3, ())
    assert changed.images_through_models == 1
    assert album.shown() == {
        "red.png": asset_id(new),
        "2026/meadow.png": asset_id(content(1)),
        "yellow.png": asset_id(content(3)),
        "copy of yellow.png": asset_id(content(3)),
        "black.png": asset_id(content(4)),
        "white.png": asset_id(content(5)),
    }
    assert album.events("red.png") == ["seen", "replaced"]
    assert album.events("blue.png") == ["seen", "gone"]
    moved = album.told("2026/meadow.png")
    assert [(event.what.value, event.moved_from is not None) for event in moved.events] == [
        ("seen", False),
        ("moved", False),
        ("seen", True),
    ]
    assert len(album.told("yellow.png").lies_at) == 2

    album.put("red.png", content(0), like=kept["red.png"])
    album.put("blue.png", content(2), like=kept["blue.png"])
    restored = album.index()
    assert (restored.gone, restored.moved, restored.returned) == (0, 0, 2)
    assert (restored.bytes_read, restored.problems) == (0, ())
    shown = album.shown()
    assert shown["red.png"] == asset_id(content(0))
    assert shown["blue.png"] == asset_id(content(2))
    assert asset_id(new) not in shown.values()
    assert album.events("red.png") == ["seen", "replaced", "returned"]
    assert album.events("blue.png") == ["seen", "gone", "returned"]
    again = album.index()
    assert (again.gone, again.returned, again.snapshot_id) == (0, 0, restored.snapshot_id)
    assert album.balanced()


def test_an_unmounted_folder_does_not_empty_the_search(
    album: Album, capsys: pytest.CaptureFixture[str]
) -> None:
    before = album.shown()
    for path in album.folder.iterdir():
        path.unlink()
    assert album.command("index", str(album.folder), "--json") == 1
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["listed"], summary["gone"], len(summary["problems"])) == (0, 0, 1)
    assert "--accept-gone" in said.err
    assert album.shown() == before
    assert album.command("index", str(album.folder), "--json", "--accept-gone") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["gone"], summary["problems"]) == (6, [])
    assert album.shown() == {}
    assert album.events("red.png") == ["seen", "gone"]


def test_a_source_that_is_deleted_leaves_the_search_when_that_is_agreed_to(
    album: Album, capsys: pytest.CaptureFixture[str]
) -> None:
    away = album.folder.rename(album.folder.with_name("away"))
    try:
        assert album.command("index", str(album.folder), "--json") == 1
        assert "no such file or folder" in capsys.readouterr().err
        assert album.command("index", str(album.folder), "--json", "--accept-gone") == 0
    finally:
        away.rename(album.folder)
    assert json.loads(capsys.readouterr().out)["gone"] == 6
    assert album.shown() == {}


def test_bytes_that_change_under_an_old_date_are_found_by_reading(album: Album) -> None:
    former = (album.folder / "white.png").stat()
    other = picture("black", 0).ljust(len(content(5)), b"\0")
    album.put("white.png", other, like=former)
    assert album.index().problems == ()  # its size and date say that it is the same
    found = album.index(VERIFY)
    assert (found.verified, found.disagreements, found.committed) == (6, 1, 1)
    assert found.bytes_verified == sum(len(content(n)) for n in range(6))
    assert "white.png has the size and date on record, but other bytes" in found.problems[0]
    assert album.shown()["white.png"] == asset_id(other)
    assert album.events("white.png") == ["seen", "altered", "seen"]

    album.put("white.png", content(5), like=former)
    mended = album.index(VERIFY)
    assert (mended.disagreements, mended.committed, mended.images_through_models) == (1, 1, 0)
    assert album.shown()["white.png"] == asset_id(content(5))
    assert album.index(VERIFY).problems == ()
    assert album.events("white.png") == ["seen", "altered", "seen", "altered"]
    assert album.balanced()
    for path in album.profile.home.glob("ledger.sqlite3*"):
        path.unlink()
    assert album.command("ledger", "rebuild") == 0
    assert album.balanced()


def test_what_cannot_be_read_is_named_and_stays(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails under one file."""
    read = os.read

    def failing(handle: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{handle}").endswith("blue.png"):
            raise OSError(5, "Input/output error")
        return read(handle, size)

    monkeypatch.setattr(os, "read", failing)
    found = album.index(VERIFY)
    assert (found.verified, found.disagreements) == (6, 0)
    assert len(found.problems) == 1
    assert "blue.png: Input/output error" in found.problems[0]
    assert "blue.png" in album.shown()
