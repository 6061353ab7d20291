"""The done set told to an empty, a half-filled and an old ledger, over every back end."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ecm.contracts.identity import ContentIdentity, KeyDigest, digest, evidence_key
from ecm.contracts.result import ErrorClass
from ecm.errors import ContractError, Forbidden, LeaseLost
from ecm.ledger import Ledger
from ecm.ledger.records import Granted, RestoredResource, RestoredTask, Right
from ecm.ledger.states import BatchState, TaskState
from tests.ledger_tasks import (
    BOTH,
    KINDS,
    MODEL,
    START,
    TENANT,
    TTL,
    VISION,
    chunk,
    claim,
    commit,
    failure,
    fences,
    identity,
    list_names,
    open_job,
    resource,
)


def seen(
    name: str,
    content: str = "",
    at: float = START,
    transforms: Iterable[str] = BOTH,
    place: ContentIdentity | None = None,
) -> RestoredResource:
    """A resource as a store saw it; equal `content` are equal bytes."""
    asset_id = digest(content or name)
    tasks = tuple(
        RestoredTask(
            KINDS[transform],
            transform,
            MODEL,
            evidence_key(TENANT, asset_id, KINDS[transform], transform),
        )
        for transform in transforms
    )
    return RestoredResource(place or identity(name), asset_id, at, tasks)


def keys_of(resources: Iterable[RestoredResource]) -> KeyDigest:
    return KeyDigest(task.evidence_key for each in resources for task in each.tasks)


def restored(ledger: Ledger, job_id: str, resources: list[RestoredResource]) -> None:
    open_job(ledger, job_id)
    ledger.restore(job_id, resources, START)
    ledger.close_listing(job_id, START)
    ledger.finish_job(job_id, START)


def test_what_was_restored_is_reused_and_the_books_of_its_job_balance(ledger: Ledger) -> None:
    resources = [seen("a"), seen("b"), seen("copy of b", content="b")]
    restored(ledger, "rebuild", resources)
    books = ledger.job_counts("rebuild")
    assert (books.listed, books.committed, books.pending, books.balanced) == (3, 3, 0, True)
    assert books.listed_tasks == books.found_tasks
    assert books.key_digest == keys_of(resources)
    outcome = list_names(ledger, "next", ["a", "b", "copy of b", "new"])
    assert (outcome.queued, outcome.reused) == (1, 3)
    assert ledger.status(START).states[TaskState.DONE] == 6
    done = ledger.done_evidence([task.evidence_key for task in seen("b").tasks])
    assert len(done) == 2


def test_restoring_again_changes_nothing(ledger: Ledger) -> None:
    open_job(ledger, "rebuild")
    first = ledger.restore("rebuild", [seen("a"), seen("b")], START)
    again = ledger.restore("rebuild", [seen("b"), seen("a"), seen("c")], START)
    assert (first.resources, first.tasks) == (2, 4)
    assert (again.resources, again.tasks, again.settled) == (1, 2, 0)
    assert ledger.job_counts("rebuild").balanced
    ledger.close_listing("rebuild", START)
    with pytest.raises(ContractError, match="listed"):
        ledger.restore("rebuild", [seen("d")], START)


def test_evidence_of_a_place_may_come_in_parts_and_the_latest_bytes_stand(ledger: Ledger) -> None:
    open_job(ledger, "rebuild")
    ledger.restore("rebuild", [seen("a", transforms=[VISION])], START)
    more = ledger.restore("rebuild", [seen("a", content="changed", at=START + 5)], START)
    assert (more.resources, more.tasks) == (0, 1)
    books = ledger.job_counts("rebuild")
    assert (books.listed, books.committed, books.balanced) == (1, 1, True)
    assert books.key_digest == keys_of([seen("a", content="changed")])


def test_an_old_ledger_learns_what_was_committed_since(ledger: Ledger) -> None:
    """As after a backup was put back: waiting and dead tasks are done, held ones are left alone."""
    list_names(ledger, "job", ["waiting", "dead", "held", "absent"])
    lease = ledger.acquire_lease("worker", START, TTL)
    held = [t for t in claim(ledger, lease) if "absent" not in t.identity.uri]
    ledger.fail([failure(t, ErrorClass.INPUT) for t in held if "dead" in t.identity.uri], START)
    ledger.release(fences(t for t in held if "waiting" in t.identity.uri), START)
    open_job(ledger, "rebuild")
    outcome = ledger.restore("rebuild", [seen(n) for n in ("waiting", "dead", "held")], START)
    assert (outcome.resources, outcome.tasks, outcome.settled) == (0, 0, 4)
    books = ledger.job_counts("job")
    assert (books.committed, books.dead, books.pending, books.balanced) == (2, 0, 2, True)
    dead = next(t for t in held if "dead" in t.identity.uri)
    history = ledger.task_history(dead.task_id)
    assert (history.state, history.entries[-1].cause) == (
        TaskState.DONE, "its evidence was found in the store",
    )  # fmt: skip
    commit(ledger, "batch", [t for t in held if "held" in t.identity.uri])
    assert ledger.job_counts("job").committed == 3


def test_what_this_ledger_committed_itself_is_not_touched(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    commit(ledger, "batch", claim(ledger, ledger.acquire_lease("w", START, TTL)))
    before = ledger.job_counts("job").key_digest
    open_job(ledger, "rebuild")
    outcome = ledger.restore("rebuild", [seen("a", content="older bytes")], START)
    assert (outcome.resources, outcome.tasks, outcome.settled) == (0, 0, 0)
    assert ledger.job_counts("job").key_digest == before


def test_batches_of_the_store_are_known_as_persisted(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    commit(ledger, "mine", claim(ledger, ledger.acquire_lease("w", START, TTL)))
    ledger.restore_batches({"mine": START, "theirs": START - 9})
    ledger.restore_batches({"theirs": START - 9})
    known = ledger.batch_states(["mine", "theirs", "nobody's"])
    assert known == dict.fromkeys(["mine", "theirs"], BatchState.PERSISTED)
    assert ledger.status(START).latency_ms.p50 is not None


def test_fences_go_on_above_those_of_the_lost_ledger(ledger: Ledger) -> None:
    old = ledger.acquire_lease("worker", START, TTL)
    ledger.begin_restore(START)
    new = ledger.acquire_lease("worker", START, TTL)
    assert new.fence > START * 1000 > old.fence
    ledger.begin_restore(START - 100)
    assert ledger.acquire_lease("worker", START, TTL).fence > new.fence


def test_only_the_holder_of_the_right_restores(ledger: Ledger) -> None:
    open_job(ledger, "rebuild")
    first = ledger.acquire_right("committer", "one", 5, START)
    second = ledger.acquire_right("committer", "two", 5, START + 6)
    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    with pytest.raises(LeaseLost):
        ledger.restore("rebuild", [seen("a")], START, Right("committer", first.fence))
    good = ledger.restore("rebuild", [seen("a")], START, Right("committer", second.fence))
    assert good.tasks == 2


def test_a_tenant_restores_nothing(ledger: Ledger) -> None:
    open_job(ledger, "rebuild")
    mine = ledger.scoped(TENANT)
    for refused in (
        lambda: mine.restore("rebuild", [seen("a")], START),
        lambda: mine.restore_batches({"b": START}),
        lambda: mine.begin_restore(START),
        lambda: mine.batch_states(["b"]),
    ):
        with pytest.raises(Forbidden):
            refused()


def test_missing_task_rows_are_counted_against_what_was_listed(ledger: Ledger) -> None:
    open_job(ledger, "job")
    parts = [resource("job", "whole"), resource("job", "half", transforms=[VISION])]
    ledger.record_listing("job", chunk(parts), START)
    books = ledger.job_counts("job")
    assert books.listed_tasks == books.found_tasks
    assert books.listed_tasks is not None
    assert books.listed_tasks.count == 3
    (short,) = ledger.short_resources("job")
    assert (short.uri, short.tasks, short.transforms) == (identity("half").uri, 1, 2)
    assert ledger.resource_uri(TENANT, short.identity_key) == short.uri
    assert ledger.resource_uri("other", short.identity_key) is None
