"""What a text says of the look of a picture, and how well pictures do as it says.

Knows how constraints are weighed and put together; how each is told from a descriptor is known to
`ecm.search.looks`, what words mean to `ecm.search.layout_words`. Knows no index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import LayoutConstraint
from ecm.errors import ContractError
from ecm.search.layout_words import PLACED, Spoken, read_looks
from ecm.search.looks import Looks
from ecm.search.sketch import sketch_vector

MAX_CONSTRAINTS: Final = 8
"""Constraints that are heeded, those that count most."""

_LEAST: Final = 0.02
"""What a constraint that is not met at all leaves of the others: a picture that does all but one of
many is still better than one that does none."""
_BESIDE: Final = 0.25
"""How much look still counts where the text speaks of other things too."""
_FREE_WORDS: Final = 3
"""So many words of other things may stand beside the look before it counts less and less."""


@dataclass(frozen=True)
class Layout:
    """Constraints on the look of a picture.

    `weights` are what the constraints count among each other, above 0 (none given: all 1).
    `strength`, 0-1, is how much the query is about look: 1 where it speaks of nothing else, near 0
    where a colour is mentioned in passing. The structure axis should have that part of the weight
    it has in a question of look alone.
    """

    constraints: tuple[LayoutConstraint, ...]
    weights: tuple[float, ...] = ()
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not self.constraints:
            raise ContractError("a layout has at least one constraint", "contract.layout")
        if self.weights and len(self.weights) != len(self.constraints):
            raise ContractError("a layout has one weight per constraint", "contract.layout")
        if any(weight <= 0 for weight in self.weights):
            raise ContractError("the weights of a layout are above 0", "contract.layout")

    def vector(self) -> npt.NDArray[np.float32]:
        """The constraints drawn, in the structure space: float32 (STRUCTURE_DIM,), length 1.

        Good for finding candidates of `scores` in an index; what cannot be drawn is left out.
        """
        return sketch_vector(self.constraints)

    def scores(self, descriptors: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """How well pictures do as all constraints say, float64 (n,) in [0, 1].

        The weighted geometric mean of how well they do as each says, so that one constraint is no
        excuse for another. Raises ContractError unless `descriptors` is (n, STRUCTURE_DIM).
        """
        looks = Looks(descriptors)
        weights = self.weights or (1.0,) * len(self.constraints)
        logs = np.zeros(len(descriptors), np.float64)
        for constraint, weight in zip(self.constraints, weights, strict=True):
            met = np.clip(looks.scores(constraint), 0, 1).astype(np.float64)
            logs += weight * np.log(_LEAST + (1 - _LEAST) * met)
        return np.clip(np.exp(logs / sum(weights)), 0, 1)


def read_layout(text: str) -> Layout | None:
    """What a text says of look, or None.

    >>> layout = read_layout("a red car on the left")
    >>> layout.constraints[0].colour.value, layout.constraints[0].place, layout.strength
    ('red', 'left', 0.2)
    >>> read_layout("a dog")
    """
    read = read_looks(text)
    if not read.spoken:
        return None
    by_weight = sorted(read.spoken, key=lambda one: (-one.weight, one.start))[:MAX_CONSTRAINTS]
    chosen = sorted(by_weight, key=lambda one: (one.start, one.end))
    return Layout(
        constraints=tuple(one.constraint for one in chosen),
        weights=tuple(one.weight for one in chosen),
        strength=_strength(chosen, read.others),
    )


def _strength(spoken: list[Spoken], others: int) -> float:
    """The most that one counts: in full where nothing else is spoken of, less the more else."""
    most = max(one.weight for one in spoken)
    if not others:
        return 1.0 if most >= PLACED else most
    return most * _BESIDE * min(1.0, _FREE_WORDS / others)
