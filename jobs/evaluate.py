"""Evaluation as a job, for schedulers and `ray job submit`: the commands of `ecm evaluate`.

    python -m jobs.evaluate smoke --json
    ray job submit --working-dir . -- python -m jobs.evaluate nightly --profile conf/C1.yaml

The exit code is the job's: 0 good, 1 blocked, 3 these queries cannot tell, 75 incomplete. Needs no
Ray itself.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["evaluate", *sys.argv[1:]]))
