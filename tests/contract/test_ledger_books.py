"""The books of jobs over every ledger back end: reuse, joins, cancellation, history, balance."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecm.contracts.identity import KeyDigest
from ecm.contracts.result import ErrorClass
from ecm.errors import ContractError
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import Redrive
from ecm.ledger.states import JobState, TaskState
from tests.ledger_tasks import (
    START,
    TENANT,
    TTL,
    VISION,
    VV,
    chunk,
    claim,
    commit,
    failure,
    ids,
    list_names,
    names_of,
    open_job,
    report,
    resource,
    result,
)


def _finish(ledger: Ledger, job_id: str, batch_id: str) -> None:
    lease = ledger.acquire_lease(f"worker of {job_id}", START, TTL)
    commit(ledger, batch_id, claim(ledger, lease, job_id=job_id))
    ledger.complete_job(job_id, START)
    ledger.finish_job(job_id, START)


def test_books_balance_at_every_moment_of_a_job(ledger: Ledger) -> None:
    open_job(ledger, "job")
    listed = chunk([resource("job", n) for n in "abcd"], skipped=["file:///photos/.x"])
    ledger.record_listing("job", listed, START)
    lease = ledger.acquire_lease("w", START, TTL)
    tasks = {n: claim(ledger, lease, 1) for n in "abcd"}
    commit(ledger, "batch", tasks["a"])
    report(ledger, "open batch", tasks["b"])
    ledger.fail([failure(tasks["c"][0], ErrorClass.INPUT)], START)
    books = ledger.job_counts("job")
    assert (books.listed, books.committed, books.reused, books.filtered) == (5, 1, 0, 1)
    assert (books.dead, books.pending, books.open_tasks) == (1, 2, 5)
    assert books.balanced
    assert books.open_tasks == ledger.open_tasks("job")
    keys = {result(t).evidence_key for t in tasks["a"]}
    assert set(ledger.evidence_keys("job")) == keys
    assert books.key_digest == KeyDigest(keys)
    with pytest.raises(ContractError, match="no job"):
        ledger.job_counts("unknown")


def test_finished_resources_are_reused_and_give_the_same_digest(ledger: Ledger) -> None:
    list_names(ledger, "first", ["a", "b"])
    _finish(ledger, "first", "batch")
    clean = ledger.job_counts("first")
    said = list_names(ledger, "second", ["a", "b"])
    assert (said.queued, said.reused) == (0, 2)
    again = ledger.job_counts("second")
    assert (again.listed, again.reused, again.pending, again.balanced) == (2, 2, 0, True)
    assert again.key_digest == clean.key_digest
    assert again.listed_digest == clean.listed_digest
    assert claim(ledger, ledger.acquire_lease("w", START, TTL)) == ()
    ledger.finish_job("second", START)
    assert ledger.unfinished_jobs(TENANT) == ()


def test_a_changed_file_is_another_resource(ledger: Ledger) -> None:
    list_names(ledger, "first", ["a"])
    _finish(ledger, "first", "batch")
    open_job(ledger, "second")
    found = resource("second", "a").tasks[0]
    changed = found.identity.model_copy(update={"mtime_ns": 2})
    task = found.create(
        tenant_id=TENANT,
        job_id="second",
        identity=changed,
        task_type=found.task_type,
        model=found.model,
        transform=found.transform,
    )
    listed = chunk([type(resource("second", "a"))(changed, (task,))])
    assert ledger.record_listing("second", listed, START).queued == 1


def test_a_file_of_an_unfinished_job_is_joined_and_never_doubled(ledger: Ledger) -> None:
    list_names(ledger, "first", ["a", "b"])
    said = list_names(ledger, "second", ["b", "c"])
    assert (said.queued, said.reused) == (2, 0)
    assert sum(ledger.status(START).states.values()) == 6
    lease = ledger.acquire_lease("w", START, TTL)
    mine = claim(ledger, lease, job_id="second")
    assert names_of(mine) == ["b", "c"]
    commit(ledger, "batch", mine)
    first, second = ledger.job_counts("first"), ledger.job_counts("second")
    assert (first.listed, first.committed, first.pending) == (2, 1, 1)
    assert (second.listed, second.committed, second.pending) == (2, 2, 0)
    assert first.balanced
    assert second.balanced


def test_a_new_transform_queues_only_what_is_missing(ledger: Ledger) -> None:
    list_names(ledger, "first", ["a"], transforms=(VISION,))
    _finish(ledger, "first", "batch")
    assert list_names(ledger, "second", ["a"]).queued == 1
    lease = ledger.acquire_lease("w", START, TTL)
    (task,) = claim(ledger, lease)
    assert task.transform == VV
    commit(ledger, "batch 2", [task])
    books = ledger.job_counts("second")
    assert (books.committed, books.key_digest.count, books.balanced) == (1, 2, True)


def test_what_was_given_up_stays_dead_for_later_jobs_until_it_is_redriven(ledger: Ledger) -> None:
    list_names(ledger, "first", ["bad"])
    lease = ledger.acquire_lease("w", START, TTL)
    claimed = claim(ledger, lease)
    ledger.fail([failure(t, ErrorClass.INPUT) for t in claimed], START)
    said = list_names(ledger, "second", ["bad"])
    assert (said.dead, said.queued) == (1, 0)
    books = ledger.job_counts("second")
    assert (books.listed, books.dead, books.open_tasks, books.balanced) == (1, 1, 0, True)
    assert [d.job_id for d in ledger.dead_letters(9, job_id="second")] == ["first", "first"]
    assert ledger.redrive(Redrive(job_id="second"), START) == 2
    commit(ledger, "batch", claim(ledger, lease, job_id="second"))
    assert ledger.job_counts("first").committed == ledger.job_counts("second").committed == 1


def test_cancelling_spares_what_others_want_and_what_is_reported(ledger: Ledger) -> None:
    list_names(ledger, "keeper", ["shared"])
    list_names(ledger, "doomed", ["shared", "queued", "held", "sent"])
    lease = ledger.acquire_lease("w", START, TTL)
    sent = [t for t in claim(ledger, lease, 2, job_id="doomed") if "shared" not in t.identity.uri]
    held = claim(ledger, lease, 1, job_id="doomed")
    report(ledger, "batch", sent)
    assert ledger.cancel_job("doomed", START) == 4
    assert ledger.cancel_job("doomed", START) == 0
    assert report(ledger, "batch", held).stale == ids(held)
    job = ledger.job("doomed")
    assert job is not None
    assert job.state is JobState.CANCELLED
    ledger.persist("batch", {}, START)
    books = ledger.job_counts("doomed")
    assert (books.listed, books.committed, books.filtered, books.pending) == (4, 1, 2, 1)
    assert books.balanced
    with pytest.raises(ContractError, match="cancelled"):
        ledger.record_listing("doomed", chunk([resource("doomed", "new")], "2"), START)


def test_a_cancelled_task_that_is_listed_again_is_wanted_again(ledger: Ledger) -> None:
    list_names(ledger, "first", ["a"])
    ledger.cancel_job("first", START)
    assert list_names(ledger, "second", ["a"]).queued == 1
    _finish(ledger, "second", "batch")
    books = ledger.job_counts("second")
    assert (books.committed, books.key_digest.count, books.balanced) == (1, 2, True)


def test_bulk_operations_work_in_slices_smaller_than_the_job(
    ledger_config: Callable[..., LedgerConfig],
) -> None:
    names = [f"r{n}" for n in range(11)]
    with open_ledger(ledger_config(slice_tasks=5)) as ledger:
        list_names(ledger, "job", names)
        assert ledger.mark_mismatch(VISION, "weights differ", START) == 11
        assert ledger.redrive(Redrive(transform=VISION), START) == 11
        lease = ledger.acquire_lease("w", START, TTL)
        commit(ledger, "batch", claim(ledger, lease, 4, job_id="job"))
        assert ledger.complete_job("job", START) == 8
        assert ledger.complete_job("job", START) == 0
        assert ledger.cancel_job("job", START) == 14
        books = ledger.job_counts("job")
        assert (books.committed, books.filtered, books.balanced) == (4, 7, True)


def test_the_history_tells_the_normal_path_and_every_exception(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"], transforms=(VISION,))
    lease = ledger.acquire_lease("w", START + 1, TTL)
    (first,) = claim(ledger, lease, now=START + 1)
    ledger.fail([failure(first)], START + 2)
    (second,) = claim(ledger, lease, now=START + 10)
    ledger.start(lease, START + 11)
    report(ledger, "lost", [second], START + 12)
    ledger.requeue_batch("lost", START + 13)
    (third,) = claim(ledger, lease, now=START + 14)
    commit(ledger, "batch", [third], START + 15)
    ledger.complete_job("job", START + 16)
    history = ledger.task_history(first.task_id)
    assert (history.state, history.attempt, history.fence) == (TaskState.DONE, 3, third.fence)
    told = [(e.at - START, e.state, e.attempt) for e in history.entries]
    assert told == [
        (0.0, TaskState.QUEUED, 0),
        (2.0, TaskState.FAILED, 1),
        (13.0, TaskState.RETRY_QUEUED, 2),
        (14.0, TaskState.LEASED, 3),
        (14.0, TaskState.RUNNING, 3),
        (15.0, TaskState.REPORTED, 3),
        (15.0, TaskState.PERSISTED, 3),
        (16.0, TaskState.DONE, 3),
    ]
    assert "lost" in history.entries[2].cause
    with pytest.raises(ContractError, match="no task"):
        ledger.task_history("0" * 64)
