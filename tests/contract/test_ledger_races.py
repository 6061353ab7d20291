"""Operations that meet at the same moment, over every back end: no task lost, doubled or split.

Threads start behind a barrier, many rounds each, so that their transactions overlap wherever the
database lets them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from ecm.contracts.result import ErrorClass
from ecm.errors import ContractError, LeaseLost, LedgerUnavailable
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import ClaimedTask, Granted, Redrive
from ecm.ledger.states import HELD, TaskState
from tests.ledger_tasks import (
    BOTH,
    START,
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
)

Configure = Callable[..., LedgerConfig]
ROUNDS = 8


def race(*racers: Callable[[], Any]) -> list[Any]:
    """What each returned, or the error it raised, all started at the same moment."""
    barrier = threading.Barrier(len(racers))
    told: list[Any] = [None] * len(racers)

    def run(number: int, racer: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            told[number] = racer()
        except (ContractError, LeaseLost, LedgerUnavailable) as error:
            told[number] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def _held(ledger: Ledger) -> int:
    states = ledger.status(START).states
    return sum(states[state] for state in HELD)


def _drain(ledger: Ledger, now: float = START) -> list[ClaimedTask]:
    """Claim everything that can be claimed."""
    lease = ledger.acquire_lease("last", now, TTL)
    found: list[ClaimedTask] = []
    while tasks := claim(ledger, lease, now=now):
        found.extend(tasks)
    return found


def test_claimants_at_once_get_whole_resources_and_never_nothing(ledger: Ledger) -> None:
    workers, each, rounds = 6, 5, 4
    list_names(ledger, "job", [f"r{n}" for n in range(workers * each * rounds)])
    leases = [ledger.acquire_lease(f"w{n}", START, TTL) for n in range(workers)]
    seen: Counter[str] = Counter()
    for _ in range(rounds):
        told = race(*(lambda lease=lease: claim(ledger, lease, each) for lease in leases))
        for tasks in told:
            assert len(names_of(tasks)) == each  # nobody is told that the queue is empty
            assert Counter(names_of([t]).pop() for t in tasks) == dict.fromkeys(names_of(tasks), 2)
            seen.update(task.task_id for task in tasks)
    assert set(seen.values()) == {1}
    assert len(seen) == 2 * workers * each * rounds


def test_claimants_of_different_transforms_share_nothing(ledger: Ledger) -> None:
    list_names(ledger, "job", [f"r{n}" for n in range(40)])
    leases = [ledger.acquire_lease(f"w{n}", START, TTL) for n in range(3)]
    wants = [(VISION,), (VV,), BOTH]
    told = race(
        *(
            lambda lease=lease, want=want: claim(ledger, lease, 40, transforms=want)
            for lease, want in zip(leases, wants, strict=True)
        )
    )
    claimed = [task.task_id for tasks in told for task in tasks]
    assert len(claimed) == len(set(claimed))
    assert len(claimed) + len(_drain(ledger)) == 80


def test_the_same_files_listed_twice_at_once_are_queued_once(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        jobs = [f"{number}-{name}" for name in "abc"]
        names = [f"r{number}-{n}" for n in range(30)]
        told = race(*(partial(list_names, ledger, job, names) for job in jobs))
        assert [said.queued for said in told] == [30, 30, 30]
        assert sum(ledger.status(START).states.values()) == 60 * (number + 1)
        assert all(ledger.job_counts(job).balanced for job in jobs)


def test_one_right_is_granted_to_one_holder_at_a_time(ledger: Ledger) -> None:
    fences: list[int] = []
    for number in range(ROUNDS):
        told = race(
            *(
                lambda holder=holder: ledger.acquire_right("commit", holder, TTL, START)
                for holder in "abcd"
            )
        )
        (granted,) = [answer for answer in told if isinstance(answer, Granted)]
        assert granted.fence > max(fences, default=0)
        fences.append(granted.fence)
        assert ledger.release_right("commit", granted.fence), number


def test_rescuers_at_once_take_every_task_away_once(ledger: Ledger) -> None:
    list_names(ledger, "job", [f"r{n}" for n in range(4 * ROUNDS)])
    late = START + TTL
    for number in range(ROUNDS):
        for _ in range(4):
            claim(ledger, ledger.acquire_lease(f"w{number}", START, TTL), 1)
        told = race(*(lambda: ledger.rescue_expired(late) for _ in range(3)))
        assert sum(told) == 8
        assert _held(ledger) == 0
        last = claim(ledger, ledger.acquire_lease("x", late, TTL), 4, now=late)
        commit(ledger, f"batch-{number}", last, late)
    assert ledger.job_counts("job").committed == 4 * ROUNDS


@pytest.mark.parametrize("end", ["released", "expired", "proved dead"])
def test_a_claim_under_a_lease_that_ends_leaves_no_task_behind(ledger: Ledger, end: str) -> None:
    list_names(ledger, "job", [f"r{n}" for n in range(10)])
    for number in range(ROUNDS):
        now = START + number * TTL
        lease = ledger.acquire_lease(f"w{number}", now, TTL)
        enders: dict[str, Callable[[], int]] = {
            "released": partial(ledger.release_lease, lease, now),
            "expired": partial(ledger.rescue_expired, now + TTL),
            "proved dead": partial(ledger.expire_holder, lease.holder, now),
        }
        claimed, taken = race(partial(claim, ledger, lease, 10, now), enders[end])
        assert isinstance(claimed, (tuple, LeaseLost))
        if end == "expired":  # one that was being claimed under was passed over
            taken += ledger.rescue_expired(now + TTL)
        assert taken == (20 if isinstance(claimed, tuple) else 0)
        assert _held(ledger) == 0
        ledger.redrive(Redrive(), now)
    ledger.verify()
    now = START + ROUNDS * TTL
    assert len(claim(ledger, ledger.acquire_lease("last", now, TTL), now=now)) == 20


def test_a_report_that_meets_a_rescue_is_either_in_time_or_stale(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        list_names(ledger, f"job{number}", [f"r{number}-{n}" for n in range(10)])
        lease = ledger.acquire_lease(f"w{number}", START, TTL)
        tasks = claim(ledger, lease, 10)
        said, rescued = race(
            lambda n=number, tasks=tasks: report(ledger, f"batch{n}", tasks),
            lambda: ledger.rescue_expired(START + TTL),
        )
        assert said.accepted | said.stale == ids(tasks)
        assert len(said.accepted) + rescued == 20
        if said.accepted:
            assert ledger.persist(f"batch{number}", {}, START) == len(said.accepted)
        late = START + TTL
        again = claim(ledger, ledger.acquire_lease("next", late, TTL), now=late)
        assert ids(again) == said.stale
        if again:
            commit(ledger, f"again{number}", again, late)
        assert ledger.job_counts(f"job{number}").committed == 10


def test_committers_at_once_persist_a_batch_once(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        list_names(ledger, f"job{number}", [f"r{number}-{n}" for n in range(10)])
        tasks = claim(ledger, ledger.acquire_lease("w", START, TTL), 10)
        batch_id = f"batch{number}"
        told = race(*(partial(report, ledger, batch_id, half) for half in (tasks[:9], tasks[9:])))
        assert frozenset().union(*(said.accepted for said in told)) == ids(tasks)
        persist = partial(ledger.persist, batch_id, {"assets": 1}, START)
        counts = race(persist, persist, persist)
        assert sorted(counts) == [0, 0, 20]
        states = ledger.status(START).states
        assert states[TaskState.PERSISTED] == 20 * (number + 1)


def test_a_batch_is_either_persisted_or_requeued(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        list_names(ledger, f"job{number}", [f"r{number}-{n}" for n in range(5)])
        tasks = claim(ledger, ledger.acquire_lease("w", START, TTL), 5)
        batch_id = f"batch{number}"
        report(ledger, batch_id, tasks)
        persisted, requeued = race(
            lambda b=batch_id: ledger.persist(b, {}, START),
            lambda b=batch_id: ledger.requeue_batch(b, START),
        )
        assert isinstance(persisted, LeaseLost) != isinstance(requeued, ContractError)
        assert (persisted if isinstance(persisted, int) else requeued) == 10
        again = claim(ledger, ledger.acquire_lease("w", START, TTL))
        assert len(again) == (0 if isinstance(persisted, int) else 10)
        if again:
            commit(ledger, f"again{number}", again)


def test_a_job_that_is_finished_while_it_is_redriven_is_open_again(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        job = f"job{number}"
        list_names(ledger, job, [f"r{number}-{n}" for n in range(10)])
        tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
        ledger.fail([failure(task, ErrorClass.INPUT) for task in tasks], START)
        redriven, _ = race(
            lambda job=job: ledger.redrive(Redrive(job_id=job), START),
            lambda job=job: ledger.finish_job(job, START),
        )
        assert redriven == 20
        unfinished = {found.record.job_id for found in ledger.unfinished_jobs("studio")}
        assert job in unfinished
        commit(ledger, f"batch{number}", claim(ledger, ledger.acquire_lease("w", START, TTL)))


def test_what_is_cancelled_while_another_job_lists_it_is_still_done(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        first, second = f"first{number}", f"second{number}"
        names = [f"r{number}-{n}" for n in range(10)]
        list_names(ledger, first, names)
        open_job(ledger, second)
        listed = chunk(resource(second, name) for name in names)
        race(
            lambda first=first: ledger.cancel_job(first, START),
            lambda second=second, listed=listed: ledger.record_listing(second, listed, START),
        )
        books = ledger.job_counts(second)
        assert (books.listed, books.pending, books.filtered, books.balanced) == (10, 10, 0, True)
        lease = ledger.acquire_lease("w", START, TTL)
        commit(ledger, f"batch{number}", claim(ledger, lease, job_id=second))
        assert ledger.job_counts(second).committed == 10


def test_tasks_are_blocked_or_claimed_and_nothing_in_between(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        list_names(ledger, f"job{number}", [f"r{number}-{n}" for n in range(10)])
        lease = ledger.acquire_lease("w", START, TTL)
        claimed, blocked = race(
            lambda lease=lease: claim(ledger, lease, 5),
            lambda: ledger.mark_mismatch(VISION, "weights differ", START),
        )
        assert blocked == 10  # a task that is leased and not begun is blocked as well
        assert len(names_of(claimed)) in (0, 5)  # a resource that is being changed may be left out
        states = ledger.status(START).states
        assert states[TaskState.MODEL_MISMATCH] == 10
        assert ledger.redrive(Redrive(transform=VISION), START) == 10
        ledger.release_lease(lease, START)
        rest = claim(ledger, ledger.acquire_lease("w", START, TTL))
        assert len(rest) == 20
        commit(ledger, f"batch{number}", rest)


def test_everything_at_once_ends_in_books_that_balance(ledger_config: Configure) -> None:
    """Listing, working, failing, rescuing, redriving and cancelling side by side."""
    config = ledger_config(max_expiries=100, slice_tasks=16)
    with open_ledger(config) as ledger:
        list_names(ledger, "kept", [f"r{n}" for n in range(60)])
        list_names(ledger, "dropped", [f"r{n}" for n in range(30, 90)])
        stop = threading.Event()

        def again(what: Callable[[], Any]) -> Callable[[], int]:
            def loop() -> int:
                conflicts = 0
                while not stop.is_set():
                    try:
                        what()
                    except (LedgerUnavailable, LeaseLost):
                        conflicts += 1
                return conflicts

            return loop

        def work(holder: str) -> Callable[[], int]:
            def turn() -> None:
                lease = ledger.acquire_lease(holder, START, TTL)
                tasks = claim(ledger, lease, 3)
                if not tasks:
                    return
                ledger.start(lease, START)
                ledger.fail([failure(tasks[0], ErrorClass.INPUT)], START)
                batch_id = f"{holder}-{lease.fence}"
                if report(ledger, batch_id, tasks[1:]).accepted:
                    ledger.persist(batch_id, {"assets": 1}, START)

            return again(turn)

        def list_and_cancel() -> int:
            for number in range(ROUNDS):
                list_names(ledger, f"more{number}", [f"r{n}" for n in range(60, 100)])
                ledger.cancel_job(f"more{number}", START)
            ledger.cancel_job("dropped", START)
            stop.set()
            return 0

        told = race(
            work("one"),
            work("two"),
            again(lambda: ledger.rescue_expired(START + TTL)),
            again(lambda: ledger.redrive(Redrive(error_class=ErrorClass.INPUT), START)),
            list_and_cancel,
        )
        assert all(isinstance(answer, int) for answer in told), told
        late = START + TTL
        ledger.rescue_expired(late)
        ledger.redrive(Redrive(), late)
        assert ledger.unresolved_batches() == ()
        rest = _drain(ledger, late)
        if rest:
            commit(ledger, "rest", rest, late)
        ledger.verify()
        for job in ("kept", "dropped", *(f"more{number}" for number in range(ROUNDS))):
            books = ledger.job_counts(job)
            assert (books.balanced, books.pending, books.dead) == (True, 0, 0), job
        assert ledger.job_counts("kept").committed == 60
        keys = list(ledger.evidence_keys("kept"))
        assert len(keys) == len(set(keys)) == 120
