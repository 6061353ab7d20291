"""A rollout whose driver is killed at every point of it, one after the other, still ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ecm.contracts.task import TaskType
from ecm.crashpoints import POINTS
from ecm.evidence.refs import published_ref
from ecm.evidence.rollouts import RolloutState, newest
from ecm.opening import plan_of
from tests.rollout_victim import ASSETS, store_in

DRIVING = (
    "rollout.begun",
    "rollout.computed",
    "rollout.compared",
    "rollout.flipping",
    "rollout.published",
)
BACK = "rollout.restored"
REPO = Path(__file__).resolve().parents[2]


def run(folder: Path, what: str, point: str = "") -> int:
    """The exit code of a victim; ECM_CRASH names where it dies."""
    environ = {**os.environ, "ECM_CRASH": point} if point else dict(os.environ)
    command = [sys.executable, "-m", "tests.rollout_victim", str(folder), what]
    done = subprocess.run(command, cwd=REPO, env=environ, capture_output=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-2000:]
    return done.returncode


def test_a_rollout_killed_at_every_point_goes_on_and_computes_nothing_twice(
    tmp_path: Path,
) -> None:
    assert {*DRIVING, BACK} == {name for name in POINTS if name.startswith("rollout.")}
    seeded = store_in(tmp_path)
    old, before = plan_of(seeded.profile), published_ref(seeded.store)
    assert before is not None
    for point in DRIVING:
        assert run(tmp_path, "drive", point) == -signal.SIGKILL, point
        if point != DRIVING[-1]:
            assert published_ref(seeded.store) == before, point
            assert plan_of(seeded.profile) == old, point
    assert run(tmp_path, "drive") == 0
    found = newest(seeded.store.storage)
    assert found is not None
    assert (found.state, found.last.before) == (RolloutState.PROMOTED, before.snapshot_id)
    computed = seeded.journal.read_text().split()
    assert len(computed) == len(set(computed))
    vision = found.terms.after[TaskType.VISION]
    rows = seeded.store.sql("SELECT asset_id, transform FROM evidence_text").to_pylist()
    assert len({row["asset_id"] for row in rows if row["transform"] == vision}) == ASSETS

    assert run(tmp_path, "rollback", BACK) == -signal.SIGKILL
    assert published_ref(seeded.store) == before
    assert run(tmp_path, "rollback") == 0
    found = newest(seeded.store.storage)
    assert found is not None
    assert found.state is RolloutState.ROLLED_BACK
    assert (published_ref(seeded.store), plan_of(seeded.profile)) == (before, old)
