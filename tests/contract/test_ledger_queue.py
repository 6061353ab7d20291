"""How deep a queue may be, and in which order tenants are served from it: over every back end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecm.errors import Overloaded
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.config import QueueLimits
from tests.ledger_tasks import START, TTL, chunk, claim, list_names, names_of, open_job, resource

Configure = Callable[..., LedgerConfig]


def test_a_deep_queue_throttles_and_refuses_only_low_priority(ledger_config: Configure) -> None:
    with open_ledger(ledger_config(throttle_at=2, refuse_at=5, retry_after=7.0)) as ledger:
        open_job(ledger, "job")
        for number, throttle in ((1, 0.0), (2, 0.0), (3, 7.0)):
            listed = chunk([resource("job", f"r{number}")], str(number))
            assert ledger.record_listing("job", listed, START).throttle_seconds == throttle
        low = chunk([resource("job", "low", priority=-1)], "low")
        with pytest.raises(Overloaded) as refused:
            ledger.record_listing("job", low, START)
        assert refused.value.retry_after == 7.0
        ledger.record_listing("job", chunk([resource("job", "normal")], "normal"), START)
        claim(ledger, ledger.acquire_lease("w", START, TTL))
        assert ledger.record_listing("job", low, START).throttle_seconds == 0.0


def test_a_full_queue_takes_nothing_whatever_its_priority(ledger_config: Configure) -> None:
    with open_ledger(ledger_config(throttle_at=1, refuse_at=2, full_at=4)) as ledger:
        open_job(ledger, "job")
        for number in range(3):
            listed = chunk([resource("job", f"r{number}", priority=100)], str(number))
            ledger.record_listing("job", listed, START)
        with pytest.raises(Overloaded):
            ledger.record_listing("job", chunk([resource("job", "more", priority=100)], "m"), START)


def test_what_another_process_queued_is_seen_after_a_while(ledger_config: Configure) -> None:
    config = ledger_config(throttle_at=4, retry_after=7.0)
    with open_ledger(config) as ledger, open_ledger(config) as other:
        open_job(ledger, "job")
        assert ledger.record_listing("job", chunk([], "0"), START).throttle_seconds == 0.0
        list_names(other, "theirs", ["a", "b", "c"])
        later = chunk([resource("job", "d")], "1")
        assert ledger.record_listing("job", later, START + 9).throttle_seconds == 7.0


def test_tenants_take_turns_however_much_one_has_queued(ledger: Ledger) -> None:
    list_names(ledger, "big", [f"big{n}" for n in range(8)], tenant_id="big")
    lease = ledger.acquire_lease("w", START, TTL)
    assert len(names_of(claim(ledger, lease, 4))) == 4
    list_names(ledger, "small", ["s0", "s1"], tenant_id="small")
    assert names_of(claim(ledger, lease, 4)) == ["big4", "s0", "big5", "s1"]


def test_what_was_cancelled_or_waits_at_another_priority_costs_no_turns(ledger: Ledger) -> None:
    list_names(ledger, "gone", [f"gone{n}" for n in range(8)], tenant_id="one")
    assert ledger.cancel_job("gone", START) == 16
    list_names(ledger, "bulk", [f"bulk{n}" for n in range(8)], tenant_id="one", priority=-1)
    list_names(ledger, "two", [f"t{n}" for n in range(8)], tenant_id="two")
    list_names(ledger, "urgent", ["u0", "u1"], tenant_id="one")
    lease = ledger.acquire_lease("w", START, TTL)
    assert names_of(claim(ledger, lease, 4)) == ["t0", "u0", "t1", "u1"]


def test_a_tenant_has_limits_of_its_own(ledger_config: Configure) -> None:
    limits = {"other": QueueLimits(throttle_at=1, refuse_at=2)}
    with open_ledger(ledger_config(tenants=limits, retry_after=3.0)) as ledger:
        list_names(ledger, "job", ["a", "b", "c"])
        open_job(ledger, "theirs", "other")
        for number, waits in enumerate((0.0, 3.0)):
            listed = chunk([resource("theirs", f"r{number}", tenant_id="other")], str(number))
            assert ledger.record_listing("theirs", listed, START).throttle_seconds == waits
        low = chunk([resource("theirs", "low", tenant_id="other", priority=-1)], "low")
        with pytest.raises(Overloaded, match="other"):
            ledger.record_listing("theirs", low, START)
        open_job(ledger, "mine")
        mine = chunk([resource("mine", "low", priority=-1)], "low")
        assert ledger.record_listing("mine", mine, START).throttle_seconds == 0.0
