"""Traps that others fell into: damaged spools, other batch sizes, wrong clocks, a lost ledger.

Which test covers which trap stands in tests/fault_traps.py.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.fault_harness import FINISHED, STRUCK, Fault
from tests.faults.conftest import BACK_ENDS, MakeChain


@pytest.mark.parametrize("damage", ["torn", "altered"])
def test_a_damaged_spool_file_costs_its_work_and_nothing_else(
    damage: str, make_chain: MakeChain
) -> None:
    chain = make_chain()
    assert chain.strike(Fault("table.committed")) == STRUCK
    for path in Path(chain.order.profile().spool).glob("*.arrow"):
        data = bytearray(path.read_bytes())
        if damage == "torn":
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2] ^= 1
        path.write_bytes(data)
    chain.forget_spool()
    assert chain.run() == FINISHED
    verdict = chain.verdict()
    assert verdict.clean, verdict


def test_every_process_may_cut_its_batches_otherwise(make_chain: MakeChain) -> None:
    """N batches before the kill, K after it; the number of tasks grows between the runs."""
    chain = make_chain()
    sizes = cycle([(1, 3), (7, 50), (2, 4), (50, 9), (3, 1)])
    points = ["commit.appended", "table.committed", "commit.spooled", "commit.persisted"]
    for point, (block, batch) in zip(points * 2, sizes, strict=False):
        cut = (f"pipeline.block_images={block}", f"pipeline.commit_envelopes={batch}")
        chain.grow()
        order = replace(chain.order, settings=(*chain.order.settings, *cut), crash=point)
        assert chain.run(order) == STRUCK
    verdict = chain.verdict()
    assert verdict.clean, verdict


@pytest.mark.needs("postgres")
@pytest.mark.parametrize("skew", [3600.0, -3600.0])
def test_a_wrong_clock_takes_nothing_from_the_living(make_chain: MakeChain, skew: float) -> None:
    """The database's clock decides: an hour ahead or behind, a holder keeps what it holds."""
    chain = make_chain("postgres")
    chain.grow()
    stop = replace(chain.order, crash="commit.reported:1:stop", acts=("quiet",))
    alive = chain.stop(stop)
    assert chain.run(replace(chain.order, skew=skew)) == "committer.held"
    assert chain.wake(alive) == FINISHED
    chain.grow()
    assert chain.run(replace(chain.order, skew=skew, crash="commit.appended")) == STRUCK
    assert chain.run(replace(chain.order, skew=-skew)) == FINISHED
    verdict = chain.verdict()
    assert verdict.clean, verdict


@pytest.mark.parametrize("point", ["ledger.restore.uncommitted", "ledger.restore.committed"])
@pytest.mark.parametrize("kind", BACK_ENDS)
def test_a_rebuild_killed_here_goes_on(kind: str, point: str, make_chain: MakeChain) -> None:
    chain = make_chain(kind)
    chain.grow()
    chain.finish()
    chain.lose_ledger()
    for passage in (1, 2, 3):
        order = replace(chain.order, crash=f"{point}:{passage}", acts=("rebuild",))
        assert chain.run(order) == STRUCK
    chain.grow()
    assert chain.run(replace(chain.order, acts=("rebuild",))) == FINISHED
    verdict = chain.verdict()
    assert verdict.clean, verdict


def test_a_ledger_lost_with_its_spool_costs_nothing_that_is_stored(make_chain: MakeChain) -> None:
    chain = make_chain()
    chain.grow()
    chain.finish()
    assert chain.strike(Fault("commit.begun")) == STRUCK
    chain.lose_ledger()
    shutil.rmtree(chain.order.profile().spool, ignore_errors=True)
    assert chain.run(replace(chain.order, acts=("rebuild",))) == FINISHED
    verdict = chain.verdict()
    assert verdict.clean, verdict
