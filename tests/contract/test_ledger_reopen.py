"""Committed tasks that are derived again: queued with a cause, no evidence any more, counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import ClaimedTask
from ecm.ledger.states import JobState, TaskState
from tests.ledger_tasks import (
    START,
    TENANT,
    TTL,
    claim,
    commit,
    list_names,
    result,
)

Configure = Callable[..., LedgerConfig]
NAMES = ["a", "b", "c"]
LATER = START + 5.0
CAUSE = "evidence_text: fragment 3 is truncated"


def done_job(ledger: Ledger, job_id: str = "job") -> tuple[ClaimedTask, ...]:
    """Two tasks on each of NAMES, committed, audited and over."""
    list_names(ledger, job_id, NAMES)
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    commit(ledger, f"batch of {job_id}", tasks)
    ledger.complete_job(job_id, START)
    ledger.finish_job(job_id, START)
    return tasks


def key(task: ClaimedTask) -> str:
    return result(task).evidence_key


@pytest.mark.parametrize("folded", [0, 1])
def test_damaged_evidence_is_queued_again_and_exists_no_more(
    ledger_config: Configure, folded: int
) -> None:
    with open_ledger(ledger_config()) as ledger, open_ledger(ledger_config()) as other:
        tasks = done_job(ledger)
        keys = [key(task) for task in tasks]
        before = ledger.job_counts("job")
        assert other.done_evidence(keys) == set(keys)
        if folded:
            ledger.fold_evidence(1)

        assert ledger.reopen_evidence(TENANT, keys[:2], CAUSE, LATER) == 2

        for each in (ledger, other):
            assert each.done_evidence(keys) == set(keys[2:])
        states = ledger.status(LATER).states
        assert (states[TaskState.QUEUED], states[TaskState.DONE]) == (2, len(tasks) - 2)
        counts = ledger.job_counts("job")
        assert counts.balanced
        assert counts.open_tasks == 2
        assert (counts.pending, counts.committed) == (1, 2)
        job = ledger.job("job")
        assert job is not None
        assert (job.state, job.finished_at) == (JobState.LISTED, None)
        last = ledger.task_history(tasks[0].task_id).entries[-1]
        assert (last.state, last.at, last.cause) == (TaskState.QUEUED, LATER, CAUSE)

        again = claim(ledger, ledger.acquire_lease("w", LATER, TTL), now=LATER)
        assert {task.task_id for task in again} == {task.task_id for task in tasks[:2]}
        ledger.report("again", [result(task) for task in again], LATER)
        assert ledger.done_evidence(keys) == set(keys[2:])  # reported is not stored
        ledger.persist("again", {}, LATER)
        ledger.complete_job("job", LATER)
        for each in (ledger, other):
            assert each.done_evidence(keys) == set(keys)
        assert ledger.status(LATER).states[TaskState.DONE] == len(tasks)
        assert ledger.job_counts("job") == before


def test_links_to_damaged_evidence_are_queued_with_it(ledger: Ledger) -> None:
    list_names(ledger, "job", NAMES)
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    first, link, *rest = tasks
    twin = result(link, linked=True).__class__(
        link.task_id, link.fence, result(first).asset_id, key(first), linked=True
    )
    ledger.report("batch", [result(first), twin, *map(result, rest)], START)
    ledger.persist("batch", {}, START)
    assert ledger.reopen_evidence(TENANT, [key(first)], CAUSE, LATER) == 2
    assert ledger.reopen_evidence(TENANT, [key(first)], CAUSE, LATER) == 0  # as often as one likes
    assert ledger.status(LATER).states[TaskState.QUEUED] == 2
    assert not ledger.done_evidence([key(first)])


def test_the_next_listing_queues_what_was_reopened_and_reuses_the_rest(ledger: Ledger) -> None:
    tasks = done_job(ledger)
    ledger.reopen_evidence(TENANT, [key(tasks[0])], CAUSE, LATER)
    outcome = list_names(ledger, "second", NAMES, LATER)
    assert (outcome.queued, outcome.reused) == (1, 2)
    again = claim(ledger, ledger.acquire_lease("w", LATER, TTL), now=LATER, job_id="second")
    commit(ledger, "again", again, LATER)
    for job_id in ("second", "job"):
        counts = ledger.job_counts(job_id)
        assert counts.balanced
        assert not counts.open_tasks
        ledger.complete_job(job_id, LATER)
        ledger.finish_job(job_id, LATER)


def test_what_is_not_committed_is_left_alone(ledger: Ledger) -> None:
    list_names(ledger, "job", NAMES)
    held = claim(ledger, ledger.acquire_lease("w", START, TTL), 1)
    keys = [key(task) for task in held]
    assert ledger.reopen_evidence(TENANT, keys, CAUSE, LATER) == 0
    ledger.report("batch", [result(task) for task in held], START)
    assert ledger.reopen_evidence(TENANT, keys, CAUSE, LATER) == 0
    ledger.persist("batch", {}, START)
    assert ledger.reopen_evidence("other", keys, CAUSE, LATER) == 0
    assert ledger.reopen_evidence(TENANT, keys, CAUSE, LATER) == len(held)


def test_committed_tasks_are_told_with_what_they_said_about_what(ledger: Ledger) -> None:
    tasks = done_job(ledger)
    list_names(ledger, "theirs", ["a"], tenant_id="other")
    claimed = claim(ledger, ledger.acquire_lease("w2", START, TTL))
    ledger.report("batch of others", [result(task) for task in claimed], START)
    assert {(c.task_id, c.evidence_key, c.identity) for c in ledger.committed()} == {
        (task.task_id, key(task), task.identity) for task in tasks
    }
    ledger.persist("batch of others", {}, START)
    assert len(list(ledger.committed())) == len(tasks) + len(claimed)
    assert {c.tenant_id for c in ledger.committed("other")} == {"other"}
