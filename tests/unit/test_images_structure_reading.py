"""What is read back from stored descriptors is what the pixels are, as far as it was put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ecm.contracts.filters import Colour
from ecm.errors import ContractError
from ecm.images.colours import COLOURS, colour_codes
from ecm.images.structure import (
    CHROMA_TERMS,
    GRID,
    LUMA_TERMS,
    STRUCTURE_DIM,
    YCBCR,
    dct_basis,
    structure_descriptor,
    zigzag,
)
from ecm.images.structure_reading import (
    StructureReading,
    aspects,
    colour_shares,
    layout_grids,
)
from ecm.models.base import normalised

SIDE = 64


def stored(pixels: np.ndarray) -> np.ndarray:
    """The descriptor of a picture as the store has it, (1, 281)."""
    raw = structure_descriptor(pixels, pixels.shape[1], pixels.shape[0])
    return normalised(raw[None]).vectors


def planes(pixels: np.ndarray) -> np.ndarray:
    """YCbCr (64, 64, 3) of the picture as the descriptor saw it."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    return (np.asarray(small, np.float32) @ (YCBCR.T / np.float32(255))).reshape(SIDE, SIDE, 3)


def smoothed(grid: np.ndarray) -> np.ndarray:
    """An 8 x 8 grid of one channel's count of stored terms, everything finer left out."""
    luma = np.zeros((GRID, GRID), np.bool_)
    rows, columns = zigzag()
    kept = []
    for terms in (LUMA_TERMS, CHROMA_TERMS, CHROMA_TERMS):
        mask = luma.copy()
        mask[rows[: 1 + terms], columns[: 1 + terms]] = True
        kept.append(mask)
    basis = dct_basis()
    waves = np.einsum("ui,vj,ijc->uvc", basis, basis, grid) * np.stack(kept, axis=-1)
    return np.einsum("ui,vj,uvc->ijc", basis, basis, waves)


@st.composite
def scenes(draw: st.DrawFn) -> np.ndarray:
    """Any ground with rectangles of any colours on it and grain, of any proportions."""
    width, height = draw(st.integers(20, 400)), draw(st.integers(20, 400))
    colours = st.tuples(*[st.integers(0, 255)] * 3)
    pixels = np.empty((height, width, 3), np.float64)
    pixels[:] = draw(colours)
    for _ in range(draw(st.integers(0, 5))):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        pixels[y : y + draw(st.integers(1, height)), x : x + draw(st.integers(1, width))] = draw(
            colours
        )
    grain = np.random.default_rng(draw(st.integers(0, 9))).normal(0, 1, pixels.shape)
    pixels += grain * draw(st.integers(0, 40))
    return np.clip(pixels, 0, 255).astype(np.uint8)


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_grids_are_those_of_the_pixels_without_what_is_finer(pixels: np.ndarray) -> None:
    seen = planes(pixels)
    grid = seen.reshape(GRID, SIDE // GRID, GRID, SIDE // GRID, 3).mean(axis=(1, 3))
    row = stored(pixels)
    assert np.abs(layout_grids(row)[0] - smoothed(grid)).max() < 2e-3
    assert np.abs(StructureReading(row).means[0] - seen.mean(axis=(0, 1))).max() < 1e-4


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_proportions_edges_and_contrast_are_those_of_the_pixels(pixels: np.ndarray) -> None:
    luma = planes(pixels)[..., 0]
    strength = np.hypot(*np.gradient(luma))
    seen = StructureReading(stored(pixels))
    aspect = pixels.shape[1] / pixels.shape[0]
    assert aspects(stored(pixels))[0] == pytest.approx(aspect, rel=1e-4)
    assert seen.contrasts[0] == pytest.approx(luma.std(), abs=1e-5)
    assert seen.densities[0] == pytest.approx(min(strength.mean(), 0.125), abs=1e-4)
    cells = strength.reshape(4, 16, 4, 16).sum(axis=(1, 3)) / strength.size
    assert np.abs(seen.strengths[0].reshape(4, 4) - cells).max() < 1e-3


@given(scenes())
@settings(max_examples=60, deadline=None)
def test_shares_of_colours_sum_to_one(pixels: np.ndarray) -> None:
    shares = colour_shares(stored(pixels))
    assert shares.shape == (1, len(Colour))
    assert shares.min() >= 0
    assert shares.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        (Colour.RED, (200, 30, 30)), (Colour.ORANGE, (240, 140, 30)),
        (Colour.YELLOW, (240, 220, 60)), (Colour.GREEN, (40, 140, 60)),
        (Colour.CYAN, (50, 200, 205)), (Colour.BLUE, (40, 80, 200)),
        (Colour.PURPLE, (120, 50, 160)), (Colour.PINK, (240, 130, 180)),
        (Colour.BROWN, (120, 75, 40)), (Colour.BLACK, (15, 15, 15)),
        (Colour.GREY, (128, 128, 128)), (Colour.WHITE, (245, 245, 245)),
    ],
)  # fmt: skip
def test_a_colour_has_its_name_and_is_found_by_its_share(
    colour: Colour, rgb: tuple[int, int, int]
) -> None:
    assert COLOURS[colour_codes(np.array(rgb, np.uint8))] is colour
    pixels = np.full((60, 90, 3), 128 if colour is not Colour.GREY else 245, np.uint8)
    pixels[:, :45] = rgb
    shares = dict(zip(COLOURS, colour_shares(stored(pixels))[0], strict=True))
    assert shares[colour] == pytest.approx(0.5, abs=0.2)
    pixels[:] = rgb
    shares = dict(zip(COLOURS, colour_shares(stored(pixels))[0], strict=True))
    assert max(shares, key=lambda each: shares[each]) is colour
    assert shares[colour] > 0.6


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_every_colour_has_a_name(rgb: tuple[int, int, int]) -> None:
    assert 0 <= int(colour_codes(np.array(rgb, np.uint8))) < len(Colour)


def test_rows_are_read_alike_alone_and_together() -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([stored(rng.integers(0, 255, (40, 60, 3), np.uint8)) for _ in range(5)])
    for read in (colour_shares, layout_grids, aspects):
        apart = np.concatenate([read(row[None]) for row in rows])
        assert np.allclose(read(rows), apart, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, STRUCTURE_DIM - 1), (STRUCTURE_DIM,)])
def test_what_is_no_descriptor_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ContractError, match="structure"):
        colour_shares(np.zeros(shape, np.float32))


def test_rows_that_no_picture_has_give_finite_numbers() -> None:
    rows = np.stack([np.zeros(STRUCTURE_DIM), np.eye(STRUCTURE_DIM)[0], np.ones(STRUCTURE_DIM)])
    for read in (colour_shares, layout_grids, aspects):
        assert np.isfinite(read(rows.astype(np.float32))).all()
