"""Rollouts by the dozen: how often a good model is promoted, a bad one stopped at the first step.

    python -m benchmarks.rollout [--runs 20] [--assets 300] [--empty 0.2] [--noise 0.01]

Everything is the product but the pixels: store, sampling, reading, measures, gates, snapshots, flip
and rollback; models are replaced by seeded words and vectors, so that a run takes seconds and every
run has another seed. A good model says what the old one says in other words, leaves `--noise` of
the captions empty, as the old one does of other images; a bad one leaves `--empty` of them empty.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ecm.evidence.rollouts import RolloutState
from jobs.rollout import Driver, drive, start
from tests.seeded_models import SeededStore


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--assets", type=int, default=300)
    parser.add_argument("--empty", type=float, default=0.2)
    parser.add_argument("--noise", type=float, default=0.01)
    options = parser.parse_args()
    ends: dict[str, Counter[str]] = {"good": Counter(), "bad": Counter()}
    visible, began = 0, time.monotonic()
    for run in range(options.runs):
        for kind, share in (("good", options.noise), ("bad", options.empty)):
            with tempfile.TemporaryDirectory(prefix="ecm-rollout-") as folder:
                seeded = SeededStore(Path(folder), run, options.assets, options.noise, share)
                begun = start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"])
                driver = Driver(seeded.profile, seeded.store, seeded, lambda _: None)
                done = drive(driver, begun)
                if done.state is not RolloutState.PROMOTED:
                    visible += seeded.visible()
                ends[kind][f"{done.state.value} at {done.pct} %"] += 1
                line = f"run {run} {kind}: {done.state.value} at {done.pct} % {done.last.reason}"
                sys.stderr.write(line + "\n")
    report = {
        "runs": options.runs,
        "assets": options.assets,
        **{kind: dict(counts) for kind, counts in ends.items()},
        "rows_of_stopped_models_visible": visible,
        "seconds": round(time.monotonic() - began, 1),
    }
    sys.stdout.write(json.dumps(report) + "\n")
    good = ends["good"]["promoted at 100 %"] == options.runs
    bad = sum(n for end, n in ends["bad"].items() if end.endswith(" at 5 %")) == options.runs
    return 0 if good and bad and not visible else 1


if __name__ == "__main__":
    sys.exit(main())
