"""Two tenants in one ledger, over every back end: for neither does the other exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecm.contracts.result import ErrorClass
from ecm.errors import ContractError, EcmError, Forbidden, LeaseLost
from ecm.ledger import Ledger
from ecm.ledger.records import ClaimedTask, JobRecord, Lease, Redrive, ResourceTasks, Right
from ecm.ledger.states import TaskState
from ecm.ledger.wire import FOR_OPERATORS, FOR_TENANTS
from tests.ledger_tasks import (
    BOTH,
    START,
    TTL,
    VISION,
    chunk,
    claim,
    commit,
    failure,
    fences,
    identity,
    ids,
    list_names,
    open_job,
    resource,
    result,
)

OWN, OTHER = "own", "other"
REFUSALS = (Forbidden, ContractError, LeaseLost)


@dataclass(frozen=True)
class Household:
    """What one tenant has: a job with a task in every kind of state, and a lease in force."""

    tenant: str
    job_id: str
    names: tuple[str, ...]
    lease: Lease
    held: tuple[ClaimedTask, ...]
    dead: tuple[ClaimedTask, ...]
    done: tuple[ClaimedTask, ...]

    @property
    def marks(self) -> tuple[str, ...]:
        """By what this tenant would be known in an answer."""
        tasks = (*self.held, *self.dead, *self.done)
        return (self.tenant, self.job_id, self.lease.holder, *self.names, *ids(tasks))

    @property
    def keys(self) -> list[str]:
        return [result(task).evidence_key for task in self.done]


def settle(ledger: Ledger, tenant: str) -> Household:
    """Let a tenant have some of everything."""
    mine = ledger.scoped(tenant)
    job_id = f"job of {tenant}"
    names = tuple(f"{tenant}-{state}" for state in ("done", "dead", "held", "idle"))
    open_job(mine, job_id, tenant)
    listed = [
        resource(job_id, name, tenant_id=tenant, priority=9 - number)
        for number, name in enumerate(names)
    ]
    mine.record_listing(job_id, chunk(listed, skipped=[f"file:///{tenant}/.hidden"]), START)
    lease = mine.acquire_lease(f"worker of {tenant}", START, TTL)
    done, dead, held = (claim(mine, lease, 1) for _ in range(3))
    commit(ledger, f"batch of {tenant}", done)
    mine.fail([failure(task, ErrorClass.INPUT) for task in dead], START)
    return Household(tenant, job_id, names, lease, held, dead, done)


def seen_by(ledger: Ledger, house: Household) -> object:
    """All that a tenant can see of its own, to be compared before and after."""
    mine = ledger.scoped(house.tenant)
    status = mine.status(START)
    return (
        {state: number for state, number in status.states.items() if number},
        status.depth,
        status.dead_letters,
        mine.job(house.job_id),
        mine.job_counts(house.job_id),
        mine.live_holders(START),
        mine.dead_letters(100),
        [mine.task_history(task.task_id) for task in (*house.held, *house.dead, *house.done)],
        mine.done_evidence(house.keys),
        mine.last_job(house.tenant),
    )


Attempt = Callable[[Ledger, Household, Household], object]
"""Something that a tenant tries in its own ledger: with whose, and against whom."""


def record(job_id: str, tenant: str) -> JobRecord:
    return JobRecord(job_id=job_id, tenant_id=tenant, source="s", transforms=BOTH, created_at=START)


ATTEMPTS: dict[str, tuple[Attempt, ...]] = {
    "now": (lambda ledger, a, b: ledger.now() and None,),
    "open_job": (
        lambda ledger, a, b: ledger.open_job(record(b.job_id, OWN), START),
        lambda ledger, a, b: ledger.open_job(record("new", OTHER), START),
    ),
    "job": (lambda ledger, a, b: ledger.job(b.job_id),),
    "jobs": (
        lambda ledger, a, b: ledger.jobs(100, OTHER),
        lambda ledger, a, b: ledger.jobs(100),
    ),
    "unfinished_jobs": (
        lambda ledger, a, b: ledger.unfinished_jobs(OTHER),
        lambda ledger, a, b: ledger.unfinished_jobs(OWN),
    ),
    "last_job": (
        lambda ledger, a, b: ledger.last_job(OTHER),
        lambda ledger, a, b: ledger.last_job(OWN),
    ),
    "record_listing": (
        lambda ledger, a, b: ledger.record_listing(
            b.job_id, chunk([resource(b.job_id, "x", tenant_id=OTHER)], "x"), START
        ),
        lambda ledger, a, b: ledger.record_listing(
            a.job_id, chunk([resource(a.job_id, "x", tenant_id=OTHER)], "x"), START
        ),
    ),
    "close_listing": (lambda ledger, a, b: ledger.close_listing(b.job_id, START),),
    "complete_job": (lambda ledger, a, b: ledger.complete_job(b.job_id, START),),
    "finish_job": (lambda ledger, a, b: ledger.finish_job(b.job_id, START),),
    "cancel_job": (lambda ledger, a, b: ledger.cancel_job(b.job_id, START),),
    "acquire_lease": (lambda ledger, a, b: ledger.acquire_lease("w", START, TTL),),
    "claim": (
        lambda ledger, a, b: claim(ledger, b.lease),
        lambda ledger, a, b: claim(ledger, a.lease, tenant_id=OTHER),
        lambda ledger, a, b: claim(ledger, a.lease, job_id=b.job_id),
        lambda ledger, a, b: claim(ledger, a.lease),
    ),
    "start": (lambda ledger, a, b: ledger.start(b.lease, START),),
    "heartbeat": (lambda ledger, a, b: ledger.heartbeat(b.lease, START, 10 * TTL, 7),),
    "release_lease": (lambda ledger, a, b: ledger.release_lease(b.lease, START),),
    "live_holders": (lambda ledger, a, b: ledger.live_holders(START),),
    "fail": (
        lambda ledger, a, b: (
            ledger.fail([failure(task) for task in b.held], START).stale == ids(b.held)
        ),
    ),
    "release": (lambda ledger, a, b: ledger.release(fences(b.held), START),),
    "redrive": (
        lambda ledger, a, b: ledger.redrive(Redrive(job_id=b.job_id), START),
        lambda ledger, a, b: ledger.redrive(Redrive(tenant_id=OTHER), START),
        lambda ledger, a, b: ledger.redrive(Redrive(task_ids=sorted(ids(b.dead))), START),
        lambda ledger, a, b: ledger.redrive(Redrive(text=OTHER), START),
        lambda ledger, a, b: ledger.redrive(Redrive(), START),
    ),
    "redrivable": (
        lambda ledger, a, b: ledger.redrivable(Redrive(tenant_id=OTHER)),
        lambda ledger, a, b: ledger.redrivable(Redrive(task_ids=sorted(ids(b.dead)))),
    ),
    "done_evidence": (lambda ledger, a, b: ledger.done_evidence(b.keys),),
    "standing": (lambda ledger, a, b: ledger.standing(ids(b.held)),),
    "runnable": (lambda ledger, a, b: ledger.runnable(OTHER, BOTH, START),),
    "job_counts": (lambda ledger, a, b: ledger.job_counts(b.job_id),),
    "open_tasks": (lambda ledger, a, b: ledger.open_tasks(b.job_id),),
    "open_tasks_in": (
        lambda ledger, a, b: ledger.open_tasks_in(100, OTHER),
        lambda ledger, a, b: ledger.open_tasks_in(100),
    ),
    "evidence_keys": (lambda ledger, a, b: ledger.evidence_keys(b.job_id),),
    "skipped": (lambda ledger, a, b: ledger.skipped(b.job_id),),
    "short_resources": (lambda ledger, a, b: ledger.short_resources(b.job_id),),
    "places": (
        lambda ledger, a, b: ledger.places(b.job_id, b.keys),
        lambda ledger, a, b: ledger.places(a.job_id, b.keys),
    ),
    "committed": (lambda ledger, a, b: ledger.committed(),),
    "resource_uri": (
        lambda ledger, a, b: ledger.resource_uri(OTHER, identity(b.names[0]).key()),
        lambda ledger, a, b: ledger.resource_uri(OWN, identity(b.names[0]).key()),
    ),
    "status": (
        lambda ledger, a, b: ledger.status(START, OTHER),
        lambda ledger, a, b: ledger.status(START),
    ),
    "dead_letters": (
        lambda ledger, a, b: ledger.dead_letters(100, tenant_id=OTHER),
        lambda ledger, a, b: ledger.dead_letters(100, job_id=b.job_id),
        lambda ledger, a, b: ledger.dead_letters(100, text=OTHER),
        lambda ledger, a, b: ledger.dead_letters(100),
    ),
    "task_history": (lambda ledger, a, b: ledger.task_history(b.held[0].task_id),),
    "reopen_evidence": (
        lambda ledger, a, b: ledger.reopen_evidence(OTHER, b.keys, "damaged", START),
        lambda ledger, a, b: ledger.reopen_evidence(OWN, b.keys, "damaged", START),
    ),
    "mark_mismatch": (
        lambda ledger, a, b: ledger.mark_mismatch(VISION, "differs", START, OTHER),
        lambda ledger, a, b: ledger.mark_mismatch(VISION, "differs", START),
    ),
}

ORDERS: dict[str, Callable[[Ledger], object]] = {
    "report": lambda ledger: ledger.report("b", [], START),
    "persist": lambda ledger: ledger.persist("batch of other", {}, START),
    "unresolved_batches": lambda ledger: ledger.unresolved_batches(),
    "requeue_batch": lambda ledger: ledger.requeue_batch("batch of other", START),
    "fold_evidence": lambda ledger: ledger.fold_evidence(1),
    "rescue_expired": lambda ledger: ledger.rescue_expired(START + 10 * TTL),
    "expire_holder": lambda ledger: ledger.expire_holder("worker of other", START),
    "acquire_right": lambda ledger: ledger.acquire_right("commit", "me", TTL, START),
    "renew_right": lambda ledger: ledger.renew_right("commit", 1, TTL, START),
    "release_right": lambda ledger: ledger.release_right("commit", 1),
    "expire_right": lambda ledger: ledger.expire_right("commit", "them"),
    "holder_of": lambda ledger: ledger.holder_of("commit"),
    "confirm_right": lambda ledger: ledger.confirm_right(Right("commit", 1)),
    "batch_states": lambda ledger: ledger.batch_states(["batch of other"]),
    "begin_restore": lambda ledger: ledger.begin_restore(START),
    "restore": lambda ledger: ledger.restore("job of other", [], START),
    "restore_batches": lambda ledger: ledger.restore_batches({"b": START}),
    "tune": lambda ledger: ledger.tune(),
    "verify": lambda ledger: ledger.verify(),
}


@pytest.fixture
def houses(ledger: Ledger) -> tuple[Household, Household]:
    return settle(ledger, OWN), settle(ledger, OTHER)


def tried(attempt: Callable[[], object]) -> object:
    """The answer, iterators read to their end; the class of a refusal."""
    try:
        answer = attempt()
        return list(answer) if isinstance(answer, Iterator) else answer
    except REFUSALS as refusal:
        return type(refusal)


def test_every_operation_of_the_table_is_tried() -> None:
    assert set(ATTEMPTS) == set(FOR_TENANTS)
    assert set(ORDERS) == set(FOR_OPERATORS)


def test_no_operation_shows_or_changes_anything_of_another_tenant(
    ledger: Ledger, houses: tuple[Household, Household]
) -> None:
    own, other = houses
    mine = ledger.scoped(OWN)
    before = seen_by(ledger, other)
    for name, attempts in ATTEMPTS.items():
        for attempt in attempts:
            answer = tried(lambda attempt=attempt: attempt(mine, own, other))  # type: ignore[misc]
            told = [mark for mark in other.marks if mark in repr(answer)]
            assert not told, f"{name} tells of {told}: {answer!r}"
            assert seen_by(ledger, other) == before, f"{name} changed what is another's"
    books = mine.job_counts(own.job_id)
    assert books.balanced
    assert sum(mine.status(START).states.values()) == 8
    assert ledger.job_counts(other.job_id).balanced


def test_a_listing_cannot_join_tasks_of_another_tenant_by_their_ids(
    ledger: Ledger, houses: tuple[Household, Household]
) -> None:
    own, other = houses
    before = seen_by(ledger, other)
    ours = resource(own.job_id, "new", tenant_id=OWN)
    for name, value in (
        ("task_id", other.dead[0].task_id),
        ("task_id", other.done[0].task_id),
        ("dedupe_key", "0" * 64),
    ):
        tasks = (ours.tasks[0].model_copy(update={name: value}), *ours.tasks[1:])
        listed = chunk([ResourceTasks(ours.identity, tasks)], "forged")
        with pytest.raises(ContractError, match="id of another"):
            ledger.scoped(OWN).record_listing(own.job_id, listed, START)
    assert seen_by(ledger, other) == before


def test_what_is_an_operators_business_is_refused_and_not_done(
    ledger: Ledger, houses: tuple[Household, Household]
) -> None:
    before = [seen_by(ledger, house) for house in houses]
    for name, order in ORDERS.items():
        with pytest.raises(Forbidden) as refused:
            order(ledger.scoped(OWN))
        assert refused.value.code == "access.operator", name
    assert [seen_by(ledger, house) for house in houses] == before
    assert ledger.holder_of("commit") is None


def test_wrong_weights_of_one_tenants_machine_block_no_task_of_another(
    ledger: Ledger, houses: tuple[Household, Household]
) -> None:
    _, other = houses
    before = seen_by(ledger, other)
    blocked = ledger.scoped(OWN).mark_mismatch(VISION, "weights differ", START)
    assert seen_by(ledger, other) == before
    assert blocked == ledger.scoped(OWN).status(START).states[TaskState.MODEL_MISMATCH] > 0
    assert ledger.mark_mismatch(VISION, "weights differ", START, OWN) == 0
    assert ledger.mark_mismatch(VISION, "weights differ", START, OTHER) == blocked
    mismatched = Redrive(tenant_id=OWN, state=TaskState.MODEL_MISMATCH)
    assert ledger.redrive(mismatched, START) == blocked
    assert ledger.mark_mismatch(VISION, "weights differ", START) == blocked


def test_the_ledger_of_one_tenant_leads_to_no_other(ledger: Ledger) -> None:
    mine = ledger.scoped(OWN)
    assert mine.scoped(OWN).last_job(OWN) is None
    for name in (OTHER, "", "own ", "OWN"):
        with pytest.raises((Forbidden, ContractError)):
            mine.scoped(name).status(START)


@pytest.mark.parametrize("name", ["", " ", "a b", "../own", "x" * 64])
def test_no_name_of_a_tenant_opens_the_whole_ledger(ledger: Ledger, name: str) -> None:
    list_names(ledger, "job", ["a"], tenant_id=OTHER)
    try:
        seen: Any = ledger.scoped(name).status(START).states
    except EcmError:
        return
    assert not seen[TaskState.QUEUED]


def hostile(mark: str) -> st.SearchStrategy[str]:
    """Names near somebody else's, and what breaks statements that are put together from text."""
    return st.one_of(
        st.sampled_from(
            [
                mark,
                mark.upper(),
                f"{mark} ",
                f"{mark}%",
                "%",
                "_" * len(mark),
                "' OR ''='",
                f"{mark}' --",
                f'["{mark}"]',
                "null",
                "",
            ]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    )


def test_hostile_names_find_nothing_of_another_tenant(
    ledger: Ledger, houses: tuple[Household, Household]
) -> None:
    _, other = houses
    mine = ledger.scoped(OWN)
    before = seen_by(ledger, other)

    @settings(
        max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(
        job_id=hostile(other.job_id),
        task_id=hostile(other.held[0].task_id),
        text=hostile(OTHER),
        fence=st.integers(0, 9) | st.just(other.lease.fence),
    )
    def attack(job_id: str, task_id: str, text: str, fence: int) -> None:
        lease = Lease(task_id if fence % 2 else other.lease.lease_id, text, fence, START + TTL)
        answers = [
            tried(lambda: mine.job(job_id)),
            tried(lambda: mine.cancel_job(job_id, START)),
            tried(lambda: mine.task_history(task_id)),
            tried(lambda: mine.standing([task_id])),
            tried(lambda: mine.redrivable(Redrive(task_ids=[task_id]))),
            tried(lambda: mine.redrivable(Redrive(job_id=job_id, text=text))),
            tried(lambda: mine.dead_letters(10, text=text)),
            tried(lambda: mine.dead_letters(10, code=text)),
            tried(lambda: mine.start(lease, START)),
            tried(lambda: mine.heartbeat(lease, START, TTL)),
            tried(lambda: mine.release_lease(lease, START)),
            tried(lambda: claim(mine, lease)),
        ]
        told = [mark for mark in other.marks if mark in repr(answers)]
        assert not told, answers

    attack()
    assert seen_by(ledger, other) == before
