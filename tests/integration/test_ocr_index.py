"""Words in pictures from the file to the answer: indexed through Ray, found, proven, handed on."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from ecm.config import Profile
from ecm.contracts.identity import path_uri
from ecm.contracts.search import Axis, SearchRequest
from ecm.contracts.task import TaskType
from ecm.delivery.affected import affected_by
from ecm.delivery.audit import audit_job
from ecm.delivery.exporting import export_bundle
from ecm.evidence.examination import examine
from ecm.evidence.examiners import Here
from ecm.evidence.history import asset_at, asset_history
from ecm.evidence.provenance import provenance
from ecm.evidence.schema import EVIDENCE_REGIONS, is_vector_table
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger
from ecm.opening import model_notes, open_engine, plan_of
from ecm.search.assets import asset_view
from jobs.index import IndexSummary, run_index
from tests.bundles import imported, quiet, settings_of, store_at
from tests.factories import COLOURS, fake_profile

QUICK = ("pipeline.commit_seconds=0.2",)


def index(profile: Profile, folder: Path) -> IndexSummary:
    return run_index(profile, (str(folder),), "t", Console(file=io.StringIO()))


def found(profile: Profile, text: str) -> list[tuple[str, list[str]]]:
    """Names of the files found by their words alone, each with the words read that were shown."""
    with open_engine(profile) as engine:
        answer = engine.search(SearchRequest(tenant_id="t", text=text, axes=("fts",)))
    return [
        (
            hit.uris[0].rsplit("/", 1)[1],
            [e.text for e in hit.evidence if e.kind == "ocr" and e.text],
        )
        for hit in answer.hits
    ]


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of two colours, one above the other, and a white one."""
    folder = tmp_path_factory.mktemp("signs")
    for upper, lower in (("red", "blue"), ("green", "yellow"), ("white", "white")):
        image = Image.new("RGB", (60, 80), COLOURS[upper])
        image.paste(COLOURS[lower], (0, 40, 60, 80))
        image.save(folder / f"{upper}-{lower}.png")
    return folder


@pytest.fixture(scope="module")
def profile(ray_session: None, signs: Path, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Indexed without a reader first, then with one."""
    home = tmp_path_factory.mktemp("home")
    index(fake_profile(home, *QUICK), signs)
    assert EVIDENCE_REGIONS not in EvidenceStore.open(fake_profile(home).evidence).tables()
    return fake_profile(home, *QUICK, "models.ocr=fake-ocr")


@pytest.fixture(scope="module")
def read(profile: Profile, signs: Path) -> IndexSummary:
    return index(profile, signs)


def test_a_reader_that_is_added_makes_words_and_meanings_and_nothing_again(
    profile: Profile, read: IndexSummary
) -> None:
    assert (read.committed, read.dead, read.problems) == (3, 0, ())
    store = EvidenceStore.open(profile.evidence)
    rows = store.sql(
        "SELECT kind, count(*) AS n, count(DISTINCT run_id) AS runs FROM evidence_text "
        "WHERE kind IN ('caption', 'ocr') GROUP BY kind ORDER BY kind"
    ).to_pylist()
    # two signs on each of two pictures, and the empty line of the white one
    assert rows == [{"kind": "caption", "n": 3, "runs": 1}, {"kind": "ocr", "n": 5, "runs": 1}]
    meanings = [name for name in store.tables() if name.startswith("evidence_vectors_mv")]
    assert [store.counts()[name] for name in meanings] == [3, 3]
    assert all(store.counts()[t] == 3 for t in store.tables() if is_vector_table(t))
    regions = store.sql('SELECT count(*) AS n, min("top"), max(bottom) FROM evidence_regions')
    assert regions.to_pylist()[0]["n"] == 4
    with open_ledger(profile.ledger) as ledger:
        assert not audit_job(ledger, store, read.job_id).problems


def test_words_are_found_and_shown(profile: Profile, read: IndexSummary) -> None:
    name, words = found(profile, "sign yellow")[0]
    assert (name, words) == ("green-yellow.png", ["SIGN YELLOW", "SIGN GREEN"])
    published = SnapshotStore(EvidenceStore.open(profile.evidence)).published()
    assert published is not None
    plan = plan_of(profile).by_type
    preferred = tuple(plan[kind].fingerprint for kind in (TaskType.VISION, TaskType.OCR))
    assert published.transforms[Axis.FTS] == preferred


def test_their_place_is_told_with_every_proof(
    profile: Profile, read: IndexSummary, signs: Path
) -> None:
    store = EvidenceStore.open(profile.evidence)
    asset = asset_at(store, "t", path_uri(signs / "red-blue.png"))
    proof = provenance(store, "t", asset, model_notes(profile))
    assert proof.verified
    told = {p.text: p for p in proof.statements if p.kind == "ocr"}
    assert told["SIGN BLUE"].box is not None
    assert told["SIGN BLUE"].box.top == pytest.approx(0.5, abs=0.02)
    assert told["SIGN BLUE"].run_id == read.run_id
    assert told["SIGN BLUE"].confidence is not None
    (model,) = [m for m in proof.models if m.transform == told["SIGN BLUE"].transform]
    assert model.model is not None
    assert model.model.name == "fake-ocr"
    (reading,) = [a for a in asset_history(store, "t", asset, {}).analyses if a.task_type == "ocr"]
    assert [said.box for said in reading.texts] == [told[s.text].box for s in reading.texts]
    snapshot = SnapshotStore(store).published()
    assert snapshot is not None
    with open_engine(profile) as engine:
        view = asset_view(store, engine.reader, "t", asset)
    assert {said.text: said.box for said in view.evidence if said.kind == "ocr"} == {
        text: each.box for text, each in told.items()
    }


def test_regions_go_into_a_bundle_and_come_out_under_another_tenant(
    profile: Profile, read: IndexSummary, tmp_path: Path
) -> None:
    store = EvidenceStore.open(profile.evidence)
    export_bundle(store, lambda: (), settings_of(), tmp_path / "bundle", time.time(), quiet)
    other = store_at(tmp_path / "other")
    assert imported(tmp_path / "bundle", other, "u")[EVIDENCE_REGIONS] == 4
    query = (
        'SELECT t.text, r."left", r.top FROM evidence_text t JOIN evidence_regions r '
        "USING (evidence_id, evidence_key, tenant_id) ORDER BY ALL"
    )
    assert other.sql(query).to_pylist() == store.sql(query).to_pylist()
    assert other.sql(query).num_rows == 4


def test_lost_regions_are_traced_to_the_readings_they_came_from(
    profile: Profile, read: IndexSummary, tmp_path: Path
) -> None:
    shutil.copytree(profile.home, tmp_path / "home")
    copy = fake_profile(tmp_path / "home", *QUICK, "models.ocr=fake-ocr")
    store = EvidenceStore.open(copy.evidence)
    for data in (copy.home / "store/tables" / f"{EVIDENCE_REGIONS}.lance/data").iterdir():
        data.unlink()
    exam = examine(store, Here(store), quiet)
    assert exam.tables[EVIDENCE_REGIONS].lacks_rows
    with open_ledger(copy.ledger) as ledger:
        lost = affected_by(ledger, exam, time.time())
    # all three readings: that one of them found no words cannot be told from the ledger
    assert (lost.count, lost.by_table) == (3, {EVIDENCE_REGIONS: 3})


@pytest.mark.needs("rapidocr")
def test_rapidocr_makes_letters_in_pictures_searchable(ray_session: None, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    font = ImageFont.load_default(size=48)
    for name, words in (("invoice", "INVOICE 2026-0042"), ("street", "NO PARKING"), ("wall", "")):
        image = Image.new("RGB", (640, 240), (235, 235, 230))
        ImageDraw.Draw(image).text((40, 60), words, fill="black", font=font)
        image.save(photos / f"{name}.png")
    profile = fake_profile(tmp_path / "home", *QUICK, "models.ocr=rapidocr")
    assert index(profile, photos).dead == 0
    assert found(profile, "INVOICE 2026")[0] == ("invoice.png", ["INVOICE 2026-0042"])
    assert [name for name, _ in found(profile, "parking")] == ["street.png"]
    store = EvidenceStore.open(profile.evidence)
    asset = asset_at(store, "t", path_uri(photos / "invoice.png"))
    proof = provenance(store, "t", asset, model_notes(profile))
    (said,) = [each for each in proof.statements if each.kind == "ocr"]
    assert proof.verified
    assert said.confidence is not None
    assert said.confidence > 0.9
    assert said.box is not None
    assert said.box.left == pytest.approx(40 / 640, abs=0.03)
