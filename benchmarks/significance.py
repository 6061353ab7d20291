"""Does an interval hold the truth as often as it says, and how long do 10,000 resamples take?

    python -m benchmarks.significance [--samples 4000] [--resamples 2000] [--json]

Coverage of the interval that gates use, of the percentile bootstrap and of BCa, on differences as
evaluations have them: normal ones of the spread of small and of large changes, and differences of
which most are 0, even and skewed. Exit code 1 when the coverage of a realistic case is not
94-96 % (within two standard errors of the simulation), or when 10,000 resamples of 500 queries take
a second or more. Cases marked `extreme` (nine of ten queries alike, or a few disasters in 50
queries) are printed and decide nothing: no interval from so few differences that are not 0 can know
what it has not seen. The last lines are of p95 latency, several rounds a query.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from ecm.evaluation.significance import paired, paired_quantile, reach_of

Draw = Callable[[np.random.Generator, int], np.ndarray]
WANTED = (0.94, 0.96)


@dataclass(frozen=True)
class Case:
    """Differences of n queries drawn at a time, and their true mean."""

    name: str
    draw: Draw
    truth: float
    extreme: tuple[int, ...] = ()
    """Numbers of queries at which nothing is decided by it."""


def normal(spread: float) -> Case:
    return Case(f"normal, sd {spread:.2f}", lambda rng, n: rng.normal(0, spread, n), 0.0)


def mostly_zero(zero: float, extreme: tuple[int, ...] = ()) -> Case:
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        sizes = rng.beta(1.2, 4.0, n) * rng.choice([-1.0, 1.0], n)
        return np.where(rng.random(n) < zero, 0.0, sizes)

    return Case(f"{zero:.0%} zero, even", draw, 0.0, extreme)


def skewed(zero: float, losing: float, extreme: tuple[int, ...] = ()) -> Case:
    """Of what changes most gains little, and a part loses much."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        gains, losses = 0.5 * rng.beta(1.2, 4.0, n), -rng.beta(2.0, 2.0, n)
        sizes = np.where(rng.random(n) < losing, losses, gains)
        return np.where(rng.random(n) < zero, 0.0, sizes)

    truth = (1 - zero) * ((1 - losing) * 0.5 * 1.2 / 5.2 - losing * 0.5)
    return Case(f"{zero:.0%} zero, {losing:.0%} of the rest lose much", draw, truth, extreme)


CASES = (
    normal(0.10),  # of any other spread the same: all intervals scale
    mostly_zero(0.5),
    mostly_zero(0.65),
    mostly_zero(0.8),
    mostly_zero(0.9, extreme=(50, 300)),
    skewed(0.5, 0.2, extreme=(50,)),
    skewed(0.7, 0.1, extreme=(50,)),
)
SIZES = (50, 300, 500)


def coverage(case: Case, queries: int, samples: int, resamples: int) -> dict[str, float]:
    """How often each interval holds the truth; `paired` is checked to be the first of them."""
    rng = np.random.default_rng(queries)
    held = dict.fromkeys(("ours", "percentile", "bca"), 0)
    for sample in range(samples):
        found = case.draw(rng, queries)
        mean, spread = found.mean(), found.std()
        if not spread:
            for name in held:
                held[name] += mean == case.truth
            continue
        drawn = rng.integers(0, queries, (resamples, queries), dtype=np.int32)
        means = found.take(drawn).mean(axis=1)
        reach = reach_of(np.abs(means - mean), queries, 0.95)
        held["ours"] += abs(mean - case.truth) <= reach
        low, high = np.quantile(means, [0.025, 0.975])
        held["percentile"] += low <= case.truth <= high
        skew = ((found - mean) ** 3).mean() / spread**3 / (6 * math.sqrt(queries))
        below = ((means < mean).mean() + (means <= mean).mean()) / 2
        bias = special.ndtri(np.clip(below, 1e-4, 1 - 1e-4))
        z = bias + special.ndtri(np.array([0.025, 0.975]))
        low, high = np.quantile(means, special.ndtr(bias + z / (1 - skew * z)))
        held["bca"] += low <= case.truth <= high
        if not sample:
            whole = paired(np.zeros(queries), found, resamples=20_000)
            assert math.isclose(whole.upper - whole.change, reach, rel_tol=0.2)
    return {name: count / samples for name, count in held.items()}


def latency_coverage(queries: int, rounds: int, samples: int, resamples: int) -> float:
    """Of the ratio of p95s of an unchanged build: each query has its usual latency, and noise."""
    rng = np.random.default_rng(queries)
    held = 0
    for seed in range(samples):
        usual = rng.lognormal(3.0, 0.4, (queries, 1))
        before, after = (usual * rng.lognormal(0, 0.3, (queries, rounds)) for _ in range(2))
        found = paired_quantile(before, after, resamples=resamples, seed=seed)
        held += found.lower <= 0 <= found.upper
    return held / samples


def seconds_of(run: Callable[[], object]) -> float:
    """The best of five, after one that does not count."""
    run()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    slack = 2 * math.sqrt(0.95 * 0.05 / options.samples)
    missed, lines = [], []
    for case in CASES:
        for queries in SIZES:
            found = coverage(case, queries, options.samples, options.resamples)
            decides = queries not in case.extreme
            if decides and not WANTED[0] - slack <= found["ours"] <= WANTED[1] + slack:
                missed.append(f"{case.name}, {queries} queries")
            lines.append({"case": case.name, "queries": queries, "decides": decides, **found})
            said = "".join(f"{name} {100 * share:5.1f} %  " for name, share in found.items())
            mark = "" if decides else "extreme"
            sys.stderr.write(f"{case.name:38} {queries:4} queries  {said}{mark}\n")
    for queries, rounds in ((50, 5), (300, 3), (500, 3)):
        share = latency_coverage(queries, rounds, options.samples // 10, 1000)
        lines.append({"case": f"p95 latency, {rounds} rounds", "queries": queries, "ours": share})
        sys.stderr.write(
            f"{'p95 latency ratio':38} {queries:4} queries  ours {100 * share:5.1f} %\n"
        )
        if share < 0.92:
            missed.append(f"p95 latency, {queries} queries")
    rng = np.random.default_rng(0)
    before = rng.random(500)
    after = before + CASES[1].draw(rng, 500)
    ours = seconds_of(lambda: paired(before, after))
    theirs = seconds_of(
        lambda: stats.bootstrap(
            (after - before,), np.mean, n_resamples=10_000, method="percentile", rng=rng
        )
    )
    if ours >= 1.0:
        missed.append("10,000 resamples of 500 queries in a second")
    sys.stderr.write(
        f"10,000 resamples of 500 queries: {1000 * ours:.0f} ms with the Wilcoxon test, "
        f"scipy.stats.bootstrap {1000 * theirs:.0f} ms ({theirs / ours:.1f} times as long)\n"
    )
    report = {"coverage": lines, "seconds": ours, "scipy_seconds": theirs, "missed": missed}
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        sys.stdout.write("missed: " + ("; ".join(missed) or "nothing") + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
