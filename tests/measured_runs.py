"""Runs of an evaluation as they would come of one: seeded queries, labels, answers and figures.

Engines rank by what is relevant plus noise; the more noise, the worse the engine.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

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
from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    EngineFacts,
    EngineKind,
    EngineProblem,
    GateReport,
    QueryMeasured,
    RankedAsset,
    RunHead,
    RunState,
    Schedule,
    Summary,
    Verdict,
)
from ecm.contracts.search import QueryType
from ecm.evaluation.config import EvaluationGates
from ecm.evaluation.gates import Side, judge
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.measures import measured
from ecm.evaluation.shelf import Labels, Queries, digest_of

NOW = 1_790_000_000.0
ASSETS = 300
WORDS = ("red car", "two dogs on a beach", "invoice 2019", "a lighthouse at night", "blue left")
KINDS = {
    QueryType.KEYWORD: QueryKind.CLASS,
    QueryType.SEMANTIC: QueryKind.CAPTION,
    QueryType.VISUAL: QueryKind.LAYOUT,
    QueryType.MIXED: QueryKind.MIXED,
}


@dataclass(frozen=True)
class Ranking:
    """How an engine behaves: noise of its ranking, milliseconds, share of errors."""

    engine_id: str = "internal"
    kind: EngineKind = EngineKind.INTERNAL
    noise: float = 0.5
    ms: float = 20.0
    errors: float = 0.0
    seed: int = 1
    facts: dict[str, object] = field(default_factory=dict)


THREE = (
    Ranking("internal"),
    Ranking("open_source", EngineKind.OPEN_SOURCE, noise=0.6, ms=5.0, errors=0.01, seed=2),
    Ranking(
        "commercial",
        EngineKind.COMMERCIAL,
        noise=0.9,
        ms=60.0,
        seed=3,
        facts={"stands_for": "Example Search", "cost_per_1k_usd": 1.5, "cost_basis": "list price"},
    ),
)


@dataclass(frozen=True)
class MeasuredRun:
    """Everything that a report is made from."""

    summary: Summary
    queries: Queries
    labels: Labels
    answers: tuple[Answered, ...]
    measured: tuple[QueryMeasured, ...]

    @property
    def judgements(self) -> Judgements:
        return Judgements.of(self.labels)


def asset(number: int) -> str:
    return hashlib.sha256(f"asset {number}".encode()).hexdigest()


def query_set(count: int, *, texts: Sequence[str] = WORDS, seed: int = 7) -> Queries:
    types = (["keyword"] * 7 + ["semantic"] * 7 + ["visual"] * 4 + ["mixed"] * 2) * (
        count // 20 + 1
    )
    levels = tuple(Difficulty)
    queries = tuple(
        EvaluationQuery(
            query_id=f"q-{number:04d}",
            query_text=None if number % 17 == 5 else texts[number % len(texts)],
            shown_asset_id=asset(ASSETS - 1 - number % 50) if number % 17 == 5 else None,
            query_type=QueryType(types[number]),
            kind=QueryKind.IMAGE if number % 17 == 5 else KINDS[QueryType(types[number])],
            source=QuerySource.LABELS,
            created_at=NOW - 86_400,
            difficulty=levels[number % 3],
            split=Split.HELD_OUT,
            group=f"g-{number}",
        )
        for number in range(count)
    )
    head = QuerySet(
        tenant_id="t",
        name="photos",
        version=1,
        created_at=NOW - 86_400,
        digest=digest_of(queries),
        queries=count,
        seed=seed,
    )
    return Queries(head, queries)


def label_set(queries: Queries, *, version: int = 1, seed: int = 11, judged: float = 0.9) -> Labels:
    """Two to nine relevant assets of most queries; some queries have none."""
    random = np.random.default_rng(seed)
    labels = []
    for number, query in enumerate(queries.queries):
        if random.random() > judged:
            continue
        chosen = random.choice(ASSETS - 60, size=int(random.integers(12, 30)), replace=False)
        relevant = int(random.integers(2, 9))
        labels += [
            Label(
                query_id=query.query_id,
                asset_id=asset(int(one)),
                relevance=(2 if place < 2 else 1) if place < relevant else 0,
                label_source=LabelSource.WEAK if number % 3 else LabelSource.ADJUDICATED,
            )
            for place, one in enumerate(chosen)
        ]
    labels.sort(key=lambda one: (one.query_id, one.asset_id))
    sources = [one.label_source for one in labels]
    head = LabelSet(
        tenant_id="t",
        name="photos",
        label_version=version,
        created_at=NOW - 3_600,
        digest=digest_of(labels),
        labels=len(labels),
        query_set=queries.head.name,
        query_set_digest=queries.head.digest,
        by_source={source: sources.count(source) for source in sorted(set(sources))},
        complete=tuple(one.query_id for one in queries.queries if int(one.query_id[2:]) % 4 == 0),
        agreement={"cohen_kappa": 0.55, "ac1": 0.82, "pabak": 0.79} if sources else {},
    )
    return Labels(head, tuple(labels))


def answers_of(ranking: Ranking, queries: Queries, labels: Labels, run_id: str) -> list[Answered]:
    judgements = Judgements.of(labels)
    random = np.random.default_rng(ranking.seed)
    names = [asset(number) for number in range(ASSETS)]
    found = []
    for query in queries.queries:
        relevance = judgements.relevance(query.query_id)
        sharp = random.random() < 0.15
        noise = ranking.noise * (3.0 if sharp else 1.0)
        scores = random.normal(0, noise, ASSETS) + [relevance.get(name, 0) for name in names]
        order = np.argsort(-scores)[:50]
        ranked = tuple(
            RankedAsset(
                asset_id=names[place],
                rank=rank,
                score=float(scores[place]),
                why=f"close in meaning to the words ({scores[place]:.2f}); tagged *{rank}*",
            )
            for rank, place in enumerate(order, start=1)
        )
        ms = float(ranking.ms * random.lognormal(0, 0.5))
        answer = EngineAnswer(ranked=ranked, latency_ms=ms)
        if random.random() < ranking.errors:
            answer = EngineAnswer(
                error=EngineProblem.TIMEOUT, reason="no answer in 2 s", attempts=3
            )
        found.append(
            Answered(
                run_id=run_id, engine_id=ranking.engine_id, query_id=query.query_id, answer=answer
            )
        )
    return found


def facts_of(ranking: Ranking) -> EngineFacts:
    told = {
        "description": f"{ranking.engine_id} as it was built",
        "version": "1.2.3",
        "snapshot_id": "s-20260921-01",
        "ranking_profile": "default",
        "ranking_digest": hashlib.sha256(repr(ranking).encode()).hexdigest(),
        "assets": ASSETS,
        **ranking.facts,
    }
    return EngineFacts.model_validate(
        {"engine_id": ranking.engine_id, "kind": ranking.kind.value, **told}
    )


def measured_run(
    count: int = 40,
    engines: Sequence[Ranking] = THREE,
    *,
    run_id: str = "r-20260921",
    at: float = NOW,
    queries: Queries | None = None,
    labels: Labels | None = None,
    **head: object,
) -> MeasuredRun:
    """A run without gates; `head` replaces fields of its head."""
    asked = queries or query_set(count)
    judged = labels or label_set(asked)
    answers = tuple(one for each in engines for one in answers_of(each, asked, judged, run_id))
    judgements = Judgements.of(judged)
    told = [measured(each.engine_id, asked.queries, answers, judgements) for each in engines]
    plain = RunHead(
        run_id=run_id,
        tenant_id="t",
        schedule=Schedule.NIGHTLY,
        state=RunState.COMPLETE,
        started_at=at,
        finished_at=at + 240,
        query_set=asked.head,
        label_set=judged.head,
        queries=tuple(one.query_id for one in asked.queries),
        engines=tuple(facts_of(each) for each in engines),
        code_version="0.6.0",
        seed=3,
        depth=50,
        concurrency=2,
        rounds=1,
        warm_up=5,
        machine="2 cores, Linux",
    )
    summary = Summary(
        head=RunHead.model_validate({**plain.model_dump(), **head}),
        figures=tuple(one.figures for one in told),
        gates=None,
        verdict=Verdict.INCONCLUSIVE,
    )
    return MeasuredRun(
        summary, asked, judged, answers, tuple(line for one in told for line in one.queries)
    )


def gated(run: MeasuredRun, report: GateReport) -> MeasuredRun:
    """The run with what gates said of it."""
    told = {"gates": report, "verdict": report.verdict}
    told["failed_gate"] = next(iter(report.failed), None)
    return replace(run, summary=run.summary.model_copy(update=told))


def thumbnail(asset_id: str) -> bytes:
    """A JPEG of one colour with a lighter corner, another for every asset."""
    colour = tuple(int(asset_id[place : place + 2], 16) for place in (0, 2, 4))
    picture = Image.new("RGB", (256, 320), colour)
    picture.paste((240, 240, 240), (0, 0, 96, 96))
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=80)
    return target.getvalue()


def judged_run(run: MeasuredRun, baseline: str, candidate: str) -> MeasuredRun:
    """The run with what the gates of the product say of two of its engines."""
    judgements = run.judgements

    def side(engine_id: str) -> Side:
        of = measured(engine_id, run.queries.queries, run.answers, judgements)
        return Side(engine_id, of, run.answers, run.queries.queries, run.summary.head.machine)

    gates = EvaluationGates(max_unjudged_apart=1.0)
    return gated(run, judge(side(baseline), side(candidate), gates, run.summary.head.seed))
