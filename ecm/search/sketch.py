"""From words to the structure space: the colours, places and proportions a text names, drawn.

Knows words, a small canvas and which parts of the structure descriptor words can speak of; knows no
index. Edges and what a thing is cannot be drawn from words and stay out of the comparison.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.images.structure import STRUCTURE_DIM, STRUCTURE_VERSION, structure_descriptor
from ecm.models.base import normalised

Pixels = npt.NDArray[np.uint8]
Canvas = tuple[slice, slice]

COLOURS = {
    "red": (200, 35, 35), "orange": (235, 130, 30), "yellow": (235, 215, 55),
    "green": (55, 140, 60), "blue": (45, 95, 195), "purple": (120, 55, 150),
    "violet": (120, 55, 150), "pink": (235, 140, 175), "brown": (115, 75, 45),
    "black": (18, 18, 18), "white": (240, 240, 240), "gray": (128, 128, 128),
    "grey": (128, 128, 128), "beige": (220, 200, 165), "turquoise": (60, 190, 185),
    "cyan": (60, 190, 205), "magenta": (200, 50, 150), "golden": (205, 165, 60),
    "silver": (185, 188, 192), "teal": (25, 120, 120),
    "dark": (30, 30, 34), "bright": (228, 228, 222),
}  # fmt: skip
"""What a colour word looks like in a photograph, sRGB."""

SIDE = 64
PLACES: dict[str, Canvas] = {
    "left": (slice(0, SIDE), slice(0, SIDE // 2)),
    "right": (slice(0, SIDE), slice(SIDE // 2, SIDE)),
    "top": (slice(0, SIDE // 2), slice(0, SIDE)),
    "bottom": (slice(SIDE // 2, SIDE), slice(0, SIDE)),
    "foreground": (slice(SIDE // 2, SIDE), slice(0, SIDE)),
    "centre": (slice(SIDE // 5, -SIDE // 5), slice(SIDE // 5, -SIDE // 5)),
    "background": (slice(0, SIDE), slice(0, SIDE)),
}
ALIASES = {"center": "centre", "middle": "centre", "centered": "centre", "centred": "centre"}
SHAPES = {
    "portrait": (3, 4), "vertical": (3, 4), "landscape": (4, 3), "horizontal": (4, 3),
    "panorama": (3, 1), "panoramic": (3, 1), "square": (1, 1),
}  # fmt: skip

# places of the blocks of a descriptor, as ecm.images.structure documents them
_LAYOUT, _COLOUR = slice(0, 40), slice(40, 43)
_HISTOGRAM, _ASPECT = slice(43, 107), [275, 278]
_DESCRIBED_VERSION = 1
_WORD = re.compile(r"[a-z]+")
_NEAR = 4
"""Words between a colour and the place it belongs to, at most."""


@dataclass(frozen=True)
class Sketch:
    """Colours with the part of the canvas each fills (None: somewhere), and a shape if named."""

    patches: tuple[tuple[str, str | None], ...] = ()
    shape: str | None = None


def read_sketch(text: str) -> Sketch | None:
    """What a text says that can be drawn, or None.

    >>> read_sketch("a red car on the left, blue background")
    Sketch(patches=(('red', 'left'), ('blue', 'background')), shape=None)
    >>> read_sketch("a dog")
    """
    words = [ALIASES.get(word, word) for word in _WORD.findall(text.lower())]
    taken: set[int] = set()
    patches = []
    for here, word in enumerate(words):
        if word in COLOURS:
            place = _place_of(words, here, taken)
            patches.append((word, words[place] if place is not None else None))
    shape = next((word for word in words if word in SHAPES), None)
    return Sketch(tuple(patches), shape) if patches or shape else None


def sketch_vector(sketch: Sketch) -> npt.NDArray[np.float32]:
    """The sketch in the structure space: float32 (STRUCTURE_DIM,), length 1.

    Zero where words are mute: located colours speak of the layout, all colours of the histogram,
    colours that fill the image also of its mean, a shape of the proportions only.
    """
    assert STRUCTURE_VERSION == _DESCRIBED_VERSION, "the blocks of the descriptor have moved"
    vector = np.zeros(STRUCTURE_DIM, dtype=np.float32)
    if sketch.patches:
        palette = structure_descriptor(_palette(sketch), SIDE, SIDE)
        vector[_HISTOGRAM] = palette[_HISTOGRAM]
        if all(place in (None, "background") for _, place in sketch.patches):
            vector[_COLOUR] = palette[_COLOUR]
        if any(place not in (None, "background") for _, place in sketch.patches):
            vector[_LAYOUT] = structure_descriptor(_drawn(sketch), SIDE, SIDE)[_LAYOUT]
    if sketch.shape is not None:
        width, height = SHAPES[sketch.shape]
        grey = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
        vector[_ASPECT] = structure_descriptor(grey, width * SIDE, height * SIDE)[_ASPECT]
    unit: npt.NDArray[np.float32] = normalised(vector[None]).vectors[0]
    return unit


def _place_of(words: list[str], here: int, taken: set[int]) -> int | None:
    """Index of the place that belongs to the colour at `here`: the next one before a colour."""
    for there in range(here + 1, min(here + 2 + _NEAR, len(words))):
        if words[there] in COLOURS:
            break
        if words[there] in PLACES and there not in taken:
            taken.add(there)
            return there
    return None


def _palette(sketch: Sketch) -> Pixels:
    """The named colours as stripes of equal width, where they are does not matter."""
    bands = np.array_split(np.arange(SIDE), len(sketch.patches))
    canvas = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    for (colour, _), band in zip(sketch.patches, bands, strict=True):
        canvas[:, band] = COLOURS[colour]
    return canvas


def _drawn(sketch: Sketch) -> Pixels:
    """The colours in their places, backgrounds first, on middle grey."""
    canvas = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    for colour, place in sorted(sketch.patches, key=lambda patch: patch[1] != "background"):
        if place is not None:
            canvas[PLACES[place]] = COLOURS[colour]
    return canvas
