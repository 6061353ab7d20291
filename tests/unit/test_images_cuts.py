"""Cuts equal the reference preprocessing; no shape of image makes them large."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from ecm.images.cuts import Cut, cut, thumbnail_jpeg

LITE0 = Cut(name="lite0", resize_shorter=256, crop=224, interpolation="bicubic")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


def reference(pixels: np.ndarray, size: int = 224, fraction: float = 0.875) -> np.ndarray:
    """EfficientNet-Lite's evaluation preprocessing, before mean and deviation."""
    image = Image.fromarray(pixels)
    width, height = image.size
    scale = size / fraction / min(width, height)
    image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


@given(width=st.integers(20, 700), height=st.integers(20, 700))
@settings(max_examples=40, deadline=None)
def test_a_cut_is_the_reference_preprocessing(width: int, height: int) -> None:
    if max(width, height) > 16 * min(width, height):
        return
    pixels = noise(height, width)
    assert (cut(pixels, LITE0) == reference(pixels)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1), (3, 30_000), (40, 9_000)])
def test_thin_strips_do_not_grow(shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[...] = np.linspace(0, 255, max(shape), dtype=np.uint8).reshape(
        (-1, 1, 1) if shape[0] > shape[1] else (1, -1, 1)
    )
    tracemalloc.start()
    out = cut(pixels, LITE0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert out.shape == (224, 224, 3)
    assert out.flags.c_contiguous
    assert out.flags.writeable
    assert peak < 64 * 2**20
    if max(shape) > 1:
        # the middle of the ramp, not an end
        assert abs(int(out[112, 112, 0]) - 127) <= 8


def test_the_centre_of_a_strip_is_the_centre_of_the_reference() -> None:
    pixels = np.asarray(Image.fromarray(noise(10, 200)).resize((2_000, 100)))
    inner = (slice(8, -8), slice(8, -8))
    apart = cut(pixels, LITE0)[inner].astype(int) - reference(pixels)[inner].astype(int)
    assert np.abs(apart).max() <= 1


@pytest.mark.parametrize("shape", [(900, 1200), (20, 30), (1, 20_000), (20_000, 1), (1, 1)])
def test_thumbnails_fit_and_are_never_enlarged(shape: tuple[int, int]) -> None:
    data = thumbnail_jpeg(noise(*shape), side=256, quality=80)
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert max(image.size) == min(256, max(shape))
    assert thumbnail_jpeg(noise(*shape)) == data


@pytest.mark.parametrize(
    "wrong", [{"crop": 300}, {"crop": 0}, {"interpolation": "cubic"}, {"resize": 256}]
)
def test_impossible_cuts_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Cut.model_validate({"name": "x", "resize_shorter": 256, "crop": 224, **wrong})
