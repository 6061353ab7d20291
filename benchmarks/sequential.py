"""Does looking at every step raise false alarms, and is a broken split of units noticed?

    python -m benchmarks.sequential [--runs 2000] [--steps 2000] [--json]

A/A runs: both arms draw from one distribution, one unit a step, and the interval is looked at after
every one of them; a run that excludes the truth at any step is a false alarm. Beside it what an
interval of a fixed sample (1.96 standard errors) does when it is looked at as often. Intervals are
tuned for the length of the run, where they are least cautious. The arithmetic is repeated here on
whole arrays, and compared with the product's at a thousand places drawn and at alarms. Then how long
a real difference takes, by what a fixed sample with a power of 80 % would take. Last the sample
ratio: 49 to 51 as it is expected at 20,000 sessions, and as it is drawn, at 20,000 in all and at
20,000 for each arm. Exit code 1 when more than 5 % of runs are alarms (no slack), when 9,800 against
10,200 is not caught, or when less than 95 % of drawn splits are with 20,000 sessions in each arm.
"""  # noqa: E501 - figures that belong together

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from ecm.evaluation.online.sample_ratio import sample_ratio
from ecm.evaluation.online.sequential import (
    Events,
    Moments,
    Plan,
    RatioMoments,
    difference,
    preference,
    rate_ratio,
    ratio_difference,
)

AT_ONCE = 200
MOST_ALARMS, LEAST_CAUGHT = 0.05, 0.95
SPLIT_ALPHA = 0.05
Rng = np.random.Generator
Array = np.ndarray


@dataclass(frozen=True)
class Walk:
    """Running sums of runs (runs, steps), by arm."""

    count: tuple[Array, Array]
    sums: tuple[tuple[Array, ...], tuple[Array, ...]]


def walked(values: tuple[Array, ...], treated: Array) -> Walk:
    arms = (~treated, treated)
    return Walk(
        tuple(arm.cumsum(axis=1) for arm in arms),
        tuple(tuple(np.where(arm, value, 0).cumsum(axis=1) for value in values) for arm in arms),
    )


def reach(error: Array, told: Array, plan: Plan) -> Array:
    best = -2 * math.log(plan.alpha) + math.log(1 - 2 * math.log(plan.alpha))
    spread = told * best / plan.tuned_for
    return error * np.sqrt(2 * (spread + 1) / spread * np.log(np.sqrt(spread + 1) / plan.alpha))


def mean_alarms(walk: Walk, plan: Plan) -> tuple[Array, Array]:
    """Whether the interval excludes 0, and whether 1.96 standard errors do, at each step."""
    (ones, others), ((total0, squares0), (total1, squares1)) = walk.count, walk.sums

    def variance(count: Array, total: Array, squares: Array) -> Array:
        return np.maximum(squares - total * total / count, 0) / (count - 1)

    both = variance(ones + others, total0 + total1, squares0 + squares1)
    own = variance(ones, total0, squares0), variance(others, total1, squares1)
    error = np.sqrt(np.maximum(own[0], both) / ones + np.maximum(own[1], both) / others)
    distance = np.abs(total1 / others - total0 / ones)
    ready = np.minimum(ones, others) >= plan.least
    told = 4 * ones * others / (ones + others)
    fixed = 1.96 * np.sqrt(own[0] / ones + own[1] / others)
    return ready & (distance > reach(error, told, plan)), ready & (distance > fixed)


def mean_says(walk: Walk, run: int, step: int, plan: Plan) -> bool:
    """What the product says at one place."""
    sides = [
        Moments(int(walk.count[arm][run, step]), *(float(s[run, step]) for s in walk.sums[arm]))
        for arm in (0, 1)
    ]
    found = difference(sides[0], sides[1], plan)
    return found is not None and found.excludes(0.0)


def ratio_alarms(walk: Walk, plan: Plan) -> tuple[Array, Array]:
    (ones, others), (control, treatment) = walk.count, walk.sums

    def variance(count: Array, sums: tuple[Array, ...]) -> Array:
        above, below, above2, below2, products = sums
        ratio, mean = above / below, below / count
        spread = above2 - 2 * ratio * products + ratio * ratio * below2
        return np.maximum(spread, 0) / (count - 1) / (mean * mean)

    both = variance(ones + others, tuple(a + b for a, b in zip(control, treatment, strict=True)))
    own = variance(ones, control), variance(others, treatment)
    error = np.sqrt(np.maximum(own[0], both) / ones + np.maximum(own[1], both) / others)
    distance = np.abs(treatment[0] / treatment[1] - control[0] / control[1])
    ready = np.minimum(ones, others) >= plan.least
    told = 4 * ones * others / (ones + others)
    fixed = 1.96 * np.sqrt(own[0] / ones + own[1] / others)
    return ready & (distance > reach(error, told, plan)), ready & (distance > fixed)


def ratio_says(walk: Walk, run: int, step: int, plan: Plan) -> bool:
    sides = [
        RatioMoments(
            int(walk.count[arm][run, step]), *(float(s[run, step]) for s in walk.sums[arm])
        )
        for arm in (0, 1)
    ]
    found = ratio_difference(sides[0], sides[1], plan)
    return found is not None and found.excludes(0.0)


def beta_alarms(hits: Array, misses: Array, chance: Array | float, alpha: float) -> Array:
    mixed = gammaln(hits + 1) + gammaln(misses + 1) - gammaln(hits + misses + 2)
    likely = hits * np.log(chance) + misses * np.log1p(-chance)
    return (hits + misses > 0) & (mixed - likely > -math.log(alpha))


def rate_alarms(walk: Walk, plan: Plan) -> tuple[Array, Array]:
    events = walk.sums[1][0], walk.sums[0][0]
    share = np.clip(walk.count[1] / (walk.count[0] + walk.count[1]), 1e-12, 1 - 1e-12)
    ready = np.minimum(*walk.count) > 0
    whole = np.maximum(events[0] + events[1], 1)
    z = np.abs(events[0] - whole * share) / np.sqrt(whole * share * (1 - share))
    return ready & beta_alarms(*events, share, plan.alpha), ready & (whole >= 10) & (z > 1.96)


def rate_says(walk: Walk, run: int, step: int, plan: Plan) -> bool:
    sides = [
        Events(int(walk.sums[arm][0][run, step]), int(walk.count[arm][run, step])) for arm in (0, 1)
    ]
    found = rate_ratio(sides[0], sides[1], plan)
    return found is not None and found.excludes(1.0)


def preference_alarms(walk: Walk, plan: Plan) -> tuple[Array, Array]:
    wins, losses = walk.sums[1][0], walk.sums[0][0]
    decided = np.maximum(wins + losses, 1)
    z = np.abs(wins - losses) / np.sqrt(decided)
    return beta_alarms(wins, losses, 0.5, plan.alpha), (decided >= 100) & (z > 1.96)


def preference_says(walk: Walk, run: int, step: int, plan: Plan) -> bool:
    found = preference(int(walk.sums[1][0][run, step]), int(walk.sums[0][0][run, step]), plan)
    return found is not None and found.excludes(0.0)


@dataclass(frozen=True)
class Metric:
    """How units are drawn, and what looks at them."""

    name: str
    draw: Callable[[Rng, tuple[int, int]], tuple[Array, ...]]
    alarms: Callable[[Walk, Plan], tuple[Array, Array]]
    says: Callable[[Walk, int, int, Plan], bool]
    share: float = 0.5


def flags(rate: float) -> Callable[[Rng, tuple[int, int]], tuple[Array, ...]]:
    def draw(rng: Rng, shape: tuple[int, int]) -> tuple[Array, ...]:
        found = (rng.random(shape) < rate).astype(np.float64)
        return found, found

    return draw


def capped_seconds(rng: Rng, shape: tuple[int, int]) -> tuple[Array, ...]:
    """Time to the first useful result: 1 in 4 finds none, which counts as 120 s."""
    found = np.minimum(rng.lognormal(2.5, 1.0, shape), 120.0)
    found = np.where(rng.random(shape) < 0.25, 120.0, found)
    return found, found * found


def searches(rng: Rng, shape: tuple[int, int]) -> tuple[Array, ...]:
    """People with some searches each, of which a part of their own is asked again."""
    below = rng.geometric(0.4, shape).astype(np.float64)
    above = rng.binomial(below.astype(np.int64), rng.beta(1.0, 4.0, shape)).astype(np.float64)
    return above, below, above * above, below * below, above * below


METRICS = (
    Metric("success, 50 %", flags(0.5), mean_alarms, mean_says),
    Metric("success, 5 %, arms 10:90", flags(0.05), mean_alarms, mean_says, 0.1),
    Metric("seconds to useful", capped_seconds, mean_alarms, mean_says),
    Metric("reformulations by person", searches, ratio_alarms, ratio_says),
    Metric("reformulations, arms 10:90", searches, ratio_alarms, ratio_says, 0.1),
    Metric("errors, 1 %", flags(0.01), rate_alarms, rate_says),
    Metric("errors, 1 %, arms 10:90", flags(0.01), rate_alarms, rate_says, 0.1),
    Metric("preference, 1 in 3 decided", flags(1 / 3), preference_alarms, preference_says),
)


def walks(metric: Metric, rng: Rng, runs: int, steps: int) -> Iterator[Walk]:
    for begun in range(0, runs, AT_ONCE):
        shape = (min(AT_ONCE, runs - begun), steps)
        yield walked(metric.draw(rng, shape), rng.random(shape) < metric.share)


def false_alarms(metric: Metric, runs: int, steps: int) -> tuple[float, float]:
    """Of the interval and of the fixed one; raises AssertionError where the product differs."""
    rng, plan = np.random.default_rng(11), Plan(tuned_for=steps)
    alarmed = fixed = 0
    for walk in walks(metric, rng, runs, steps):
        with np.errstate(all="ignore"):
            ours, theirs = metric.alarms(walk, plan)
        alarmed += int(ours.any(axis=1).sum())
        fixed += int(theirs.any(axis=1).sum())
        places = list(zip(*np.nonzero(ours), strict=True))[:20]
        places += rng.integers(0, ours.shape, (100, 2)).tolist()
        for run, step in places:
            assert metric.says(walk, run, step, plan) == ours[run, step], metric.name
    return alarmed / runs, fixed / runs


def time_to_tell(runs: int) -> tuple[float, float]:
    """Success of 50 % against 55 %: the median number of units until the interval excludes 0, and
    what a fixed sample takes for a power of 80 %.
    """
    steps = 12_000
    rng, plan = np.random.default_rng(12), Plan(tuned_for=4_000)
    told = []
    for begun in range(0, runs, AT_ONCE):
        shape = (min(AT_ONCE, runs - begun), steps)
        treated = rng.random(shape) < 0.5
        found = (rng.random(shape) < np.where(treated, 0.55, 0.5)).astype(np.float64)
        with np.errstate(all="ignore"):
            ours, _ = mean_alarms(walked((found, found), treated), plan)
        told.append(np.where(ours.any(axis=1), ours.argmax(axis=1), steps))
    fixed = 2 * (1.96 + 0.8416) ** 2 * (0.25 + 0.2475) / 0.05**2
    return float(np.median(np.concatenate(told))), fixed


def band(planned: int) -> Array:
    """Deviations from half, after 1, 2, … units, from which on the split is called broken: the same
    up to each of the numbers of units that the check has in mind.
    """
    edges, begun = np.empty(planned), 0
    for end in (planned // 256, planned // 64, planned // 16, planned // 4, planned):
        away = 1
        while (
            sample_ratio((end // 2 + away, end - end // 2 - away), (1, 1), planned).p > SPLIT_ALPHA
        ):
            away += 1
        edges[begun:end] = away
        begun = end
    return edges


def splits(share: float, units: int, runs: int) -> float:
    """How many runs are called broken at any of their steps, when a `share` lands in one arm."""
    rng = np.random.default_rng(13)
    edges = band(units)
    expected = np.arange(1, units + 1) / 2
    caught = 0
    for _ in range(runs):
        landed = (rng.random(units) < share).cumsum()
        caught += bool((np.abs(landed - expected) >= edges).any())
    return caught / runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    missed, alarms = [], {}
    for metric in METRICS:
        ours, fixed = false_alarms(metric, options.runs, options.steps)
        alarms[metric.name] = {"always_valid": ours, "fixed_sample": fixed}
        sys.stderr.write(
            f"A/A, {metric.name:28} false alarms {ours:6.2%}, of a fixed sample's {fixed:6.1%}\n"
        )
        if ours > MOST_ALARMS:
            missed.append(f"false alarms of {metric.name}")
    told, fixed_units = time_to_tell(max(options.runs // 5, 20))
    sys.stderr.write(
        f"50 % against 55 %: told after {told:.0f} units (median), {told / fixed_units:.2f} times "
        f"a fixed sample's {fixed_units:.0f}\n"
    )
    expected = sample_ratio((9_800, 10_200), (1, 1))
    if expected.p >= SPLIT_ALPHA:
        missed.append("9,800 against 10,200")
    even = splits(0.5, 20_000, options.runs)
    caught = {units: splits(0.49, units, options.runs // 2) for units in (20_000, 40_000)}
    sys.stderr.write(
        f"9,800 against 10,200: p = {expected.p:.4f} looked at always, {expected.p_once:.4f} once\n"
        f"even split, looked at at each of 20,000 sessions: called broken {even:6.2%}\n"
        f"49:51 drawn, 20,000 sessions in all: caught {caught[20_000]:6.1%} (a test of a fixed "
        f"sample: 81 %); 20,000 in each arm: {caught[40_000]:6.1%}\n"
    )
    if even > SPLIT_ALPHA:
        missed.append("even splits")
    if caught[40_000] < LEAST_CAUGHT:
        missed.append("49:51 at 20,000 sessions in each arm")
    report = {
        "false_alarms": alarms,
        "units_to_tell": told,
        "fixed_units": fixed_units,
        "split": {"p": expected.p, "p_once": expected.p_once, "even": even, "caught": caught},
        "missed": missed,
    }
    said = json.dumps(report) if options.json else "missed: " + ("; ".join(missed) or "nothing")
    sys.stdout.write(said + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
