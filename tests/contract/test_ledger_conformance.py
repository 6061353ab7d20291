"""What every ledger back end must do: listing, claiming, fences, retries, batches, rights."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecm.contracts.result import ErrorClass
from ecm.contracts.task import ClassPolicy, RetryPolicy
from ecm.errors import ContractError, LeaseLost
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import Granted, Held, Redrive, Right
from ecm.ledger.states import TaskState
from tests.ledger_tasks import (
    BOTH,
    START,
    TENANT,
    TTL,
    VISION,
    VV,
    chunk,
    claim,
    commit,
    failure,
    fences,
    ids,
    list_names,
    names_of,
    open_job,
    report,
    resource,
    result,
)

Configure = Callable[..., LedgerConfig]


def test_listing_the_same_chunk_again_changes_nothing_and_says_the_same(ledger: Ledger) -> None:
    open_job(ledger, "job")
    first = chunk([resource("job", "a"), resource("job", "b")], "b", ["file:///photos/.hidden"])
    said = ledger.record_listing("job", first, START)
    books = ledger.job_counts("job")
    assert (said.queued, said.filtered, said.repeated) == (2, 1, 0)
    assert ledger.record_listing("job", first, START + 1) == said
    assert ledger.job_counts("job") == books
    assert (books.listed, books.pending, books.filtered, books.balanced) == (3, 2, 1, True)
    assert [s.uri for s in ledger.skipped("job")] == ["file:///photos/.hidden"]
    job = ledger.job("job")
    assert job is not None
    assert job.cursor == "b"


def test_a_resource_listed_twice_under_different_cursors_counts_once(ledger: Ledger) -> None:
    open_job(ledger, "job")
    ledger.record_listing("job", chunk([resource("job", "a")], "1", ["x"]), START)
    said = ledger.record_listing(
        "job", chunk([resource("job", "a"), resource("job", "b")], "2", ["x"]), START
    )
    assert (said.queued, said.filtered, said.repeated) == (1, 0, 2)
    books = ledger.job_counts("job")
    assert (books.listed, books.pending, books.open_tasks, books.balanced) == (3, 2, 4, True)


@pytest.mark.parametrize(
    "wrong",
    [
        resource("other job", "a"),
        resource("job", "a", tenant_id="other"),
        resource("job", "a", transforms=()),
    ],
    ids=["job", "tenant", "no tasks"],
)
def test_a_chunk_that_does_not_fit_its_job_is_refused_whole(ledger: Ledger, wrong: object) -> None:
    open_job(ledger, "job")
    with pytest.raises(ContractError):
        ledger.record_listing("job", chunk([resource("job", "b"), wrong]), START)  # type: ignore[list-item]
    assert ledger.job_counts("job").listed == 0


def test_a_closed_listing_takes_no_more_and_the_same_job_opens_again(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    with pytest.raises(ContractError, match="listed"):
        ledger.record_listing("job", chunk([resource("job", "b")], "2"), START)
    open_job(ledger, "job")
    with pytest.raises(ContractError, match="another request"):
        open_job(ledger, "job", tenant_id="other")
    assert [job.record.job_id for job in ledger.unfinished_jobs(TENANT)] == ["job"]


def test_a_redrive_leaves_what_is_given_up_meanwhile(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"], transforms=(VISION,))
    first, second = claim(ledger, ledger.acquire_lease("w", START, TTL))
    ledger.fail([failure(first, ErrorClass.INPUT)], START)
    ledger.fail([failure(second, ErrorClass.INPUT)], START + 2)
    assert ledger.redrive(Redrive(), START + 1) == 1
    assert ledger.status(START + 3).dead_letters == {ErrorClass.INPUT: 1}


def test_a_lease_that_expires_after_the_deadline_is_not_tried_again(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"], transforms=(VISION,), deadline_at=START + TTL / 2)
    claim(ledger, ledger.acquire_lease("w", START, TTL))
    assert ledger.rescue_expired(START + TTL) == 1
    (letter,) = ledger.dead_letters(9)
    assert letter.error.code == "lease.deadline"


def test_a_claim_takes_whole_resources_in_order_and_carries_the_task(ledger: Ledger) -> None:
    open_job(ledger, "job")
    listed = [
        resource("job", "late", deadline_at=START + 900),
        resource("job", "plain"),
        resource("job", "soon", deadline_at=START + 90),
        resource("job", "urgent", priority=5),
        resource("job", "plain2"),
    ]
    ledger.record_listing("job", chunk(listed), START)
    lease = ledger.acquire_lease("w", START, TTL)
    first = claim(ledger, lease, 3, tenant_id=TENANT, job_id="job")
    assert names_of(first) == ["urgent", "soon", "late"]
    assert [t.transform for t in first] == [VISION, VV] * 3
    assert names_of(claim(ledger, lease, 9)) == ["plain", "plain2"]
    spec, task = listed[3].tasks[0], first[0]
    assert task.task_id == spec.task_id
    assert (task.identity, task.model, task.priority) == (spec.identity, spec.model, 5)
    assert (task.attempt, task.deadline_at, first[2].deadline_at) == (1, None, START + 90)
    assert task.fence > lease.fence


def test_a_claim_respects_transforms_tenant_and_job(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    list_names(ledger, "foreign", ["a"], tenant_id="other")
    list_names(ledger, "later", ["b"])
    lease = ledger.acquire_lease("w", START, TTL)
    assert claim(ledger, lease, transforms=()) == ()
    only = claim(ledger, lease, transforms=(VV,), tenant_id=TENANT, job_id="later")
    assert [(t.job_id, t.transform) for t in only] == [("later", VV)]
    rest = claim(ledger, lease, tenant_id=TENANT)
    assert [(t.job_id, t.transform) for t in rest] == [
        ("job", VISION),
        ("job", VV),
        ("later", VISION),
    ]
    assert {t.tenant_id for t in claim(ledger, lease)} == {"other"}


def test_an_expired_lease_is_rescued_and_its_holder_refused(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    slow = ledger.acquire_lease("slow", START, TTL)
    late = claim(ledger, slow)
    assert ledger.heartbeat(slow, START + 50, TTL, progress=1)
    assert ledger.rescue_expired(START + TTL) == 0
    assert [h.holder for h in ledger.live_holders(START + TTL)] == ["slow"]
    assert ledger.rescue_expired(START + 50 + TTL) == len(late)
    assert not ledger.heartbeat(slow, START + 111, TTL)
    with pytest.raises(LeaseLost):
        claim(ledger, slow, now=START + 111)
    fast = ledger.acquire_lease("fast", START + 111, TTL)
    again = claim(ledger, fast, now=START + 111)
    assert ids(again) == ids(late)
    assert {t.attempt for t in again} == {2}
    assert min(t.fence for t in again) > max(t.fence for t in late)
    assert report(ledger, "zombie", late, START + 112).stale == ids(late)
    assert ledger.fail([failure(t) for t in late], START + 112).stale == ids(late)
    assert ledger.release(fences(late), START + 112) == frozenset()
    assert report(ledger, "batch", again, START + 112).accepted == ids(again)
    assert ledger.status(START + 112).stale == 3 * len(late)


def test_a_task_whose_lease_keeps_expiring_becomes_a_dead_letter(ledger_config: Configure) -> None:
    with open_ledger(ledger_config(max_expiries=3)) as ledger:
        list_names(ledger, "job", ["poison"], transforms=(VISION,))
        for number in range(3):
            holder = f"worker-{number}"
            lease = ledger.acquire_lease(holder, START + number, TTL)
            assert len(claim(ledger, lease, now=START + number)) == 1
            assert ledger.expire_holder(holder, START + number) == 1
        (dead,) = ledger.dead_letters(10)
        assert (dead.error.error_class, dead.error.code) == (ErrorClass.INTERNAL, "lease.expired")
        assert dead.attempts == 3
        assert ledger.job_counts("job").dead == 1


def test_releasing_costs_no_attempt_and_outdates_the_fence(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    lease = ledger.acquire_lease("w", START, TTL)
    claimed = claim(ledger, lease)
    assert ledger.start(lease, START) == 4
    assert ledger.release(fences(claimed[:1]), START) == ids(claimed[:1])
    assert ledger.release_lease(lease, START) == 3
    assert ledger.live_holders(START) == ()
    again = claim(ledger, ledger.acquire_lease("w", START, TTL))
    assert {t.attempt for t in again} == {1}
    assert report(ledger, "batch", claimed).stale == ids(claimed)


def test_failures_are_retried_by_class_until_the_policy_gives_up(ledger: Ledger) -> None:
    quick = RetryPolicy(network=ClassPolicy(max_attempts=3, base_seconds=10.0, max_seconds=10.0))
    list_names(ledger, "job", ["a"], transforms=(VISION,), retry_policy=quick)
    lease = ledger.acquire_lease("w", START, 3600)
    now = START
    for _ in range(2):
        (task,) = claim(ledger, lease, now=now)
        assert ledger.fail([failure(task)], now).retried == {task.task_id}
        assert claim(ledger, lease, now=now + 4.9) == ()
        now += 10.0
    (task,) = claim(ledger, lease, now=now)
    assert ledger.fail([failure(task, ErrorClass.MODEL)], now).retried  # counted by class
    (task,) = claim(ledger, lease, now=now + 10)
    assert ledger.fail([failure(task)], now + 10).dead == {task.task_id}
    history = ledger.task_history(task.task_id)
    assert history.state is TaskState.DEAD_LETTER
    failed = [e for e in history.entries if e.state is TaskState.FAILED]
    assert [e.attempt for e in failed] == [1, 2, 3, 4]
    assert {e.error.code for e in failed if e.error} == {"read.gone"}


def test_input_errors_are_dead_at_once_and_listed_with_their_cause(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    claimed = claim(ledger, ledger.acquire_lease("w", START, TTL))
    broken = [failure(t, ErrorClass.INPUT) for t in claimed[:2]]
    assert ledger.fail(broken, START + 1).dead == ids(claimed[:2])
    assert ledger.fail(broken, START + 2).stale == ids(claimed[:2])
    letters = ledger.dead_letters(10, tenant_id=TENANT, job_id="job", error_class=ErrorClass.INPUT)
    assert {d.uri for d in letters} == {"file:///photos/a.jpg"}
    assert {(d.error.code, d.error.stage, d.attempts, d.at) for d in letters} == {
        ("read.gone", "read", 1, START + 1)
    }
    assert ledger.dead_letters(10, tenant_id="other") == ()
    assert ledger.status(START + 3).dead_letters == {ErrorClass.INPUT: 2}


def test_redriving_starts_over_and_opens_the_finished_job_again(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    lease = ledger.acquire_lease("w", START, TTL)
    claimed = claim(ledger, lease)
    ledger.fail([failure(t, ErrorClass.INPUT) for t in claimed], START)
    ledger.finish_job("job", START)
    assert ledger.redrive(Redrive(code="something.else"), START + 1) == 0
    assert ledger.redrive(Redrive(task_ids=[claimed[0].task_id]), START + 1) == 1
    assert ledger.redrive(Redrive(job_id="job", error_class=ErrorClass.INPUT), START + 1) == 3
    assert [job.record.job_id for job in ledger.unfinished_jobs(TENANT)] == ["job"]
    again = claim(ledger, lease, now=START + 1, job_id="job")
    assert ids(again) == ids(claimed)
    assert commit(ledger, "batch", again) == 4


def test_a_model_mismatch_blocks_a_transform_until_it_is_redriven(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    lease = ledger.acquire_lease("w", START, TTL)
    (held,) = claim(ledger, lease, 1, transforms=(VISION,))
    assert ledger.mark_mismatch(VISION, "weights differ", START) == 2
    assert report(ledger, "batch", [held]).stale == {held.task_id}
    assert {t.transform for t in claim(ledger, lease)} == {VV}
    books = ledger.job_counts("job")
    assert (books.pending, books.dead) == (2, 0)
    with pytest.raises(ContractError, match="open tasks"):
        ledger.finish_job("job", START)
    assert ledger.redrive(Redrive(transform=VISION), START) == 2
    assert len(claim(ledger, lease)) == 2


def test_reported_tasks_belong_to_their_batch_and_not_to_the_lease(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    lease = ledger.acquire_lease("w", START, TTL)
    claimed = claim(ledger, lease)
    assert report(ledger, "one", claimed[:2]).accepted == ids(claimed[:2])
    assert ledger.rescue_expired(START + TTL) == 2
    (batch,) = ledger.unresolved_batches()
    assert (batch.batch_id, set(batch.task_ids)) == ("one", ids(claimed[:2]))
    assert report(ledger, "two", claimed[:2]).stale == ids(claimed[:2])
    assert report(ledger, "one", claimed[:2]).accepted == ids(claimed[:2])
    assert ledger.persist("one", {"assets": 3}, START) == 2
    assert ledger.persist("one", {"assets": 3}, START) == 0
    assert report(ledger, "one", claimed[:2]).accepted == ids(claimed[:2])
    assert report(ledger, "two", claimed[:2]).stale == ids(claimed[:2])
    assert ledger.unresolved_batches() == ()


def test_a_lost_batch_is_closed_and_its_tasks_are_done_again(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    lease = ledger.acquire_lease("w", START, TTL)
    claimed = claim(ledger, lease)
    report(ledger, "lost", claimed)
    assert ledger.requeue_batch("lost", START) == 2
    with pytest.raises(LeaseLost):
        ledger.persist("lost", {}, START)
    again = claim(ledger, lease)
    assert ids(again) == ids(claimed)
    assert report(ledger, "lost", again).stale == ids(again)
    assert commit(ledger, "found", again) == 2
    with pytest.raises(ContractError, match="persisted"):
        ledger.requeue_batch("found", START)
    assert report(ledger, "late", again).stale == ids(again)
    with pytest.raises(ContractError, match="never reported"):  # a batch begins with its first task
        ledger.persist("late", {}, START)


def test_only_committed_evidence_of_its_own_counts_as_done(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "copy"], transforms=(VISION,))
    own, copy = claim(ledger, ledger.acquire_lease("w", START, TTL))
    key = result(own).evidence_key
    linked = result(copy, linked=True)
    ledger.report("links", [linked], START)
    ledger.persist("links", {}, START)
    ledger.report("own", [result(own)], START)
    assert ledger.done_evidence([key, linked.evidence_key]) == frozenset()
    ledger.persist("own", {}, START)
    assert ledger.done_evidence([key, linked.evidence_key]) == {key}
    assert ledger.job_counts("job").committed == 2


def test_a_right_has_one_holder_and_its_fence_only_grows(ledger: Ledger) -> None:
    mine = ledger.acquire_right("commit", "one", TTL, START)
    assert isinstance(mine, Granted)
    assert ledger.acquire_right("commit", "two", TTL, START + 1) == Held("one", START + TTL)
    assert ledger.renew_right("commit", mine.fence, TTL, START + 30)
    assert isinstance(ledger.acquire_right("commit", "two", TTL, START + TTL), Held)
    theirs = ledger.acquire_right("commit", "two", TTL, START + 30 + TTL)
    assert isinstance(theirs, Granted)
    assert theirs.fence > mine.fence
    assert not ledger.renew_right("commit", mine.fence, TTL, START + 100)
    assert not ledger.release_right("commit", mine.fence)
    assert not ledger.expire_right("commit", "one")
    assert ledger.expire_right("commit", "two")
    assert not ledger.renew_right("commit", theirs.fence, TTL, START + 100), "it is dead"
    with pytest.raises(LeaseLost):
        ledger.confirm_right(Right("commit", theirs.fence))
    third = ledger.acquire_right("commit", "three", TTL, START + 100)
    assert isinstance(third, Granted)
    assert third.fence > theirs.fence
    assert ledger.release_right("commit", third.fence)


def test_status_counts_by_state_tenant_and_priority(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    list_names(ledger, "other", ["c"], tenant_id="other", priority=3)
    lease = ledger.acquire_lease("w", START, TTL)
    first = claim(ledger, lease, 1)
    commit(ledger, "batch", first, START + 2)
    claim(ledger, lease, 1, now=START + 2, transforms=(VV,))
    ledger.start(lease, START + 3)
    status = ledger.status(START + 12)
    depth = {(d.state, d.tenant_id, d.priority): d.tasks for d in status.depth}
    assert depth == {
        (TaskState.QUEUED, TENANT, 0): 3,
        (TaskState.RUNNING, TENANT, 0): 1,
    }
    assert status.states[TaskState.PERSISTED] == 2
    assert (status.queued, status.oldest_lease_seconds) == (3, 10.0)
    assert (status.latency_ms.p50, status.latency_ms.p99) == (2000.0, 2000.0)
    assert status.throughput_per_s == pytest.approx(2 / 300)
    assert status.failure_rate == 0.0
    assert ledger.complete_job("other", START) == 2
    assert ledger.status(START).states[TaskState.DONE] == 2
    assert tuple(t.transform for t in first) == BOTH
