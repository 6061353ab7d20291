"""Laws of retrying: bounded, in time, deterministic, never for bad input."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.result import ErrorClass
from ecm.contracts.task import ClassPolicy, RetryPolicy
from ecm.ledger.retry import FailedAttempt, GiveUp, RetryAt, backoff, decide

NOW = 1_790_000_000.0
rules = st.builds(
    ClassPolicy,
    max_attempts=st.integers(1, 100),
    base_seconds=st.floats(0.001, 3600),
    max_seconds=st.floats(0.001, 86400),
)
policies = st.builds(
    RetryPolicy, network=rules, resource=rules, model=rules, input=rules, internal=rules
)
seeds = st.text(max_size=8)
attempts = st.integers(1, 200)


@given(policies, attempts, seeds, st.none() | st.floats(0, 1e6))
def test_bad_input_is_never_tried_again(
    policy: RetryPolicy, attempt: int, seed: str, deadline: float | None
) -> None:
    failed = FailedAttempt(attempt, ErrorClass.INPUT, NOW, deadline, seed)
    assert isinstance(decide(failed, policy), GiveUp)


@given(policies, attempts, st.sampled_from(ErrorClass), seeds, st.floats(-10, 1e6))
def test_a_retry_is_within_attempts_deadline_and_the_capped_delay(
    policy: RetryPolicy, attempt: int, error_class: ErrorClass, seed: str, slack: float
) -> None:
    limits = policy.of(error_class)
    failed = FailedAttempt(attempt, error_class, NOW, NOW + slack, seed)
    match decide(failed, policy):
        case RetryAt(at):
            assert attempt < limits.max_attempts
            assert at <= NOW + slack
            assert NOW < at <= NOW + limits.max_seconds
        case GiveUp(reason):
            assert reason
            free = FailedAttempt(attempt, error_class, NOW, None, seed)
            no_attempts = attempt >= limits.max_attempts or error_class is ErrorClass.INPUT
            assert isinstance(decide(free, policy), GiveUp) == no_attempts


@given(rules, attempts, seeds)
def test_a_delay_is_between_half_and_all_of_the_capped_exponential(
    limits: ClassPolicy, attempt: int, seed: str
) -> None:
    full = min(limits.max_seconds, limits.base_seconds * 2.0 ** min(attempt - 1, 64))
    assert full / 2 <= backoff(attempt, limits, seed) <= full
    assert backoff(attempt, limits, seed) == backoff(attempt, limits, seed)


def test_tasks_that_fail_together_come_back_spread_out() -> None:
    limits = ClassPolicy(max_attempts=8, base_seconds=10.0, max_seconds=10.0)
    delays = sorted(backoff(1, limits, f"task {n}") for n in range(1000))
    assert delays[0] < 5.1
    assert delays[-1] > 9.9
    assert all(b - a < 0.1 for a, b in pairwise(delays))


def test_the_default_policy_is_that_of_the_design() -> None:
    policy = RetryPolicy()
    tries = {
        kind: sum(
            isinstance(decide(FailedAttempt(n, kind, NOW), policy), RetryAt) for n in range(1, 99)
        )
        + 1
        for kind in ErrorClass
    }
    assert tries[ErrorClass.NETWORK] == 8
    assert tries[ErrorClass.RESOURCE] == 3
    assert tries[ErrorClass.MODEL] == 2
    assert tries[ErrorClass.INPUT] == 1
