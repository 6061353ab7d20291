"""The ledger locked by others, restarted, or killed while somebody works with it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fault_harness import FINISHED
from tests.faults.conftest import MakeChain
from tests.postgres_server import PostgresServer

AWAY = {FINISHED, "ledger.unavailable", "ledger.connection", "ledger.pool", "ledger.restarted"}


def test_a_ledger_locked_for_too_long_is_named_and_nothing_is_lost(make_chain: MakeChain) -> None:
    chain = make_chain("sqlite", "ledger.busy_timeout=0.2")
    chain.grow()
    stopped = chain.stop(replace(chain.order, crash="commit.reported:1:stop", acts=("quiet",)))
    other = sqlite3.connect(Path(chain.order.home) / "ledger" / "ledger.sqlite3")
    other.isolation_level = None
    other.execute("BEGIN IMMEDIATE")
    outcome = chain.wake(stopped)
    other.execute("ROLLBACK")
    other.close()
    assert outcome == "ledger.locked"
    assert chain.run() == FINISHED
    assert chain.verdict().clean


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("how", ["restart", "kill"])
@pytest.mark.parametrize("stop", ["commit.reported", "ledger.persist.uncommitted"])
def test_a_server_that_goes_away_and_comes_back_loses_nothing(
    how: str, stop: str, make_chain: MakeChain, postgres: PostgresServer
) -> None:
    chain = make_chain("postgres")
    chain.grow()
    stopped = chain.stop(replace(chain.order, crash=f"{stop}:1:stop", acts=("quiet",)))
    if how == "kill":
        postgres.kill()
        postgres.start()
    else:
        postgres.restart()
    outcome = chain.wake(stopped)
    assert outcome in AWAY
    assert chain.run() == FINISHED
    verdict = chain.verdict()
    assert verdict.clean, (outcome, verdict)
