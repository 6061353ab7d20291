"""How long an engine is waited for, what is asked again, and when it is given up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import EngineFacts, EngineKind, EngineProblem
from ecm.errors import StoreCorrupt
from ecm.evaluation.engines.base import EngineTrouble, NeverOpened, Reply
from ecm.evaluation.engines.budget import Budget
from ecm.evaluation.engines.fake import FakeBackend, FakeClock, Scripted
from ecm.evaluation.engines.patient import PASSING, Patience, Patient
from tests.engine_queries import asked

IDS = [f"{number:064x}" for number in range(5)]
GOOD = Scripted(tuple(IDS))


def bad(problem: EngineProblem, retry_after: float | None = None) -> Scripted:
    return Scripted(trouble=EngineTrouble("so it is", problem, retry_after))


def patient(
    *script: Scripted,
    patience: Patience | None = None,
    budget: Budget | None = None,
    price: float = 0.0,
) -> tuple[Patient, FakeBackend, FakeClock]:
    clock = FakeClock()
    facts = EngineFacts(
        engine_id="e", kind=EngineKind.COMMERCIAL, description="", cost_per_1k_usd=price
    )
    backend = FakeBackend(facts, script={"q1": script} if script else {}, clock=clock)
    engine = Patient(backend, patience, budget, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    return engine, backend, clock


@pytest.mark.parametrize("problem", sorted(PASSING))
def test_what_may_pass_is_asked_again_after_growing_waits(problem: EngineProblem) -> None:
    engine, _, clock = patient(bad(problem), bad(problem), GOOD)
    answer = engine.answer(asked("x"), 3)
    assert (answer.error, answer.attempts, len(answer.ranked)) == (None, 3, 3)
    assert clock.slept == [0.1875, 0.375]
    assert answer.latency_ms == pytest.approx(10.0), "of the attempt that counted"


@pytest.mark.parametrize("problem", sorted(set(EngineProblem) - PASSING))
def test_what_does_not_pass_is_asked_once(problem: EngineProblem) -> None:
    engine, backend, clock = patient(bad(problem), GOOD)
    answer = engine.answer(asked("x"), 3)
    assert (answer.error, answer.attempts, backend.asked, clock.slept) == (problem, 1, 1, [])


def test_after_two_retries_the_last_problem_is_told() -> None:
    script = bad(EngineProblem.FAILED), bad(EngineProblem.LIMITED), bad(EngineProblem.TIMEOUT)
    engine, backend, _ = patient(*script)
    answer = engine.answer(asked("x"), 3)
    assert (answer.error, answer.attempts, backend.asked) == (EngineProblem.TIMEOUT, 3, 3)


def test_as_long_as_the_engine_asks_for_is_waited_but_not_too_long() -> None:
    engine, _, clock = patient(bad(EngineProblem.LIMITED, 3.0), GOOD)
    assert engine.answer(asked("x"), 1).error is None
    assert clock.slept == [3.0]
    engine, _, clock = patient(bad(EngineProblem.LIMITED, 3600.0), GOOD)
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.attempts, clock.slept) == (EngineProblem.LIMITED, 1, [])


def test_an_answer_that_comes_too_late_is_none() -> None:
    late = Scripted(tuple(IDS), seconds=2.0)
    engine, backend, _ = patient(late, patience=Patience(timeout_seconds=1.0))
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.ranked, backend.asked) == (EngineProblem.TIMEOUT, (), 3)


@pytest.mark.parametrize(
    "found",
    [(IDS[0], IDS[0]), ("42",), (IDS[0].upper().replace("0", "A"),)],
)
def test_what_is_no_ranking_of_assets_is_garbled(found: tuple[str, ...]) -> None:
    engine, _, _ = patient(Scripted(found))
    assert engine.answer(asked("x"), 5).error is EngineProblem.GARBLED


def test_what_a_back_end_stumbles_over_costs_a_query_and_not_the_run() -> None:
    class Stumbling(FakeBackend):
        def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
            raise StoreCorrupt("cannot read the vector of the asset shown")

    clock = FakeClock()
    facts = EngineFacts(engine_id="e", kind=EngineKind.INTERNAL, description="")
    engine = Patient(Stumbling(facts, clock=clock), clock=clock, sleep=clock.sleep)
    answer = engine.answer(asked("x"), 3)
    assert (answer.error, answer.attempts) == (EngineProblem.FAILED, 3)
    assert answer.reason == "cannot read the vector of the asset shown"


def test_nothing_found_is_an_answer() -> None:
    engine, _, _ = patient(Scripted(()))
    answer = engine.answer(asked("x"), 5)
    assert (answer.error, answer.ranked, answer.attempts) == (None, (), 1)


def test_it_is_given_up_after_some_queries_in_a_row_and_asked_no_more() -> None:
    terms = Patience(retries=0, gives_up_after=3)
    engine, backend, _ = patient(
        bad(EngineProblem.FAILED), bad(EngineProblem.FAILED), GOOD,
        *[bad(EngineProblem.UNREACHABLE)] * 3, GOOD, patience=terms,
    )  # fmt: skip
    for _ in range(5):
        engine.answer(asked("x"), 1)
        assert not engine.given_up, "an answer in between begins the count anew"
    engine.answer(asked("x"), 1)
    assert "3 queries in a row" in engine.given_up
    before = backend.asked
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.attempts) == (EngineProblem.UNREACHABLE, 0)
    assert answer.reason.startswith("given up")
    assert backend.asked == before


def test_who_waits_for_another_attempt_stops_when_it_is_given_up_meanwhile() -> None:
    script = {"q1": [bad(EngineProblem.FAILED)], "q2": [bad(EngineProblem.REFUSED)]}
    backend = FakeBackend(script=script)

    def meanwhile(_: float) -> None:
        engine.answer(asked("y", query_id="q2"), 1)

    engine = Patient(backend, Patience(gives_up_after=1), clock=backend.clock, sleep=meanwhile)
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.attempts) == (EngineProblem.FAILED, 1)
    assert engine.given_up


def test_an_engine_that_was_never_opened_is_given_up_from_the_start() -> None:
    facts = EngineFacts(engine_id="e", kind=EngineKind.INTERNAL, description="")
    engine = Patient(NeverOpened(facts, EngineTrouble("gone", EngineProblem.UNREACHABLE)))
    assert engine.given_up == "gone"
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.attempts, answer.cost_usd) == (EngineProblem.UNREACHABLE, 0, 0.0)


def test_every_attempt_is_paid_for_and_none_beyond_the_budget() -> None:
    budget = Budget(0.005)
    engine, backend, _ = patient(bad(EngineProblem.FAILED), GOOD, budget=budget, price=1.0)
    first = engine.answer(asked("x"), 1)
    assert (first.attempts, first.cost_usd) == (2, pytest.approx(0.002))
    answers = [engine.answer(asked("x"), 1) for _ in range(5)]
    assert [one.error for one in answers] == [None] * 3 + [EngineProblem.BUDGET] * 2
    assert budget.spent_usd == pytest.approx(0.005)
    assert budget.exhausted
    assert backend.asked == 5
    assert not engine.given_up, "no money is no fault of the engine"


def test_where_money_ends_between_attempts_the_problem_is_told() -> None:
    budget = Budget(0.001)
    engine, _, _ = patient(bad(EngineProblem.LIMITED), GOOD, budget=budget, price=1.0)
    answer = engine.answer(asked("x"), 1)
    assert (answer.error, answer.attempts) == (EngineProblem.LIMITED, 1)
    assert budget.exhausted


def test_an_engine_for_nothing_goes_on_when_the_money_has_ended() -> None:
    budget = Budget(0.0)
    assert not budget.spend(0.01)
    engine, _, _ = patient(GOOD, budget=budget)
    assert engine.answer(asked("x"), 1).error is None


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(0, 400),
)
def test_a_budget_is_never_exceeded(prices: list[int], limit: int) -> None:
    budget = Budget(limit / 1000)
    taken = sum(price for price in prices if budget.spend(price / 1000))
    assert taken <= limit
    assert budget.spent_usd == pytest.approx(taken / 1000)
    assert budget.exhausted == (taken < sum(prices))


def test_threads_spend_one_budget() -> None:
    budget = Budget(1.0)
    start = threading.Barrier(8)

    def spend(_: int) -> int:
        start.wait()
        return sum(budget.spend(0.001) for _ in range(400))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(spend, range(8))) == 1000
