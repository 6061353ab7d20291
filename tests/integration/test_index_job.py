"""One index run after another on tiny images and the fake models, through the real Ray pipeline."""

from __future__ import annotations

import io
import time
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from ecm.config import Profile, load_profile
from ecm.errors import LeaseLost
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from jobs.index import IndexSummary, run_index

pytestmark = pytest.mark.usefixtures("ray_session")

FAKES = ("models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text")
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 210),
    "yellow": (235, 220, 50),
}
Index = Callable[..., IndexSummary]


def picture(colour: tuple[int, int, int], shade: int) -> bytes:
    """A PNG of one colour with a darker band, so that equal colours are different assets."""
    image = Image.new("RGB", (48, 40), colour)
    image.paste((shade, shade, shade), (0, 0, 48, 1 + shade % 7))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve good images of four colours, one that is none, and one file that is not meant to be."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (name, colour) in enumerate([*COLOURS.items()] * 3):
        (folder / f"{name}-{number}.png").write_bytes(picture(colour, number))
    (folder / "broken.jpg").write_bytes(b"no image at all")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    settings = (*FAKES, "pipeline.block_images=5", "pipeline.commit_seconds=0.2")
    return load_profile(
        "L1", home=tmp_path / "home", overrides=settings, environ={"PATH": os.environ["PATH"]}
    )


@pytest.fixture
def index(profile: Profile) -> Index:
    def run(folder: Path, tenant: str = "t", using: Profile = profile) -> IndexSummary:
        return run_index(using, (str(folder),), tenant, Console(file=io.StringIO()))

    return run


def rows(profile: Profile, query: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = EvidenceStore.open(profile.evidence).sql(query).to_pylist()
    return found


def test_every_file_is_accounted_for_and_every_statement_stored(
    photos: Path, index: Index, profile: Profile
) -> None:
    summary = index(photos)
    assert (summary.listed, summary.committed, summary.dead, summary.filtered) == (14, 12, 1, 1)
    assert (summary.reused, summary.pending, summary.problems) == (0, 0, ())
    assert summary.images_through_models == 12
    assert summary.bytes_read == sum(
        p.stat().st_size for p in photos.iterdir() if p.suffix != ".txt"
    )
    assert rows(profile, "SELECT count(*) AS n FROM assets") == [{"n": 12}]
    captions = rows(
        profile, "SELECT DISTINCT run_id FROM evidence_text WHERE kind = 'caption' AND composed"
    )
    assert captions == [{"run_id": summary.run_id}]
    spaces = rows(
        profile, "SELECT space, count(*) AS n FROM evidence_vectors GROUP BY space ORDER BY space"
    )
    assert spaces == [{"space": s, "n": 12} for s in ("mv", "vv", "x")]


def test_a_bad_image_is_a_dead_letter_with_its_cause(
    photos: Path, index: Index, profile: Profile
) -> None:
    index(photos)
    with open_ledger(profile.ledger) as ledger:
        letters = ledger.dead_letters(limit=10, tenant_id="t")
    assert {letter.uri.rsplit("/", 1)[1] for letter in letters} == {"broken.jpg"}
    assert {(e.error.stage, e.error.error_class.value) for e in letters} == {("decode", "input")}


def test_the_second_run_reads_no_image_and_asks_no_model(photos: Path, index: Index) -> None:
    first, second = index(photos), index(photos)
    assert (second.committed, second.reused, second.dead) == (0, 12, 1)
    assert (second.bytes_read, second.images_through_models) == (0, 0)
    assert second.snapshot_id == first.snapshot_id
    assert second.key_digest == first.key_digest


def test_the_same_bytes_elsewhere_are_linked_not_analysed(
    photos: Path, index: Index, profile: Profile
) -> None:
    index(photos)
    shutil.copy(photos / "red-0.png", photos / "copy of red.png")
    again = index(photos)
    assert (again.committed, again.reused, again.images_through_models) == (1, 12, 0)
    places = rows(
        profile, "SELECT asset_id, count(*) AS n FROM asset_versions GROUP BY asset_id HAVING n > 1"
    )
    assert [place["n"] for place in places] == [2]
    assert rows(profile, "SELECT count(*) AS n FROM assets") == [{"n": 12}]


def test_twins_inside_one_run_are_analysed_once(photos: Path, index: Index) -> None:
    for number in range(6):
        shutil.copy(photos / "blue-2.png", photos / f"twin-{number}.png")
    summary = index(photos)
    assert (summary.committed, summary.images_through_models, summary.pending) == (18, 12, 0)


def test_changed_content_keeps_the_old_asset(photos: Path, index: Index, profile: Profile) -> None:
    index(photos)
    (photos / "red-0.png").write_bytes(picture((1, 2, 3), 99))
    summary = index(photos)
    assert (summary.committed, summary.reused) == (1, 11)
    assert rows(profile, "SELECT count(*) AS n FROM assets") == [{"n": 13}]
    versions = rows(
        profile,
        "SELECT count(DISTINCT asset_id) AS n FROM asset_versions WHERE uri LIKE '%/red-0.png'",
    )
    assert versions == [{"n": 2}]


def test_a_new_text_model_reuses_the_stored_captions(
    photos: Path, index: Index, profile: Profile, tmp_path: Path
) -> None:
    index(photos)
    folder = tmp_path / "models"
    shutil.copytree(profile.models_folder, folder)
    manifest = folder / "fake-text.yaml"
    manifest.write_text(manifest.read_text().replace('revision: "1"', 'revision: "2"'))
    newer = profile.model_copy(update={"models_folder": folder})
    summary = index(photos, using=newer)
    assert (summary.committed, summary.images_through_models) == (12, 0)
    meanings = rows(
        profile,
        "SELECT transform, count(*) AS n FROM evidence_vectors WHERE space = 'mv' GROUP BY 1",
    )
    assert [row["n"] for row in meanings] == [12, 12]


def test_tenants_share_nothing(photos: Path, index: Index, profile: Profile) -> None:
    index(photos)
    other = index(photos, tenant="other")
    assert (other.committed, other.images_through_models, other.reused) == (12, 12, 0)
    ref = SnapshotStore(EvidenceStore.open(profile.evidence)).published()
    assert ref is not None
    assert ref.tenants == {"other": 12, "t": 12}


def test_a_second_committer_refuses_to_start(photos: Path, index: Index, profile: Profile) -> None:
    with open_ledger(profile.ledger) as ledger:
        import time

        ledger.acquire_right(
            f"committer:{profile.evidence.uri}", "another-machine/1/1/x", 60, time.time()
        )
    with pytest.raises(LeaseLost, match="another run is committing"):
        index(photos)
