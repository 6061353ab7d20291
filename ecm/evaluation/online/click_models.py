"""Simulated users: which results they click, how long they stay, whether they are satisfied.

Three models of clicks, each seeded by the generator it is given, so that a simulated experiment
plays again alike (Chuklin, Markov, de Rijke 2015, "Click Models for Web Search"):

- `PositionBased` (Richardson et al. 2007): a rank is looked at with a chance of its own; what is
  looked at is clicked as it attracts.
- `Cascade` (Craswell et al. 2008), with satisfaction: results are looked at from the top; the user
  leaves once satisfied.
- `DependentClick` (Guo et al. 2009): as `Cascade`, but after a click that did not satisfy the user
  goes on with a chance that hangs on the rank.

Knows relevance by rank alone: no asset, no query, no clock, no experiment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from ecm.errors import ContractError

Chances = tuple[float, ...]
EXAMINATION: Final[Chances] = (1.0, 0.68, 0.52, 0.43, 0.37, 0.33, 0.30, 0.27, 0.25, 0.24)
"""Chance that ranks 1-10 are looked at, rank^-0.6 or so: what eye tracking of result lists finds
in shape (Joachims et al. 2005); ranks beyond have that of the last."""
ATTRACTIVENESS: Final[Chances] = (0.08, 0.45, 0.85)
"""Chance of a click on what is looked at, by relevance 0, 1, 2."""
SATISFACTION: Final[Chances] = (0.02, 0.30, 0.75)
"""Chance that a click satisfies, by relevance 0, 1, 2."""
CONTINUATION: Final[Chances] = (0.85, 0.75, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3)
"""Chance of going on after a click that did not satisfy, by rank."""
SATISFIED_DWELL_S: Final = 45.0
OTHER_DWELL_S: Final = 8.0
_DWELL_SIGMA: Final = 0.6


@dataclass(frozen=True, slots=True)
class Click:
    """A click on the result at `rank` (from 1), the seconds spent there, and whether it was it."""

    rank: int
    dwell_s: float
    satisfied: bool


class ClickModel(Protocol):
    """A kind of user."""

    def visit(self, relevances: Sequence[int], rng: np.random.Generator) -> tuple[Click, ...]:
        """The clicks on results of these relevances (0, 1, 2 in the order of ranks), in order."""
        ...

    def clicks(self, relevances: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
        """The ranks, from 1, that are clicked, in the order of clicks."""
        return tuple(click.rank for click in self.visit(relevances, rng))


@dataclass(frozen=True)
class PositionBased(ClickModel):
    """Each rank for itself. Raises ContractError for what is no chance."""

    examination: Chances = EXAMINATION
    attractiveness: Chances = ATTRACTIVENESS
    satisfaction: Chances = SATISFACTION

    def __post_init__(self) -> None:
        _check(self.examination, self.attractiveness, self.satisfaction)

    def visit(self, relevances: Sequence[int], rng: np.random.Generator) -> tuple[Click, ...]:
        """See `ClickModel`. Looks and clicks of all ranks are drawn at once."""
        drawn = rng.random(len(relevances))
        return tuple(
            _click(rank, relevance, self.satisfaction, rng)
            for rank, relevance in enumerate(relevances, start=1)
            if drawn[rank - 1] < _at(self.examination, rank) * self.attractiveness[relevance]
        )


@dataclass(frozen=True)
class Cascade(ClickModel):
    """One look after the other, until satisfied or bored.

    `patience` is the chance of looking at the next result after one that was not clicked or did not
    satisfy; 1 is the cascade as it was published. Raises ContractError for what is no chance.
    """

    attractiveness: Chances = ATTRACTIVENESS
    satisfaction: Chances = SATISFACTION
    patience: float = 0.9

    def __post_init__(self) -> None:
        _check(self.attractiveness, self.satisfaction, (self.patience,))

    def visit(self, relevances: Sequence[int], rng: np.random.Generator) -> tuple[Click, ...]:
        """See `ClickModel`."""
        found = []
        for rank, relevance in enumerate(relevances, start=1):
            if rng.random() < self.attractiveness[relevance]:
                found.append(_click(rank, relevance, self.satisfaction, rng))
                if found[-1].satisfied:
                    break
            if rng.random() >= self.patience:
                break
        return tuple(found)


@dataclass(frozen=True)
class DependentClick(ClickModel):
    """A cascade with several clicks: going on after one hangs on its rank.

    Raises ContractError for what is no chance.
    """

    attractiveness: Chances = ATTRACTIVENESS
    continuation: Chances = CONTINUATION
    satisfaction: Chances = SATISFACTION

    def __post_init__(self) -> None:
        _check(self.attractiveness, self.continuation, self.satisfaction)

    def visit(self, relevances: Sequence[int], rng: np.random.Generator) -> tuple[Click, ...]:
        """See `ClickModel`."""
        found = []
        for rank, relevance in enumerate(relevances, start=1):
            if rng.random() < self.attractiveness[relevance]:
                found.append(_click(rank, relevance, self.satisfaction, rng))
                if found[-1].satisfied or rng.random() >= _at(self.continuation, rank):
                    break
        return tuple(found)


def _click(rank: int, relevance: int, satisfaction: Chances, rng: np.random.Generator) -> Click:
    satisfied = bool(rng.random() < satisfaction[relevance])
    typical = SATISFIED_DWELL_S if satisfied else OTHER_DWELL_S
    return Click(rank, float(typical * rng.lognormal(0.0, _DWELL_SIGMA)), satisfied)


def _at(chances: Chances, rank: int) -> float:
    return chances[min(rank, len(chances)) - 1]


def _check(*all_chances: Chances) -> None:
    for chances in all_chances:
        if not chances or not all(0 <= chance <= 1 for chance in chances):
            raise ContractError(f"{chances} are no chances from 0 to 1")
