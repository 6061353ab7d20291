"""When a failed task is tried again. Arithmetic only: no I/O, no clock, no randomness.

The jitter comes from a seed, so that the same failure always waits equally long and a test, or a
person reading the history, can work out why.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ecm.contracts.result import ErrorClass
from ecm.contracts.task import ClassPolicy, RetryPolicy


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, not before `at` (Unix seconds)."""

    at: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Never again; `reason` is one line."""

    reason: str


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One failure: the task's `attempt`-th of this class (from 1), its deadline and jitter seed."""

    attempt: int
    error_class: ErrorClass
    at: float
    deadline_at: float | None = None
    seed: str = ""


def decide(failed: FailedAttempt, policy: RetryPolicy) -> RetryAt | GiveUp:
    """Retry by error class, within its number of attempts and the deadline.

    `input` errors are never retried, whatever the policy says: the same bytes fail again.

    >>> decide(FailedAttempt(1, ErrorClass.INPUT, at=0.0), RetryPolicy())
    GiveUp(reason='the same bytes would fail again')
    """
    if failed.error_class is ErrorClass.INPUT:
        return GiveUp("the same bytes would fail again")
    rules = policy.of(failed.error_class)
    if failed.attempt >= rules.max_attempts:
        return GiveUp(f"{failed.attempt} of {rules.max_attempts} attempts failed")
    at = failed.at + backoff(failed.attempt, rules, failed.seed)
    if failed.deadline_at is not None and at > failed.deadline_at:
        return GiveUp("the next try would come after the deadline")
    return RetryAt(at)


def backoff(attempt: int, rules: ClassPolicy, seed: str) -> float:
    """Seconds to wait after the `attempt`-th failure: exponential, capped, with equal jitter.

    Half of the capped delay is fixed, half is spread by the seed ("equal jitter" of M. Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015), so that tasks that failed
    together do not come back together and none comes back at once.

    >>> rules = ClassPolicy(max_attempts=9, base_seconds=1.0, max_seconds=8.0)
    >>> [round(backoff(n, rules, "task"), 2) for n in (1, 2, 3, 4, 9)]
    [0.54, 1.4, 2.42, 6.3, 6.26]
    """
    exponent = min(attempt - 1, 64)
    delay = min(rules.max_seconds, rules.base_seconds * 2.0**exponent)
    return delay * (0.5 + 0.5 * _fraction(f"{seed}:{attempt}"))


def _fraction(text: str) -> float:
    """A number in [0, 1) that looks random and depends only on `text`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2.0**48
