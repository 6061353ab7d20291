"""Golden probes: what a model said when it was pinned; that it speaks otherwise is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecm.contracts.result import Space, TextStatement
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.base import ImageOutputs, Normalised, Pixels
from ecm.models.captioner import Description, Effort
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.probe_files import ProbeSet, check_probes, read_probes
from ecm.models.probes import (
    pictures,
    probe_captioner,
    probe_image_model,
    probe_text_embedder,
    record_captioner,
    record_image_model,
    record_text_embedder,
    texts,
)
from ecm.models.registry import open_captioner, open_image_model, open_text_embedder
from ecm.stages.looks import look_of

CONF = Path(__file__).parents[2] / "conf" / "models"
IMAGE = load_manifest("fake-image", [CONF])
TEXT = load_manifest("fake-text", [CONF])
CAPTIONS = load_manifest("fake-captioner", [CONF])
SUMS = {"waves": 58403458, "tiles": 51705348, "rings": 53643852, "grain": 60141710}


class Turned:
    """An image model whose vectors are turned by a share of another direction."""

    def __init__(self, share: float) -> None:
        self._model = open_image_model(IMAGE, threads=1)
        self._share = share
        self.manifest = IMAGE

    def analyse(self, pixels: Pixels, wanted: frozenset[object]) -> ImageOutputs:
        said = self._model.analyse(pixels, wanted)  # type: ignore[arg-type]
        vectors = said.vectors[Space.VV].vectors
        turned = vectors + self._share * np.roll(vectors, 1, axis=1)
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        norms = said.vectors[Space.VV].norms
        return ImageOutputs(vectors={Space.VV: Normalised(turned.astype(np.float32), norms)})


def test_inputs_are_drawn_the_same_everywhere() -> None:
    drawn = pictures()
    assert {name: picture.shape for name, picture in drawn.items()} == dict.fromkeys(
        ("waves", "tiles", "rings", "grain"), (336, 448, 3)
    )
    sums = {name: int(picture.astype(np.int64).sum()) for name, picture in drawn.items()}
    assert sums == SUMS
    assert all(texts().values())


def test_a_model_that_says_the_same_passes_and_its_probes_survive_the_file(tmp_path: Path) -> None:
    image, text = open_image_model(IMAGE, threads=1), open_text_embedder(TEXT, threads=1)
    (tmp_path / "i.json").write_text(record_image_model(image, look_of(IMAGE)).model_dump_json())
    verdict = probe_image_model(image, read_probes(tmp_path / "i.json"), look_of(IMAGE))
    assert (verdict.run, verdict.passed, verdict.first) == (4, True, None)
    assert verdict.least_cosine == pytest.approx(1.0, abs=1e-6)
    said = record_text_embedder(text)
    assert probe_text_embedder(text, said).run == 2 * len(texts())


@pytest.mark.parametrize(("share", "passes"), [(0.0, True), (0.01, True), (0.2, False)])
def test_a_turned_vector_fails_below_a_cosine_of_0_999(share: float, passes: bool) -> None:
    golden = record_image_model(open_image_model(IMAGE, threads=1), look_of(IMAGE))
    verdict = probe_image_model(Turned(share), golden, look_of(IMAGE))
    assert verdict.passed is passes
    if not passes:
        assert verdict.first is not None
        assert verdict.first.measured == pytest.approx(verdict.least_cosine, abs=0.1)
        with pytest.raises(ManifestMismatch, match=r"fake-image: probe \w+: vv cosine 0\.\d+"):
            verdict.check(IMAGE)


def test_probes_of_other_dimensions_or_inputs_fail(tmp_path: Path) -> None:
    text = open_text_embedder(TEXT, threads=1)
    golden = record_text_embedder(text)
    wider = open_text_embedder(TEXT.model_copy(update={"dims": {Space.MV: 128}}), threads=1)
    assert "128 mv dimensions, expected 64" in str(probe_text_embedder(wider, golden).first)
    old = golden.model_copy(update={"inputs": "0"})
    assert "made with inputs 0" in str(probe_text_embedder(text, old).first)


class Speaker:
    """A captioner that says of every picture what it is told to."""

    manifest = CAPTIONS

    def __init__(self, text: str, scheme: str = "") -> None:
        self._said = TextStatement(text=text, scheme=scheme)

    async def describe(
        self, request_id: str, pixels: Pixels, looked: Callable[[], None]
    ) -> Description:
        return Description(self._said, (), (), (), Effort(1, "stop", 1, 0, 1))

    async def restart(self) -> None:
        """Nothing to restart."""

    def close(self) -> None:
        """Nothing to close."""


def judged(model: Speaker, golden: ProbeSet) -> str:
    return str(asyncio.run(probe_captioner(model, golden, look_of(CAPTIONS))).first)


def test_a_caption_must_begin_as_it_did_and_come_by_the_schema() -> None:
    golden = asyncio.run(record_captioner(Speaker("A cat sleeps."), look_of(CAPTIONS)))
    assert judged(Speaker("A dog"), golden) == "None"
    assert "begins with 'Two', expected 'A'" in judged(Speaker("Two dogs"), golden)
    assert "no caption by the schema" in judged(Speaker("A dog", "fallback"), golden)
    with pytest.raises(ManifestMismatch, match="no caption by the schema"):
        asyncio.run(record_captioner(Speaker("A dog", "fallback"), look_of(CAPTIONS)))


def test_the_fake_captioner_passes_its_own_probes() -> None:
    async def twice() -> bool:
        model = open_captioner(CAPTIONS, threads=1)
        golden = await record_captioner(model, look_of(CAPTIONS))
        verdict = await probe_captioner(model, golden, look_of(CAPTIONS))
        model.close()
        return verdict.passed and verdict.run == len(pictures())

    assert asyncio.run(twice())


def test_probes_name_the_model_they_were_made_with(tmp_path: Path) -> None:
    golden = record_image_model(open_image_model(IMAGE, threads=1), look_of(IMAGE))
    place = tmp_path / "probes.json"
    place.write_text(golden.model_dump_json())
    check_probes(IMAGE, place)
    others: list[tuple[str, ModelManifest]] = [
        ("revision", IMAGE.model_copy(update={"revision": "2"})),
        ("dtype", IMAGE.model_copy(update={"dtype": "float16"})),
        ("dims", IMAGE.model_copy(update={"dims": {Space.VV: 9}})),
        ("preprocessing", IMAGE.model_copy(update={"preprocessing": None})),
        ("files", IMAGE.model_copy(update={"files": CAPTIONS.files})),
    ]
    for key, other in others:
        with pytest.raises(ManifestMismatch, match=rf"fake-image: {key} is .*probes\.json"):
            check_probes(other, place)
    place.write_text("{")
    with pytest.raises(ManifestError, match=r"probes .*probes\.json: whole"):
        read_probes(place)
