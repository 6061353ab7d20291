"""Asks the same queries of several engines, so that what disturbs the machine disturbs all alike.

Each query goes to every engine before the next one does; which engine is asked first changes by
turns, every order as often as every other. Queries of the warm-up come before and are not counted.
Waiting, asking again, paying and giving up are an engine's own; what a run makes of an engine that
cannot go on is known here. Knows no measure, no file and no clock: whoever calls keeps the answers
and tells the time.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    EngineProblem,
    RunHead,
    RunPlan,
    RunState,
)
from ecm.errors import ContractError
from ecm.evaluation.engines.base import Engine

MANY_ORDERS: Final = 4
"""Up to so many engines every order of them takes its turn; of more, every rotation."""
TIES_AMONG: Final = 10
BATCH: Final = 32
"""Answers that are handed over at once; who is killed asks at most so many again."""

Place = tuple[int, str, str]
"""Round, query, engine."""
Keep = Callable[[Sequence[Answered]], None]
Told = Callable[[int, int], None]
"""Hears how many answers of how many are there."""


@dataclass(frozen=True)
class Turn:
    """One query of one round, and the engines in the order they are asked."""

    round: int
    query: EvaluationQuery
    order: tuple[str, ...]


def turns_of(plan: RunPlan, queries: Sequence[EvaluationQuery]) -> Iterator[Turn]:
    """All turns of a plan: in each round all queries, in another order. The same for one plan
    whenever it is asked, so that a run that was stopped goes on as it would have.
    """
    ids = tuple(facts.engine_id for facts in plan.engines)
    orders = _orders(ids, plan.seed)
    for number in range(plan.rounds):
        shuffled = sorted(queries, key=lambda one: one.query_id)
        _random(plan.seed, f"round {number}").shuffle(shuffled)
        for at, query in enumerate(shuffled):
            yield Turn(number, query, orders[(at + number * len(queries)) % len(orders)])


def run_benchmark(
    plan: RunPlan,
    queries: Sequence[EvaluationQuery],
    engines: Sequence[Engine],
    *,
    earlier: Sequence[Answered],
    keep: Keep,
    told: Told,
    clock: Callable[[], float],
    batch: int = BATCH,
) -> tuple[RunHead, tuple[Answered, ...]]:
    """Carry out a plan; what was asked of whom and all answers, sorted by round, query, engine.

    Args:
        plan: what is to be asked of whom and how.
        queries: those the plan names, in its order.
        engines: those the plan names. They are asked by `plan.concurrency` threads.
        earlier: answers of the same run that are kept already; they are not asked again.
        keep: is given new answers, `batch` or more at a time; those that are left at the end too,
            also when the run is interrupted. It may be given an answer twice, then.
        told: hears how many answers of how many are there, before the warm-up for the first time.
        clock: Unix seconds.
        batch: how many answers are handed over at once.

    An engine that was not asked at all (`attempts` 0) cannot go on: it has given up, or the money
    is used up. It is asked no more, and nothing is counted against it for what it was not asked.

    Whatever ends a run early (KeyboardInterrupt, an error of `keep`), questions under way are
    waited for, and their answers are kept. Raises ContractError when queries or engines are not the
    plan's.
    """
    _check(plan, queries, engines)
    asking = _Asking(plan, {one.facts.engine_id: one for one in engines}, earlier)
    total = plan.rounds * len(queries) * len(engines)
    told(len(asking.answers), total)
    if len(asking.answers) < total:
        asking.warm(queries)
    try:
        turns = _over_threads(asking.take, turns_of(plan, queries), plan.concurrency)
        with closing(turns):
            for _ in turns:
                told(len(asking.answers), total)
                asking.hand_over(keep, batch)
    finally:
        asking.hand_over(keep, 1)
    return asking.head(clock()), asking.sorted_answers(queries)


def tied_shares(answers: Iterable[Answered]) -> dict[str, float]:
    """By engine, the share of answers of round 0 that have equal scores among the first ten."""
    seen: dict[str, list[bool]] = {}
    for one in answers:
        if one.round == 0 and one.answer.error is None:
            first = one.answer.ranked[:TIES_AMONG]
            tied = any(a.score == b.score for a, b in itertools.pairwise(first))
            seen.setdefault(one.engine_id, []).append(tied)
    return {engine: sum(ties) / len(ties) for engine, ties in sorted(seen.items())}


@dataclass
class _Asking:
    """A run under way; its turns may be taken by several threads."""

    plan: RunPlan
    engines: Mapping[str, Engine]
    earlier: Sequence[Answered]
    answers: dict[Place, Answered] = field(default_factory=dict)
    fresh: list[Answered] = field(default_factory=list)
    out: dict[str, EngineAnswer] = field(default_factory=dict)
    warm_up_usd: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.answers = {_place(one): one for one in self.earlier}

    def warm(self, queries: Sequence[EvaluationQuery]) -> None:
        """Ask what is not counted; what it costs is."""
        some = min(self.plan.warm_up, len(queries))
        for query in _random(self.plan.seed, "warm-up").sample(list(queries), some):
            for engine in self.engines.values():
                self.warm_up_usd += engine.answer(query, self.plan.depth).cost_usd

    def take(self, turn: Turn) -> None:
        """Ask every engine that is not out and has not answered yet."""
        for name in turn.order:
            if (turn.round, turn.query.query_id, name) in self.answers or name in self.out:
                continue
            answer = self.engines[name].answer(turn.query, self.plan.depth)
            with self.lock:
                if answer.error is not None and answer.attempts == 0:
                    self.out.setdefault(name, answer)
                else:
                    self._put(turn, name, answer)

    def hand_over(self, keep: Keep, least: int) -> None:
        """Give what is new to `keep`, once there is so much of it."""
        with self.lock:
            fresh = tuple(self.fresh)
        if len(fresh) >= least:
            keep(fresh)
            with self.lock:
                del self.fresh[: len(fresh)]

    def head(self, finished_at: float) -> RunHead:
        """What became of the plan."""
        problems = {answer.error for answer in self.out.values()}
        state = RunState.COMPLETE
        if problems:
            paid = problems == {EngineProblem.BUDGET}
            state = RunState.BUDGET_STOPPED if paid else RunState.PARTIAL_FAILED
        costs = (one.answer.cost_usd for one in self.answers.values())
        return RunHead(
            **{name: getattr(self.plan, name) for name in RunPlan.model_fields},
            state=state,
            finished_at=finished_at,
            reason="; ".join(f"{name}: {answer.reason}" for name, answer in self.out.items()),
            spent_usd=math.fsum(costs) + self.warm_up_usd,
            tied=tied_shares(self.answers.values()),
        )

    def sorted_answers(self, queries: Sequence[EvaluationQuery]) -> tuple[Answered, ...]:
        """By round, query in the order of the set, and engine in the order of the plan."""
        places = itertools.product(
            range(self.plan.rounds), (one.query_id for one in queries), self.engines
        )
        return tuple(self.answers[place] for place in places if place in self.answers)

    def _put(self, turn: Turn, name: str, answer: EngineAnswer) -> None:
        kept = Answered(
            run_id=self.plan.run_id,
            engine_id=name,
            query_id=turn.query.query_id,
            round=turn.round,
            answer=answer,
        )
        self.answers[_place(kept)] = kept
        self.fresh.append(kept)


def _over_threads(
    take: Callable[[Turn], None], turns: Iterator[Turn], threads: int
) -> Generator[None, None, None]:
    """Take turns, no more at once than there are threads; yields whenever some are done.

    Closed early it begins no more, and waits for those under way.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="evaluate") as pool:
        under_way: set[Future[None]] = set()
        while True:
            begun = itertools.islice(turns, threads - len(under_way))
            under_way |= {pool.submit(take, turn) for turn in begun}
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for one in done:
                one.result()
            yield


def _place(one: Answered) -> Place:
    return one.round, one.query_id, one.engine_id


def _orders(ids: Sequence[str], seed: int) -> list[tuple[str, ...]]:
    orders = (
        list(itertools.permutations(ids))
        if len(ids) <= MANY_ORDERS
        else [(*ids[at:], *ids[:at]) for at in range(len(ids))]
    )
    _random(seed, "orders").shuffle(orders)
    return orders


def _random(seed: int, purpose: str) -> random.Random:
    return random.Random(f"{seed}:{purpose}")  # noqa: S311 - shuffles, no secrets


def _check(plan: RunPlan, queries: Sequence[EvaluationQuery], engines: Sequence[Engine]) -> None:
    if tuple(one.query_id for one in queries) != plan.queries:
        raise ContractError("the queries are not those of the plan", "evaluation.queries")
    if tuple(one.facts for one in engines) != plan.engines:
        raise ContractError("the engines are not those of the plan", "evaluation.engines")
