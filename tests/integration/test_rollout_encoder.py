"""The query models of a running service follow a promotion and a rollback, without a restart."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.evidence.rollouts import RolloutState
from jobs.rollback import named, roll_back
from jobs.rollout import Driver, drive, start
from tests.seeded_models import SeededStore

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.encoder import Encoder

PATIENCE = 60.0


async def _reached(encoder: Any, mark: str) -> None:
    """Returns when the service's query models speak of a transform of meaning."""
    while (await encoder.reaches()).get(Axis.MV) != mark:
        await asyncio.sleep(0.02)


def test_query_models_follow_the_roles(tmp_path: Path) -> None:
    seeded = SeededStore(tmp_path, 21, 30, noise=0.0, empty=0.0)
    often = seeded.profile.serve.model_copy(update={"snapshot_poll_seconds": 0.05})
    encoder = Encoder.func_or_class(seeded.profile.model_copy(update={"serve": often}))
    driver = Driver(seeded.profile, seeded.store, seeded, lambda line: None)
    begun = start(seeded.profile, seeded.store, "fake-image", "fake-new", ["vision"])
    before, after = begun.terms.before[TaskType.MV_EMBED], begun.terms.after[TaskType.MV_EMBED]
    assert asyncio.run(encoder.reaches())[Axis.MV] == before
    assert drive(driver, begun).state is RolloutState.PROMOTED
    asyncio.run(asyncio.wait_for(_reached(encoder, after), PATIENCE))
    roll_back(driver, named(driver, None), "")
    asyncio.run(asyncio.wait_for(_reached(encoder, before), PATIENCE))
