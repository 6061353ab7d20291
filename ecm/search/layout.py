"""What a text says of the look of a picture, and how well a picture does as it is told.

Knows constraints and the structure descriptor; knows no index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.filters import Colour, Orientation
from ecm.contracts.search import LayoutConstraint
from ecm.search.sketch import COLOURS, Sketch, read_sketch, sketch_vector


@dataclass(frozen=True)
class Layout:
    """Constraints on the look of a picture, each with a weight above 0 (none given: all 1).

    `strength` (0-1) is how much the query is about look: the part of its weight that the structure
    axis should get.
    """

    constraints: tuple[LayoutConstraint, ...]
    weights: tuple[float, ...] = ()

    @property
    def strength(self) -> float:
        return max(self.weights, default=1.0)

    def vector(self) -> npt.NDArray[np.float32]:
        """The constraints drawn, in the structure space: float32 (STRUCTURE_DIM,), length 1."""
        patches = tuple((c.colour.value, c.place) for c in self.constraints if c.colour is not None)
        shapes = [c.orientation.value for c in self.constraints if c.orientation is not None]
        return sketch_vector(Sketch(patches, shapes[0] if shapes else None))

    def scores(self, descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """How well pictures agree, float64 (n,) in [0, 1], of float32 (n, STRUCTURE_DIM)."""
        cosines = (descriptors @ self.vector()).astype(np.float64)
        return np.clip((1.0 + cosines) / 2.0, 0.0, 1.0)


def read_layout(text: str) -> Layout | None:
    """What a text says of look, or None."""
    sketch = read_sketch(text)
    if sketch is None:
        return None
    found = [
        LayoutConstraint(said=word, colour=_NAMES.get(word), place=place)
        for word, place in sketch.patches
        if word in _NAMES
    ]
    if sketch.shape in _SHAPES:
        found.append(LayoutConstraint(said=sketch.shape, orientation=_SHAPES[sketch.shape]))
    return Layout(tuple(found)) if found else None


_NAMES = {word: Colour(word) for word in COLOURS if word in set(Colour)}
_SHAPES = {each.value: each for each in Orientation}
