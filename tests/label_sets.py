"""Small query sets, runs and label work for tests: fabricated, in a store that lies anywhere."""

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
from ecm.contracts.labelling import Batch, BatchPair, Part, Vote
from ecm.contracts.measured import Answered, EngineAnswer, EngineFacts, RankedAsset, RunPlan
from ecm.contracts.search import QueryType
from ecm.evaluation.labels.work import Drawn, LabelWork
from ecm.evaluation.shelf import Shelf, digest_of, lines_of
from ecm.evidence.storage import LocalStorage

NOW = 1_790_000_000.0
TENANT = "t"
KINDS = (QueryType.KEYWORD, QueryType.SEMANTIC, QueryType.VISUAL, QueryType.MIXED)


def asset(name: object) -> str:
    """An asset id."""
    return hashlib.sha256(str(name).encode()).hexdigest()


def query(
    query_id: str,
    text: str | None = "a red bicycle",
    shown: str | None = None,
    query_type: QueryType = QueryType.KEYWORD,
    kind: QueryKind = QueryKind.CLASS,
) -> EvaluationQuery:
    """A query."""
    return EvaluationQuery(
        query_id=query_id,
        query_text=text,
        shown_asset_id=shown,
        query_type=query_type,
        kind=kind,
        source=QuerySource.WRITTEN,
        created_at=NOW,
        difficulty=Difficulty.MEDIUM,
        split=Split.HELD_OUT,
        group=query_id,
    )


def label(
    query_id: str,
    asset_id: str,
    relevance: int,
    source: LabelSource = LabelSource.ADJUDICATED,
    labeler: str | None = None,
) -> Label:
    """A label."""
    return Label(
        query_id=query_id,
        asset_id=asset_id,
        relevance=relevance,  # type: ignore[arg-type]
        label_source=source,
        labeler=labeler,
    )


def vote(
    query_id: str,
    asset_id: str,
    relevance: int | None,
    labeler: str = "ann",
    at: float = NOW,
    part: Part = Part.JUDGE,
) -> Vote:
    """A vote of tenant t."""
    return Vote(
        tenant_id=TENANT,
        query_id=query_id,
        asset_id=asset_id,
        relevance=relevance,  # type: ignore[arg-type]
        labeler=labeler,
        part=part,
        at=at,
        seconds=2.0,
    )


def shelf_in(folder: Path) -> Shelf:
    """The documents of tenant t in a folder."""
    return Shelf(LocalStorage(folder), TENANT)


def work_in(folder: Path, name: str = "gold") -> LabelWork:
    """The label work of tenant t in a folder."""
    return LabelWork(LocalStorage(folder), TENANT, name)


def put_queries(shelf: Shelf, queries: Sequence[EvaluationQuery], version: int = 1) -> QuerySet:
    """Keep a query set named `gold`."""
    head = QuerySet(
        tenant_id=TENANT,
        name="gold",
        version=version,
        created_at=NOW,
        digest=digest_of(queries),
        queries=len(queries),
        seed=0,
    )
    assert shelf.add_queries(head, queries)
    return head


def put_labels(
    shelf: Shelf, queries: QuerySet, labels: Sequence[Label], complete: Iterable[str] = ()
) -> LabelSet:
    """Keep the first version of a label set named `gold`."""
    head = LabelSet(
        tenant_id=TENANT,
        name="gold",
        label_version=1,
        created_at=NOW,
        digest=digest_of(labels),
        labels=len(labels),
        query_set=queries.name,
        query_set_digest=queries.digest,
        complete=tuple(complete),
    )
    assert shelf.add_labels(head, labels)
    return head


def answered(
    query_id: str, assets: Sequence[str], engine: str = "internal", run: str = "run-1"
) -> Answered:
    """An engine's answer, best first."""
    ranked = tuple(
        RankedAsset(asset_id=one, rank=rank, score=1 / rank) for rank, one in enumerate(assets, 1)
    )
    answer = EngineAnswer(ranked=ranked, latency_ms=1.0)
    return Answered(run_id=run, engine_id=engine, query_id=query_id, answer=answer)


def put_run(
    shelf: Shelf, queries: QuerySet, answers: Sequence[Answered], run: str = "run-1"
) -> None:
    """Keep a run with these answers, as far as pooling needs one."""
    engines = sorted({one.engine_id for one in answers})
    plan = RunPlan(
        run_id=run,
        tenant_id=TENANT,
        schedule="run",  # type: ignore[arg-type]
        started_at=NOW,
        query_set=queries,
        label_set=LabelSet(
            tenant_id=TENANT,
            name="gold",
            label_version=1,
            created_at=NOW,
            digest=digest_of([]),
            labels=0,
            query_set=queries.name,
            query_set_digest=queries.digest,
        ),
        queries=tuple(sorted({one.query_id for one in answers})),
        engines=tuple(
            EngineFacts(engine_id=name, kind="internal", description="")  # type: ignore[arg-type]
            for name in engines
        ),
        code_version="0",
        seed=0,
        depth=10,
        concurrency=1,
        rounds=1,
        warm_up=0,
    )
    assert shelf.put(run, "plan.json", plan.model_dump_json().encode())
    assert shelf.put(run, "answers.jsonl", lines_of(answers))


def drawn(
    pairs: Mapping[tuple[str, str], int | None],
    queries: QuerySet,
    overlap: int = 2,
    number: int = 1,
) -> Drawn:
    """A batch of pairs, with what is known of checks."""
    lines = tuple(
        BatchPair(query_id=query_id, asset_id=asset_id, check=check)  # type: ignore[arg-type]
        for (query_id, asset_id), check in sorted(pairs.items())
    )
    head = Batch(
        tenant_id=TENANT,
        name="gold",
        number=number,
        created_at=NOW,
        digest=digest_of(lines),
        pairs=len(lines),
        query_set=queries.name,
        query_set_digest=queries.digest,
        overlap=overlap,
        seed=number,
    )
    return Drawn(head, lines)


def labelled_home(folder: Path, pictures: int = 1) -> Path:
    """An indexed home of the fake models with queries and labels named `gold`, a run and its pool,
    all of tenant t: two queries, one of which shows a picture.
    """
    from tests.factories import Indexer, fake_profile, gallery

    indexer = Indexer(fake_profile(folder))
    assets = indexer.add(gallery(pictures))
    indexer.publish()
    shelf = Shelf(LocalStorage(folder / "store"), TENANT)
    queries = [
        query("red", "something red"),
        query("like", None, assets[0], QueryType.VISUAL, QueryKind.IMAGE),
    ]
    head = put_queries(shelf, queries)
    put_labels(shelf, head, [label("red", assets[0], 2, LabelSource.WEAK, "captions")])
    answers = [answered(one.query_id, assets[1:4], "internal") for one in queries]
    answers += [answered(one.query_id, assets[2:6], "other") for one in queries]
    put_run(shelf, head, answers)
    return folder
