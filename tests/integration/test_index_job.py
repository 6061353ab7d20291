"""One index run after another on tiny images and the fake models, through the real Ray pipeline."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ecm.config import Profile, load_profile
from ecm.delivery.tenure import commit_right
from ecm.errors import LeaseLost, ManifestMismatch
from ecm.evidence.runs import RunState, runs_of
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.ledger.states import TaskState
from ecm.opening import plan_of
from jobs.enqueue import EnqueueRequest, ListingProgress, enqueue
from jobs.index import IndexSummary, run_index

FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 210),
    "yellow": (235, 220, 50),
}


def picture(colour: tuple[int, int, int], shade: int) -> bytes:
    """A PNG of one colour with a darker band, so that equal colours are different assets."""
    image = Image.new("RGB", (48, 40), colour)
    image.paste((shade, shade, shade), (0, 0, 48, 1 + shade % 7))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve good images of four colours, one that is none, and one file not meant to be."""
    folder = tmp_path_factory.mktemp("photos")
    for number, (name, colour) in enumerate([*COLOURS.items()] * 3):
        (folder / f"{name}-{number}.png").write_bytes(picture(colour, number))
    (folder / "broken.jpg").write_bytes(b"no image at all")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    settings = (*FAKES, "pipeline.block_images=5", "pipeline.commit_seconds=0.2")
    home = tmp_path_factory.mktemp("home")
    return load_profile("L1", home=home, overrides=settings, environ={})


def index(profile: Profile, folder: Path, tenant: str = "t") -> IndexSummary:
    return run_index(profile, (str(folder),), tenant, Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def first(ray_session: None, profile: Profile, photos: Path) -> IndexSummary:
    """The run that every other test of this module builds on."""
    return index(profile, photos)


@pytest.fixture
def copy(first: IndexSummary, profile: Profile, tmp_path: Path) -> Profile:
    """The indexed home, to be changed at will."""
    shutil.copytree(profile.home, tmp_path / "home")
    overrides = (*FAKES, "pipeline.block_images=5", "pipeline.commit_seconds=0.2")
    return load_profile("L1", home=tmp_path / "home", overrides=overrides, environ={})


def rows(profile: Profile, query: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = EvidenceStore.open(profile.evidence).sql(query).to_pylist()
    return found


def test_every_file_is_accounted_for_and_every_statement_stored(
    first: IndexSummary, photos: Path, profile: Profile
) -> None:
    assert (first.listed, first.committed, first.dead, first.filtered) == (14, 12, 1, 1)
    assert (first.reused, first.pending, first.problems) == (0, 0, ())
    assert first.images_through_models == 12
    assert first.bytes_read == sum(
        path.stat().st_size for path in photos.iterdir() if path.suffix != ".txt"
    )
    assert rows(profile, "SELECT count(*) AS n FROM assets") == [{"n": 12}]
    captions = rows(
        profile, "SELECT DISTINCT run_id FROM evidence_text WHERE kind = 'caption' AND composed"
    )
    assert captions == [{"run_id": first.run_id}]
    spaces = rows(
        profile, "SELECT space, count(*) AS n FROM evidence_vectors GROUP BY space ORDER BY space"
    )
    assert spaces == [{"space": space, "n": 12} for space in ("mv", "vv", "x")]


def test_a_bad_image_is_a_dead_letter_with_its_cause(first: IndexSummary, profile: Profile) -> None:
    with open_ledger(profile.ledger) as ledger:
        letters = ledger.dead_letters(limit=10, tenant_id="t")
    assert {letter.uri.rsplit("/", 1)[1] for letter in letters} == {"broken.jpg"}
    assert {(e.error.stage, e.error.error_class.value) for e in letters} == {("decode", "input")}


def test_the_second_run_reads_no_image_and_asks_no_model(
    first: IndexSummary, copy: Profile, photos: Path
) -> None:
    second = index(copy, photos)
    assert (second.committed, second.reused, second.dead) == (0, 12, 1)
    assert (second.bytes_read, second.images_through_models) == (0, 0)
    assert second.snapshot_id == first.snapshot_id
    assert second.key_digest == first.key_digest


def test_copies_twins_and_changed_content(copy: Profile, photos: Path, tmp_path: Path) -> None:
    """Known bytes elsewhere are linked, twins are analysed once, changed content is a new asset."""
    more = tmp_path / "more"
    more.mkdir()
    shutil.copy(photos / "red-0.png", more / "copy of red.png")
    for number in range(6):
        (more / f"twin-{number}.png").write_bytes(picture((9, 9, 9), 77))
    before = (photos / "green-1.png").stat()
    original = (photos / "green-1.png").read_bytes()
    (photos / "green-1.png").write_bytes(picture((1, 2, 3), 99))
    try:
        summary = run_index(copy, (str(more), str(photos)), "t", Console(file=io.StringIO()))
    finally:
        (photos / "green-1.png").write_bytes(original)
        os.utime(photos / "green-1.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (summary.committed, summary.reused, summary.pending) == (8, 11, 0)
    assert summary.images_through_models == 2
    assert rows(copy, "SELECT count(*) AS n FROM assets") == [{"n": 14}]
    places = rows(
        copy,
        "SELECT count(DISTINCT uri) AS n FROM asset_versions GROUP BY asset_id "
        "HAVING n > 1 ORDER BY n",
    )
    assert [place["n"] for place in places] == [2, 6]
    contents = (
        "SELECT count(DISTINCT asset_id) AS n FROM asset_versions WHERE uri LIKE '%/green-1%'"
    )
    assert rows(copy, contents) == [{"n": 2}]


def test_a_new_text_model_reuses_the_stored_captions(
    copy: Profile, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(copy.models_folder, folder)
    manifest = folder / "fake-text.yaml"
    manifest.write_text(manifest.read_text().replace('revision: "1"', 'revision: "2"'))
    summary = index(copy.model_copy(update={"models_folder": folder}), photos)
    assert (summary.committed, summary.images_through_models) == (12, 0)
    meanings = rows(
        copy,
        "SELECT transform, count(*) AS n FROM evidence_vectors WHERE space = 'mv' GROUP BY 1",
    )
    assert [row["n"] for row in meanings] == [12, 12]


def test_tenants_share_nothing(copy: Profile, photos: Path) -> None:
    other = index(copy, photos, tenant="other")
    assert (other.committed, other.images_through_models, other.reused) == (12, 12, 0)
    ref = SnapshotStore(EvidenceStore.open(copy.evidence)).published()
    assert ref is not None
    assert ref.tenants == {"other": 12, "t": 12}


def test_a_snapshot_beyond_a_limit_is_a_problem_of_the_run_and_not_published(
    copy: Profile, photos: Path
) -> None:
    limit = 'snapshots.limits.min_coverage={"mv": 0.9}'
    overrides = (*FAKES, "models.mv=null", limit)
    limited = load_profile("L1", home=copy.home, overrides=overrides, environ={})
    published = SnapshotStore(EvidenceStore.open(copy.evidence)).published()
    again = index(limited, photos)
    assert (again.reused, again.snapshot_id) == (12, None)
    assert any("mv covers 0.0% of the assets" in problem for problem in again.problems)
    store = EvidenceStore.open(copy.evidence)
    assert SnapshotStore(store).published() == published
    assert runs_of(store)[0].state is RunState.FINISHED


def test_a_second_committer_refuses_to_start(copy: Profile, photos: Path) -> None:
    right = commit_right(EvidenceStore.open(copy.evidence))
    with open_ledger(copy.ledger) as ledger:
        ledger.acquire_right(right, "another-machine/1/1/x", 60, time.time())
    with pytest.raises(LeaseLost, match="another run is committing"):
        index(copy, photos)


def test_wrong_weights_block_their_tasks_and_write_nothing(
    copy: Profile, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(copy.models_folder, folder)
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"not these")
    with (folder / "fake-image.yaml").open("a") as manifest:
        manifest.write(
            f"files: [{{name: weights, path: {weights}, sha256: {'f' * 64}, bytes: 9}}]\n"
        )
    before = EvidenceStore.open(copy.evidence).counts()
    runs = before.pop("analysis_runs")
    wrong = copy.model_copy(update={"models_folder": folder})
    with open_ledger(copy.ledger) as ledger:
        theirs = EnqueueRequest(tenant_id="other", sources=(str(photos),), plan=plan_of(wrong))
        enqueue(ledger, theirs, ListingProgress(), threading.Event())
    with pytest.raises(ManifestMismatch, match="weights"):
        index(wrong, photos)
    with open_ledger(copy.ledger) as ledger:
        blocked = ledger.status(time.time(), "t").states[TaskState.MODEL_MISMATCH]
        assert not ledger.status(time.time(), "other").states[TaskState.MODEL_MISMATCH]
    assert blocked == 2 * 13
    store = EvidenceStore.open(copy.evidence)
    after = store.counts()
    assert after.pop("analysis_runs") == runs + 2
    assert after == before
    assert runs_of(store)[0].state is RunState.FAILED
