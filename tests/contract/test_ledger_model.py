"""Every back end of the ledger walked at random beside a model in a few dictionaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ecm.contracts.result import ErrorClass
from ecm.contracts.task import RetryPolicy
from ecm.errors import ContractError, LeaseLost
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import ClaimedTask, Lease, ListingOutcome, Redrive
from ecm.ledger.retry import FailedAttempt, RetryAt, decide
from ecm.ledger.states import COMMITTED, HELD, PENDING, RUNNABLE, TRANSIENT, TaskState
from tests.ledger_model import ModelJob, ModelTask, outcome_of
from tests.ledger_tasks import (
    BOTH,
    START,
    TENANT,
    TTL,
    VISION,
    chunk,
    failure,
    fences,
    ids,
    open_job,
    resource,
    result,
)
from tests.ledger_tasks import report as report_to

NAMES = tuple("abcde")
JOBS = ("one", "two", "three")
BATCHES = ("b0", "b1", "b2", "b3")
MAX_EXPIRIES = 3

some_names = st.sets(st.sampled_from(NAMES), min_size=1)
some_number = st.integers(0, 999)


class LedgerWalk(RuleBasedStateMachine):
    """Rules mirror the methods of the ledger; the invariant compares all that can be seen."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.now = START
        self.tasks: dict[tuple[str, str], ModelTask] = {}
        self.by_id: dict[str, tuple[str, str]] = {}
        self.jobs: dict[str, ModelJob] = {}
        self.leases: dict[str, tuple[Lease, float]] = {}
        self.every_lease: list[Lease] = []
        self.claimed: list[ClaimedTask] = []
        self.batches: dict[str, TaskState] = {}
        self.stale = 0
        self.cursor = 0

    def teardown(self) -> None:
        for task_id, key in self.by_id.items():
            seen = self.ledger.task_history(task_id)
            task = self.tasks[key]
            assert (seen.state, seen.attempt, seen.fence) == (task.state, task.attempt, task.fence)
        self.ledger.verify()
        self.ledger.close()

    @initialize(limit=st.integers(2, 5))
    def begin_with_claimed_tasks(self, limit: int) -> None:
        self.list_some("one", set(NAMES))
        self.acquire("w0")
        self.claim(0, limit, BOTH)

    @rule(job_id=st.sampled_from(JOBS), names=some_names)
    def list_some(self, job_id: str, names: set[str]) -> None:
        job = self.jobs.setdefault(job_id, ModelJob())
        open_job(self.ledger, job_id)
        self.cursor += 1
        listed = chunk((resource(job_id, n) for n in sorted(names)), str(self.cursor))
        if job.cancelled:
            with pytest.raises(ContractError):
                self.ledger.record_listing(job_id, listed, self.now)
            return
        for found in listed.found:
            for task in found.tasks:
                name = task.identity.uri.removeprefix("file:///photos/")[:-4]
                self.by_id[task.task_id] = (name, task.transform)
        expected = Counter(self._list_one(job, name) for name in sorted(names))
        said = self.ledger.record_listing(job_id, listed, self.now)
        assert said == ListingOutcome(
            queued=expected["queued"],
            reused=expected["reused"],
            dead=expected["dead"],
            filtered=0,
            repeated=expected["repeated"],
        )
        assert self.ledger.record_listing(job_id, listed, self.now) == said

    def _list_one(self, job: ModelJob, name: str) -> str:
        if name in job.members:
            return "repeated"
        known = [self.tasks.get((name, transform)) for transform in BOTH]
        states = {task.state for task in known if task}
        if None not in known and states <= COMMITTED:
            job.reused += 1
            return "reused"
        job.members.add(name)
        for transform in BOTH:
            task = self.tasks.setdefault((name, transform), ModelTask())
            if task.state is TaskState.CANCELLED:
                task.start_over(self.now)
        active = None in known or states & (PENDING | {TaskState.CANCELLED})
        return "queued" if active else "dead"

    @rule(holder=st.sampled_from(["w1", "w2"]))
    def acquire(self, holder: str) -> None:
        lease = self.ledger.acquire_lease(holder, self.now, TTL)
        self.leases[lease.lease_id] = (lease, lease.expires_at)
        self.every_lease.append(lease)

    @rule(pick=some_number, limit=st.integers(1, 4), transforms=st.sampled_from([BOTH, (VISION,)]))
    def claim(self, pick: int, limit: int, transforms: tuple[str, ...]) -> None:
        lease = self._lease(pick)
        if self.leases.get(lease.lease_id, (lease, 0.0))[1] <= self.now:
            with pytest.raises(LeaseLost):
                self.ledger.claim(lease, transforms, None, None, limit, self.now)
            return
        can = {
            key
            for key, task in self.tasks.items()
            if task.state in RUNNABLE and task.run_after <= self.now and key[1] in transforms
        }
        got = self.ledger.claim(lease, transforms, None, None, limit, self.now)
        keys = {self.by_id[task.task_id] for task in got}
        names = {name for name, _ in keys}
        assert keys == {key for key in can if key[0] in names}
        assert len(names) == min(limit, len({name for name, _ in can}))
        for task in got:
            mine = self.tasks[self.by_id[task.task_id]]
            assert task.attempt == mine.attempt + 1
            assert task.fence > max((t.fence for t in self.claimed), default=0)
            mine.state, mine.attempt = TaskState.LEASED, task.attempt
            mine.fence, mine.lease_id = task.fence, lease.lease_id
        self.claimed.extend(got)

    @rule(pick=some_number)
    def start(self, pick: int) -> None:
        lease = self._lease(pick)
        if self.leases.get(lease.lease_id, (lease, 0.0))[1] > self.now:
            held = [t for t in self._held(lease.lease_id) if t.state is TaskState.LEASED]
            assert self.ledger.start(lease, self.now) == len(held)
            for task in held:
                task.state = TaskState.RUNNING

    @rule(pick=some_number)
    def heartbeat(self, pick: int) -> None:
        lease = self._lease(pick)
        alive = lease.lease_id in self.leases
        assert self.ledger.heartbeat(lease, self.now, TTL) == alive
        if alive:
            self.leases[lease.lease_id] = (lease, self.now + TTL)

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 61.0]))
    def pass_time_and_rescue(self, seconds: float) -> None:
        self.now += seconds
        expected = 0
        for lease_id, (_, expires_at) in list(self.leases.items()):
            if expires_at > self.now:
                continue
            del self.leases[lease_id]
            for task in self._held(lease_id):
                expected += 1
                task.expiries += 1
                task.requeue(self.now)
                if task.expiries >= MAX_EXPIRIES:
                    task.state = TaskState.DEAD_LETTER
        assert self.ledger.rescue_expired(self.now) == expected

    @rule(pick=some_number)
    def release_lease(self, pick: int) -> None:
        lease = self._lease(pick)
        held = self._held(lease.lease_id)
        self.leases.pop(lease.lease_id, None)
        assert self.ledger.release_lease(lease, self.now) == len(held)
        for task in held:
            task.give_back(self.now)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), batch_id=st.sampled_from(BATCHES), persist=st.booleans())
    def report(self, data: st.DataObject, batch_id: str, persist: bool) -> None:
        some = self._some_claims(data)
        is_open = self.batches.get(batch_id, TaskState.REPORTED) is TaskState.REPORTED
        again = [t for t in some if self._task(t).batch_id == batch_id and self._mine(t)]
        fresh = [t for t in some if is_open and self._mine(t) and self._task(t).state in HELD]
        outcome = report_to(self.ledger, batch_id, some, self.now)
        assert outcome.accepted == ids([*again, *fresh])
        assert outcome.stale == ids(some) - outcome.accepted
        self.stale += len(outcome.stale)
        for claimed in fresh:
            self.batches[batch_id] = TaskState.REPORTED
            task = self._task(claimed)
            task.state, task.batch_id = TaskState.REPORTED, batch_id
        if persist:
            self.persist(batch_id)

    @precondition(lambda self: self.batches)
    @rule(batch_id=st.sampled_from(BATCHES))
    def persist(self, batch_id: str) -> None:
        state = self.batches.get(batch_id)
        if state is None or state is TaskState.RETRY_QUEUED:
            with pytest.raises(ContractError if state is None else LeaseLost):
                self.ledger.persist(batch_id, {}, self.now)
            return
        inside = [t for t in self._in_batch(batch_id) if t.state is TaskState.REPORTED]
        assert self.ledger.persist(batch_id, {"assets": 1}, self.now) == len(inside)
        self.batches[batch_id] = TaskState.PERSISTED
        for task in inside:
            task.state = TaskState.PERSISTED

    @precondition(lambda self: self.batches)
    @rule(batch_id=st.sampled_from(BATCHES))
    def requeue(self, batch_id: str) -> None:
        if self.batches.get(batch_id) is TaskState.REPORTED:
            inside = self._in_batch(batch_id)
            assert self.ledger.requeue_batch(batch_id, self.now) == len(inside)
            self.batches[batch_id] = TaskState.RETRY_QUEUED
            for task in inside:
                task.requeue(self.now)
                task.batch_id = ""

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), error_class=st.sampled_from(ErrorClass))
    def fail(self, data: st.DataObject, error_class: ErrorClass) -> None:
        some = self._some_claims(data)
        held = {t.task_id: t for t in some if self._mine(t) and self._task(t).state in HELD}
        dead: set[str] = set()
        for claimed in held.values():
            task = self._task(claimed)
            task.failures[error_class] += 1
            failed = FailedAttempt(
                task.failures[error_class], error_class, self.now, seed=claimed.task_id
            )
            decision = decide(failed, RetryPolicy())
            task.requeue(decision.at if isinstance(decision, RetryAt) else self.now)
            if not isinstance(decision, RetryAt):
                task.state = TaskState.DEAD_LETTER
                dead.add(claimed.task_id)
        outcome = self.ledger.fail([failure(t, error_class) for t in some], self.now)
        assert outcome.dead == dead
        assert outcome.retried == frozenset(held) - dead
        assert outcome.stale == ids(some) - frozenset(held)
        self.stale += len(outcome.stale)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        some = self._some_claims(data)
        held = [t for t in some if self._mine(t) and self._task(t).state in HELD]
        assert self.ledger.release(fences(some), self.now) == ids(held)
        self.stale += len(ids(some) - ids(held))
        for claimed in held:
            self._task(claimed).give_back(self.now)

    @precondition(lambda self: TaskState.PERSISTED in self.batches.values())
    @rule(limit=st.integers(1, 4))
    def reopen(self, limit: int) -> None:
        known = {result(claimed).evidence_key: self._task(claimed) for claimed in self.claimed}
        done = {key: task for key, task in known.items() if task.state is TaskState.PERSISTED}
        some = dict(list(done.items())[:limit])
        assert self.ledger.done_evidence(list(known)) == set(done)
        assert self.ledger.reopen_evidence(TENANT, list(some), "damaged", self.now) == len(some)
        for task in some.values():
            task.start_over(self.now)
            task.state, task.batch_id = TaskState.QUEUED, ""
        assert self.ledger.done_evidence(list(known)) == set(done) - set(some)

    @rule()
    def block_and_redrive_everything(self) -> None:
        blockable = RUNNABLE | {TaskState.LEASED}
        blocked = [t for (_, f), t in self.tasks.items() if f == VISION and t.state in blockable]
        assert self.ledger.mark_mismatch(VISION, "weights differ", self.now) == len(blocked)
        dead = [t for t in self.tasks.values() if t.state is TaskState.DEAD_LETTER]
        assert self.ledger.redrive(Redrive(), self.now) == len(blocked) + len(dead)
        for task in [*blocked, *dead]:
            task.start_over(self.now)

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(pick=some_number)
    def cancel(self, pick: int) -> None:
        job_id = sorted(self.jobs)[pick % len(self.jobs)]
        job = self.jobs[job_id]
        others = [o for o in self.jobs.values() if o is not job and not o.cancelled]
        stoppable = RUNNABLE | HELD | {TaskState.MODEL_MISMATCH}
        hit = [
            task
            for (name, _), task in self.tasks.items()
            if name in job.members
            and task.state in stoppable
            and not any(name in other.members for other in others)
        ]
        assert self.ledger.cancel_job(job_id, self.now) == len(hit)
        job.cancelled = True
        for task in hit:
            task.state = TaskState.CANCELLED

    @invariant()
    def all_that_can_be_seen_agrees(self) -> None:
        status = self.ledger.status(self.now)
        seen = {state: number for state, number in status.states.items() if number}
        assert seen == Counter(task.state for task in self.tasks.values())
        assert not TRANSIENT & set(seen)
        assert status.stale == self.stale
        for job_id, job in self.jobs.items():
            books = self.ledger.job_counts(job_id)
            assert books.balanced
            assert (books.listed, books.reused) == (len(job.members) + job.reused, job.reused)
            kinds = Counter(map(self._outcome, job.members))
            assert (books.dead, books.pending, books.filtered, books.committed) == (
                kinds["dead"],
                kinds["pending"],
                kinds["filtered"],
                kinds["committed"],
            )

    def _outcome(self, name: str) -> str:
        return outcome_of({self.tasks[name, transform].state for transform in BOTH})

    def _lease(self, pick: int) -> Lease:
        """Mostly the latest lease, sometimes one that may be over."""
        return self.every_lease[-1 if pick % 4 else pick % len(self.every_lease)]

    def _held(self, lease_id: str) -> list[ModelTask]:
        return [t for t in self.tasks.values() if t.lease_id == lease_id and t.state in HELD]

    def _in_batch(self, batch_id: str) -> list[ModelTask]:
        return [t for t in self.tasks.values() if t.batch_id == batch_id]

    def _task(self, claimed: ClaimedTask) -> ModelTask:
        return self.tasks[self.by_id[claimed.task_id]]

    def _mine(self, claimed: ClaimedTask) -> bool:
        return self._task(claimed).fence == claimed.fence

    def _some_claims(self, data: st.DataObject) -> list[ClaimedTask]:
        recent = {
            claimed.task_id: claimed
            for claimed in data.draw(
                st.lists(st.sampled_from(self.claimed[-12:]), min_size=1, max_size=8)
            )
        }
        return list(recent.values())


def test_the_ledger_agrees_with_a_model_on_every_walk(
    ledger_config: Callable[..., LedgerConfig],
) -> None:
    walks = iter(range(10_000))

    def walk() -> LedgerWalk:
        config = ledger_config(f"walk-{next(walks)}", max_expiries=MAX_EXPIRIES)
        return LedgerWalk(open_ledger(config))

    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
