"""Prolonging a lease or a right fails for a moment: whoever holds it goes on prolonging it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.tenure import commit_right
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from jobs.feeder import Feeder, FeederSettings
from tests.factories import START, fake_profile

PATIENCE = 30.0


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    made = fake_profile(tmp_path / "home", "ledger.lease_seconds=0.6", "ledger.busy_timeout=0.05")
    made.home.mkdir()
    return made


@pytest.fixture
def ledger(profile: Profile) -> Iterator[Ledger]:
    with open_ledger(profile.ledger) as opened:
        yield opened


@contextmanager
def nobody_writes(profile: Profile) -> Iterator[None]:
    other = sqlite3.connect(profile.ledger.url.removeprefix("sqlite://"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


def test_a_feeder_prolongs_its_lease_again(profile: Profile, ledger: Ledger) -> None:
    settings = FeederSettings(
        ledger=profile.ledger,
        evidence=profile.evidence,
        holder="feeder",
        tenant_id="t",
        transforms=("0" * 64,),
        vision_transform=None,
        block_images=1,
        window_tasks=1,
    )

    def prolonged() -> bool:
        return bool(ledger.live_holders(ledger.now()))

    async def run() -> None:
        feeder = Feeder(settings)
        assert (await feeder.take(0)).num_rows == 0
        with nobody_writes(profile):
            await until(lambda: not prolonged())
        await until(prolonged)
        await feeder.stop()

    asyncio.run(run())


def test_a_committer_prolongs_its_right_again(profile: Profile, ledger: Ledger) -> None:
    store = EvidenceStore.create(profile.evidence, START)
    settings = CommitSettings("run", "committer", envelopes=8, seconds=0.1)

    def prolonged() -> bool:
        held = ledger.holder_of(commit_right(store))
        return held is not None and held.expires_at > ledger.now()

    async def run() -> None:
        with nobody_writes(profile):
            await until(lambda: not prolonged())
        await until(prolonged)

    spool = Spool(profile.spool)
    with CommitLoop(profile.ledger, store, spool, settings, lambda _: None) as loop:
        loop.wait_until_recovered()
        asyncio.run(run())
        assert loop.failure is None
