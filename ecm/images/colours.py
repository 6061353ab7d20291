"""What colours are called: every sRGB colour has one of the twelve names of the colour filter.

Knows a table of borders in hue, saturation and value; knows no picture and no words.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.filters import Colour

COLOURS: Final = tuple(Colour)
"""The order of codes."""

_CODE: Final = {colour: code for code, colour in enumerate(COLOURS)}
_HUES: Final = (
    (14.0, Colour.RED),
    (42.0, Colour.ORANGE),
    (68.0, Colour.YELLOW),
    (165.0, Colour.GREEN),
    (195.0, Colour.CYAN),
    (255.0, Colour.BLUE),
    (295.0, Colour.PURPLE),
    (345.0, Colour.PINK),
    (360.0, Colour.RED),
)
"""Upper borders of hues in degrees, and what vivid colours below them are called."""


def colour_codes(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Places in `COLOURS` of sRGB colours: intp (...) of uint8 (..., 3)."""
    share = rgb.astype(np.float32) / np.float32(255)
    value, least = share.max(axis=-1), share.min(axis=-1)
    spread = value - least
    saturation = spread / np.maximum(value, np.float32(1e-6))
    hue = _hue(share, value, spread)
    codes: npt.NDArray[np.intp] = np.array([_CODE[colour] for _, colour in _HUES])[
        np.searchsorted([border for border, _ in _HUES[:-1]], hue, side="right")
    ]
    warm = (hue >= 8) & (hue < 48)
    dull = (value < 0.62) | ((saturation < 0.45) & (value < 0.8))
    reddish = (hue < 14) | (hue >= 320)
    rules = (
        (warm & dull, Colour.BROWN),
        (reddish & (saturation < 0.55) & (value >= 0.65), Colour.PINK),
        ((hue >= 295) & (hue < 335) & (value < 0.5), Colour.PURPLE),
        ((hue >= 48) & (hue < 68) & (value < 0.5), Colour.GREEN),
        ((spread < 0.16) | (saturation < 0.2), Colour.GREY),
        ((saturation < 0.2) & (least >= 0.72), Colour.WHITE),
        ((value < 0.2) | ((value < 0.27) & (spread < 0.1)), Colour.BLACK),
    )
    for holds, colour in rules:
        codes = np.where(holds, _CODE[colour], codes)
    return codes


def _hue(
    share: npt.NDArray[np.float32], value: npt.NDArray[np.float32], spread: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Hue in degrees, 0 for greys."""
    red, green, blue = share[..., 0], share[..., 1], share[..., 2]
    safe = np.where(spread > 0, spread, np.float32(1))
    turn = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    degrees: npt.NDArray[np.float32] = np.where(spread > 0, 60 * turn, 0).astype(np.float32)
    return degrees
