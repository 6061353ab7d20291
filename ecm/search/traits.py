"""What follows from the facts of assets: their orientation, date, colours, and what they have.

Filters, facets and sorting mean the same by these words because they ask here. Knows arithmetic;
knows no request.
"""

from __future__ import annotations

from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.filters import Colour, Has, Orientation
from ecm.search.facts import Facts
from ecm.search.label_sets import Floats

Mask = npt.NDArray[np.bool_]

SQUARE: Final = 1.05
PANORAMA: Final = 2.0
FACET_SHARE: Final = 0.15
"""A colour is said of a picture when it covers so much of it, unless somebody asks otherwise."""

COLOURS: Final = tuple(Colour)


def oriented(orientation: Orientation, width: Floats, height: Floats) -> Mask:
    """Which pictures have an orientation: bool (n,); a panorama is a landscape, too."""
    wide, tall = width / height, height / width
    match orientation:
        case Orientation.PORTRAIT:
            return tall > SQUARE
        case Orientation.LANDSCAPE:
            return wide > SQUARE
        case Orientation.SQUARE:
            return np.maximum(wide, tall) <= SQUARE
        case Orientation.PANORAMA:
            return wide >= PANORAMA
        case _:
            assert_never(orientation)


def lacking_for(has: Has) -> str:
    """The column of a snapshot without which nobody can tell."""
    match has:
        case Has.TEXT:
            return "ocr"
        case Has.CAPTION:
            return "caption"
        case Has.TAGS:
            return "tags"
        case Has.USER_TEXT:
            return "user"
        case Has.DATE:
            return "taken_at"
        case _:
            assert_never(has)


def having(has: Has, facts: Facts) -> Mask:
    """Which assets have something: bool (n,)."""
    match has:
        case Has.TEXT:
            return _written(facts.texts["ocr"])
        case Has.CAPTION:
            return _written(facts.texts["caption"])
        case Has.TAGS:
            return facts.tags.counts() > 0
        case Has.USER_TEXT:
            return _written(facts.texts["user"])
        case Has.DATE:
            return ~np.isnan(facts.taken)
        case _:
            assert_never(has)


def dated(facts: Facts) -> Floats:
    """When each picture was taken, or else when its file changed last: Unix seconds, or NaN."""
    return np.where(np.isnan(facts.taken), facts.modified, facts.taken)


def _written(texts: pa.StringArray) -> Mask:
    there = pc.fill_null(pc.greater(pc.binary_length(texts), 0), False)
    mask: Mask = there.to_numpy(zero_copy_only=False)
    return mask
