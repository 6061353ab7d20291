"""Who worked how well, and whose right a commit was: over every back end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ecm.contracts.result import ErrorClass
from ecm.errors import LeaseLost
from ecm.ledger import Ledger, LedgerConfig
from ecm.ledger.records import Granted, Held, Right
from ecm.ledger.reports import WorkerRate
from ecm.ledger.states import TaskState
from tests.ledger_tasks import (
    START,
    TENANT,
    TTL,
    claim,
    failure,
    ids,
    list_names,
    report,
    result,
)

Configure = Callable[..., LedgerConfig]
VERSIONS = {"assets": 1}


def rights(ledger: Ledger) -> Iterator[Right]:
    """One incarnation after another holds the right to commit; each comes when the last is late."""
    now = START
    for holder in ("first", "second", "third"):
        granted = ledger.acquire_right("commit", holder, TTL, now)
        assert isinstance(granted, Granted)
        yield Right("commit", granted.fence)
        now = granted.expires_at + 1.0


def test_a_committer_whose_right_was_taken_changes_nothing_any_more(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    holders = rights(ledger)
    mine = next(holders)
    results = [result(task) for task in tasks]
    assert ledger.report("batch", results[:2], START, mine).accepted == ids(tasks[:2])
    theirs = next(holders)
    for words in (
        lambda: ledger.report("batch", results, START, mine),
        lambda: ledger.persist("batch", VERSIONS, START, mine),
        lambda: ledger.requeue_batch("batch", START, mine),
    ):
        with pytest.raises(LeaseLost, match="commit"):
            words()
    (lost,) = ledger.unresolved_batches()
    assert frozenset(lost.task_ids) == ids(tasks[:2])
    assert ledger.persist("batch", VERSIONS, START, theirs) == 2
    assert ledger.release_right("commit", theirs.fence)
    with pytest.raises(LeaseLost):
        ledger.report("after", results[2:], START, theirs)


def test_a_right_stays_with_its_holder_until_it_ends(ledger: Ledger) -> None:
    granted = ledger.acquire_right("commit", "one", TTL, START)
    assert isinstance(granted, Granted)
    assert ledger.acquire_right("commit", "two", TTL, START + TTL - 1) == Held("one", START + TTL)
    again = ledger.acquire_right("commit", "one", TTL, START + 1)
    assert isinstance(again, Granted)
    assert again.fence > granted.fence
    assert not ledger.renew_right("commit", granted.fence, TTL, START + 2)


def test_attempts_are_counted_by_worker_and_outcome(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b", "c"])
    list_names(ledger, "other", ["d"], tenant_id="other")
    lease = ledger.acquire_lease("holder", START, TTL)
    tasks = claim(ledger, lease, tenant_id=TENANT)
    foreign = claim(ledger, lease, tenant_id="other")
    good, bad, left = tasks[:3], tasks[3:5], tasks[5:]
    ledger.report("batch", [replace(result(task), worker="w1") for task in good], START)
    ledger.report("batch", [replace(result(task), worker="w2") for task in foreign], START)
    ledger.fail([replace(failure(bad[0], ErrorClass.NETWORK), worker="w1")], START)
    ledger.fail([replace(failure(bad[1], ErrorClass.INPUT), worker="w2")], START)
    assert ledger.rescue_expired(START + TTL + 1) == len(left)
    status = ledger.status(START + TTL + 2)
    assert status.workers == (
        WorkerRate("holder", 0, {}, expired=1),
        WorkerRate("w1", 3, {ErrorClass.NETWORK: 1}),
        WorkerRate("w2", 2, {ErrorClass.INPUT: 1}),
    )
    assert status.failed == {ErrorClass.NETWORK: 1, ErrorClass.INPUT: 1}
    assert status.failure_rate == pytest.approx(2 / 7)
    assert status.workers[1].failure_rate == pytest.approx(1 / 4)
    assert status.throughput_per_s == pytest.approx(5 / 300)
    theirs = ledger.status(START + TTL + 2, "other")
    assert theirs.workers == (WorkerRate("w2", 2, {}),)
    assert theirs.states[TaskState.REPORTED] == 2
    assert theirs.dead_letters == {}
    assert ledger.status(START + 400).workers == ()


def test_totals_are_kept_by_tenant(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    list_names(ledger, "other", ["b", "c"], tenant_id="other")
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    report(ledger, "mixed", tasks)
    assert ledger.persist("mixed", VERSIONS, START) == 6
    assert ledger.complete_job("other", START) == 4
    assert report(ledger, "late", tasks[:1]).stale == ids(tasks[:1])
    for tenant, persisted, done in (("other", 0, 4), (TENANT, 2, 0), (None, 2, 4)):
        states = ledger.status(START, tenant).states
        assert (states[TaskState.PERSISTED], states[TaskState.DONE]) == (persisted, done), tenant
    assert sum(ledger.status(START, tenant).stale for tenant in ("other", TENANT)) == 1


def test_the_history_of_a_failure_names_its_worker(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    task = claim(ledger, ledger.acquire_lease("w", START, TTL))[0]
    ledger.fail([replace(failure(task, ErrorClass.INPUT), worker="host/7")], START + 1)
    history = ledger.task_history(task.task_id)
    assert (history.tenant_id, history.uri) == (TENANT, task.identity.uri)
    assert (history.task_type, history.transform) == (task.task_type, task.transform)
    assert [entry.worker for entry in history.entries if entry.error] == ["host/7", "host/7"]
    by_code = {code: len(ledger.dead_letters(9, code=code)) for code in ("read.gone", "read.other")}
    assert by_code == {"read.gone": 1, "read.other": 0}
