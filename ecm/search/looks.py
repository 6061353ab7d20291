"""How well pictures do as one layout constraint says, told from their structure descriptors.

Knows constraints and what can be read back from descriptors; knows no words and no index. All
scores are float32 (n,) from 0 to 1; the borders in them were set on photographs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import LayoutConstraint
from ecm.errors import ContractError
from ecm.images.colours import COLOURS, colour_codes
from ecm.images.structure import CHROMA_TERMS, EDGE_BINS, GRID, YCBCR, dct_basis, zigzag
from ecm.images.structure_reading import CELLS, StructureReading

Floats = npt.NDArray[np.floating[Any]]

_HALF: Final = CELLS // 2
PLACES: Final[dict[str, tuple[slice, slice]]] = {
    "left": (slice(None), slice(0, _HALF)),
    "right": (slice(None), slice(_HALF, None)),
    "top": (slice(0, _HALF), slice(None)),
    "bottom": (slice(_HALF, None), slice(None)),
    "top left": (slice(0, _HALF), slice(0, _HALF)),
    "top right": (slice(0, _HALF), slice(_HALF, None)),
    "bottom left": (slice(_HALF, None), slice(0, _HALF)),
    "bottom right": (slice(_HALF, None), slice(_HALF, None)),
    "foreground": (slice(_HALF, None), slice(None)),
    "centre": (slice(1, -1), slice(1, -1)),
}
"""Rows and columns of a 4 x 4 grid; `background` is all but the centre."""

_WIDE: Final = {"background": np.float32(0.2), "foreground": np.float32(0.3)}
"""Places that a colour may well leave: how much the same colour elsewhere speaks against it."""
_CROWDED: Final = np.float32(0.25)
"""What part of the score a colour gets for being rare elsewhere; the rest is for its pattern."""

_EVEN: Final = np.float32(0.02)
"""Summed squares of a pattern of cells that hardly varies."""
_STEPS: Final = 32
_CHROMA_REACH: Final = np.float32(0.4)
_DILUTED: Final = ((1.0, 0.4), (1.6, 0.35), (2.4, 0.25))
"""A cell that a colour fills in part is less vivid, less black, less white: by which factor, and
what a colour that is so faint counts.
"""


class Looks:
    """The pictures that are being scored; what several constraints need is worked out once."""

    def __init__(self, descriptors: Floats) -> None:
        self.seen = StructureReading(descriptors)

    def scores(self, constraint: LayoutConstraint) -> Floats:
        """How well each picture does as the constraint says, (n,).

        Raises ContractError for a place or property that is not known.
        """
        place, name = constraint.place, constraint.property
        if place is not None and place != "background" and place not in PLACES:
            raise ContractError(f"no place of a picture is called {place!r}", "contract.layout")
        if name is not None and name not in PROPERTIES:
            raise ContractError(f"no property of a picture is called {name!r}", "contract.layout")
        found = []
        if constraint.orientation is not None:
            found.append(_oriented(constraint.orientation, self.seen))
        if constraint.colour is not None:
            mostly = name == MOSTLY
            found.append(self._coloured(constraint.colour, place, mostly=mostly))
        elif name is not None:
            found.append(PROPERTIES[name](self))
        if not found:
            return np.ones(len(self.seen), np.float32)
        product = found[0]
        for more in found[1:]:
            product = product * more
        return product

    @functools.cached_property
    def cells(self) -> npt.NDArray[np.int32]:
        """The colour of each cell of a 4 x 4 grid as a place in the tables of names, (n, 16)."""
        masks = _cell_masks()
        place = np.zeros((len(self.seen), CELLS * CELLS), np.int32)
        top = np.float32(_STEPS - 1)
        for channel in range(3):
            level = self.seen.parts(channel, masks)
            if channel:
                level += _CHROMA_REACH
                level *= top / (2 * _CHROMA_REACH)
            else:
                level *= top
            level += np.float32(0.5)
            np.clip(level, 0, top, out=level)
            place *= _STEPS
            place += level.astype(np.int32)
        return place

    def named(self, colour: Colour) -> Floats:
        """How much each cell has the colour, (n, 16)."""
        member: Floats = _memberships()[COLOURS.index(colour)].take(self.cells)
        return member

    def _coloured(self, colour: Colour, place: str | None, *, mostly: bool) -> Floats:
        if place is None:
            share = self.seen.raw_share(colour)
            if mostly:
                return np.minimum(share, np.float32(1))
            return share / (share + np.float32(0.12))
        member = self.named(colour)
        inside, outside = _inside(place)
        here = np.sqrt(np.square(member) @ inside)
        if place in _WIDE:
            score: Floats = here * (1 - _WIDE[place] * (member @ outside))
            return score
        rare = 1 - member @ outside
        fits = np.square(_fits(member, _template(place)))
        return here * (_CROWDED * rare + (1 - _CROWDED) * fits)

    @functools.cached_property
    def orientations(self) -> Floats:
        """Share of edges by orientation, (n, 8), whole pictures."""
        sums = self.seen.faded_energies @ np.tile(np.eye(EDGE_BINS, dtype=np.float32), (16, 1))
        shares: Floats = sums / np.maximum(sums.sum(axis=1, keepdims=True), np.float32(1e-9))
        return shares

    @functools.cached_property
    def lumas(self) -> Floats:
        """Share of the picture by brightness, (n, 4), dark to light."""
        shares: Floats = self.seen.histograms @ np.repeat(np.eye(4, dtype=np.float32), 16, axis=0)
        return shares

    @functools.cached_property
    def vivid(self) -> Floats:
        """Share of the picture in strong colours, (n,)."""
        steps = np.arange(64)
        strong = ((steps // 4 % 4) % 3 == 0) | ((steps % 4) % 3 == 0)
        shares: Floats = self.seen.histograms @ strong.astype(np.float32)
        return shares


def _above(values: Floats, middle: float, width: float) -> Floats:
    """From 0 to 1 around `middle`, never quite either, so that what is better stays better."""
    turn = (values - np.float32(middle)) / np.float32(width)
    risen: Floats = np.float32(0.5) + np.float32(0.5) * turn / np.sqrt(1 + np.square(turn))
    return risen


def _near(distance: Floats, width: float) -> Floats:
    """1 at no distance, a half at `width`."""
    near: Floats = 1 / (1 + np.square(distance / np.float32(width)))
    return near


def _oriented(orientation: Orientation, seen: StructureReading) -> Floats:
    """1 within the proportions of the name, less the farther from them."""
    lowest, highest = {
        Orientation.PORTRAIT: (-np.inf, -np.log(1.05)),
        Orientation.SQUARE: (-np.log(1.05), np.log(1.05)),
        Orientation.LANDSCAPE: (np.log(1.05), np.log(2.0)),
        Orientation.PANORAMA: (np.log(2.0), np.inf),
    }[orientation]
    turned = np.log(np.maximum(seen.aspects, np.float32(1e-4)))
    outside = np.maximum(np.maximum(lowest - turned, turned - highest), 0).astype(np.float32)
    return _near(outside, 0.12)


def _symmetrical(looks: Looks) -> Floats:
    """Left and right mirror each other: in the colour grid, and in the edges of the cells."""
    whole, odd = looks.seen.power
    grid = 1 - (odd + np.float32(2e-4)) / (whole + np.float32(4e-4))
    edges = looks.seen.faded_energies
    left, right = _mirrored_bins()
    product = np.einsum("nj,nj->n", edges[:, left], edges[:, right])
    alike = 2 * product / np.maximum(np.einsum("nj,nj->n", edges, edges), np.float32(1e-12))
    return _above(grid, 0.75, 0.2) * _above(alike, 0.93, 0.04)


def _diagonal(looks: Looks) -> Floats:
    shares = looks.orientations
    slanted = shares[:, 2] + shares[:, 6] + (shares[:, [1, 3, 5, 7]].sum(axis=1)) / 2
    one_way = np.abs(shares[:, 1:4].sum(axis=1) - shares[:, 5:8].sum(axis=1))
    return _above(slanted + one_way, 0.75, 0.25)


def _sky(looks: Looks) -> Floats:
    """The upper part is smooth, and blue or bright; the lower part is not all of that."""
    seen = looks.seen
    sky = _sky_table().take(looks.cells)
    sky *= _near(seen.strengths * (CELLS * CELLS), 0.06)
    rows = sky @ np.repeat(np.eye(CELLS, dtype=np.float32) / CELLS, CELLS, axis=0)
    upper = np.float32(0.5) * (rows[:, 0] + rows[:, 1])
    score: Floats = (
        upper
        * (np.float32(0.7) + np.float32(0.3) * rows[:, 2])
        * (1 - np.float32(0.6) * rows[:, 3])
    )
    return score


def _centred(looks: Looks) -> Floats:
    """Edges gather in the middle, and the middle has another colour than the border."""
    inside, outside = _inside("centre")
    strengths = looks.seen.strengths
    whole = np.maximum(strengths @ np.ones(len(inside), np.float32), np.float32(1e-9))
    share = (strengths @ (inside * 4)) / whole
    apart = np.zeros(len(looks.seen), np.float32)
    masks = _cell_masks()
    for channel in range(3):
        level = looks.seen.parts(channel, masks)
        apart += np.square(level @ inside - level @ outside) * (4 if channel else 1)
    return _above(share, 0.45, 0.12) * _above(np.sqrt(apart), 0.1, 0.08)


def _monochrome(looks: Looks) -> Floats:
    mean = np.hypot(looks.seen.means[:, 1], looks.seen.means[:, 2])
    return _near(looks.vivid + 4 * mean, 0.08)


def _sepia(looks: Looks) -> Floats:
    """One brownish tone all over: the mean is warm and hardly any cell is another."""
    means = looks.seen.means
    warm = _above(means[:, 2] - means[:, 1], 0.06, 0.02)
    masks, spread = _cell_masks(), np.zeros(len(means), np.float32)
    for channel in (1, 2):
        spread += looks.seen.parts(channel, masks).std(axis=1)
    return warm * _near(spread, 0.03)


def _warmth(looks: Looks) -> Floats:
    difference: Floats = looks.seen.means[:, 2] - looks.seen.means[:, 1]
    return difference


MOSTLY: Final = "mostly"
PROPERTIES: Final[dict[str, Callable[[Looks], Floats]]] = {
    "symmetrical": _symmetrical,
    "diagonal": _diagonal,
    "upright lines": lambda looks: _above(looks.orientations[:, 0], 0.3, 0.12),
    "level lines": lambda looks: _above(looks.orientations[:, 4], 0.3, 0.12),
    "sky": _sky,
    "centred": _centred,
    "bright": lambda looks: _above(looks.seen.means[:, 0], 0.62, 0.12),
    "dark": lambda looks: _above(-looks.seen.means[:, 0], -0.3, 0.12),
    "high-key": lambda looks: _above(looks.lumas[:, 3], 0.6, 0.2) * _near(looks.lumas[:, 0], 0.15),
    "low-key": lambda looks: _above(looks.lumas[:, 0], 0.6, 0.2) * _near(looks.lumas[:, 3], 0.15),
    "high contrast": lambda looks: _above(looks.seen.contrasts, 0.29, 0.05),
    "low contrast": lambda looks: _above(-looks.seen.contrasts, -0.15, 0.05),
    "blurred": lambda looks: _above(
        -looks.seen.densities / np.maximum(looks.seen.contrasts, np.float32(0.02)), -0.2, 0.08
    ),
    "minimalist": lambda looks: _above(-looks.seen.densities, -0.03, 0.015),
    "busy": lambda looks: _above(looks.seen.densities, 0.09, 0.02),
    "monochrome": _monochrome,
    "sepia": _sepia,
    "warm": lambda looks: _above(_warmth(looks), 0.09, 0.06),
    "cool": lambda looks: _above(-_warmth(looks), 0.02, 0.06),
    "colourful": lambda looks: _above(looks.vivid, 0.5, 0.15),
    "muted": lambda looks: _above(-looks.vivid, -0.15, 0.1) * (1 - _monochrome(looks) / 2),
    MOSTLY: lambda looks: np.ones(len(looks.seen), np.float32),
}
"""What a constraint may name as `property`; `mostly` belongs to a colour."""


@functools.cache
def _mirrored_bins() -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Edge bins of the left half, and those they become in a mirror: (64,) each.

    A gradient of b · 22.5° becomes one of (8 - b) · 22.5°; upright edges stay.
    """
    bins = np.arange(CELLS * CELLS * EDGE_BINS).reshape(CELLS, CELLS, EDGE_BINS)
    turned = bins[:, ::-1, (EDGE_BINS - np.arange(EDGE_BINS)) % EDGE_BINS]
    return bins[:, :_HALF].ravel(), turned[:, :_HALF].ravel()


@functools.cache
def _cell_masks() -> Floats:
    """The cells of the 4 x 4 grid as masks of the 8 x 8 grid, (16, 8, 8)."""
    step = GRID // CELLS
    masks = np.zeros((CELLS * CELLS, GRID, GRID), np.float32)
    for cell in range(CELLS * CELLS):
        row, column = divmod(cell, CELLS)
        masks[cell, row * step : (row + 1) * step, column * step : (column + 1) * step] = 1
    masks /= step * step
    return masks


@functools.cache
def _inside(place: str) -> tuple[Floats, Floats]:
    """Weights (16,) of cells in a place and out of it, each with sum 1."""
    where = np.zeros((CELLS, CELLS), np.float32)
    if place == "background":
        where[:] = 1
        where[PLACES["centre"]] = 0
    else:
        where[PLACES[place]] = 1
    flat = where.ravel()
    return flat / flat.sum(), (1 - flat) / (1 - flat).sum()


@functools.cache
def _template(place: str) -> Floats:
    """A colour in a place as the stored terms show it, (16,): mean 0, length 1."""
    inside, _ = _inside(place)
    mask = np.kron((inside > 0).reshape(CELLS, CELLS), np.ones((GRID // CELLS,) * 2))
    waves = dct_basis() @ mask @ dct_basis().T
    rows, columns = zigzag()
    waves[rows[1 + CHROMA_TERMS :], columns[1 + CHROMA_TERMS :]] = 0
    seen = np.einsum("kij,ij->k", _cell_masks(), dct_basis().T @ waves @ dct_basis())
    seen -= seen.mean()
    template: Floats = (seen / np.linalg.norm(seen)).astype(np.float32)
    return template


def _fits(member: Floats, template: Floats) -> Floats:
    """Correlation of a pattern of cells, (n, 16), with a template, 0 where it is negative: (n,).

    Patterns that hardly vary fit nothing.
    """
    spread = np.einsum("nj,nj->n", member, member) - np.square(member.sum(axis=1)) / 16
    fits: Floats = np.maximum(member @ template, 0) / np.sqrt(np.maximum(spread, 0) + _EVEN)
    return fits


@functools.cache
def _levels() -> tuple[Floats, Floats, Floats]:
    """Y, Cb and Cr of the steps of the tables, (32³,) each."""
    luma = np.linspace(0, 1, _STEPS, dtype=np.float32)
    chroma = np.linspace(-_CHROMA_REACH, _CHROMA_REACH, _STEPS, dtype=np.float32)
    planes = np.meshgrid(luma, chroma, chroma, indexing="ij")
    return planes[0].ravel(), planes[1].ravel(), planes[2].ravel()


@functools.cache
def _memberships() -> Floats:
    """How much a cell of a mean colour has each name, (12, 32³): 0-1, smooth."""
    luma, first, second = _levels()
    back = np.linalg.inv(YCBCR.astype(np.float64)).astype(np.float32)
    found = np.zeros((len(COLOURS), len(luma)), np.float32)
    bright_or_dark = [COLOURS.index(colour) for colour in (Colour.BLACK, Colour.WHITE)]
    half = np.float32(0.5)
    for factor, counts in _DILUTED:
        vivid = np.stack([luma, first * np.float32(factor), second * np.float32(factor)], axis=1)
        stark = np.stack([half + (luma - half) * np.float32(factor), first, second], axis=1)
        for planes, codes in ((vivid, range(len(COLOURS))), (stark, bright_or_dark)):
            rgb = (np.clip(planes @ back.T, 0, 1) * 255).round().astype(np.uint8)
            names = colour_codes(rgb)
            for code in codes:
                if planes is stark or code not in bright_or_dark:
                    found[code] += np.float32(counts) * (names == code)
    return _smooth(found.reshape(-1, _STEPS, _STEPS, _STEPS)).reshape(len(COLOURS), -1)


def _smooth(tables: Floats) -> Floats:
    """Each axis blurred by (1 2 1) / 4 twice, so that no border is a cliff."""
    for axis in (1, 2, 3) * 2:
        ahead = np.take(tables, np.minimum(np.arange(_STEPS) + 1, _STEPS - 1), axis=axis)
        behind = np.take(tables, np.maximum(np.arange(_STEPS) - 1, 0), axis=axis)
        tables = (2 * tables + ahead + behind) / 4
    return tables


@functools.cache
def _sky_table() -> Floats:
    """How much a mean colour may be one of a sky, (32³,): bright, and not green or brown."""
    luma, first, second = _levels()
    blue = _above(first, 0.0, 0.02) * _above(-second, -0.02, 0.02) * _above(luma, 0.35, 0.08)
    pale = _above(luma, 0.65, 0.06) * _near(np.hypot(first, second), 0.06)
    table: Floats = np.maximum(blue, pale * np.float32(0.9))
    return table
