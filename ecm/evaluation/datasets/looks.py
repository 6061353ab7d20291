"""How pictures look, told from their pixels: colours of their parts, light, proportions.

Made to judge what a ranking says of look, so it shares nothing with it: colours are named pixel by
pixel from hue, saturation and value, where the ranking reads a structure descriptor. Knows no
query.

The borders between colours are in degrees of hue; what is dark, pale or brown is told from value
and saturation (both 0-1).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ecm.contracts.filters import Colour, Orientation

Floats = npt.NDArray[np.float32]
CELLS: Final = 4
"""Parts of a picture across and down."""
_SIDE: Final = 48
_COLOURS: Final = tuple(Colour)
_NAMELESS: Final = len(_COLOURS)
_HUES: Final = (
    (12.0, Colour.RED),
    (42.0, Colour.ORANGE),
    (68.0, Colour.YELLOW),
    (165.0, Colour.GREEN),
    (195.0, Colour.CYAN),
    (258.0, Colour.BLUE),
    (290.0, Colour.PURPLE),
    (345.0, Colour.PINK),
    (360.0, Colour.RED),
)
"""Each colour up to a hue."""
_BLACK, _DARK_BLACK, _WHITE = 0.2, 0.3, 0.82
_COLOURLESS, _COLOURED = 0.09, 0.16
"""Chroma (saturation by value): below the first a pixel is grey, from the second on it has a hue;
between them nobody would agree on a name, and it gets none."""
_BROWN_VALUE, _BROWN_CHROMA = 0.62, 0.4
_BEIGE, _OLIVE = 0.42, 0.5
_VIVID_RED, _PINK_SATURATION, _PINK_VALUE = 0.6, 0.5, 0.7
_SQUARE, _PANORAMA = 1.05, 2.0


@dataclass(frozen=True, slots=True, eq=False)
class PictureLook:
    """The look of one picture.

    `shares` is float32 (CELLS, CELLS, len(Colour)), rows from the top: of each part, how much has
    which colour; with what has no name they add up to 1. `light` is the mean value, `saturation`
    that below which 95 % of pixels are, both 0-1.
    """

    shares: Floats
    light: float
    saturation: float
    orientation: Orientation


PLACES: Final[dict[str, tuple[slice, slice]]] = {
    "left": (slice(None), slice(0, CELLS // 2)),
    "right": (slice(None), slice(CELLS // 2, None)),
    "top": (slice(0, CELLS // 2), slice(None)),
    "bottom": (slice(CELLS // 2, None), slice(None)),
    "centre": (slice(1, -1), slice(1, -1)),
}


class Looks:
    """The looks of n pictures, in order of their ids: what conditions on them are told from.

    `light` and `saturation` are float32 (n,), `orientation` is str (n,).
    """

    def __init__(self, looks: Mapping[str, PictureLook]) -> None:
        self.ids = tuple(sorted(looks))
        self.place_of = {asset_id: place for place, asset_id in enumerate(self.ids)}
        those = [looks[asset_id] for asset_id in self.ids]
        shape = (len(those), CELLS, CELLS, len(_COLOURS))
        self._shares = np.array([one.shares for one in those], np.float32).reshape(shape)
        self.light = np.array([one.light for one in those], np.float32)
        self.saturation = np.array([one.saturation for one in those], np.float32)
        self.orientation = np.array([one.orientation.value for one in those], np.str_)

    def __len__(self) -> int:
        return len(self.ids)

    def share(self, colour: Colour, place: str | None = None) -> Floats:
        """How much of a place (of all, None) has a colour, 0-1, float32 (n,)."""
        cells = self._shares[..., _place(colour)]
        part = cells if place is None else cells[:, *PLACES[place]]
        mean: Floats = part.mean(axis=(1, 2), dtype=np.float32)
        return mean

    def elsewhere(self, colour: Colour, place: str) -> Floats:
        """How much of what is outside a place has a colour, 0-1, float32 (n,)."""
        outside = np.ones((CELLS, CELLS), bool)
        outside[PLACES[place]] = False
        mean: Floats = self._shares[:, outside, _place(colour)].mean(axis=1, dtype=np.float32)
        return mean


def look_of(picture: bytes, width: int | None, height: int | None) -> PictureLook | None:
    """The look of a small picture of an image of `width` x `height` pixels, upright; of its own
    size where those are not known. None: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(picture)) as opened:
            own_width, own_height = opened.size
            rgb = opened.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    hsv = np.asarray(rgb.convert("HSV"), np.float32) / np.float32(255)
    names = _named(hsv[..., 0] * 360, hsv[..., 1], hsv[..., 2])
    step = _SIDE // CELLS
    each = np.eye(len(_COLOURS) + 1, dtype=np.float32)[:, :-1][names]
    shares = each.reshape(CELLS, step, CELLS, step, -1).mean(axis=(1, 3))
    # A nearly black pixel has any saturation.
    vivid = np.where(hsv[..., 2] > _BLACK, hsv[..., 1], 0)
    return PictureLook(
        shares=shares,
        light=float(hsv[..., 2].mean()),
        saturation=float(np.quantile(vivid, 0.95)),
        orientation=_orientation(width or own_width, height or own_height),
    )


def _named(hue: Floats, saturation: Floats, value: Floats) -> npt.NDArray[np.intp]:
    """The colour of each pixel as its place in `Colour`; len(Colour) for one without a name."""
    borders = np.array([border for border, _ in _HUES[:-1]], np.float32)
    by_hue = np.array([_place(colour) for _, colour in _HUES], np.intp)
    named = by_hue[np.searchsorted(borders, hue, side="right")]
    chroma = saturation * value
    reddish = (hue < 12) | (hue >= 345)
    orange, yellow = (hue >= 12) & (hue < 42), (hue >= 42) & (hue < 68)
    # Pale orange is beige, dark yellow olive, dark pink plum: no names of those that are asked for.
    named[(orange & (saturation < _BEIGE)) | (yellow & (value < _OLIVE))] = _NAMELESS
    named[yellow & (saturation < _BEIGE)] = _NAMELESS
    named[orange & (value < _BROWN_VALUE) & (chroma < _BROWN_CHROMA)] = _place(Colour.BROWN)
    faint = reddish & (saturation < _VIVID_RED)
    named[faint & (value < _BROWN_VALUE)] = _place(Colour.BROWN)
    named[faint & (saturation < _PINK_SATURATION) & (value > _PINK_VALUE)] = _place(Colour.PINK)
    plum = (hue >= 290) & (hue < 345) & (value < _OLIVE)
    named[plum] = _place(Colour.PURPLE)
    named[chroma < _COLOURED] = _NAMELESS
    named[chroma < _COLOURLESS] = _place(Colour.GREY)
    named[(chroma < _COLOURLESS) & (value > _WHITE)] = _place(Colour.WHITE)
    named[(value < _BLACK) | ((value < _DARK_BLACK) & (chroma < _COLOURLESS))] = _place(
        Colour.BLACK
    )
    return named


def _place(colour: Colour) -> int:
    return _COLOURS.index(colour)


def _orientation(width: int, height: int) -> Orientation:
    if width >= _PANORAMA * height:
        return Orientation.PANORAMA
    if max(width, height) <= _SQUARE * min(width, height):
        return Orientation.SQUARE
    return Orientation.LANDSCAPE if width > height else Orientation.PORTRAIT
