"""How long the report of a run takes, and how large it is: 500 queries, three engines, a baseline.

    python -m benchmarks.evaluation_report [--queries 500]

Runs are made up (tests/measured_runs.py), pictures are drawn for real. Measured in a process that
has loaded everything: the second of two reports. Exits 1 when it takes more than 5 seconds of
processor time or is larger than 5 MB, with its page.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from ecm.evaluation.report import report_of
from ecm.evaluation.reporting.pages import page_of
from tests.measured_runs import THREE, judged_run, measured_run, thumbnail

MOST_SECONDS = 5.0
MOST_BYTES = 5_000_000


def main() -> int:
    """Measure and print; 0 when both goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--queries", type=int, default=500)
    count = parser.parse_args().queries
    engines = [replace(THREE[0], engine_id="new", noise=0.6, seed=9), THREE[0], THREE[1]]
    run = measured_run(count, engines, baseline="internal", candidate="new")
    run = judged_run(run, "internal", "new")
    seconds, size = 0.0, 0
    for _ in range(2):
        wall, begun = time.perf_counter(), time.process_time()
        told = report_of(
            run.summary, run.queries, run.judgements, run.measured, run.answers, None, thumbnail
        )
        seconds, wall = time.process_time() - begun, time.perf_counter() - wall
        page = page_of(told.name, told.markdown, told.files)
        size = len(told.markdown.encode()) + sum(map(len, told.files.values()))
        print(
            f"{count} queries x {len(engines)} engines: {seconds:.2f} s of processor, "
            f"{wall:.2f} s, {size / 1e6:.2f} MB in {len(told.files) + 1} files, "
            f"page {len(page) / 1e6:.2f} MB"
        )
    good = seconds <= MOST_SECONDS and max(size, len(page)) <= MOST_BYTES
    print(f"goal {MOST_SECONDS:.0f} s, {MOST_BYTES / 1e6:.0f} MB: {'met' if good else 'MISSED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
