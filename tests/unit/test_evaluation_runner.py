"""The same questions to all engines, in turns; what was answered is kept, whatever happens."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    EngineFacts,
    EngineProblem,
    RankedAsset,
    RunHead,
    RunPlan,
    RunState,
)
from ecm.errors import ContractError
from ecm.evaluation.engines.base import Engine, EngineTrouble
from ecm.evaluation.engines.budget import Budget
from ecm.evaluation.engines.fake import Scripted
from ecm.evaluation.runner import run_benchmark, tied_shares, turns_of
from tests.evaluated import NOW, asset, engine, facts, good_answers, labels, plan, queries

SET = queries(24)
LABELS = labels(SET)


class Kept:
    """What a run hands over, and an interruption after so many batches."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.batches: list[tuple[Answered, ...]] = []
        self._after = interrupt_after

    def __call__(self, answers: Sequence[Answered]) -> None:
        self.batches.append(tuple(answers))
        if self._after is not None and len(self.batches) == self._after:
            raise KeyboardInterrupt

    @property
    def answers(self) -> tuple[Answered, ...]:
        return tuple(one for batch in self.batches for one in batch)


def carried_out(
    of: RunPlan,
    engines: Sequence[Engine],
    kept: Kept | None = None,
    earlier: Sequence[Answered] = (),
    batch: int = 8,
) -> tuple[RunHead, tuple[Answered, ...]]:
    return run_benchmark(
        of,
        SET.queries,
        engines,
        earlier=earlier,
        keep=kept or Kept(),
        told=lambda done, total: None,
        clock=lambda: NOW + 60,
        batch=batch,
    )


def two(**said: object) -> tuple[RunPlan, tuple[EngineFacts, ...]]:
    of = (facts("a"), facts("b"))
    return plan(SET, LABELS, of, **said), of


def test_every_query_goes_to_every_engine_before_the_next_and_each_is_first_as_often() -> None:
    of = plan(SET, LABELS, [facts(name) for name in "abc"], rounds=2)
    turns = list(turns_of(of, SET.queries))
    assert len(turns) == 48
    assert {one.query.query_id for one in turns[:24]} == set(of.queries)
    assert Counter(one.order[0] for one in turns) == {"a": 16, "b": 16, "c": 16}
    followers = Counter(
        pair for one in turns for pair in zip(one.order, one.order[1:], strict=False)
    )
    assert set(followers.values()) == {16}, "nobody always comes after the same one"
    assert turns == list(turns_of(of, SET.queries)), "the same again"
    assert [one.query for one in turns[:24]] != [one.query for one in turns[24:]]
    other = plan(SET, LABELS, [facts(name) for name in "abc"], seed=8)
    assert [t.query for t in turns_of(other, SET.queries)] != [t.query for t in turns[:24]]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_all_answers_of_all_rounds_are_there_in_order(concurrency: int) -> None:
    of, (a, b) = two(rounds=3, warm_up=5, concurrency=concurrency)
    (first, backend), (second, _) = engine(a, good_answers(SET.queries)), engine(b)
    kept = Kept()
    head, answers = carried_out(of, [first, second], kept)
    assert (head.state, head.reason, head.finished_at) == (RunState.COMPLETE, "", NOW + 60)
    places = [(one.round, one.query_id, one.engine_id) for one in answers]
    assert places == [
        (number, one.query_id, name)
        for number in range(3)
        for one in SET.queries
        for name in ("a", "b")
    ]
    assert backend.asked == 3 * 24 + 5, "the warm-up is asked and not counted"
    assert sorted(kept.answers, key=str) == sorted(answers, key=str)
    assert {one.run_id for one in answers} == {"run-1"}
    assert all(len(batch) >= 8 for batch in kept.batches[:-1])


def test_a_run_is_told_of_before_its_warm_up() -> None:
    """Whoever interrupts the warm-up hears that there is a run to go on with."""
    of, (a, b) = two(warm_up=5)
    (first, backend), (second, _) = engine(a, good_answers(SET.queries)), engine(b)
    asked = []
    run_benchmark(
        of,
        SET.queries,
        [first, second],
        earlier=(),
        keep=Kept(),
        told=lambda done, total: asked.append(backend.asked),
        clock=lambda: NOW,
    )
    assert asked[0] == 0


def test_what_is_kept_is_not_asked_again_and_an_interrupted_run_comes_to_the_same_end() -> None:
    of, (a, b) = two(rounds=2)
    whole = carried_out(of, [engine(a, good_answers(SET.queries))[0], engine(b)[0]])[1]
    kept = Kept(interrupt_after=2)
    (first, before), (second, _) = engine(a, good_answers(SET.queries)), engine(b)
    with pytest.raises(KeyboardInterrupt):
        carried_out(of, [first, second], kept)
    there = {(one.round, one.query_id, one.engine_id): one for one in kept.answers}
    assert before.asked < 48, "it was stopped on the way"
    assert sum(engine_id == "a" for _, _, engine_id in there) == before.asked, "nothing is lost"
    (first, after), (second, _) = engine(a, good_answers(SET.queries)), engine(b)
    head, answers = carried_out(of, [first, second], earlier=tuple(there.values()))
    assert before.asked + after.asked == 48, "nothing is asked twice"
    assert head.state is RunState.COMPLETE
    assert [one.answer.ranked for one in answers] == [one.answer.ranked for one in whole]


def test_nothing_is_asked_when_all_is_there() -> None:
    of, (a, b) = two(warm_up=5)
    whole = carried_out(of, [engine(a)[0], engine(b)[0]])[1]
    (first, backend), (second, _) = engine(a), engine(b)
    _, answers = carried_out(of, [first, second], earlier=whole)
    assert answers == whole
    assert backend.asked == 0


def test_an_engine_that_gives_up_leaves_what_it_has_and_the_other_goes_on() -> None:
    of, (a, b) = two()
    gone = EngineTrouble("connection refused", EngineProblem.UNREACHABLE)
    order = [one.query.query_id for one in turns_of(of, SET.queries)]
    script = {name: [Scripted(trouble=gone)] for name in order[10:]}
    (broken, _), (sound, _) = engine(a, script=script), engine(b)
    head, answers = carried_out(of, [broken, sound])
    assert head.state is RunState.PARTIAL_FAILED
    assert head.reason.startswith("a: given up: 5 queries in a row")
    assert "connection refused" in head.reason
    assert sum(one.engine_id == "b" for one in answers) == 24
    of_broken = [one.answer.error for one in answers if one.engine_id == "a"]
    assert len(of_broken) == 15, "what it was not asked does not count against it"
    assert sum(error is EngineProblem.UNREACHABLE for error in of_broken) == 5


def test_the_budget_stops_who_costs_and_nobody_else() -> None:
    paid, free = facts("paid", cost_per_1k_usd=1000.0), facts("free")
    of = plan(SET, LABELS, [paid, free], budget_usd=10.0, warm_up=2)
    budget = Budget(10.0)
    (first, backend), (second, _) = engine(paid, budget=budget), engine(free, budget=budget)
    head, answers = carried_out(of, [first, second])
    assert head.state is RunState.BUDGET_STOPPED
    assert "budget" in head.reason
    assert backend.asked == 10
    assert sum(one.engine_id == "paid" for one in answers) == 8, "two were the warm-up"
    assert sum(one.engine_id == "free" for one in answers) == 24
    assert head.spent_usd == pytest.approx(10.0)


def test_equal_scores_are_counted_and_ranks_decide() -> None:
    def answer(*scores: float) -> EngineAnswer:
        ranked = (
            RankedAsset(asset_id=asset(rank), rank=rank, score=score)
            for rank, score in enumerate(scores, start=1)
        )
        return EngineAnswer(ranked=tuple(ranked))

    said = [
        answer(1.0, 0.5, 0.5),
        answer(1.0, 0.5),
        answer(),
        answer(*[1.0 - i / 9 for i in range(10)], 0.0),
    ]
    answers = [
        Answered(run_id="r", engine_id="a", query_id=f"q{at}", answer=one)
        for at, one in enumerate(said)
    ]
    later = Answered(run_id="r", engine_id="a", query_id="q0", round=1, answer=said[0])
    assert tied_shares([*answers, later]) == {"a": 0.25}


def test_other_queries_or_engines_than_the_plans_are_refused() -> None:
    of, (a, b) = two()
    with pytest.raises(ContractError, match="engines"):
        carried_out(of, [engine(b)[0], engine(a)[0]])
    with pytest.raises(ContractError, match="queries"):
        carried_out(
            of.model_copy(update={"queries": of.queries[:-1]}), [engine(a)[0], engine(b)[0]]
        )


class Stopper:
    """Interrupts when it hears of so many answers, once."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __call__(self, done: int, total: int) -> None:
        if done >= self._at:
            raise KeyboardInterrupt


@given(
    st.lists(st.integers(1, 60), max_size=5),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_however_often_it_is_stopped_it_ends_the_same_and_nothing_is_asked_twice(
    stops: list[int], concurrency: int, batch: int, rounds: int
) -> None:
    of, (a, b) = two(rounds=rounds, concurrency=concurrency)
    there: dict[tuple[int, str, str], Answered] = {}
    asked = 0

    def keep(answers: Sequence[Answered]) -> None:
        for one in answers:
            there.setdefault((one.round, one.query_id, one.engine_id), one)

    for stop in [*stops, None]:
        (first, backend), (second, _) = engine(a, good_answers(SET.queries)), engine(b)
        kept = tuple(there.values())
        with contextlib.suppress(KeyboardInterrupt):
            head, answers = run_benchmark(
                of,
                SET.queries,
                [first, second],
                earlier=kept,
                keep=keep,
                told=(lambda done, total: None) if stop is None else Stopper(len(kept) + stop),
                clock=lambda: NOW,
                batch=batch,
            )
        asked += backend.asked
    assert asked == 24 * rounds
    assert head.state is RunState.COMPLETE
    whole = carried_out(of, [engine(a, good_answers(SET.queries))[0], engine(b)[0]])[1]
    assert [(one.round, one.query_id, one.engine_id, one.answer.ranked) for one in answers] == [
        (one.round, one.query_id, one.engine_id, one.answer.ranked) for one in whole
    ]
