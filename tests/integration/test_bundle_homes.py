"""From one home to another: nothing is computed again, and every question has the same answer."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ecm.config import Profile
from ecm.delivery.tenure import commit_right
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from jobs.cli import run as ecm
from jobs.index import IndexSummary, run_index
from tests.factories import FAKE_MODELS, START, Indexer, fake_profile, gallery

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


def exported(home: Profile, folder: Path, file_format: str) -> Path:
    code, said = run(home, "export", str(folder / "bundle"), "--format", file_format)
    assert code == 0
    assert said["tenants"] == {"t": len(PICTURES)}
    return folder / "bundle"


@pytest.fixture(scope="module")
def bundle(home: Profile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(home, tmp_path_factory.mktemp("bundles"), "lance")


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


@pytest.mark.parametrize("file_format", ["lance", "parquet"])
def test_at_the_same_place_nothing_is_computed_and_every_answer_is_the_same(
    home: Profile, other: Profile, photos: Path, tmp_path: Path, file_format: str
) -> None:
    bundle = exported(home, tmp_path, file_format)
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


def other_weights(profile: Profile, tmp_path: Path) -> tuple[str, ...]:
    """Settings of a home whose model of the same name does something else to the pixels."""
    folder = shutil.copytree(profile.models_folder, tmp_path / "models")
    manifest = folder / "fake-image.yaml"
    manifest.write_text(manifest.read_text().replace("crop: 32", "crop: 30"))
    return ("--set", f"models_folder={folder}")


def test_evidence_of_another_model_of_the_same_name_is_refused_or_kept_apart(
    home: Profile,
    bundle: Path,
    other: Profile,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sets = other_weights(home, tmp_path)
    code, _ = run(other, "import", str(bundle), *sets)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1
    assert "fake-image (fake-image@1)" in error
    assert "[bundle.fingerprint]" in error
    assert not other.home.exists()
    code, said = run(other, "import", str(bundle), "--keep-apart", *sets)
    assert (code, said["problems"]) == (0, [])
    assert len(said["apart"]) == 3  # its texts, its vectors, and the meaning of its texts
    code, said = run(other, "materialize", *sets)
    assert (code, said["assets"]) == (0, len(PICTURES))
    code, said = run(other, "search", "red", *sets)
    assert {(hit["caption"], *hit["tags"]) for hit in said["hits"]} == {(None,)}
    assert run(other, "materialize")[0] == 0
    assert answers(other) == answers(home)
    for part in other.home.glob("ledger.sqlite3*"):
        part.unlink()
    assert run(other, "ledger", "rebuild", *sets)[0] == 0
    with closing(sqlite3.connect(other.home / "ledger.sqlite3")) as ledger:
        models = {row[0] for row in ledger.execute("SELECT model_spec FROM streams")}
    assert any("fake-image" in model for model in models)
    assert not any("unknown" in model for model in models), "the import has named them"


def test_as_another_tenant_and_beside_the_first(
    home: Profile, bundle: Path, other: Profile, photos: Path
) -> None:
    """Both tenants index the same photos afterwards: nothing is computed for either."""
    assert run(other, "import", str(bundle), "--tenant", "guest")[0] == 0
    code, said = run(other, "import", str(bundle))
    assert (code, said["added"]) == (0, said["rows"])
    for tenant in ("guest", "t"):
        run_ = run_index(other, (str(photos),), tenant, Console(file=io.StringIO()))
        assert (run_.images_through_models, run_.bytes_read, run_.problems) == (0, 0, ())
    assert run(other, "audit", "--all-tenants")[0] == 0
    without_axes = [hit[:4] for hit in answers(other)]  # BM25 counts the words of both tenants
    assert without_axes == [hit[:4] for hit in answers(home)]


def test_a_dry_run_changes_nothing_and_damage_ends_with_1(
    bundle: Path, other: Profile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = run(other, "import", str(bundle), "--dry-run")
    assert (code, said["dry_run"], said["added"]) == (0, True, {})
    assert not other.home.exists()
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "snapshot.json").write_text("{}")
    code, _ = run(other, "import", str(copy))
    assert code == 1
    assert "snapshot.json has 2 bytes instead of" in capsys.readouterr().err
    assert not other.home.exists()


def test_what_a_bundle_says_of_its_models(bundle: Path) -> None:
    tree = json.loads((bundle / "manifest.json").read_text())
    named = {kind: t["model"]["name"] for t in tree["transforms"] for kind in t["task_types"]}
    assert named == {
        "vision": "fake-image",
        "vv_embed": "fake-image",
        "x_embed": "structure",
        "mv_embed": "fake-text",
    }
    assert tree["snapshot_id"].startswith("s-")


def test_an_import_waits_for_nobody_who_commits(
    bundle: Path, other: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    store = EvidenceStore.create(other.evidence, START)
    with open_ledger(other.ledger) as ledger:
        ledger.acquire_right(commit_right(store), "another-machine/1/1/x", 60, ledger.now())
    assert run(other, "import", str(bundle))[0] == 75
    assert "another run is committing" in capsys.readouterr().err
    assert store.counts() == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export", "/tmp/x", "--format", "csv"), "export.format"),
        (("export", "/tmp/x", "--all-tenants", "--tenant", "t"), "export.which"),
        (("export", "/tmp/x", "--tenant", "nobody"), "export.nothing"),
        (("export", "/nowhere/x"), "bundle.parent"),
        (("export", "/tmp"), "bundle.exists"),
        (("import", "/tmp"), "bundle.none"),
        (("relink", "nowhere"), "relink.syntax"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    home: Profile, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, *words)[0] == 2
    assert capsys.readouterr().err.strip().endswith(f"[{said}]")
