"""From one home to another: nothing is computed again, and every question has the same answer."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ecm.config import Profile
from jobs.cli import run as ecm
from jobs.index import IndexSummary, run_index
from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery

PICTURES = gallery(2)
QUESTIONS = ("red", "a photo of something blue", "bright and dark")


def put(folder: Path, pictures: dict[str, bytes]) -> Path:
    """Pictures as the factory says it saw them: changed one nanosecond after the epoch."""
    folder.mkdir(parents=True)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, ns=(1, 1))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("disk") / "photos", PICTURES)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Profile:
    """A home with everything said about the photos, a ledger that knows it, and a snapshot."""
    profile = fake_profile(tmp_path_factory.mktemp("a"))
    indexer = Indexer(profile)
    indexer.add({f"file://{photos}/{name}": data for name, data in PICTURES.items()})
    assert run(profile, "ledger", "rebuild")[0] == 0
    index(profile, photos)
    return profile


@pytest.fixture(scope="module", params=["lance", "parquet"])
def bundle(
    request: pytest.FixtureRequest, home: Profile, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    dest = tmp_path_factory.mktemp("bundles") / "bundle"
    code, said = run(home, "export", str(dest), "--format", request.param)
    assert code == 0
    assert said["tenants"] == {"t": len(PICTURES)}
    return dest


@pytest.fixture
def other(tmp_path: Path) -> Profile:
    return fake_profile(tmp_path / "b")


def run(profile: Profile, *words: str) -> tuple[int, dict[str, Any]]:
    """A command on a home: its exit code and its JSON."""
    out = io.StringIO()
    sets = [part for setting in FAKE_MODELS for part in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        code = ecm([*words, "--home", str(profile.home), *sets, "--json"])
    return code, json.loads(out.getvalue() or "{}")


def index(profile: Profile, photos: Path) -> IndexSummary:
    return run_index(profile, (str(photos),), "t", Console(file=io.StringIO()))


def answers(profile: Profile, moved: tuple[str, str] = ("", "")) -> list[Any]:
    """Hits of every question, without what names a snapshot; places as if they had not moved."""
    found = []
    for question in QUESTIONS:
        code, said = run(profile, "search", question)
        assert code == 0
        for hit in said["hits"]:
            uris = [uri.replace(*moved) for uri in hit["uris"]]
            found.append((hit["rank"], hit["asset_id"], hit["score"], uris, hit["axes"]))
    return found


def test_at_the_same_place_nothing_is_computed_and_every_answer_is_the_same(
    home: Profile, bundle: Path, other: Profile, photos: Path
) -> None:
    code, said = run(other, "import", str(bundle))
    assert code == 0
    assert said["problems"] == []
    assert said["added"] == said["rows"]
    again, first = index(other, photos), index(home, photos)
    assert (again.images_through_models, again.bytes_read) == (0, 0)
    assert (again.reused, again.problems) == (len(PICTURES), ())
    assert again.key_digest == first.key_digest
    assert run(other, "audit")[0] == 0
    assert run(other, "audit", "--all")[0] == 0
    assert answers(other) == answers(home)


def test_at_another_place_and_under_other_names_the_files_are_found_by_content(
    home: Profile, bundle: Path, other: Profile, photos: Path, tmp_path: Path
) -> None:
    renamed = {f"{number:03d}.png": PICTURES[name] for number, name in enumerate(PICTURES)}
    moved = put(tmp_path / "elsewhere", renamed)
    code, said = run(other, "import", str(bundle), "--relink", f"/nowhere={moved}")
    assert code == 0
    assert said["relinked"]["t"]["attached"] == len(PICTURES)
    code, said = run(other, "relink", f"{photos}={moved}")
    assert (code, said["attached"], said["read"]) == (0, 0, 0)
    again = index(other, moved)
    assert (again.images_through_models, again.bytes_read) == (0, 0)
    assert (again.reused, again.problems) == (len(PICTURES), ())
    assert again.key_digest == index(home, photos).key_digest
    assert run(other, "audit", "--all")[0] == 0
