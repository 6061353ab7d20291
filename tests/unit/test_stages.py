"""From files to sealed envelopes without Ray: what fails, fails alone and says where."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from ecm.contracts.identity import ContentIdentity, path_uri
from ecm.contracts.result import EnvelopeStatus, ResultEnvelope, Space
from ecm.contracts.task import TaskType
from ecm.errors import ConfigError
from ecm.images.cuts import Cut
from ecm.images.limits import ImageLimits
from ecm.models.base import ImageOutputs, Pixels
from ecm.models.manifest import load_manifest
from ecm.models.registry import open_image_model, open_text_embedder
from ecm.stages.analyse import BatchSettings, ImageModelStage, TextModelStage
from ecm.stages.columns import CLAIM_SCHEMA
from ecm.stages.envelope import EnvelopeStage
from ecm.stages.plan import TransformPlan, plan_transforms
from ecm.stages.prepare import AdmitDecision, AdmitRequest, PrepareSettings, PrepareStage

MODELS = Path(__file__).resolve().parents[2] / "conf" / "models"
IMAGE, TEXT, STRUCTURE = (
    load_manifest(name, [MODELS]) for name in ("fake-image", "fake-text", "structure")
)
KINDS = frozenset({TaskType.VISION, TaskType.VV_EMBED})


def plan() -> TransformPlan:
    return plan_transforms(
        {
            TaskType.VISION: IMAGE,
            TaskType.VV_EMBED: IMAGE,
            TaskType.X_EMBED: STRUCTURE,
            TaskType.MV_EMBED: TEXT,
        }
    )


def claims(files: Sequence[Path]) -> pa.Table:
    """One claimed resource per file, with all four task types."""
    rows = []
    for number, file in enumerate(files):
        stat = file.stat()
        identity = ContentIdentity(uri=path_uri(file), size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        tasks = [
            {
                "task_id": f"{number:02x}{place:02x}".rjust(64, "0"),
                "task_type": kind.value,
                "transform": transform.fingerprint,
                "attempt": 1,
                "fence": 7,
            }
            for place, (kind, transform) in enumerate(plan().by_type.items())
        ]
        rows.append(
            identity.model_dump()
            | {"resource_key": identity.key(), "tenant_id": "t", "tasks": tasks}
        )
    return pa.Table.from_pylist(rows, schema=CLAIM_SCHEMA)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for number, colour in enumerate([(200, 30, 30), (30, 60, 200), (40, 160, 60)]):
        buffer = io.BytesIO()
        Image.new("RGB", (60 + number, 50), colour).save(buffer, "JPEG")
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(buffer.getvalue())
    return paths


def prepared(files: Sequence[Path], admission: object = None) -> pa.Table:
    cut = Cut(name=IMAGE.name, resize_shorter=32, crop=32, interpolation="bilinear")
    settings = PrepareSettings(ImageLimits(), {IMAGE.name: cut})
    extra = [admission] if admission else []
    with PrepareStage(settings, *extra) as stage:  # type: ignore[arg-type]
        return stage(claims(files))


def analysed(table: pa.Table, model: object = None, batch_size: int = 2) -> list[ResultEnvelope]:
    settings = BatchSettings(batch_size)
    image = model or open_image_model(IMAGE, threads=1)
    table = ImageModelStage(image, KINDS, settings)(table)  # type: ignore[arg-type]
    table = TextModelStage(open_text_embedder(TEXT, threads=1), settings)(table)
    sealed = EnvelopeStage("run", "worker")(table)
    return [ResultEnvelope.model_validate_json(raw) for raw in sealed["envelope"].to_pylist()]


def test_every_task_of_an_image_gets_one_envelope_with_its_own_output(files: list[Path]) -> None:
    envelopes = analysed(prepared(files))
    assert len(envelopes) == 12
    first = {envelope.task_type: envelope for envelope in envelopes[:4]}
    assert all(envelope.status is EnvelopeStatus.SUCCESS for envelope in first.values())
    caption = first["vision"].outputs.caption
    assert caption is not None
    assert "red" in caption.text
    assert caption.composed
    spaces = [e.outputs.vectors[0].space for e in envelopes[1:4]]
    assert set(spaces) == {Space.VV, Space.X, Space.MV}
    thumbnails = [e for e in envelopes[:4] if e.outputs.thumbnail]
    assert len(thumbnails) == 1


def test_a_broken_file_fails_alone_with_class_code_and_stage(files: list[Path]) -> None:
    files[1].write_bytes(b"not an image")
    envelopes = analysed(prepared(files))
    broken = [e for e in envelopes if e.resource_fingerprint.uri.endswith("/1.jpg")]
    assert {e.status for e in broken} == {EnvelopeStatus.FAILED}
    assert {(e.error.error_class.value, e.error.stage) for e in broken if e.error} == {
        ("input", "decode")
    }
    assert sum(e.status is EnvelopeStatus.SUCCESS for e in envelopes) == 8


def test_a_file_that_vanished_fails_at_reading(files: list[Path]) -> None:
    table = claims(files)
    files[2].unlink()
    with PrepareStage(PrepareSettings(ImageLimits())) as stage:
        errors = stage(table).column("error").to_pylist()
    assert errors[:2] == [None, None]
    assert errors[2]["stage"] == "read"


class Allergic:
    """A model that refuses every batch with a blue image in it, as a library would: by raising."""

    manifest = IMAGE

    def __init__(self) -> None:
        self._model = open_image_model(IMAGE, threads=1)

    def analyse(self, pixels: Pixels, wanted: frozenset[TaskType]) -> ImageOutputs:
        if (pixels[..., 2].mean(axis=(1, 2)) > 150).any():
            raise RuntimeError("cannot look at blue")
        return self._model.analyse(pixels, wanted)


def test_a_batch_that_a_model_refuses_is_halved_to_the_culprit(files: list[Path]) -> None:
    envelopes = analysed(prepared(files), Allergic(), batch_size=8)
    failed = [e for e in envelopes if e.status is EnvelopeStatus.FAILED]
    assert {e.resource_fingerprint.uri[-5:] for e in failed} == {"1.jpg"}
    # Structure comes from pixels alone: the model's failure does not take it away.
    assert {e.task_type for e in failed} == {"vision", "vv_embed", "mv_embed"}
    assert {e.error.error_class.value for e in failed if e.error} == {"model"}


def test_linked_tasks_are_sealed_without_looking_again(files: list[Path]) -> None:
    def all_known(requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        return [AdmitDecision(frozenset(t for t, _, _ in r.tasks)) for r in requests]

    table = prepared(files, all_known)
    assert table.column("width").to_pylist() == [None] * 3
    envelopes = analysed(table)
    assert all(e.linked and not e.outputs.vectors for e in envelopes)


def test_known_text_spares_the_image_model(files: list[Path]) -> None:
    def only_meaning(requests: Sequence[AdmitRequest]) -> list[AdmitDecision]:
        return [
            AdmitDecision(
                frozenset(t for t, kind, _ in r.tasks if kind is not TaskType.MV_EMBED), "a red car"
            )
            for r in requests
        ]

    envelopes = analysed(prepared(files, only_meaning), Allergic())
    meanings = [e for e in envelopes if e.task_type == "mv_embed"]
    vectors = [e.outputs.vectors[0].to_numpy() for e in meanings]
    assert len(vectors) == 3
    assert np.array_equal(vectors[0], vectors[1])


def test_meaning_depends_on_the_texts_it_embeds() -> None:
    before = plan().by_type[TaskType.MV_EMBED].fingerprint
    newer = IMAGE.model_copy(update={"revision": "2"})
    after = plan_transforms({TaskType.VISION: newer, TaskType.MV_EMBED: TEXT})
    assert after.by_type[TaskType.MV_EMBED].fingerprint != before


def test_meaning_without_vision_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs a vision model"):
        plan_transforms({TaskType.MV_EMBED: TEXT})


def test_vectors_of_an_undeclared_dimension_are_refused(files: list[Path]) -> None:
    class Wider:
        manifest = IMAGE.model_copy(update={"dims": {Space.VV: 9}})
        analyse = Allergic().analyse

    files[1].write_bytes(files[0].read_bytes())
    envelopes = analysed(prepared(files), Wider())
    codes = {e.error.code for e in envelopes if e.error is not None}
    assert codes == {"vector.dimension"}
    assert not [e for e in envelopes if e.task_type == "vv_embed" and e.error is None]
