"""Pictures in their own proportions, within bounds; and whole pictures squashed into squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecm.images.cuts import Bounded, Cut, bounded, cut

SPEC = Bounded(name="vlm", min_pixels=1024, max_pixels=16384)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(width=st.integers(1, 600), height=st.integers(1, 600))
@settings(max_examples=60, deadline=None)
def test_every_picture_comes_within_the_bounds_and_keeps_its_proportions(
    width: int, height: int
) -> None:
    out = bounded(noise(height, width), SPEC)
    tall, wide = out.shape[:2]
    assert SPEC.min_pixels <= tall * wide <= SPEC.max_pixels
    assert min(tall, wide) <= SPEC.shorter_side
    proportions = min(16.0, max(1 / 16.0, width / height))
    assert wide / (tall + 1) - 0.1 <= proportions <= (wide + 1) / max(tall - 1, 1) + 0.1


@pytest.mark.parametrize("size", [(32, 32), (128, 128), (64, 100)])
def test_what_is_within_the_bounds_is_not_touched(size: tuple[int, int]) -> None:
    pixels = noise(*size)
    assert (bounded(pixels, SPEC) == pixels).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1500, 30000), (30000, 2)])
def test_dots_and_strips_become_pictures_that_models_take(height: int, width: int) -> None:
    out = bounded(np.zeros((height, width, 3), dtype=np.uint8), SPEC)
    assert SPEC.min_pixels <= out.shape[0] * out.shape[1] <= SPEC.max_pixels
    assert max(out.shape[:2]) <= 17 * min(out.shape[:2])


@pytest.mark.parametrize("size", [(40, 90), (90, 40), (1, 1)])
def test_squashed_pictures_are_whole(size: tuple[int, int]) -> None:
    spec = Cut(name="s", resize_shorter=32, crop=32, interpolation="bilinear", geometry="squash")
    pixels = noise(*size)
    whole = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
    assert (cut(pixels, spec) == np.asarray(whole)).all()
