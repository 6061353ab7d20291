"""Choose the best evidence per asset and publish it as a search snapshot.

python -m jobs.materialize --profile conf/L1.yaml
"""

from __future__ import annotations

import sys

from ecm.publishing import materialize, materialize_anew

__all__ = ["materialize", "materialize_anew"]

if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["materialize", *sys.argv[1:]]))
