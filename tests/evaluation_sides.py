"""Sides of a comparison made of rankings: each query has one best and two fair answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from ecm.contracts.evaluation import Difficulty, EvaluationQuery, QueryKind, QuerySource, Split
from ecm.contracts.measured import Answered, EngineAnswer, EngineProblem, RankedAsset
from ecm.contracts.search import QueryType
from ecm.evaluation.gates import Side
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.measures import measured


def asset(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def query(number: int, difficulty: Difficulty = Difficulty.MEDIUM, **fields) -> EvaluationQuery:
    return EvaluationQuery.model_validate(
        {
            "query_id": f"q{number:04d}",
            "query_text": f"words {number}",
            "query_type": list(QueryType)[number % 4],
            "kind": QueryKind.CLASS,
            "source": QuerySource.LABELS,
            "created_at": 0.0,
            "difficulty": difficulty,
            "split": Split.HELD_OUT,
            "group": str(number),
            **fields,
        }
    )


def queries(count: int, hard: int = 0) -> tuple[EvaluationQuery, ...]:
    """The first `hard` of them are hard."""
    return tuple(
        query(number, Difficulty.HARD if number < hard else Difficulty.MEDIUM)
        for number in range(count)
    )


def judged_all(asked: Sequence[EvaluationQuery]) -> Judgements:
    """Asset a0 of each query is best, a1 and a2 are fair, nothing else answers."""
    return Judgements(
        {one.query_id: {asset("a0"): 2, asset("a1"): 1, asset("a2"): 1} for one in asked},
        frozenset(one.query_id for one in asked),
    )


def ranked(names: Sequence[str], **fields) -> EngineAnswer:
    """Assets in the order of ranks; fields of the answer."""
    found = tuple(
        RankedAsset(asset_id=asset(name), rank=rank, score=1 / rank)
        for rank, name in enumerate(names, start=1)
    )
    return EngineAnswer(**{"ranked": found, "latency_ms": 20.0, **fields})


GOOD = ("a0", "a1", "a2", "b0", "b1")
POOR = ("b0", "b1", "b2", "b3", "a0")


def failed(problem: EngineProblem = EngineProblem.TIMEOUT) -> EngineAnswer:
    return EngineAnswer(error=problem)


def side(
    name: str,
    asked: Sequence[EvaluationQuery],
    answer: Callable[[int, int], EngineAnswer | None],
    rounds: int = 1,
    judgements: Judgements | None = None,
    run_id: str = "run",
    **conditions,
) -> Side:
    """An engine that answers by the query's number and the round; None: it was not asked."""
    given = tuple(
        Answered(run_id=run_id, engine_id=name, query_id=one.query_id, round=round_, answer=said)
        for number, one in enumerate(asked)
        for round_ in range(rounds)
        if (said := answer(number, round_)) is not None
    )
    found = measured(name, asked, given, judgements or judged_all(asked))
    return Side(name, found, given, tuple(asked), **conditions)
