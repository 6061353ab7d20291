"""Queries, labels and engines of an evaluation as tests make them: small, seeded, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.measured import EngineFacts, EngineKind, RunPlan, Schedule
from ecm.contracts.search import QueryType
from ecm.evaluation.engines.budget import Budget
from ecm.evaluation.engines.fake import FakeBackend, Scripted
from ecm.evaluation.engines.patient import Patience, Patient
from ecm.evaluation.shelf import Labels, Queries, Shelf, digest_of
from ecm.evidence.storage import LocalStorage

TENANT = "t"
NOW = 1_790_000_000.0
TYPES = (QueryType.KEYWORD, QueryType.SEMANTIC, QueryType.VISUAL, QueryType.MIXED)
LEVELS = (Difficulty.EASY, Difficulty.MEDIUM, Difficulty.HARD)


def asset(name: object) -> str:
    """The id of an asset by any name."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def query(number: int, split: Split = Split.HELD_OUT) -> EvaluationQuery:
    """Types and difficulties in turn."""
    return EvaluationQuery(
        query_id=f"q{number:04d}",
        query_text=f"thing {number}",
        query_type=TYPES[number % 4],
        kind=QueryKind.CLASS,
        source=QuerySource.WRITTEN,
        created_at=NOW,
        difficulty=LEVELS[number % 3],
        split=split,
        group=f"g{number}",
    )


def queries(count: int, name: str = "small", version: int = 1) -> Queries:
    """A set of that many, all held out."""
    made = tuple(query(number) for number in range(count))
    return Queries(
        QuerySet(
            tenant_id=TENANT,
            name=name,
            version=version,
            created_at=NOW,
            digest=digest_of(made),
            queries=count,
            seed=0,
        ),
        made,
    )


def labels(of: Queries, name: str = "small") -> Labels:
    """Asset `q:0` answers query q, `q:1` in part; every query is judged completely."""
    lines = tuple(
        Label(
            query_id=one.query_id,
            asset_id=asset_id,
            relevance=relevance,
            label_source=LabelSource.HUMAN,
        )
        for one in of.queries
        for asset_id, relevance in sorted(
            {asset(f"{one.query_id}:0"): 2, asset(f"{one.query_id}:1"): 1}.items()
        )
    )
    return Labels(
        LabelSet(
            tenant_id=TENANT,
            name=name,
            label_version=1,
            created_at=NOW,
            digest=digest_of(lines),
            labels=len(lines),
            query_set=of.head.name,
            query_set_digest=of.head.digest,
            complete=tuple(one.query_id for one in of.queries),
        ),
        lines,
    )


def good_answers(asked: Iterable[EvaluationQuery]) -> dict[str, list[str]]:
    """What a perfect engine says, and three that do not answer."""
    return {one.query_id: [asset(f"{one.query_id}:{place}") for place in range(5)] for one in asked}


def poor_answers(asked: Iterable[EvaluationQuery]) -> dict[str, list[str]]:
    """What answers comes last."""
    return {query_id: found[::-1] for query_id, found in good_answers(asked).items()}


def facts(engine_id: str, **known: object) -> EngineFacts:
    """Of an internal engine on snapshot `s1`."""
    base = EngineFacts(
        engine_id=engine_id,
        kind=EngineKind.INTERNAL,
        description="scripted",
        snapshot_id="s1",
        ranking_profile="default-2",
        ranking_digest="0" * 64,
    )
    return base.model_copy(update=known)


def engine(
    of: EngineFacts,
    answers: Mapping[str, Sequence[str]] | None = None,
    script: Mapping[str, Sequence[Scripted]] | None = None,
    budget: Budget | None = None,
    patience: Patience | None = None,
) -> tuple[Patient, FakeBackend]:
    """An engine on a scripted back end, without any waiting."""
    backend = FakeBackend(facts=of, answers=answers or {}, script=script or {})
    clock = backend.clock
    patient = Patient(backend, patience, budget, clock=clock, sleep=clock.sleep, chance=lambda: 0.5)
    return patient, backend


def plan(of: Queries, by: Labels, engines: Sequence[EngineFacts], **said: object) -> RunPlan:
    """A run of all queries of a set."""
    base = RunPlan(
        run_id="run-1",
        tenant_id=TENANT,
        schedule=Schedule.RUN,
        started_at=NOW,
        query_set=of.head,
        label_set=by.head,
        queries=tuple(one.query_id for one in of.queries),
        engines=tuple(engines),
        code_version="0",
        seed=7,
        depth=10,
        concurrency=1,
        rounds=1,
        warm_up=0,
    )
    return base.model_copy(update=said)


def shelf_in(folder: Path) -> Shelf:
    """The documents of the tenant in a folder."""
    return Shelf(LocalStorage(folder), TENANT)
