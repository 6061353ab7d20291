"""A process that drives a rollout, or rolls one back, and may be told to die on the way.

python -m tests.rollout_victim FOLDER drive|rollback      (with ECM_CRASH set)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ecm.crashpoints import arm
from jobs.rollback import named, roll_back
from jobs.rollout import Driver, drive, start
from tests.seeded_models import SeededStore

SEED, ASSETS = 11, 40


def store_in(folder: Path) -> SeededStore:
    return SeededStore(folder, SEED, ASSETS, noise=0.0, empty=0.0)


def main() -> None:
    seeded = store_in(Path(sys.argv[1]))
    arm(os.environ)
    driver = Driver(seeded.profile, seeded.store, seeded, lambda line: None)
    if sys.argv[2] == "rollback":
        roll_back(driver, named(driver, None), "tried")
    else:
        drive(driver, start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"]))


if __name__ == "__main__":
    main()
