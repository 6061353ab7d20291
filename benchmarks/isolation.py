"""Does anybody find what is another tenant's, whatever they ask with, at any door?

    python -m benchmarks.isolation [--queries 100000] [--http 0.2] [--seed 7]

Three tenants in one store, some pictures of one tenant's being another's too. Somebody with the key
of each asks with strings that mean something to SQL, to Lance, to regular expressions, with ids,
runs, places and cursors of others in every field: the engine, and, as often as `--http` says, the
routes of the service in this process. Prints questions and answers by door, hits looked at, rows
and names of others among them, and what broke; ends with 1 if there was any of these.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.local_service import LocalService
from tests.siege import Siege


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--http", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = LocalService(Path(folder) / "home")
        began = time.perf_counter()
        try:
            tally = Siege(service, options.seed).run(options.queries, options.http)
        finally:
            service.close()
    for door, asked in tally.asked.most_common():
        print(f"{door:18} {asked:7} asked {tally.answered[door]:7} answered")
    print(
        f"{tally.asked.total()} questions, {tally.answered.total()} answered with {tally.hits} hits"
        f" in {time.perf_counter() - began:.0f} s: {len(tally.given_away)} things of others,"
        f" {len(tally.broken)} broken"
    )
    for line in (*tally.given_away[:20], *tally.broken[:20]):
        print(f"  {line}")
    return int(bool(tally.given_away or tally.broken))


if __name__ == "__main__":
    sys.exit(main())
