"""How often is an unchanged build blocked, and is what the gates print as detectable detected?

    python -m benchmarks.gates_power [--builds 400] [--resamples 1000] [--json]

Every gate of conf/gates.yaml as it is shipped, on drawn scores, latencies and errors. An unchanged
build differs from the one before by noise alone: near ties fall otherwise, latencies vary, one
answer of 500 fails on either side. Beside it what the roadmap's thresholds do as point rules. Then
builds that are worse by just what the gate printed as detectable on a first run: one with every
query a little worse, one with more queries that lose. Last, whether the hardest fifth is chosen
without bias. Exit code 1 when more than 5 % of unchanged builds are blocked at any size and noise,
or less than 80 % of detectable damage is found (both within two standard errors of the simulation).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np

from ecm.contracts.measured import GateCheck, Measure, Verdict
from ecm.evaluation.config import EvaluationGates
from ecm.evaluation.gates import (
    checks_of,
    latency_check,
    quality_check,
    share_check,
    worst,
)
from tests.drawn_comparisons import (
    Drawn,
    failing,
    more_lose,
    noise,
    scores,
    shifted,
    slower,
    unchanged,
)

SIZES = (50, 300, 500)
SPREADS = (0.05, 0.10, 0.22)
MOST_BLOCKED, LEAST_FOUND = 0.05, 0.80


def judged(drawn: Drawn, gates: EvaluationGates, seed: int) -> tuple[GateCheck, ...]:
    return tuple(checks_of(drawn, gates, seed))


def false_blocks(queries: int, spread: float, builds: int, gates: EvaluationGates) -> dict:
    rng = np.random.default_rng(queries)
    ends: Counter[str] = Counter()
    points = 0
    by_gate: Counter[str] = Counter()
    for seed in range(builds):
        drawn = unchanged(rng, queries, spread)
        checks = judged(drawn, gates, seed)
        ends[worst(check.verdict for check in checks).value] += 1
        by_gate.update(check.name for check in checks if check.verdict is Verdict.BLOCK)
        points += any(
            -check.change > check.threshold
            for check in checks
            if check.name in (Measure.NDCG_10, Measure.RECALL_50)
        )
    return {
        "queries": queries,
        "sd": spread,
        "blocked": ends["block"] / builds,
        "passed": (ends["pass"] + ends["warn"]) / builds,
        "inconclusive": ends["inconclusive"] / builds,
        "blocked_by": dict(by_gate),
        "point_rule_blocks": points / builds,
    }


def one_check(gate: str, drawn: Drawn, gates: EvaluationGates, seed: int) -> GateCheck:
    """One of the gates as it is shipped: it shares its chance to err with the others."""
    if gate == "ndcg_10":
        return quality_check(drawn, Measure.NDCG_10, gates.gates.ndcg_10, gates, seed)
    if gate == "p95_latency":
        return latency_check(drawn, gates.gates.p95_latency, gates, seed)
    return share_check(gate, drawn.failures(), gates.gates.error_rate, gates)


DAMAGE = (
    ("ndcg_10", "each query a little worse", shifted),
    ("ndcg_10", "more queries that lose", more_lose),
    ("p95_latency", "all slower", slower),
    ("error_rate", "more failures", failing),
)


def found_of_detectable(
    gate: str, damage: Callable, queries: int, spread: float, builds: int, gates: EvaluationGates
) -> dict:
    rng = np.random.default_rng(queries + 1)
    found, printed = 0, []
    for seed in range(builds):
        first = unchanged(rng, queries, spread)
        if damage is failing:
            first = failing(rng, first, 0.0, spread)
        detectable = one_check(gate, first, gates, seed).detectable
        assert detectable is not None
        printed.append(detectable)
        again = damage(rng, unchanged(rng, queries, spread), detectable, spread)
        found += one_check(gate, again, gates, seed).verdict is Verdict.BLOCK
    return {"found": found / builds, "detectable": float(np.mean(printed))}


def hardest(builds: int) -> dict[str, float]:
    """The change, in points, that an unchanged build shows on the hardest fifth of 500 queries: by
    the baseline's own scores, and by what is known of them beforehand.
    """
    rng = np.random.default_rng(0)
    by_score, by_label = [], []
    for _ in range(builds):
        truth = scores(rng, 500)
        sides = [np.clip(truth + noise(rng, 500, 0.16), 0, 1) for _ in range(2)]
        known = truth + rng.normal(0, 0.3, 500)
        for found, order in ((by_score, sides[0]), (by_label, known)):
            fifth = np.argsort(order, kind="stable")[:100]
            found.append((sides[1] - sides[0])[fifth].mean())
    return {
        "by_baselines_scores": 100 * float(np.mean(by_score)),
        "by_labels": 100 * float(np.mean(by_label)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", type=int, default=400)
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    gates = EvaluationGates(resamples=options.resamples)
    slack = 2 * math.sqrt(0.05 * 0.95 / options.builds)
    power_slack = 2 * math.sqrt(0.8 * 0.2 / options.builds)
    missed: list[str] = []
    blocks, power = [], []
    for queries in SIZES:
        for spread in SPREADS:
            one = false_blocks(queries, spread, options.builds, gates)
            blocks.append(one)
            sys.stderr.write(
                f"unchanged, {queries:3} queries, sd {spread:.2f}: blocked {one['blocked']:6.1%} "
                f"passed {one['passed']:6.1%} inconclusive {one['inconclusive']:6.1%}; "
                f"point rules block {one['point_rule_blocks']:6.1%} {one['blocked_by']}\n"
            )
            if one["blocked"] > MOST_BLOCKED + slack:
                missed.append(f"false blocks, {queries} queries, sd {spread}")
    for gate, name, damage in DAMAGE:
        for queries in SIZES:
            for spread in SPREADS if gate == "ndcg_10" else (0.1,):
                one = found_of_detectable(gate, damage, queries, spread, options.builds, gates)
                power.append(
                    {"gate": gate, "damage": name, "queries": queries, "sd": spread, **one}
                )
                sys.stderr.write(
                    f"{gate:12} {name:26} {queries:3} queries, sd {spread:.2f}: detectable "
                    f"{100 * one['detectable']:5.2f} %, found {one['found']:6.1%}\n"
                )
                if one["found"] < LEAST_FOUND - power_slack:
                    missed.append(f"power of {gate}, {name}, {queries} queries, sd {spread}")
    fifth = hardest(options.builds)
    sys.stderr.write(
        f"hardest fifth of an unchanged build: {fifth['by_baselines_scores']:+.2f} points by the "
        f"baseline's scores, {fifth['by_labels']:+.2f} by labels\n"
    )
    report = {"unchanged": blocks, "power": power, "hardest": fifth, "missed": missed}
    said = json.dumps(report) if options.json else "missed: " + ("; ".join(missed) or "nothing")
    sys.stdout.write(said + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
