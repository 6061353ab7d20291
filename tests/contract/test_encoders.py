"""What the encoders on transformers promise, over tiny checkpoints of the real architectures.

They agree with transformers' own processor and model on the same picture; everything a checkpoint
and a manifest disagree about is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import ConfigError, ContractError, EcmError, ManifestError, ManifestMismatch
from ecm.images.cuts import Cut, cut
from ecm.models.base import ImageModel, VisualQueryEncoder, normalised
from ecm.models.manifest import load_manifest
from ecm.models.registry import open_image_model, open_query_encoder, open_text_embedder
from tests.tiny_checkpoints import write_manifest

Vectors = npt.NDArray[np.float32]
SIZES = [(64, 64), (320, 200), (97, 301), (40, 30), (640, 480), (128, 512), (70, 71)]
TEXTS = ("a cat", "", "A Photo of a RED car", "x" * 9000, "café ☕ 日本 \udcff")
DUAL = ("tiny-siglip", "tiny-siglip2", "tiny-clip")
LOOKS = ("tiny-dinov2", "tiny-dinov3")
SPACE = {TaskType.VV_EMBED: Space.VV, TaskType.X_EMBED: Space.X}


def photos() -> list[Image.Image]:
    """Pictures of several shapes with edges, gradients and noise."""
    made = []
    for number, (width, height) in enumerate(SIZES):
        down, across = np.mgrid[0:height, 0:width] / max(width, height)
        noise = np.random.default_rng(number).normal(0, 8, (height, width, 3))
        base = np.stack([down * 200, across * 220, (down + across) * 90 + 20 * number], axis=2)
        image = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
        corner = (width // (number + 2), height // 5, width * 3 // 4, height * 4 // 5)
        ImageDraw.Draw(image).ellipse(corner, (30 * number, 200 - 20 * number, 90))
        made.append(image)
    return made


@pytest.fixture(scope="session")
def opened(tiny_models: Path) -> Callable[[str], Any]:
    @cache
    def open_once(name: str) -> Any:
        manifest = load_manifest(name, [tiny_models])
        if TaskType.MV_EMBED in manifest.provides:
            return open_text_embedder(manifest, threads=1)
        return open_image_model(manifest, threads=1)

    return open_once


def pixels_for(model: ImageModel) -> npt.NDArray[np.uint8]:
    said = model.manifest.preprocessing
    assert said is not None
    spec = Cut(
        name="test",
        resize_shorter=said.resize_shorter,
        crop=said.crop,
        interpolation=said.interpolation,
        geometry=said.geometry,
    )
    return np.stack([cut(np.asarray(photo), spec) for photo in photos()])


def looked(model: ImageModel, pixels: npt.NDArray[np.uint8]) -> Vectors:
    kind = model.manifest.provides[0]
    outputs = model.analyse(pixels, frozenset({kind}))
    assert set(outputs.vectors) == {SPACE[kind]}
    assert [*outputs.captions, *outputs.tags, *outputs.classification] == []
    return outputs.vectors[SPACE[kind]].vectors


def folder_of(tiny_models: Path, name: str) -> Path:
    return tiny_models.parent / "checkpoints" / name


def reference(folder: Path) -> Vectors:
    """The pictures through transformers' own processor and model, features at length 1."""
    import torch
    import transformers

    config = json.loads((folder / "preprocessor_config.json").read_text())
    squashes = "height" in config["size"]
    kind = "SiglipImageProcessorPil" if squashes else "CLIPImageProcessorPil"
    processor = getattr(transformers, kind).from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rows = []
    with torch.inference_mode():
        for photo in photos():
            inputs = processor(images=photo, return_tensors="pt")
            if hasattr(model, "get_image_features"):
                said = model.get_image_features(**inputs)
                rows.append(getattr(said, "pooler_output", said)[0])
                continue
            tokens = model(**inputs).last_hidden_state[0]
            registers = getattr(model.config, "num_register_tokens", 0)
            whole = torch.cat([tokens[0], tokens[1 + registers :].mean(0)])
            rows.append(whole if model.config.model_type == "dinov3_vit" else tokens[0])
    return normalised(torch.stack(rows).numpy()).vectors


@pytest.mark.parametrize("name", [*DUAL, *LOOKS])
def test_pictures_become_the_vectors_of_transformers_own_pipeline(
    opened: Callable[[str], Any], tiny_models: Path, name: str
) -> None:
    vectors = looked(opened(name), pixels_for(opened(name)))
    own = reference(folder_of(tiny_models, name))
    assert (vectors * own).sum(axis=1).min() >= 0.999
    # Another picture's vector is further away than the tolerance: the test can tell.
    assert np.abs(np.triu(own @ own.T, 1)).min() < 0.999


@pytest.mark.parametrize("name", [*DUAL, *LOOKS])
def test_laws_of_image_models(opened: Callable[[str], Any], name: str) -> None:
    model = opened(name)
    pixels = pixels_for(model)
    whole = looked(model, np.concatenate([pixels, pixels, pixels[:3]]))
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    count = len(pixels)
    assert np.allclose(whole[:count], whole[count : 2 * count], atol=1e-4)
    assert np.array_equal(looked(model, pixels), looked(model, pixels))
    assert np.allclose(looked(model, pixels[::-1])[::-1], whole[:count], atol=1e-4)
    for place in range(count):
        alone = looked(model, pixels[place : place + 1])
        assert np.allclose(alone[0], whole[place], atol=1e-4)
    assert looked(model, pixels[:0]).shape == (0, whole.shape[1])
    for wrong in (pixels.astype(np.float32), pixels[0], pixels[:, :-1]):
        with pytest.raises(ContractError, match="takes uint8 pixels"):
            model.analyse(wrong, frozenset(model.manifest.provides))
    with pytest.raises(ContractError, match="cannot provide vision"):
        model.analyse(pixels, frozenset({TaskType.VISION}))


@pytest.mark.parametrize("name", DUAL)
def test_laws_of_query_encoders(opened: Callable[[str], Any], tiny_models: Path, name: str) -> None:
    model = opened(name)
    assert isinstance(model, VisualQueryEncoder)
    vectors = model.embed_queries(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), model.manifest.space_dim(Space.VV))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for place, text in enumerate(TEXTS):
        assert np.allclose(model.embed_queries([text])[0], vectors[place], atol=1e-4)
    assert model.embed_queries([]).shape == (0, vectors.shape[1])
    assert not model.centred
    assert model.reaches == model.manifest.fingerprint(TaskType.VV_EMBED) != model.fingerprint
    other = open_query_encoder(model.manifest, reaches=model.manifest, threads=1)
    assert np.array_equal(other.embed_queries(TEXTS), vectors)
    assert (other.reaches, other.fingerprint) == (model.reaches, model.fingerprint)


@pytest.mark.parametrize("name", DUAL)
def test_texts_become_the_vectors_of_transformers_own_pipeline(
    opened: Callable[[str], Any], tiny_models: Path, name: str
) -> None:
    import torch
    import transformers

    folder = folder_of(tiny_models, name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    for text in TEXTS[:4]:
        if name == "tiny-clip":
            inputs = tokenizer([text], truncation=True, max_length=77, return_tensors="pt")
            kept = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
        else:
            inputs = tokenizer(
                [text], padding="max_length", truncation=True, max_length=64, return_tensors="pt"
            )
            kept = {"input_ids": inputs["input_ids"]}
        with torch.inference_mode():
            said = model.get_text_features(**kept)
        own = normalised(getattr(said, "pooler_output", said).numpy()).vectors[0]
        assert opened(name).embed_queries([text])[0] @ own >= 0.999


def model_card(folder: Path, texts: Sequence[str], dim: int) -> Vectors:
    """Qwen3-Embedding as its model card runs it, cut to `dim` components."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = transformers.AutoModel.from_pretrained(folder).eval()
    inputs = tokenizer(
        list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt"
    )
    with torch.inference_mode():
        said = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    return normalised(said.last_hidden_state[:, -1][:, :dim].numpy()).vectors


def test_the_text_embedder_is_the_model_cards(
    opened: Callable[[str], Any], tiny_models: Path
) -> None:
    model = opened("tiny-qwen3-embedding")
    folder = folder_of(tiny_models, "tiny-qwen3-embedding")
    readable = TEXTS[:4]
    own = model_card(folder, readable, 32)
    assert ((model.embed_texts(readable) * own).sum(axis=1) >= 0.999).all()
    instruction = "Instruct: Given a query, retrieve images\nQuery:"
    asked = model_card(folder, [instruction + text for text in readable], 32)
    assert ((model.embed_queries(readable) * asked).sum(axis=1) >= 0.999).all()
    assert (model.embed_queries(readable) * own).sum(axis=1).max() < 0.999


def test_laws_of_the_text_embedder(opened: Callable[[str], Any]) -> None:
    model = opened("tiny-qwen3-embedding")
    many = [*TEXTS, *TEXTS[::-1], *(f"text number {n}" for n in range(20))]
    whole = model.embed_texts(many)
    assert whole.dtype == np.float32
    assert whole.shape == (len(many), 32)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
    assert np.allclose(whole[:5], whole[5:10][::-1], atol=1e-5)
    for place, text in enumerate(many):
        assert np.allclose(model.embed_texts([text])[0], whole[place], atol=1e-4)
    assert np.array_equal(model.embed_texts(many), whole)
    assert model.embed_texts([]).shape == model.embed_queries([]).shape == (0, 32)


@pytest.fixture
def copied(tiny_models: Path, tmp_path: Path) -> Callable[..., Any]:
    """Opens a copy of a tiny model whose files or manifest were changed before it was pinned."""

    def open_changed(
        name: str, change: Callable[[Path], None] | None = None, **manifest: Any
    ) -> Any:
        folder = tmp_path / "copy"
        shutil.copytree(folder_of(tiny_models, name), folder)
        if change is not None:
            change(folder)
        pinned = load_manifest(write_manifest(name, folder, tmp_path / "models", **manifest))
        start = open_text_embedder if TaskType.MV_EMBED in pinned.provides else open_image_model
        return start(pinned, threads=1)

    return open_changed


def test_fewer_dimensions_are_the_first_ones_at_length_one(
    opened: Callable[[str], Any], copied: Callable[..., Any]
) -> None:
    whole = opened("tiny-qwen3-embedding").embed_texts(TEXTS)
    short = copied("tiny-qwen3-embedding", dims={"mv": 8}).embed_texts(TEXTS)
    assert np.allclose(short, normalised(whole[:, :8]).vectors, atol=1e-5)


def test_texts_are_brought_to_lower_case_where_that_was_trained(
    opened: Callable[[str], Any], copied: Callable[..., Any]
) -> None:
    lower = copied("tiny-siglip", params={"lowercase": True}).embed_queries(["A Red CAR"])
    assert np.allclose(opened("tiny-siglip").embed_queries(["a red car"]), lower, atol=1e-6)
    assert not np.allclose(opened("tiny-siglip").embed_queries(["A Red CAR"]), lower, atol=1e-3)


def test_bfloat16_stays_near_float32(
    opened: Callable[[str], Any], copied: Callable[..., Any]
) -> None:
    model = opened("tiny-siglip")
    pixels = pixels_for(model)
    rough = copied("tiny-siglip", dtype="bfloat16")
    near = (looked(rough, pixels) * looked(model, pixels)).sum(axis=1)
    assert near.min() > 0.99
    assert near.max() < 1.0 - 1e-7


PIXELS = {
    "resize_shorter": 64,
    "crop": 64,
    "interpolation": "bicubic",
    "geometry": "squash",
    "mean": [127.5] * 3,
    "std": [127.5] * 3,
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resize_shorter", 72),
        ("crop", 48),
        ("interpolation", "bilinear"),
        ("geometry", "crop"),
        ("mean", [123.675, 116.28, 103.53]),
        ("std", [127.5, 127.5, 120.0]),
    ],
)
def test_other_preprocessing_than_the_checkpoints_is_refused(
    copied: Callable[..., Any], key: str, value: object
) -> None:
    with pytest.raises(ManifestMismatch, match=rf"{key} is .*preprocessor_config\.json says"):
        copied("tiny-siglip", preprocessing={**PIXELS, key: value})


@pytest.mark.parametrize(
    ("name", "changes", "refused"),
    [
        ("tiny-siglip", {"dims": {"vv": 65}}, r"is 65, but .*config\.json says 64"),
        ("tiny-dinov2", {"dims": {"x": 128}}, r"is 128, but .*config\.json says 64"),
        ("tiny-qwen3-embedding", {"dims": {"mv": 65}}, r"is 65, but .*config\.json says 64"),
        ("tiny-dinov2", {"params": {"pooling": "most"}}, "params: pooling"),
        ("tiny-clip", {"dtype": "float16"}, "this CPU cannot compute in float16"),
        ("tiny-clip", {"dtype": "int4"}, "cannot compute in int4"),
        ("tiny-clip", {"quantization": "fp8"}, "quantised to fp8"),
        ("tiny-clip", {"serving": {"batch": 3}}, "serving: batch"),
        ("tiny-clip", {"preprocessing": None}, "nothing of preprocessing"),
        ("tiny-dinov3", {"backend": "dual-encoder"}, "has no vv vectors|is of a 'dinov3_vit'"),
        (
            "tiny-qwen3-embedding",
            {"params": {"end_token": "<|nothing|>"}},
            "knows no <",
        ),
    ],
)
def test_a_manifest_that_is_not_the_checkpoints_is_refused(
    copied: Callable[..., Any], name: str, changes: dict[str, Any], refused: str
) -> None:
    with pytest.raises(ManifestError, match=refused):
        copied(name, **changes)


def test_a_gpu_that_is_not_there_is_not_replaced(copied: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="no GPU"):
        copied("tiny-clip", serving={"device": "cuda"})


def _without_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights[sorted(weights)[3]]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _of_nan(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    broken = {name: weight * float("nan") for name, weight in weights.items()}
    save_file(broken, folder / "model.safetensors", metadata={"format": "pt"})


def _truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-100])


@pytest.mark.parametrize("name", ["tiny-siglip", "tiny-dinov2", "tiny-qwen3-embedding"])
def test_weights_that_lack_something_are_never_made_up(
    copied: Callable[..., Any], name: str
) -> None:
    with pytest.raises(ManifestMismatch, match="missing keys"):
        copied(name, _without_a_weight)


def test_a_damaged_checkpoint_is_refused_and_named(copied: Callable[..., Any]) -> None:
    with pytest.raises(ManifestError, match=r"tiny-clip: cannot load .*copy"):
        copied("tiny-clip", _truncated)


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-dinov3", "tiny-qwen3-embedding"])
def test_weights_that_are_no_numbers_never_make_a_vector(
    copied: Callable[..., Any], name: str
) -> None:
    model = copied(name, _of_nan)

    def used() -> object:
        if TaskType.MV_EMBED in model.manifest.provides:
            return model.embed_texts(["a cat"])
        return looked(model, pixels_for(model))

    with pytest.raises(EcmError, match="non-finite"):
        used()
