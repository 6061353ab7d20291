"""Intervals that hold however often one looks: differences, ratios, rates, preferences. No I/O.

An interval of a fixed sample, looked at every day, is left by the truth sooner or later; these are
left with a chance of `alpha` over *all* looks together, so that an experiment may be stopped when
it has told enough.

| of | how | holds |
|---|---|---|
| means, ratios of means | asymptotic confidence sequence: a normal mixture over the estimate by its standard error (Robbins 1970; Waudby-Smith et al. 2021, arXiv 2103.06476; Johari et al. 2017) | from `least` units an arm on, as the central limit theorem does |
| rates of rare events | beta mixture over which arm each event is of (Robbins 1970; Lindon, Malek 2020, arXiv 2011.03567) | exactly, for any number |
| preferences | beta mixture over who wins | exactly, for any number |

What is summed is additive: `Moments` and `RatioMoments` of replicas and days are added with `+`.
Units are independent: sessions, or people with all their sessions (then `RatioMoments`).
"""  # noqa: E501 - a table

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from ecm.errors import ContractError

_STEPS: Final = 40


@dataclass(frozen=True, slots=True)
class Plan:
    """How sure, and where to look closest.

    `alpha` is the chance that the interval ever excludes the truth. It is narrowest for its size at
    `tuned_for` units of both arms together, and some per cent wider at a tenth or ten times as
    many. Before either arm has `least` units nothing is said of means and ratios.
    """

    alpha: float = 0.05
    tuned_for: int = 10_000
    least: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.tuned_for < 1 or self.least < 2:
            raise ContractError(f"{self} is no plan: 0 < alpha < 1, tuned_for >= 1, least >= 2")


@dataclass(frozen=True, slots=True)
class Always:
    """An estimate between two bounds that hold at every look; `units` are those of both arms."""

    units: int
    estimate: float
    lower: float
    upper: float

    def excludes(self, value: float) -> bool:
        """Whether the truth is surely something else."""
        return not self.lower <= value <= self.upper


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over units of one arm: how many, of values, of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        kept = tuple(values)
        return cls(len(kept), math.fsum(kept), math.fsum(value * value for value in kept))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        """Of one unit or more."""
        return self.total / self.count

    @property
    def variance(self) -> float:
        """Of one unit, estimated from two or more."""
        spread = self.squares - self.total * self.total / self.count
        return max(spread, 0.0) / (self.count - 1)


@dataclass(frozen=True, slots=True)
class RatioMoments:
    """Sums over units of one arm for a ratio: of the numerator, the denominator, their squares and
    their product. A metric by searches, assigned by person, has people for units.
    """

    count: int = 0
    above: float = 0.0
    below: float = 0.0
    above_squares: float = 0.0
    below_squares: float = 0.0
    products: float = 0.0

    @classmethod
    def of(cls, pairs: Iterable[tuple[float, float]]) -> Self:
        """Of a numerator and a denominator of each unit."""
        kept = tuple(pairs)
        return cls(
            len(kept),
            math.fsum(a for a, _ in kept),
            math.fsum(b for _, b in kept),
            math.fsum(a * a for a, _ in kept),
            math.fsum(b * b for _, b in kept),
            math.fsum(a * b for a, b in kept),
        )

    def __add__(self, other: RatioMoments) -> RatioMoments:
        return RatioMoments(
            self.count + other.count,
            self.above + other.above,
            self.below + other.below,
            self.above_squares + other.above_squares,
            self.below_squares + other.below_squares,
            self.products + other.products,
        )

    @property
    def ratio(self) -> float:
        """Of all numerators by all denominators, which are not 0."""
        return self.above / self.below

    @property
    def variance(self) -> float:
        """Of the ratio times `count`, by linearisation (Cochran 1977, section 2.11)."""
        ratio = self.ratio
        squares = (
            self.above_squares - 2 * ratio * self.products + ratio * ratio * self.below_squares
        )
        mean = self.below / self.count
        return max(squares, 0.0) / (self.count - 1) / (mean * mean)


Sums = TypeVar("Sums", Moments, RatioMoments)


@dataclass(frozen=True, slots=True)
class Events:
    """How often something happened in how many trials of one arm."""

    events: int
    trials: int


def mean(values: Moments, plan: Plan) -> Always | None:
    """The mean of one arm; None before there are `least` units."""
    if values.count < plan.least:
        return None
    error = math.sqrt(values.variance / values.count)
    return _around(values.mean, error, values.count, values.count, plan)


def difference(control: Moments, treatment: Moments, plan: Plan) -> Always | None:
    """The mean of treatment less that of control; None before either has `least` units."""
    if min(control.count, treatment.count) < plan.least:
        return None
    return _of_two(treatment.mean - control.mean, control, treatment, plan)


def ratio_difference(control: RatioMoments, treatment: RatioMoments, plan: Plan) -> Always | None:
    """The ratio of treatment less that of control; None before either has `least` units, or where
    a denominator is 0.
    """
    if min(control.count, treatment.count) < plan.least:
        return None
    if not control.below or not treatment.below:
        return None
    return _of_two(treatment.ratio - control.ratio, control, treatment, plan)


def rate_ratio(control: Events, treatment: Events, plan: Plan) -> Always | None:
    """The rate of an event in treatment by that in control: errors, or answers slower than a limit.

    Given that one happened, it happened in treatment with a chance that hangs on the ratio and on
    how trials are shared alone, so that few events tell as exactly as many. For events of a few per
    cent of trials at most. None before there is an event or while an arm has no trial; bounds are
    0 and inf where nothing is known yet.
    """
    happened = control.events + treatment.events
    if not happened or not control.trials or not treatment.trials:
        return None
    lower, upper = _beta_bounds(treatment.events, control.events, plan.alpha)
    exposure = control.trials / treatment.trials

    def ratio(share: float) -> float:
        return math.inf if share >= 1 else exposure * share / (1 - share)

    return Always(
        control.trials + treatment.trials,
        ratio(treatment.events / happened),
        ratio(lower),
        ratio(upper),
    )


def preference(wins: int, losses: int, plan: Plan) -> Always | None:
    """Wins less losses, by both: -1 to 1, of interleaved answers whose clicks went to one side.

    Ties tell nothing of who is better and are not counted. None before anybody has won.
    """
    decided = wins + losses
    if not decided:
        return None
    lower, upper = _beta_bounds(wins, losses, plan.alpha)
    return Always(decided, (wins - losses) / decided, 2 * lower - 1, 2 * upper - 1)


def _of_two(estimate: float, control: Sums, treatment: Sums, plan: Plan) -> Always:
    """A difference. Arms of different sizes tell as much as `balanced` units in two of one size.

    An arm varies as its own units do, or as those of both where that is more: a small arm that has
    not met a rare event yet does not know how much it varies.
    """
    ones, others = control.count, treatment.count
    both = (control + treatment).variance
    error = math.sqrt(max(control.variance, both) / ones + max(treatment.variance, both) / others)
    return _around(estimate, error, 4 * ones * others / (ones + others), ones + others, plan)


def _around(estimate: float, error: float, told: float, units: int, plan: Plan) -> Always:
    """The normal mixture: `told` units of information, of which `tuned_for` are told best."""
    best = -2 * math.log(plan.alpha) + math.log(1 - 2 * math.log(plan.alpha))
    spread = told * best / plan.tuned_for
    reach = error * math.sqrt(
        2 * (spread + 1) / spread * math.log(math.sqrt(spread + 1) / plan.alpha)
    )
    return Always(units, estimate, estimate - reach, estimate + reach)


def _beta_bounds(hits: int, misses: int, alpha: float) -> tuple[float, float]:
    """Chances that hits of hits + misses throws do not speak against with 1 / alpha to one.

    The mixture over all chances alike (beta of 1, 1) against a chance p is a martingale when p is
    true, and passes 1 / alpha with a probability of alpha at most (Ville 1939).
    """
    mixed = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(hits + misses + 2)
    limit = -math.log(alpha)
    best = hits / (hits + misses)

    def against(chance: float) -> float:
        likely = hits * math.log(chance) if hits else 0.0
        likely += misses * math.log1p(-chance) if misses else 0.0
        return mixed - likely - limit

    lower = 0.0 if not hits else _bound(against, best, 0.0)
    upper = 1.0 if not misses else _bound(against, best, 1.0)
    return lower, upper


def _bound(against: Callable[[float], float], inside: float, outside: float) -> float:
    """Where `against` turns positive between a chance that is not spoken against and an end."""
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if 0 < middle < 1 and against(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return outside
