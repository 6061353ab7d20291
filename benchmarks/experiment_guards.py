"""How soon do guards end an experiment, and do they ever end one that harms nobody?

    python benchmarks/experiment_guards.py [--runs N]

Requests of two arms, latencies log-normal, are counted as replicas count them, and judged whenever
there are 15 % more of them, up to 21,000. Prints how many runs are ended and after how many
requests (median), at 10 and at 50 per cent. Exit code 1 when more than 1 of 100 runs of equal arms
are ended, or one that is to be ended is not.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecm.contracts.experiment import Arm, ArmTally, Definition, Method
from ecm.evaluation.online.experiment import breach_of
from ecm.evaluation.online.latencies import bucket_of

DEFINITION = Definition(id="benchmark", treatment="x", method=Method.SPLIT, stages=(10, 50))
LOOKS = tuple(int(40 * 1.15**number) for number in range(46))
FALSE = 0.01


@dataclass(frozen=True)
class Case:
    """What treatment does: the share that fails of either arm, how many times as long it takes."""

    name: str
    failing: tuple[float, float]
    slower: float
    ends: bool


CASES = (
    Case("equal, 1 % fail", (0.01, 0.01), 1.0, False),
    Case("0.5 % fail, then 5 %", (0.005, 0.05), 1.0, True),
    Case("30 % fail", (0.0, 0.3), 1.0, True),
    Case("1.4 times as slow", (0.01, 0.01), 1.4, True),
)


def ended_after(rng: np.random.Generator, case: Case, stage: int) -> int | None:
    """Requests until a guard ends it; None where none does."""
    count = LOOKS[-1]
    treated = rng.random(count) < DEFINITION.stages[stage] / 100
    latencies = rng.lognormal(3.0, 0.6, count) * np.where(treated, case.slower, 1.0)
    buckets = np.array([bucket_of(one) for one in latencies.tolist()])
    failed = rng.random(count) < np.where(treated, case.failing[1], case.failing[0])
    for seen in LOOKS:
        arms = [
            _tally(stage, arm, buckets[:seen][own], failed[:seen][own])
            for arm, own in ((Arm.CONTROL, ~treated[:seen]), (Arm.TREATMENT, treated[:seen]))
        ]
        if breach_of(DEFINITION, stage, arms) is not None:
            return seen
    return None


def _tally(
    stage: int, arm: Arm, buckets: npt.NDArray[np.int64], failed: npt.NDArray[np.bool_]
) -> ArmTally:
    values, counts = np.unique(buckets[~failed], return_counts=True)
    return ArmTally(
        stage=stage,
        arm=arm,
        requests=len(buckets),
        errors=int(failed.sum()),
        latencies=dict(zip(values.tolist(), counts.tolist(), strict=True)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args(arguments)
    missed = False
    for stage, pct in enumerate(DEFINITION.stages):
        for case in CASES:
            rng = np.random.default_rng(1)
            runs = options.runs if not case.ends else max(1, options.runs // 5)
            found = [ended_after(rng, case, stage) for _ in range(runs)]
            ended = [one for one in found if one is not None]
            after = f" after {statistics.median(ended):.0f} requests" if ended else ""
            print(f"{pct} %, {case.name}: {len(ended)} of {runs} ended{after}")
            missed |= len(ended) < runs if case.ends else len(ended) > FALSE * runs
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
