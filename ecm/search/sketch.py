"""From layout constraints to the structure space: colours, places and proportions, drawn.

Knows constraints, a small canvas and which parts of the structure descriptor they speak of; knows
no words and no index. What cannot be drawn (symmetry, slanting lines) stays out of the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import LayoutConstraint
from ecm.images.structure import STRUCTURE_DIM, WEIGHTS, structure_descriptor
from ecm.images.structure_reading import COLOUR, HISTOGRAM, LAYOUT, PROPORTIONS
from ecm.models.base import normalised
from ecm.search.looks import PLACES

Pixels = npt.NDArray[np.uint8]

PAINT: Final = {
    Colour.RED: (200, 35, 35),
    Colour.ORANGE: (235, 130, 30),
    Colour.YELLOW: (235, 215, 55),
    Colour.GREEN: (55, 140, 60),
    Colour.CYAN: (60, 190, 205),
    Colour.BLUE: (45, 95, 195),
    Colour.PURPLE: (120, 55, 150),
    Colour.PINK: (235, 140, 175),
    Colour.BROWN: (115, 75, 45),
    Colour.BLACK: (18, 18, 18),
    Colour.GREY: (128, 128, 128),
    Colour.WHITE: (240, 240, 240),
}
"""What a colour looks like in a photograph, sRGB."""

_TINTS: Final = {
    "bright": (225, 225, 220), "high-key": (240, 240, 240), "dark": (35, 35, 40),
    "low-key": (18, 18, 18), "warm": (170, 125, 90), "cool": (100, 125, 160),
    "sepia": (150, 120, 85), "monochrome": (128, 128, 128),
}  # fmt: skip
"""Mean colours of pictures with a property."""
_SHAPES: Final = {
    Orientation.PORTRAIT: (3, 4),
    Orientation.LANDSCAPE: (4, 3),
    Orientation.SQUARE: (1, 1),
    Orientation.PANORAMA: (3, 1),
}
# how much edge strength and contrast, in the middle of what photographs have
_DENSITIES: Final = {"minimalist": 0.015, "blurred": 0.025, "busy": 0.12}
_CONTRASTS: Final = {"low contrast": 0.1, "high contrast": 0.35}
_SIDE: Final = 64
_CELL: Final = _SIDE // 4
_BELOW_SKY: Final = (95, 90, 75)
_EVERYWHERE: Final = (None, "background")


def sketch_vector(constraints: Sequence[LayoutConstraint]) -> npt.NDArray[np.float32]:
    """The constraints in the structure space: float32 (STRUCTURE_DIM,), length 1.

    Zero where they are mute: located colours speak of the layout, all colours of the histogram,
    colours that fill the picture also of its mean, proportions of themselves only. Constraints of
    which nothing can be drawn give the proportions of any photograph.
    """
    vector = np.zeros(STRUCTURE_DIM, dtype=np.float32)
    patches = [(one.colour, one.place) for one in constraints if one.colour is not None]
    names = [one.property for one in constraints if one.property is not None]
    if "sky" in names:
        patches.append((Colour.BLUE, "top"))
    if patches:
        palette = structure_descriptor(_palette([colour for colour, _ in patches]), _SIDE, _SIDE)
        vector[HISTOGRAM] = palette[HISTOGRAM]
        if all(place in _EVERYWHERE for _, place in patches):
            vector[COLOUR] = palette[COLOUR]
        if any(place not in _EVERYWHERE for _, place in patches):
            vector[LAYOUT] = structure_descriptor(_drawn(patches, names), _SIDE, _SIDE)[LAYOUT]
    for name in names:
        if name in _TINTS and not patches:
            tint = structure_descriptor(_filled(_TINTS[name]), _SIDE, _SIDE)
            vector[HISTOGRAM], vector[COLOUR] = tint[HISTOGRAM], tint[COLOUR]
    shapes = [one.orientation for one in constraints if one.orientation is not None]
    _set_proportions(vector, shapes, names, anything=bool(vector.any()))
    unit: npt.NDArray[np.float32] = normalised(vector[None]).vectors[0]
    return unit


def _set_proportions(
    vector: npt.NDArray[np.float32],
    shapes: Sequence[Orientation],
    names: Sequence[str],
    *,
    anything: bool,
) -> None:
    """Aspect, edge density and contrast as points on a quarter circle, where they are spoken of."""
    weight = np.float32(np.sqrt(WEIGHTS["proportions"] / 3))
    block = vector[PROPORTIONS]
    angles: dict[int, float] = {}
    if shapes or not anything:
        width, height = _SHAPES[shapes[0]] if shapes else (1, 1)
        angles[0] = float(np.arctan(width / height))
    for name in names:
        if name in _DENSITIES:
            angles[1] = np.pi / 2 * 8 * _DENSITIES[name]
        if name in _CONTRASTS:
            angles[2] = np.pi / 2 * 2 * _CONTRASTS[name]
    for place, angle in angles.items():
        block[place], block[place + 3] = weight * np.cos(angle), weight * np.sin(angle)


def _filled(paint: tuple[int, int, int]) -> Pixels:
    canvas = np.empty((_SIDE, _SIDE, 3), dtype=np.uint8)
    canvas[:] = paint
    return canvas


def _palette(colours: Sequence[Colour]) -> Pixels:
    """The named colours as stripes of equal width, where they are does not matter."""
    bands = np.array_split(np.arange(_SIDE), len(colours))
    canvas = np.empty((_SIDE, _SIDE, 3), dtype=np.uint8)
    for colour, band in zip(colours, bands, strict=True):
        canvas[:, band] = PAINT[colour]
    return canvas


def _drawn(patches: Sequence[tuple[Colour, str | None]], names: Sequence[str]) -> Pixels:
    """The colours in their places, backgrounds first, on middle grey; below a sky on ground."""
    canvas = _filled(_BELOW_SKY if "sky" in names else PAINT[Colour.GREY])
    for colour, place in sorted(patches, key=lambda patch: patch[1] != "background"):
        if place == "background":
            canvas[:] = PAINT[colour]
        elif place is not None:
            rows, columns = PLACES[place]
            cells = np.zeros((4, 4), dtype=np.bool_)
            cells[rows, columns] = True
            canvas[np.kron(cells, np.ones((_CELL, _CELL), dtype=np.bool_))] = PAINT[colour]
    return canvas
