"""Asks a back end until it answers: time-outs, two more attempts, waits that grow, and an end.

Knows which problems may pass and how long to wait; clock, sleep and chance are arguments. Knows no
product. Every attempt is paid for, whatever comes of it: who bills may have counted it.

    timeout, unreachable, limited, failed   asked again, after min(8, 0.25 * 2^n) seconds times
                                            [0.5, 1), or as long as the engine asks for
    refused, garbled                        not asked again: the same question ends the same
    budget                                  not asked at all
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

from pydantic import Field

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import Contract
from ecm.contracts.measured import EngineAnswer, EngineFacts, EngineProblem
from ecm.errors import EcmError
from ecm.evaluation.engines.base import (
    MOST_SAID,
    Backend,
    EngineTrouble,
    NeverOpened,
    check_depth,
    ranked,
)
from ecm.evaluation.engines.budget import Budget

PASSING: Final = frozenset(
    {
        EngineProblem.TIMEOUT,
        EngineProblem.UNREACHABLE,
        EngineProblem.LIMITED,
        EngineProblem.FAILED,
    }
)
"""Problems after which an engine is asked again."""
FIRST_SECONDS: Final = 0.25
LONGEST_SECONDS: Final = 8.0


class Patience(Contract):
    """How long an engine is waited for, and when it is given up."""

    timeout_seconds: float = Field(default=10.0, gt=0, le=300, description="of one attempt")
    retries: int = Field(default=2, ge=0, le=10, description="attempts after the first")
    longest_wait_seconds: float = Field(
        default=30.0, ge=0, le=600, description="an engine that asks for more is not waited for"
    )
    gives_up_after: int = Field(
        default=5, ge=1, description="queries in a row without an answer, then no more are asked"
    )

    def pause(self, before: int, trouble: EngineTrouble, chance: float) -> float | None:
        """Seconds until the next attempt after `before` retries; None: there is none.

        `chance` is in [0, 1).
        """
        if before >= self.retries or trouble.problem not in PASSING:
            return None
        own = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**before) * (0.5 + chance / 2)
        wait = max(own, trouble.retry_after or 0.0)
        return wait if wait <= self.longest_wait_seconds else None


class Patient:
    """An `Engine` on a back end. Thread-safe as far as the back end is.

    Args:
        backend: what is asked.
        patience: time-outs and retries.
        budget: of the run; all its engines share one.
        clock: seconds, monotonic.
        sleep: waits for so many seconds.
        chance: numbers in [0, 1).
    """

    def __init__(
        self,
        backend: Backend,
        patience: Patience | None = None,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._backend = backend
        self._patience = patience or Patience()
        self._budget = budget or Budget()
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._closed = False
        self._given_up = backend.trouble.message if isinstance(backend, NeverOpened) else ""
        self._last = backend.trouble.problem if isinstance(backend, NeverOpened) else None

    @property
    def facts(self) -> EngineFacts:
        return self._backend.facts

    @property
    def given_up(self) -> str:
        """Why it is asked no more; empty while it is."""
        with self._lock:
            return self._given_up

    def answer(self, query: EvaluationQuery, depth: int) -> EngineAnswer:
        """The answer of the first attempt that brings one, or the last problem.

        Raises ContractError for a depth out of bounds.
        """
        check_depth(depth)
        price = self.facts.cost_per_1k_usd / 1000.0
        attempts, trouble, latency = 0, None, None
        while not self.given_up:
            if not self._budget.spend(price):
                trouble = trouble or EngineTrouble(
                    f"the budget of {self._budget.limit_usd} USD is used up", EngineProblem.BUDGET
                )
                break
            attempts += 1
            started = self._clock()
            try:
                answer = self._attempt(query, depth, started)
            except EngineTrouble as error:
                trouble, latency = error, _ms(started, self._clock())
            else:
                self._answered()
                return answer.model_copy(
                    update={"attempts": attempts, "cost_usd": attempts * price}
                )
            pause = self._patience.pause(attempts - 1, trouble, self._chance())
            if pause is None:
                break
            self._sleep(pause)
        return self._unanswered(trouble, attempts, latency, attempts * price)

    def close(self) -> None:
        """Close the back end, once."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._backend.close()

    def _attempt(self, query: EvaluationQuery, depth: int, started: float) -> EngineAnswer:
        seconds = self._patience.timeout_seconds
        try:
            reply = self._backend.ask(query, depth, seconds)
        except EngineTrouble:
            raise
        except EcmError as error:  # of the snapshot that a query vector is read from, say
            raise EngineTrouble(error.message) from error
        took = _ms(started, self._clock())
        if took > seconds * 1000.0:
            raise EngineTrouble(
                f"it answered after {took:.0f} ms, later than {seconds:g} s", EngineProblem.TIMEOUT
            )
        return EngineAnswer(
            ranked=ranked(reply.found, query, depth), latency_ms=took, degraded=reply.degraded
        )

    def _answered(self) -> None:
        with self._lock:
            self._in_a_row = 0

    def _unanswered(
        self, trouble: EngineTrouble | None, attempts: int, latency: float | None, cost: float
    ) -> EngineAnswer:
        problem, reason = self._counted(trouble)
        return EngineAnswer(
            error=problem,
            reason=reason[:MOST_SAID],
            attempts=attempts,
            latency_ms=latency,
            cost_usd=cost,
        )

    def _counted(self, trouble: EngineTrouble | None) -> tuple[EngineProblem, str]:
        """What is said of a query without an answer; too many in a row, and it is given up."""
        with self._lock:
            if trouble is None:
                return self._last or EngineProblem.FAILED, f"given up: {self._given_up}"
            if trouble.problem is not EngineProblem.BUDGET:
                self._in_a_row += 1
                self._last = trouble.problem
                if self._in_a_row >= self._patience.gives_up_after and not self._given_up:
                    self._given_up = (
                        f"{self._in_a_row} queries in a row without an answer, "
                        f"the last: {trouble.message}"
                    )
            return trouble.problem, trouble.message


def _ms(started: float, now: float) -> float:
    return max(0.0, now - started) * 1000.0
