"""Runs over time: what each measured, how surely, and what was another than the time before.

Figures of other queries or other labels say nothing about each other, and latencies of another
machine do not either: such points are not joined. Another snapshot, ranking or version is what a
trend is to show: joined, and marked. Knows no file, no picture and no page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from pydantic import Field

from ecm.contracts.identity import Contract, Digest, digest
from ecm.contracts.measured import (
    EngineFacts,
    EngineFigures,
    Measure,
    RunId,
    RunState,
    Schedule,
    Summary,
    Verdict,
)
from ecm.evaluation.reporting.estimates import ALL, Estimates
from ecm.evaluation.reporting.intervals import Interval
from ecm.evaluation.reporting.material import Contender, Material
from ecm.evaluation.reporting.rates import quantile_interval, wilson


class Around(Contract):
    """A figure with its 95 % interval; null: not measured, or too few to have one."""

    value: float | None
    lower: float | None = None
    upper: float | None = None


class EngineTold(Contract):
    """What a report says of an engine, of the figures that a trend follows."""

    engine_id: str
    ndcg_10: Around
    recall_50: Around
    p95_ms: Around
    error_rate: Around


class RunTold(Contract):
    """`intervals.json` beside a report: its figures with their intervals, so that a trend need not
    compute them again.
    """

    format_version: int = 1
    run_id: RunId
    engines: tuple[EngineTold, ...]


class Change(StrEnum):
    """What was another than in the run before."""

    QUERIES = "queries"
    LABELS = "labels"
    SNAPSHOT = "snapshot"
    RANKING = "ranking"
    VERSION = "version"
    MACHINE = "machine"


class Join(StrEnum):
    """How two points of a line belong together."""

    SAME = "same"
    OTHER_BUILD = "other build"
    APART = "apart"


class TrendPoint(EngineTold):
    """One engine in one run, and what it was."""

    snapshot_id: str | None
    ranking_digest: str | None
    version: str
    judged: int = Field(ge=0)


class TrendRun(Contract):
    """One run of a trend; `at` is when it ended, Unix seconds."""

    run_id: RunId
    at: float
    schedule: Schedule
    state: RunState
    verdict: Verdict | None = Field(description="null: it was compared with nothing")
    failed_gate: str | None
    accepted_by: str | None = Field(description="who lets it pass though the gates do not")
    query_set: str
    query_set_version: int
    asked: Digest = Field(description="of the queries and their ids that were asked")
    label_set: str
    label_version: int
    labels: Digest
    code_version: str
    machine: str
    concurrency: int
    changed: tuple[Change, ...] = Field(default=(), description="since the run before it")
    points: tuple[TrendPoint, ...]


class Trend(Contract):
    """Runs of one tenant, the oldest first."""

    tenant_id: str
    schedule: Schedule | None
    runs: tuple[TrendRun, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """Every engine, in the order in which they appear."""
        return tuple(dict.fromkeys(p.engine_id for run in self.runs for p in run.points))


Line = tuple[tuple[TrendRun, TrendPoint], ...]
"""Points of one engine, the oldest first, each with its run."""


@dataclass(frozen=True)
class Finished:
    """A run that is finished; without what its report `told`, figures have no intervals."""

    summary: Summary
    told: RunTold | None = None
    accepted_by: str | None = None


def told_of(material: Material, estimates: Estimates) -> RunTold:
    """The figures of a report with their intervals, of the engines of the run."""
    return RunTold(
        run_id=material.summary.head.run_id,
        engines=tuple(_told(one, estimates) for one in material.contenders),
    )


def trend_of(
    tenant_id: str,
    schedule: Schedule | None,
    runs: Iterable[Finished],
) -> Trend:
    """The trend of finished runs, in any order."""
    found = sorted((_run(one) for one in runs), key=lambda run: (run.at, run.run_id))
    last: dict[tuple[Schedule, str], TrendRun] = {}
    told = []
    for run in found:
        key = run.schedule, run.query_set
        told.append(run.model_copy(update={"changed": _changed(last.get(key), run)}))
        last[key] = run
    return Trend(tenant_id=tenant_id, schedule=schedule, runs=tuple(told))


def lines_of(trend: Trend, engine_id: str) -> Iterator[Line]:
    """The points of an engine, oldest first, for each schedule and query set."""
    lines: dict[tuple[Schedule, str], list[tuple[TrendRun, TrendPoint]]] = {}
    for run in trend.runs:
        for point in run.points:
            if point.engine_id == engine_id:
                lines.setdefault((run.schedule, run.query_set), []).append((run, point))
    yield from (tuple(line) for line in lines.values())


def joins_of(line: Line) -> list[Join]:
    """How each point but the first is joined to the one before it."""
    return [_join(before, now) for before, now in pairwise(line)]


def timed_joins_of(line: Line) -> list[Join]:
    """The same of latencies, which are apart where the machine or the concurrency is another."""
    return [
        Join.APART if _surroundings(before[0]) != _surroundings(now[0]) else _join(before, now)
        for before, now in pairwise(line)
    ]


def _told(one: Contender, estimates: Estimates) -> EngineTold:
    whole = one.figures.all
    p95 = quantile_interval(one.latencies, 0.95)
    errors = wilson(whole.error_rate, whole.queries)
    return EngineTold(
        engine_id=one.facts.engine_id,
        ndcg_10=_around(
            whole.values.get(Measure.NDCG_10), estimates.mean(ALL, one, Measure.NDCG_10)
        ),
        recall_50=_around(
            whole.values.get(Measure.RECALL_50), estimates.mean(ALL, one, Measure.RECALL_50)
        ),
        p95_ms=_between(whole.p95_ms, p95),
        error_rate=_between(whole.error_rate, errors),
    )


def _around(value: float | None, interval: Interval) -> Around:
    return Around(value=value, lower=interval.lower, upper=interval.upper)


def _between(value: float | None, ends: tuple[float, float] | None) -> Around:
    lower, upper = ends if ends is not None else (None, None)
    return Around(value=value, lower=lower, upper=upper)


def _run(finished: Finished) -> TrendRun:
    summary, told = finished.summary, finished.told
    head = summary.head
    known = {one.engine_id: one for one in told.engines} if told is not None else {}
    facts = {one.engine_id: one for one in head.engines}
    return TrendRun(
        run_id=head.run_id,
        at=head.finished_at,
        schedule=head.schedule,
        state=head.state,
        verdict=summary.verdict if summary.gates is not None else None,
        failed_gate=summary.failed_gate,
        accepted_by=finished.accepted_by,
        query_set=head.query_set.name,
        query_set_version=head.query_set.version,
        asked=digest([head.query_set.digest, *head.queries]),
        label_set=head.label_set.name,
        label_version=head.label_set.label_version,
        labels=head.label_set.digest,
        code_version=head.code_version,
        machine=head.machine,
        concurrency=head.concurrency,
        points=tuple(
            _point(facts[one.engine_id], one, known.get(one.engine_id)) for one in summary.figures
        ),
    )


def _point(facts: EngineFacts, figures: EngineFigures, told: EngineTold | None) -> TrendPoint:
    whole = figures.all
    plain = EngineTold(
        engine_id=facts.engine_id,
        ndcg_10=Around(value=whole.values.get(Measure.NDCG_10)),
        recall_50=Around(value=whole.values.get(Measure.RECALL_50)),
        p95_ms=Around(value=whole.p95_ms),
        error_rate=Around(value=whole.error_rate),
    )
    return TrendPoint(
        **dict(told or plain),
        snapshot_id=facts.snapshot_id,
        ranking_digest=facts.ranking_digest,
        version=facts.version,
        judged=whole.judged,
    )


def _changed(before: TrendRun | None, now: TrendRun) -> tuple[Change, ...]:
    if before is None:
        return ()
    earlier = {point.engine_id: point for point in before.points}
    pairs = [(earlier[p.engine_id], p) for p in now.points if p.engine_id in earlier]
    another = {
        Change.QUERIES: before.asked != now.asked,
        Change.LABELS: before.labels != now.labels,
        Change.SNAPSHOT: any(one.snapshot_id != two.snapshot_id for one, two in pairs),
        Change.RANKING: any(one.ranking_digest != two.ranking_digest for one, two in pairs),
        Change.VERSION: any(one.version != two.version for one, two in pairs)
        or before.code_version != now.code_version,
        Change.MACHINE: _surroundings(before) != _surroundings(now),
    }
    return tuple(change for change, is_so in another.items() if is_so)


def _join(before: tuple[TrendRun, TrendPoint], now: tuple[TrendRun, TrendPoint]) -> Join:
    (run_before, one), (run_now, two) = before, now
    if (run_before.asked, run_before.labels) != (run_now.asked, run_now.labels):
        return Join.APART
    same = (one.snapshot_id, one.ranking_digest, one.version) == (
        two.snapshot_id,
        two.ranking_digest,
        two.version,
    )
    return Join.SAME if same else Join.OTHER_BUILD


def _surroundings(run: TrendRun) -> tuple[str, int]:
    return run.machine, run.concurrency
