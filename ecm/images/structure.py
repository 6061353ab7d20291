"""The structure descriptor: what an image looks like regardless of what it shows.

One fixed-length vector from pixels alone, made of blocks that are each brought to about unit length
and then weighted, so that none dominates a cosine:

    block       dims  what                                                             share
    layout        40  colour layout: DCT of 8 x 8 mean colours (YCbCr), without DC      0.38
    colour         3  mean colour (the DC terms)                                        0.08
    histogram     64  soft colour histogram, 4 x 4 x 4 over Y, Cb, Cr; square roots     0.20
    edges        168  edge orientations, 8 bins, in a pyramid of 1, 4 and 16 cells      0.28
    proportions    6  aspect, edge density, contrast: points on a quarter circle        0.06

Sources: colour layout descriptor, ISO/IEC 15938-3 (MPEG-7), Kasutani & Yamada, ICIP 2001; pyramid
of histograms of orientation gradients (PHOG), Bosch, Zisserman & Munoz, CIVR 2007; square-rooted
(Hellinger) histograms, Arandjelović & Zisserman, CVPR 2012. Knows no model; the caller normalises.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image

from ecm.errors import ContractError

STRUCTURE_VERSION = 1
"""Goes up with any change that alters a value."""

Floats = npt.NDArray[np.float32]

_SIDE = 64
GRID = 8
LUMA_TERMS, CHROMA_TERMS = 20, 10
_LEVELS = 4
EDGE_BINS = 8
PYRAMID = (1, 2, 4)
# between half and all of the weight in the finest level, as in PHOG
LEVEL_WEIGHTS = (0.25, 0.25, 0.5)
WEIGHTS = {"layout": 0.38, "colour": 0.08, "histogram": 0.20, "edges": 0.28, "proportions": 0.06}
# below these lengths a block is noise of the encoder and fades instead of being blown up
LAYOUT_FLOOR, COLOUR_FLOOR, EDGE_FLOOR = 0.02, 0.25, 0.02
# BT.601 full range, as in JFIF, samples 0-1; Cb and Cr are centred on 0
YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
# histogram bin centres: chroma of photographs crowds around gray
_LUMA_CENTRES = np.array([0.125, 0.375, 0.625, 0.875], np.float32)
_CHROMA_CENTRES = np.array([-0.2, -0.05, 0.05, 0.2], np.float32)

STRUCTURE_DIM = (
    (LUMA_TERMS + 2 * CHROMA_TERMS)
    + 3
    + _LEVELS**3
    + EDGE_BINS * sum(cells * cells for cells in PYRAMID)
    + 6
)
"""Length of a descriptor: 281."""


def structure_descriptor(pixels: npt.NDArray[np.uint8], width: int, height: int) -> Floats:
    """The raw descriptor, float32 of shape (STRUCTURE_DIM,): finite, never zero, not normalised.

    Args:
        pixels: (h, w, 3) uint8 RGB, upright; any size, averaged down to 64 x 64.
        width: of the whole image in pixels, upright; with `height` it gives the proportions.
        height: of the whole image in pixels, upright.

    Raises ContractError when `pixels` is no such array.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ContractError(f"not RGB pixels: {pixels.dtype} {pixels.shape}", "contract.pixels")
    small = Image.fromarray(pixels).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    planes = np.asarray(small, np.float32).reshape(-1, 3) @ (YCBCR.T / np.float32(255))
    luma = planes[:, 0].reshape(_SIDE, _SIDE)
    layout, colour = _layout(planes)
    edges, density = _edges(luma)
    blocks = {
        "layout": layout,
        "colour": colour,
        "histogram": _histogram(planes),
        "edges": edges,
        "proportions": _proportions(width / height, density, float(luma.std())),
    }
    parts = [np.sqrt(weight) * blocks[name] for name, weight in WEIGHTS.items()]
    return np.concatenate(parts).astype(np.float32)


def _layout(planes: Floats) -> tuple[Floats, Floats]:
    """Low DCT terms of the 8 x 8 colour grid, in zigzag order without DC; and the mean colour."""
    step = _SIDE // GRID
    grid = planes.reshape(GRID, step, GRID, step, 3).mean(axis=(1, 3))
    basis = dct_basis()
    terms = np.einsum("ui,vj,ijc->uvc", basis, basis, grid) / GRID
    rows, columns = zigzag()
    ordered = terms[rows, columns]
    alternating = np.concatenate(
        [
            ordered[1 : 1 + LUMA_TERMS, 0],
            2 * ordered[1 : 1 + CHROMA_TERMS, 1],
            2 * ordered[1 : 1 + CHROMA_TERMS, 2],
        ]
    )
    mean = ordered[0] * np.array([1, 4, 4], np.float32) - np.array([0.5, 0, 0], np.float32)
    return _faded(alternating, LAYOUT_FLOOR), _faded(mean, COLOUR_FLOOR)


def _histogram(planes: Floats) -> Floats:
    """Share of pixels per colour, each spread over its eight nearest bin centres; unit length."""
    axes = [_soft(planes[:, 0], _LUMA_CENTRES)]
    axes += [_soft(planes[:, channel], _CHROMA_CENTRES) for channel in (1, 2)]
    chroma = (axes[1][:, :, None] * axes[2][:, None, :]).reshape(-1, _LEVELS * _LEVELS)
    joint = axes[0].T @ chroma
    return np.sqrt(joint.ravel() / len(planes))


def soft_shares(planes: Floats) -> Floats:
    """How the histogram spreads each colour, (n, 64) of YCbCr (n, 3); rows sum to 1."""
    luma, first, second = (
        _soft(planes[:, channel], centres)
        for channel, centres in enumerate((_LUMA_CENTRES, _CHROMA_CENTRES, _CHROMA_CENTRES))
    )
    joint: Floats = np.einsum("ni,nj,nk->nijk", luma, first, second).reshape(-1, _LEVELS**3)
    return joint


def _soft(values: Floats, centres: Floats) -> Floats:
    """Linear shares of each value in its two nearest centres, (n, centres); rows sum to 1."""
    place = np.interp(values, centres, np.arange(len(centres), dtype=np.float32))
    steps = np.arange(len(centres), dtype=np.float32)
    shares: Floats = np.maximum(0, 1 - np.abs(place[:, None] - steps)).astype(np.float32)
    return shares


def _edges(luma: Floats) -> tuple[Floats, float]:
    """Orientation histograms of all pyramid cells, and the mean edge strength (0-1)."""
    down, across = np.gradient(luma)
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) * (EDGE_BINS / np.pi) % EDGE_BINS
    lower = np.floor(turn)
    share = turn - lower
    first = lower.astype(np.intp) % EDGE_BINS
    flat = _finest_cells() * EDGE_BINS
    count = PYRAMID[-1] ** 2 * EDGE_BINS
    near, far = strength * (1 - share), strength * share
    sums = np.bincount((flat + first).ravel(), near.ravel(), count)
    sums += np.bincount((flat + (first + 1) % EDGE_BINS).ravel(), far.ravel(), count)
    finest = sums.reshape(PYRAMID[-1], PYRAMID[-1], EDGE_BINS) / strength.size
    parts = []
    for cells, weight in zip(PYRAMID, LEVEL_WEIGHTS, strict=True):
        step = PYRAMID[-1] // cells
        level = finest.reshape(cells, step, cells, step, EDGE_BINS).sum(axis=(1, 3)).ravel()
        parts.append(np.sqrt(weight) * _faded(level.astype(np.float32), EDGE_FLOOR / cells))
    return np.concatenate(parts), float(strength.mean())


def _proportions(aspect: float, density: float, contrast: float) -> Floats:
    """Three scalars as points on a quarter circle: near values, cosine near 1; unit length."""
    places = np.array(
        [np.arctan(aspect), np.pi / 2 * min(1, 8 * density), np.pi / 2 * min(1, 2 * contrast)]
    )
    return np.concatenate([np.cos(places), np.sin(places)]).astype(np.float32) / np.float32(3**0.5)


def _faded(values: Floats, floor: float) -> Floats:
    """`values` at nearly unit length, fading to zero where their length is below `floor`."""
    return values / np.float32(np.sqrt(float(values @ values) + floor * floor))


@functools.cache
def dct_basis() -> Floats:
    """Orthonormal DCT-II basis, (frequency, place)."""
    places = np.arange(GRID)
    basis = np.cos(np.pi / GRID * (places + 0.5) * places[:, None]) * np.sqrt(2 / GRID)
    basis[0] /= np.sqrt(2)
    rounded: Floats = basis.astype(np.float32)
    return rounded


@functools.cache
def zigzag() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the grid in JPEG's zigzag order."""
    cells = [(row, column) for row in range(GRID) for column in range(GRID)]
    cells.sort(key=lambda c: (sum(c), c[0] if sum(c) % 2 else c[1]))
    order = np.array(cells, np.intp)
    return order[:, 0], order[:, 1]


@functools.cache
def _finest_cells() -> npt.NDArray[np.intp]:
    """Number of the finest pyramid cell of each pixel, (side, side)."""
    place = np.arange(_SIDE) * PYRAMID[-1] // _SIDE
    return place[:, None] * PYRAMID[-1] + place
