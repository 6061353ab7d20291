"""The laws of the structure descriptor: finite, never zero, deterministic; alike when alike."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecm.errors import ContractError
from ecm.images.decode import decode
from ecm.images.limits import ImageLimits
from ecm.images.structure import STRUCTURE_DIM, structure_descriptor


def described(pixels: np.ndarray) -> np.ndarray:
    """The descriptor at unit length."""
    raw = structure_descriptor(np.ascontiguousarray(pixels), pixels.shape[1], pixels.shape[0])
    return raw / np.linalg.norm(raw)


def reencoded(pixels: np.ndarray, quality: int, scale: float) -> np.ndarray:
    image = Image.fromarray(pixels)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    out = io.BytesIO()
    image.resize(size, Image.Resampling.BICUBIC).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


@st.composite
def scenes(draw: st.DrawFn) -> np.ndarray:
    """A coloured sky and ground with a thing in one corner: never its own mirror image."""
    width, height = draw(st.integers(160, 360)), draw(st.integers(160, 360))
    colours = st.tuples(*[st.integers(0, 255)] * 3)
    sky, ground = np.array(draw(colours)), np.array(draw(colours))
    blend = np.linspace(0, 1, height)[:, None, None]
    pixels = np.broadcast_to(sky * (1 - blend) + ground * blend, (height, width, 3)).copy()
    left, top = draw(st.floats(0.0, 0.15)), draw(st.floats(0.0, 0.15))
    right, bottom = draw(st.floats(0.35, 0.5)), draw(st.floats(0.35, 0.5))
    rows = slice(int(top * height), int(bottom * height))
    columns = slice(int(left * width), int(right * width))
    here = pixels[rows, columns].mean(axis=(0, 1))
    # far from its surroundings in every channel
    pixels[rows, columns] = np.where(here > 127, here - 100, here + 100)
    return pixels.astype(np.uint8)


@given(pixels=scenes(), quality=st.integers(60, 95), scale=st.floats(0.4, 1.8))
@settings(max_examples=40, deadline=None)
def test_reencoding_and_resizing_hardly_change_it(
    pixels: np.ndarray, quality: int, scale: float
) -> None:
    assert described(pixels) @ described(reencoded(pixels, quality, scale)) > 0.97


@given(pixels=scenes())
@settings(max_examples=40, deadline=None)
def test_mirrored_is_clearly_less_alike_than_reencoded(pixels: np.ndarray) -> None:
    same = described(pixels) @ described(reencoded(pixels, 75, 0.5))
    for mirrored in (pixels[:, ::-1], pixels[::-1]):
        assert described(pixels) @ described(mirrored) < same - 0.03


@given(pixels=scenes())
@settings(max_examples=40, deadline=None)
def test_recoloured_is_clearly_less_alike(pixels: np.ndarray) -> None:
    hue, saturation, value = Image.fromarray(pixels).convert("HSV").split()
    vivid = saturation.point(lambda level: max(level, 120))
    coloured = np.asarray(Image.merge("HSV", (hue, vivid, value)).convert("RGB"))
    turned = hue.point(lambda level: (level + 128) % 256)
    other = np.asarray(Image.merge("HSV", (turned, vivid, value)).convert("RGB"))
    assert described(coloured) @ described(other) < 0.95


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    fill=st.one_of(st.just("noise"), st.integers(0, 255)),
)
@settings(max_examples=60, deadline=None)
def test_any_pixels_have_a_finite_direction(height: int, width: int, fill: str | int) -> None:
    shape = (height, width, 3)
    if fill == "noise":
        pixels = np.random.default_rng(height).integers(0, 256, shape, dtype=np.uint8)
    else:
        pixels = np.full(shape, fill, np.uint8)
    one = structure_descriptor(pixels, width, height)
    assert one.shape == (STRUCTURE_DIM,)
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    assert 0.3 < np.linalg.norm(one) < 1.1
    assert (one == structure_descriptor(pixels.copy(), width, height)).all()


def test_proportions_count_even_when_pixels_are_equal() -> None:
    gray = np.full((50, 50, 3), 90, np.uint8)
    square, wide = structure_descriptor(gray, 50, 50), structure_descriptor(gray, 500, 50)
    assert not (square == wide).all()


def test_only_rgb_pixels_are_taken() -> None:
    for wrong in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(ContractError):
            structure_descriptor(wrong, 4, 4)


def test_photographs_stay_themselves_and_apart(shared_data: Path) -> None:
    lines = (shared_data / "photos.jsonl").read_text().splitlines()[::40]
    photos = [
        decode((shared_data / json.loads(line)["path"]).read_bytes(), ImageLimits(), 256).pixels
        for line in lines
    ]
    vectors = np.stack([described(pixels) for pixels in photos])
    again = np.stack([described(reencoded(pixels, 60, 0.4)) for pixels in photos])
    alike = vectors @ again.T
    assert np.diag(alike).min() > 0.97
    assert (alike.argmax(axis=1) == np.arange(len(photos))).all()
    mirrored = np.stack([described(pixels[:, ::-1]) for pixels in photos])
    assert np.median((vectors * mirrored).sum(axis=1)) < 0.9


def test_it_is_quick() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    took = []
    for _ in range(20):
        began = time.process_time()
        structure_descriptor(pixels, 256, 256)
        took.append(time.process_time() - began)
    assert min(took) < 0.003
