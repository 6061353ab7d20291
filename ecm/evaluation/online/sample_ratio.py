"""Are the arms as large as was dealt? If not, something loses units and no metric means anything.

Two p values of the same counts: `p_once` for one look at the end (chi-square, Pearson 1900), and
`p`, which holds however often one looks. The latter is of the count's walk around what is expected:
that it ever leaves a band as wide as c standard deviations of a `planned` number of units, before
there are so many, has a chance of 4 (1 - Phi(c)) at most (reflection; as O'Brien and Fleming's
bounds, looked at always). Most of alpha goes to the planned number, where it costs little against
one look; the rest to bands for a quarter, a sixteenth … of it, so that gross mismatches are seen
early, and for twice, four times … as many, so that nothing ends with the plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from ecm.errors import ContractError

_NORMAL: Final = NormalDist()
_PLANNED: Final = 0.69
_EARLIER: Final = {256: 0.005, 64: 0.01, 16: 0.015, 4: 0.03}
"""Parts of the planned number, with their part of alpha."""
_LATER: Final = 0.25
"""Of all numbers twice, four times … as large together."""


@dataclass(frozen=True)
class SampleRatio:
    """Units of each arm, what is expected of as many, and how likely this is by chance."""

    counts: tuple[int, ...]
    expected: tuple[float, ...]
    p: float
    p_once: float


def sample_ratio(
    counts: Sequence[int], shares: Sequence[float], planned: int = 20_000
) -> SampleRatio:
    """How likely counts are, when each unit is dealt to arm i with a chance of `shares[i]`.

    Args:
        counts: units of each arm.
        shares: what was dealt to each, above 0 in any unit: (1, 1) is half and half.
        planned: units of all arms together at which the check is to be sharpest.

    Raises:
        ContractError: less than two arms, counts below 0, shares not above 0, nothing planned.
    """
    if len(counts) != len(shares) or len(counts) < 2 or planned < 1:
        raise ContractError(f"{len(counts)} counts of {len(shares)} arms, {planned} planned")
    if min(counts) < 0 or not min(shares) > 0:
        raise ContractError("counts are 0 or more, shares above 0")
    units, whole = sum(counts), math.fsum(shares)
    chances = [share / whole for share in shares]
    expected = tuple(units * chance for chance in chances)
    if not units:
        return SampleRatio(tuple(counts), expected, 1.0, 1.0)
    # Two arms walk as one; of more, each is watched for itself.
    walks = list(zip(counts, chances, expected, strict=True))[: 1 if len(counts) == 2 else None]
    least = min(
        _ever(abs(count - wanted) / math.sqrt(horizon * chance * (1 - chance))) / weight
        for count, chance, wanted in walks
        for horizon, weight in _horizons(planned, units)
    )
    return SampleRatio(
        tuple(counts), expected, min(1.0, least * len(walks)), _chi_square(counts, expected)
    )


def _ever(deviations: float) -> float:
    """The chance that a walk is ever so far out, in standard deviations of its end."""
    return min(1.0, 4 * _NORMAL.cdf(-deviations))


def _horizons(planned: int, units: int) -> Iterator[tuple[float, float]]:
    """Numbers of units that are not passed yet, with the part of alpha that each has."""
    for part, weight in _EARLIER.items():
        if planned / part >= units:
            yield planned / part, weight
    if planned >= units:
        yield planned, _PLANNED
    doubled = 1
    while planned * 2**doubled < units:
        doubled += 1
    yield planned * 2**doubled, _LATER / 2**doubled


def _chi_square(counts: Sequence[int], expected: Sequence[float]) -> float:
    from scipy.special import chdtrc

    statistic = math.fsum(
        (count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True)
    )
    return float(chdtrc(len(counts) - 1, statistic))
