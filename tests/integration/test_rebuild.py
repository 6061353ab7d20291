"""The ledger is lost, the store is not: rebuilt, the next run computes and reads nothing."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ecm.config import Profile, load_profile
from ecm.contracts.result import Space
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.states import TaskState
from jobs.cli import run as ecm
from jobs.index import IndexSummary, run_index
from tests.evidence_envelopes import START, embedded

IMAGES = 60
COPIES = 6
SETTINGS = (
    "models.vision=fake-image",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "pipeline.block_images=10",
    "pipeline.commit_envelopes=40",
    "pipeline.commit_seconds=0.2",
)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images, six of them under a second name."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(IMAGES):
        buffer = io.BytesIO()
        Image.new("RGB", (32 + number, 32), (4 * number, 255 - number, 90)).save(buffer, "PNG")
        (folder / f"{number:03d}.png").write_bytes(buffer.getvalue())
    for number in range(COPIES):
        shutil.copyfile(folder / f"{number:03d}.png", folder / f"copy of {number:03d}.png")
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return load_profile("L1", home=tmp_path_factory.mktemp("home"), overrides=SETTINGS, environ={})


def index(profile: Profile, photos: Path) -> IndexSummary:
    return run_index(profile, (str(photos),), "t", Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def clean(ray_session: None, profile: Profile, photos: Path) -> IndexSummary:
    """The run whose ledger is lost afterwards, with a copy made of it before."""
    summary = index(profile, photos)
    assert summary.committed == IMAGES + COPIES
    assert summary.images_through_models == IMAGES
    return summary


@pytest.fixture
def home(clean: IndexSummary, profile: Profile, tmp_path: Path) -> Profile:
    """The indexed home without its ledger."""
    shutil.copytree(profile.home, tmp_path / "home")
    for file in (tmp_path / "home").glob("ledger.sqlite3*"):
        file.unlink()
    return load_profile("L1", home=tmp_path / "home", overrides=SETTINGS, environ={})


def command(home: Profile, *words: str) -> list[str]:
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return [*words, "--home", str(home.home), *sets, "--json"]


def test_after_a_rebuild_nothing_is_read_or_computed_and_the_books_agree(
    clean: IndexSummary, home: Profile, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = EvidenceStore.open(home.evidence).counts()
    assert ecm(command(home, "ledger", "rebuild")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["resources"], said["tasks"]) == (IMAGES + COPIES, 4 * (IMAGES + COPIES))
    again = index(home, photos)
    assert (again.bytes_read, again.images_through_models) == (0, 0)
    assert (again.reused, again.committed, again.pending) == (IMAGES + COPIES, 0, 0)
    assert again.key_digest == clean.key_digest
    assert again.problems == ()
    after = EvidenceStore.open(home.evidence).counts()
    assert {name: n for name, n in after.items() if name != "analysis_runs"} == {
        name: n for name, n in rows.items() if name != "analysis_runs"
    }
    assert ecm(command(home, "audit", "--all", "--tenant", "t")) == 0
    assert json.loads(capsys.readouterr().out)["evidence_keys"] == 4 * IMAGES


def test_a_rebuild_can_be_repeated_until_the_ledger_has_a_life_of_its_own(
    home: Profile, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(command(home, "ledger", "rebuild")) == 0
    assert ecm(command(home, "ledger", "rebuild")) == 0
    capsys.readouterr()
    assert ecm(command(home, "enqueue", str(photos), "--tenant", "t")) == 0
    assert json.loads(capsys.readouterr().out)["reused"] == IMAGES + COPIES
    assert ecm(command(home, "ledger", "rebuild")) == 2
    assert "not empty" in capsys.readouterr().err
    assert ecm(command(home, "ledger", "rebuild", "--into-existing")) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 0


def test_an_old_copy_put_back_learns_what_was_committed_since(
    clean: IndexSummary,
    home: Profile,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The copy was made when everything was still queued."""
    assert ecm(command(home, "enqueue", str(photos), "--tenant", "t")) == 0
    old = tmp_path / "old.db"
    assert ecm(command(home, "ledger", "backup", str(old))) == 0
    for file in home.home.glob("ledger.sqlite3*"):
        file.unlink()
    shutil.copyfile(old, home.home / "ledger.sqlite3")
    capsys.readouterr()
    assert ecm(command(home, "ledger", "rebuild", "--into-existing")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tasks"], said["settled"]) == (0, 4 * (IMAGES + COPIES))
    with open_ledger(home.ledger) as ledger:
        states = ledger.status(ledger.now()).states
    assert states[TaskState.DONE] == 4 * (IMAGES + COPIES)
    again = index(home, photos)
    assert (again.bytes_read, again.images_through_models, again.problems) == (0, 0, ())
    assert again.key_digest == clean.key_digest


def test_evidence_of_a_model_no_longer_in_the_profile_is_restored_as_well(
    clean: IndexSummary, home: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(home, "ledger", "rebuild", "--set", "models.mv=null")
    assert ecm(arguments) == 0
    assert json.loads(capsys.readouterr().out)["tasks"] == 4 * (IMAGES + COPIES)


def test_what_lay_in_the_spool_when_the_ledger_was_lost_is_completed(
    clean: IndexSummary, home: Profile, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a batch: of one image the vector is only in the spool, under a name of its own."""
    store = EvidenceStore.open(home.evidence)
    (name,) = (name for name in store.tables() if name.startswith("evidence_vectors_vv"))
    table = store.dataset(name)
    row = table.to_table(limit=1).to_pylist()[0]
    table.delete(f"evidence_id = '{row['evidence_id']}'")
    vector = np.array(row["vector"], dtype=np.float32)
    spooled = embedded(
        "spooled", Space.VV, row["transform"], tenant="t", content=row["asset_id"], vector=vector
    )
    Spool(home.spool).write("lost-000001", [spooled], START)
    assert ecm(command(home, "ledger", "rebuild")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["spooled"], said["resources"]) == (1, IMAGES + COPIES + 1)
    assert said["tasks"] == 4 * (IMAGES + COPIES + 1)
    assert said["problems"] == []
    assert Spool(home.spool).list() == ()
