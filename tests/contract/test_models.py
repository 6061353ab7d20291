"""What every model back end promises, over the fakes and the packaged models.

Golden numbers of the packaged models stand beside, so that a library that moves them is seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ContractError, ManifestError, ManifestMismatch
from ecm.models.base import ImageModel, TextEmbedder, VisualQueryEncoder, normalised
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.registry import open_image_model, open_query_encoder, open_text_embedder

CONF = Path(__file__).parents[2] / "conf" / "models"
VISION, VV = TaskType.VISION, TaskType.VV_EMBED
BOTH = frozenset({VISION, VV})
TEXTS = (
    "a cat",
    "",
    "red",
    "a photo of a small brown dog on a beach",
    "café ☕ 日本 \udcff",
    "x" * 9000,
)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Family:
    """An image model, a text embedder and a query encoder that belong together."""

    image: ImageModel
    text: TextEmbedder
    query: VisualQueryEncoder


FAMILIES = {
    "fake": ("fake-image", "fake-text"),
    "packaged": ("efficientnet-lite0", "all-minilm-l6-v2"),
}


def manifest(name: str) -> ModelManifest:
    return load_manifest(name, [CONF])


@cache
def opened(name: str) -> Family:
    vision, text = (manifest(part) for part in FAMILIES[name])
    return Family(
        open_image_model(vision, threads=1),
        open_text_embedder(text, threads=1),
        open_query_encoder(manifest(vision.query_encoder), reaches=vision, threads=1),
    )


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return opened(request.param)


@pytest.fixture(scope="module")
def packaged() -> Family:
    return opened("packaged")


def pictures(model: ImageModel, count: int) -> Pixels:
    """Distinct synthetic images: a colour gradient each, and a disc in another colour."""
    side = model.manifest.preprocessing.crop if model.manifest.preprocessing else 32
    down, across = np.mgrid[0:side, 0:side] / (side - 1)
    out = np.empty((count, side, side, 3), dtype=np.uint8)
    for place in range(count):
        hue = np.array([place % 3 == 0, place % 3 == 1, place % 3 == 2]) * 200.0
        gradient = (down * (place + 1) / count + across)[..., None] / 2
        disc = ((down - 0.5) ** 2 + (across - 0.5) ** 2 < 0.03 * (1 + place % 4))[..., None]
        out[place] = np.where(disc, 255.0 - hue, gradient * 255.0 * 0.5 + hue * 0.5)
    return out


def test_outputs_are_complete_normalised_and_in_order(family: Family) -> None:
    model = family.image
    pixels = pictures(model, 7)
    said = model.analyse(pixels, BOTH)
    assert said.vectors[Space.VV].vectors.dtype == np.float32
    assert said.vectors[Space.VV].vectors.shape == (7, model.manifest.space_dim(Space.VV))
    assert np.allclose(np.linalg.norm(said.vectors[Space.VV].vectors, axis=1), 1.0, atol=1e-5)
    assert (said.vectors[Space.VV].norms > 0).all()
    assert len(said.captions) == len(said.tags) == len(said.classification) == 7
    turned = model.analyse(pixels[::-1], BOTH)
    assert np.allclose(
        turned.vectors[Space.VV].vectors[::-1], said.vectors[Space.VV].vectors, atol=1e-4
    )
    assert _words(turned.tags[::-1]) == _words(said.tags)


def test_results_do_not_depend_on_the_batch_and_repeat_exactly(family: Family) -> None:
    model = family.image
    pixels = pictures(model, 6)
    whole, again = model.analyse(pixels, BOTH), model.analyse(pixels, BOTH)
    assert np.array_equal(whole.vectors[Space.VV].vectors, again.vectors[Space.VV].vectors)
    assert whole.tags == again.tags
    for place in range(6):
        alone = model.analyse(pixels[place : place + 1], BOTH)
        assert np.allclose(
            alone.vectors[Space.VV].vectors[0], whole.vectors[Space.VV].vectors[place], atol=1e-4
        )
        before = {s.label: s.confidence for s in whole.tags[place]}
        for statement in alone.tags[0]:
            assert statement.confidence == pytest.approx(before[statement.label], abs=1e-4)


def test_only_what_was_wanted_is_said(family: Family) -> None:
    pixels = pictures(family.image, 2)
    words = family.image.analyse(pixels, frozenset({VISION}))
    assert not words.vectors
    assert all(words.tags)
    vectors = family.image.analyse(pixels, frozenset({VV}))
    assert [*vectors.captions, *vectors.tags, *vectors.classification] == []
    nothing = family.image.analyse(pixels[:0], BOTH)
    assert nothing.vectors[Space.VV].vectors.shape == (0, family.image.manifest.space_dim(Space.VV))


def test_foreign_pixels_and_wishes_are_refused(family: Family) -> None:
    pixels = pictures(family.image, 2)
    for wrong in (pixels.astype(np.float32), pixels[0], pixels[:, :-1], pixels[..., :1]):
        with pytest.raises(ContractError, match="takes uint8 pixels"):
            family.image.analyse(wrong, BOTH)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="cannot provide mv_embed"):
        family.image.analyse(pixels, frozenset({TaskType.MV_EMBED}))
    with pytest.raises(ContractError, match="cannot provide nothing"):
        family.image.analyse(pixels, frozenset())


def test_captions_made_of_tags_say_so(family: Family) -> None:
    said = family.image.analyse(pictures(family.image, 4), BOTH)
    for caption in said.captions:
        assert caption is None or caption.composed


def test_texts_become_unit_vectors_whatever_they_hold(family: Family) -> None:
    whole = family.text.embed_texts(TEXTS)
    assert np.allclose(family.text.embed_texts([*TEXTS, *TEXTS[::-1]])[6:][::-1], whole, atol=1e-4)
    assert whole.dtype == np.float32
    assert whole.shape == (len(TEXTS), family.text.manifest.space_dim(Space.MV))
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    for place, text in enumerate(TEXTS):
        assert np.allclose(family.text.embed_texts([text])[0], whole[place], atol=1e-4)
    assert family.text.embed_texts([]).shape == (0, whole.shape[1])
    assert np.array_equal(family.text.embed_texts(TEXTS), whole)


def test_queries_reach_the_space_they_claim(family: Family) -> None:
    vectors = family.query.embed_queries(TEXTS)
    assert vectors.shape == (len(TEXTS), family.image.manifest.space_dim(Space.VV))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert family.query.reaches == family.image.manifest.fingerprint(VV)
    assert family.query.fingerprint != family.query.reaches
    assert family.query.embed_queries([]).shape == (0, vectors.shape[1])
    assert np.allclose(family.query.embed_queries([TEXTS[0]])[0], vectors[0], atol=1e-4)


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_a_vector_without_direction_is_refused(broken: float) -> None:
    with pytest.raises(ContractError, match="vector 1"):
        normalised(np.array([[1.0, 2.0], [broken, broken]]))


def test_fake_search_makes_sense() -> None:
    family = opened("fake")
    red, blue = np.zeros((2, 1, 32, 32, 3), dtype=np.uint8)
    red[..., 0], blue[..., 2] = 220, 220
    said = family.image.analyse(np.concatenate([red, blue]), BOTH)
    assert [tags[0].label for tags in said.tags] == ["red", "blue"]
    scores = (
        family.query.embed_queries(["something red", "blue sky"]) @ said.vectors[Space.VV].vectors.T
    )
    assert scores.argmax(axis=1).tolist() == [0, 1]
    words = family.text.embed_texts(["a red car", "the red car", "green hills"])
    assert words[0] @ words[1] > words[0] @ words[2] + 0.2


@pytest.mark.parametrize(
    ("name", "file"), [("efficientnet-lite0", "weights"), ("all-minilm-l6-v2", "text-weights")]
)
def test_a_wrong_or_foreign_weight_file_is_never_used(tmp_path: Path, name: str, file: str) -> None:
    impostor = tmp_path / "weights"
    impostor.write_bytes(b"not weights")
    ours = manifest(name)
    wrong = _with_file(ours, file, impostor, "f" * 64)
    start = open_image_model if VISION in ours.provides else open_text_embedder
    with pytest.raises(ManifestMismatch, match=file):
        start(wrong, threads=1)
    sha = hashlib.sha256(b"not weights").hexdigest()
    with pytest.raises(ManifestError, match="is not a"):
        start(_with_file(ours, file, impostor, sha), threads=1)


def test_packaged_model_golden_numbers_on_synthetic_images(packaged: Family) -> None:
    said = packaged.image.analyse(pictures(packaged.image, 4), BOTH)
    best = [classes[0] for classes in said.classification]
    assert [s.label for s in best] == ["ping-pong ball", "ping-pong ball", "balloon", "balloon"]
    found = [s.confidence for s in best]
    assert found == pytest.approx([0.1463, 0.1137, 0.7032, 0.5189], abs=2e-3)
    assert said.vectors[Space.VV].norms.tolist() == pytest.approx(
        [14.7348, 14.877, 15.6875, 17.0014], abs=1e-2
    )
    assert said.vectors[Space.VV].vectors.argmax(axis=1).tolist() == [113] * 4
    assert said.vectors[Space.VV].vectors[0, 113] == pytest.approx(0.28954, abs=1e-3)


@pytest.mark.skipif(find_spec("skimage") is None, reason="scikit-image carries the photos")
def test_packaged_models_know_a_cat_and_a_coffee(packaged: Family) -> None:
    from skimage import data

    cut = packaged.image.manifest.preprocessing
    assert cut is not None
    photos = np.stack([_square(photo(), cut.crop) for photo in (data.chelsea, data.coffee)])
    said = packaged.image.analyse(photos, BOTH)
    assert [c.text for c in said.captions if c] == [
        "a photo of a cat, perhaps an Egyptian cat",
        "a photo of an espresso, a kind of beverage",
    ]
    cat = {s.label: s.confidence for s in said.classification[0]}
    assert [cat[name] for name in ("Egyptian cat", "tiger cat", "tabby")] == pytest.approx(
        [0.383, 0.332, 0.163], abs=0.01
    )
    assert said.classification[1][0].confidence == pytest.approx(0.940, abs=0.01)
    middle = said.vectors[Space.VV].vectors.mean(axis=0)
    around = normalised(said.vectors[Space.VV].vectors - middle).vectors
    asked = packaged.query.embed_queries(["a cat", "Felis catus", "coffee cup", "beverage"])
    assert (asked @ around.T).argmax(axis=1).tolist() == [0, 0, 1, 1]


def test_packaged_text_model_golden_numbers(packaged: Family) -> None:
    texts = ["a cat", "a kitten on a sofa", "quarterly financial report"]
    vectors = packaged.text.embed_texts(texts)
    likeness = (vectors @ vectors.T)[np.triu_indices(3, 1)]
    assert likeness.tolist() == pytest.approx([0.59856, 0.08332, 0.01303], abs=1e-4)
    start = [0.06173, 0.04146, 0.00876, 0.06251]
    assert vectors[0, :4].tolist() == pytest.approx(start, abs=1e-4)


def _square(photo: Pixels, side: int) -> Pixels:
    image = Image.fromarray(photo)
    scale = side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


def _with_file(ours: ModelManifest, name: str, path: Path, sha256: str) -> ModelManifest:
    place = {"path": str(path), "package": None, "resource": None, "sha256": sha256}
    files = tuple(f.model_copy(update=place) if f.name == name else f for f in ours.files)
    return ours.model_copy(update={"files": files, "probes": None})


def _words(rows: Sequence[Sequence[object]]) -> list[list[str]]:
    return [[s.label for s in row] for row in rows]  # type: ignore[attr-defined]
