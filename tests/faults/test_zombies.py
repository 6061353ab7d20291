"""Processes that sleep past their leases and wake up when others have done their work.

A procession: each takes over from the one that stopped before it, and stops at its own point.
The last one finishes, then all wake at once. What they still try is refused by the ledger or the
store, and nothing is there twice.
"""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from ecm.delivery.tenure import commit_right
from ecm.evidence.store import EvidenceStore
from ecm.ledger.states import TaskState
from tests.fault_harness import PATIENCE, Chain, rows_of
from tests.faults.conftest import BACK_ENDS, MakeChain

LEASE = 1.5
STOPS = (
    "ledger.claim.committed:2",
    "commit.begun",
    "spool.written",
    "commit.spooled",
    "commit.reported",
    "table.fragments",
    "table.fragments:3",
    "table.committed:2",
    "commit.appended",
    "recover.batch",
)
FEWER = ("ledger.claim.committed:2", "commit.reported", "table.fragments", "commit.appended")
"""Over PostgreSQL: the store's part is the same."""
REFUSED = {"right.lost", "lease.lost"}


@pytest.mark.parametrize("kind", BACK_ENDS)
def test_sleepers_wake_up_to_nothing(kind: str, make_chain: MakeChain) -> None:
    chain = make_chain(kind)
    pids = []
    stops = STOPS if kind == "sqlite" else FEWER
    for stop in stops:
        chain.grow()
        point, _, number = stop.partition(":")
        crash = f"{point}:{number or 1}:stop"
        brief = (*chain.order.settings, f"ledger.lease_seconds={LEASE}")
        pids.append(chain.stop(replace(chain.order, crash=crash, settings=brief, acts=("quiet",))))
        wait_until_expired(chain)
    chain.grow()
    chain.finish()
    before = rows_of(chain.order), states_of(chain)
    ends = {stop: chain.wake(pid) for stop, pid in zip(stops, pids, strict=True)}
    assert set(ends.values()) <= REFUSED, ends
    assert (rows_of(chain.order), states_of(chain)) == before, "a zombie's commit was accepted"
    verdict = chain.verdict()
    assert verdict.clean, (ends, verdict)


def states_of(chain: Chain) -> dict[TaskState, int]:
    with chain.ledger() as ledger:
        return ledger.status(ledger.now()).states


def wait_until_expired(chain: Chain) -> None:
    """By the ledger's clock, which is the one that counts."""
    right = commit_right(EvidenceStore.open(chain.order.profile().evidence))
    deadline = time.monotonic() + PATIENCE
    with chain.ledger() as ledger:
        while (held := ledger.holder_of(right)) is not None and held.expires_at > ledger.now():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        now = ledger.now()
        while any(holder.expires_at > now for holder in ledger.live_holders(now)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
            now = ledger.now()
