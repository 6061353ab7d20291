"""Words that are read in pictures: from the file to envelopes, rows of evidence and meanings."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.contracts.result import (
    Box,
    EnvelopeStatus,
    LabelStatement,
    Outputs,
    ResultEnvelope,
    TextStatement,
)
from ecm.contracts.task import TaskType
from ecm.evidence.codec import tables_of
from ecm.evidence.row_checks import RowFault, check_rows
from ecm.evidence.schema import EVIDENCE_REGIONS, EVIDENCE_TEXT, SIDES
from ecm.images.limits import ImageLimits
from ecm.models.base import ImageOutputs, Pixels
from ecm.models.manifest import load_manifest
from ecm.models.meaning import meaning_text, with_read
from ecm.stages.analyse import BatchSettings, ImageModelStage
from ecm.stages.assembly import SEAL, ImagePart, StageSettings, image_parts, open_part, open_prepare
from ecm.stages.columns import CLAIM_SCHEMA
from ecm.stages.plan import plan_transforms
from ecm.stages.prepare import Admission, AdmitDecision, AdmitRequest, admit_everything
from tests.evidence_envelopes import OCR, envelope

MODELS = Path(__file__).resolve().parents[2] / "conf" / "models"
IMAGE, TEXT, READER = (
    load_manifest(name, [MODELS]) for name in ("fake-image", "fake-text", "fake-ocr")
)
PLAN = plan_transforms({TaskType.VISION: IMAGE, TaskType.OCR: READER, TaskType.MV_EMBED: TEXT})
SETTINGS = StageSettings(
    plan=PLAN, limits=ImageLimits(), run_id="run", batch_size=4, threads=1, scratch=None
)

share = st.floats(0, 1)
box = st.builds(
    lambda xs, ys: Box(left=min(xs), top=min(ys), right=max(xs), bottom=max(ys)),
    st.tuples(share, share),
    st.tuples(share, share),
)
read_line = st.builds(
    TextStatement, text=st.text(max_size=20), confidence=st.none() | share, box=st.none() | box
)


class Illiterate:
    """A reader that fails on every picture."""

    manifest = READER

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        raise AssertionError(f"asked to read {pixels.shape} for {sorted(wanted)}")


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """A tall picture: its upper half is red, the lower one blue."""
    image = Image.new("RGB", (90, 160), (220, 40, 40))
    image.paste((40, 70, 210), (0, 80, 90, 160))
    image.save(tmp_path / "sign.png")
    return tmp_path / "sign.png"


def claim(file: Path) -> pa.Table:
    stat = file.stat()
    identity = ContentIdentity(uri=path_uri(file), size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    tasks = [
        {
            "task_id": f"{place:064x}",
            "task_type": kind.value,
            "transform": transform.fingerprint,
            "attempt": 1,
            "fence": 7,
        }
        for place, (kind, transform) in enumerate(PLAN.by_type.items())
    ]
    row = identity.model_dump() | {"resource_key": identity.key(), "tenant_id": "t", "tasks": tasks}
    return pa.Table.from_pylist([row], schema=CLAIM_SCHEMA)


def known(*done: TaskType, text: str | None = None, read: str | None = "") -> Admission:
    """An admission for which tasks of these types have been done before."""

    def admit(requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        return [
            AdmitDecision(frozenset(t for t, kind, _ in r.tasks if kind in done), text, read)
            for r in requests
        ]

    return admit


def analysed(
    file: Path, admission: Admission = admit_everything, reader: Illiterate | None = None
) -> dict[str, ResultEnvelope]:
    """What the stages of the plan say of a file, by task type."""
    with open_prepare(SETTINGS, admission) as prepare:
        table = prepare(claim(file))
    for part in image_parts(PLAN):
        assert isinstance(part, ImagePart)
        if reader is not None and part.manifest == READER:
            table = ImageModelStage(reader, part.kinds, BatchSettings(4))(table)
            continue
        for stage in open_part(part, SETTINGS, "worker"):
            table = stage(table)
    for stage in open_part(SEAL, SETTINGS, "worker"):
        table = stage(table)
    raw = [ResultEnvelope.model_validate_json(each) for each in table["envelope"].to_pylist()]
    return {each.task_type: each for each in raw}


def meaning(envelopes: dict[str, ResultEnvelope]) -> bytes:
    (vector,) = envelopes["mv_embed"].outputs.vectors
    return vector.data


def edges(line: TextStatement) -> tuple[float, ...]:
    assert line.box is not None
    return tuple(line.box.model_dump().values())


def test_words_are_sealed_with_their_places_in_the_upright_picture(sign: Path) -> None:
    said = analysed(sign)["ocr"].outputs.ocr
    assert [line.text for line in said] == ["SIGN RED", "SIGN BLUE"]
    assert edges(said[0]) == pytest.approx((0.0, 0.0, 1.0, 0.5), abs=0.01)
    assert edges(said[1]) == pytest.approx((0.0, 0.5, 1.0, 1.0), abs=0.01)


@pytest.mark.parametrize(
    ("size", "place"), [((3200, 100), (0.25, 0, 0.75, 1)), ((20, 800), (0, 0.3, 1, 0.7))]
)
def test_a_strip_is_read_in_its_middle_and_says_where_that_is(
    tmp_path: Path, size: tuple[int, int], place: tuple[float, ...]
) -> None:
    Image.new("RGB", size, (220, 40, 40)).save(tmp_path / "strip.png")
    (line,) = analysed(tmp_path / "strip.png")["ocr"].outputs.ocr
    assert edges(line) == pytest.approx(place, abs=0.01)


def test_a_picture_turned_by_its_camera_is_read_upright(sign: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown upright it is rotated by 90 degrees
    with Image.open(sign) as upright:
        upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    said = analysed(tmp_path / "turned.png")["ocr"].outputs.ocr
    assert [line.text for line in said] == ["SIGN RED", "SIGN BLUE"]


def test_a_picture_without_words_leaves_an_empty_line_of_evidence(tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), (245, 245, 245)).save(tmp_path / "paper.png")
    said = analysed(tmp_path / "paper.png")["ocr"]
    assert (said.status, said.outputs.ocr) == (EnvelopeStatus.SUCCESS, ())
    tables = tables_of([said], "b1")
    assert tables[EVIDENCE_TEXT].select(["kind", "text"]).to_pylist() == [
        {"kind": "ocr", "text": ""}
    ]
    assert EVIDENCE_REGIONS not in tables


def test_a_reader_that_fails_takes_the_meaning_along_and_nothing_else(sign: Path) -> None:
    envelopes = analysed(sign, reader=Illiterate())
    failed = {kind for kind, each in envelopes.items() if each.status is EnvelopeStatus.FAILED}
    assert failed == {"ocr", "mv_embed"}
    assert envelopes["vision"].outputs.tags


def test_meaning_is_the_same_whatever_was_known_before(sign: Path) -> None:
    whole = analysed(sign)
    vision = whole["vision"].outputs
    text = meaning_text(vision.caption, vision.tags, vision.classification, ())
    read = " ".join(line.text for line in whole["ocr"].outputs.ocr)
    seen, looked = TaskType.VISION, TaskType.OCR
    later = [
        analysed(sign, known(seen, text=text, read=None)),
        analysed(sign, known(looked, read=read), Illiterate()),
        analysed(sign, known(seen, looked, text=text, read=read), Illiterate()),
        analysed(sign, known(seen, looked, text=text, read=None)),
    ]
    assert {meaning(each) for each in later} == {meaning(whole)}
    without = analysed(sign, known(seen, looked, text=text, read=""), Illiterate())
    assert meaning(without) != meaning(whole)


@settings(deadline=None)
@given(
    st.lists(st.builds(LabelStatement, label=st.text(min_size=1, max_size=9)), max_size=4),
    st.lists(st.text(min_size=1, max_size=200), max_size=5),
)
def test_words_may_be_added_to_a_text_later(tags: list[LabelStatement], read: list[str]) -> None:
    lines = tuple(TextStatement(text=line) for line in read)
    whole = meaning_text(None, tuple(tags), (), lines)
    assert with_read(meaning_text(None, tuple(tags), (), ()), read) == whole


@settings(deadline=None)
@given(st.lists(read_line, max_size=8))
def test_every_stored_line_with_a_box_has_a_region_under_its_own_id(
    lines: list[TextStatement],
) -> None:
    said = envelope("a", "ocr", OCR, outputs=Outputs(ocr=tuple(lines)))
    tables = tables_of(
        [ResultEnvelope.model_validate_json(said.model_dump_json(by_alias=True))], "b"
    )
    ids = tables[EVIDENCE_TEXT]["evidence_id"].to_pylist()
    places = dict(zip(ids, tables[EVIDENCE_TEXT]["ordinal"].to_pylist(), strict=True))
    regions = tables.get(EVIDENCE_REGIONS)
    rows = [] if regions is None else regions.to_pylist()
    for row in rows:
        line = lines[places[row["evidence_id"]]]
        assert line.box == Box(**{side: row[side] for side in SIDES})
    texts = tables[EVIDENCE_TEXT].to_pylist()
    spoken = [row["evidence_id"] for row in texts if row["text"] and lines[row["ordinal"]].box]
    assert [row["evidence_id"] for row in rows] == spoken
    for batch in itertools.chain.from_iterable(table.to_batches() for table in tables.values()):
        name = EVIDENCE_REGIONS if "left" in batch.schema.names else None
        assert name is None or not check_rows(name, batch).by_kind


@pytest.mark.parametrize(
    "edges", [(0.5, 0.1, 0.4, 0.2), (-0.1, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 1.5), (0, 0.3, 1, 0.2)]
)
def test_a_region_that_is_no_box_is_a_fault(edges: tuple[float, float, float, float]) -> None:
    line = TextStatement(text="STOP", box=Box(left=0.1, top=0.1, right=0.2, bottom=0.2))
    rows = tables_of([envelope("a", "ocr", OCR, outputs=Outputs(ocr=(line,)))], "b")
    table = rows[EVIDENCE_REGIONS]
    for side, value in zip(SIDES, edges, strict=True):
        place = table.schema.get_field_index(side)
        table = table.set_column(place, table.schema.field(side), pa.array([float(value)]))
    assert set(check_rows(EVIDENCE_REGIONS, table.to_batches()[0]).by_kind) == {RowFault.VALUE}
