"""Words that stand in files, and hostile ones, through a real run to a search and a history."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ecm.config import Profile, load_profile
from ecm.evidence.history import asset_at
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from ecm.search.assets import asset_view
from jobs.cli import app
from jobs.index import run_index
from tests.written_files import exif, file_of, xmp

FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text")
ENTITY = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + xmp("<dc:title>&a;</dc:title>")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "holidays" / "2021" / "north" / "days"
    folder.mkdir(parents=True)
    block = exif("Swans at dusk", "2021:05:03 10:11:12", "+02:00")
    files = {
        "swans.jpg": file_of(block=block, packet=xmp(), comment="for Ann"),
        "plain.png": file_of("PNG", "green"),
        "hostile.webp": file_of("WEBP", "blue", exif("\x1b[2Jalarm " * 900), ENTITY),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (1_600_000_000, 1_600_000_000))
    return folder


@pytest.fixture(scope="module")
def indexed(ray_session: None, tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Profile:
    home = tmp_path_factory.mktemp("home")
    profile = load_profile("L1", home=home, overrides=FAKES, environ={})
    done = run_index(profile, (str(photos),), "t", Console(file=io.StringIO()))
    assert (done.committed, done.dead) == (3, 0)
    return profile


def test_columns_and_words_come_out_where_they_are_looked_for(
    indexed: Profile, photos: Path
) -> None:
    store = EvidenceStore.open(indexed.evidence)
    ref = published_ref(store)
    assert ref is not None
    reader = SnapshotReader.open(store, ref)
    ids = {name: asset_at(store, "t", (photos / name).as_uri()) for name in os.listdir(photos)}
    columns = ["asset_id", "size", "taken_at", "modified_at", "added_at", "said_at"]
    table = reader.tenant_table("t", [*columns, "agreement", "path", "user"]).to_pylist()
    rows = {row["asset_id"]: row for row in table}
    swans, plain = rows[ids["swans.jpg"]], rows[ids["plain.png"]]
    assert swans["taken_at"] == 1620029472.0
    assert swans["user"].split("\n") == [
        "Swans",
        "Swans at dusk",
        "Two & a half swans",
        "swan",
        "lake",
        "for Ann",
    ]
    assert (plain["taken_at"], plain["user"]) == (None, None)
    for name, asset_id in ids.items():
        row = rows[asset_id]
        assert row["size"] == (photos / name).stat().st_size
        assert row["modified_at"] == 1_600_000_000
        assert row["added_at"] <= row["said_at"]
        assert {"holidays", "2021", "north", "days"} <= set(row["path"].split())
    found = reader.search_text("t", "swan lake", {"user": 1.0}, 5)
    assert [asset_id for asset_id, _ in found] == [ids["swans.jpg"]]
    words = reader.rows("t", [ids["hostile.webp"]])
    assert len(words) == 1
    assert "\x1b" not in rows[ids["hostile.webp"]]["user"]
    assert "passwd" not in json.dumps(rows)
    view = asset_view(store, reader, "t", ids["swans.jpg"])
    assert {said.text for said in view.written} == {
        *swans["user"].split("\n"),
        "2021-05-03T10:11:12+02:00",
    }


def test_the_history_of_an_image_tells_what_stands_in_it(indexed: Profile, photos: Path) -> None:
    asked = ["history", str(photos / "swans.jpg"), "--tenant", "t", "--home", str(indexed.home)]
    asked += [part for each in FAKES for part in ("--set", each)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert "description in the file (exif): Swans at dusk" in done.output
    assert "taken in the file (exif): 2021-05-03T10:11:12+02:00" in done.output
