"""What follows from the answers of a run: figures, gates, report; and comparisons of runs.

Knows which parts of `ecm.evaluation` come after which; asks no engine. The same answers come to the
same conclusion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from ecm.config import Profile
from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import Answered, GateReport, RunHead, RunPlan, Schedule, Summary
from ecm.errors import ConfigError
from ecm.evaluation.comparing import (
    Comparability,
    SideOf,
    comparability,
    side_of,
    tempered,
)
from ecm.evaluation.config import EvaluationGates, load_gates
from ecm.evaluation.gates import Side, judge
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.measures import Measured, measured
from ecm.evaluation.promotion import go_or_no_go
from ecm.evaluation.report import Contender, Earlier, contenders, report_of
from ecm.evaluation.runs import REPORT, Runs
from ecm.evaluation.schedules import verdict_of
from ecm.evaluation.settings import Snapshots
from ecm.evaluation.shelf import Labels, Queries, Shelf
from ecm.evidence.storage import STORE_HEADER, open_storage
from ecm.evidence.store import EvidenceStore

PROMOTING = (Schedule.RUN, Schedule.RELEASE)
"""Runs after which something may take another's place; smoke and nightly only watch."""


@dataclass(frozen=True)
class Desk:
    """What an evaluation works with: the documents of a tenant, its gates, its pictures."""

    settings: Profile
    shelf: Shelf
    runs: Runs

    @classmethod
    def of(cls, settings: Profile) -> Self:
        """Raises ConfigError where there is no store."""
        storage = open_storage(settings.evidence)
        if storage.read(STORE_HEADER) is None:
            raise ConfigError(
                f"no evidence store at {storage.root}",
                "config.no_store",
                "index something first, or check the path",
            )
        shelf = Shelf(storage, settings.tenant)
        return cls(settings, shelf, Runs(shelf))

    def gates(self) -> EvaluationGates:
        """The thresholds of the profile. Raises ConfigError."""
        return load_gates(self.settings.gates)

    def thumbnail(self, asset_id: str) -> bytes | None:
        """The small JPEG of an asset, None when none is kept."""
        return self._store.thumbnail(self.settings.tenant, asset_id)

    @cached_property
    def _store(self) -> EvidenceStore:
        return EvidenceStore.open(self.settings.evidence)


@dataclass(frozen=True)
class Sets:
    """The query set and the label set of a run, and which queries it asks, in order."""

    queries: Queries
    labels: Labels
    asked: tuple[EvaluationQuery, ...]

    @classmethod
    def of(cls, desk: Desk, plan: RunPlan) -> Self:
        """Those of a plan. Raises ConfigError where one is gone or is another one now."""
        queries = desk.shelf.queries(plan.query_set.name, plan.query_set.version)
        labels = desk.shelf.labels(plan.label_set.name, plan.label_set.label_version)
        if (queries.head.digest, labels.head.digest) != (
            plan.query_set.digest,
            plan.label_set.digest,
        ):
            raise ConfigError(
                f"the sets of run {plan.run_id} are others now, of the same names and versions",
                "evaluation.other_queries",
            )
        wanted = frozenset(plan.queries)
        return cls(queries, labels, tuple(q for q in queries.queries if q.query_id in wanted))


@dataclass(frozen=True)
class Concluded:
    """A run that is finished. `files` are its report and the pictures of it, by name."""

    summary: Summary
    report: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Compared:
    """A comparison: what the gates say, with what is not the same on both sides, and both sides as
    they were measured, on the queries they have in common.
    """

    gates: GateReport
    found: Comparability
    baseline: Measured
    candidate: Measured


def conclude(desk: Desk, head: RunHead, answers: Sequence[Answered], sets: Sets) -> Concluded:
    """Measure, judge and report a run, and keep it all."""
    judgements = Judgements.of(sets.labels)
    figures = figures_of(head, answers, sets.asked, judgements)
    compared, other = None, None
    remarks: tuple[str, ...] = ()
    if head.baseline is not None and head.candidate is not None:
        baseline = side_named(desk, head, answers, head.baseline)
        candidate = side_of(head, head.candidate, answers)
        if baseline.asked & candidate.asked:
            compared = compare(desk, baseline, candidate, sets.asked, judgements, head.snapshots)
            remarks = (*compared.found.gates, *compared.found.remarks)
            if baseline.plan.run_id != head.run_id:
                other = contender_of(desk, baseline, compared.baseline)
        else:
            remarks = (f"{baseline.name} and {candidate.name} have answered no common query",)
    gates = compared.gates if compared is not None else None
    summary = Summary(
        head=head,
        figures=tuple(one.figures for one in figures),
        gates=gates,
        verdict=verdict_of(head, gates),
        failed_gate=next(iter(gates.failed), None) if gates is not None else None,
        remarks=remarks,
    )
    lines = tuple(line for one in figures for line in one.queries)
    report = report_of(
        summary,
        sets.queries,
        judgements,
        lines,
        answers,
        earlier_report(desk, head),
        desk.thumbnail,
        other,
    )
    files = {REPORT: report.markdown.encode(), **report.files}
    return Concluded(desk.runs.finish(summary, answers, lines, files), report.name, files)


def figures_of(
    plan: RunPlan,
    answers: Iterable[Answered],
    asked: Sequence[EvaluationQuery],
    judgements: Judgements,
) -> tuple[Measured, ...]:
    """What each engine measured, over the queries that it was asked; in the order of the plan."""
    every = tuple(answers)
    found = []
    for facts in plan.engines:
        side = side_of(plan, facts.engine_id, every)
        found.append(measured_side(side, asked, side.asked, judgements))
    return tuple(found)


def side_named(desk: Desk, plan: RunPlan, answers: Iterable[Answered], name: str) -> SideOf:
    """An engine of this run, or RUN:ENGINE of a finished one. Raises ConfigError, StoreCorrupt."""
    run_id, colon, engine_id = name.partition(":")
    if not colon:
        return side_of(plan, name, answers)
    kept = desk.runs.kept(run_id)
    if kept.head is None:
        raise ConfigError(
            f"run {run_id} is not finished",
            "evaluation.unfinished",
            f"go on with it: ecm evaluate run --resume {run_id}",
        )
    return side_of(kept.plan, engine_id, desk.runs.answers(run_id))


def compare(
    desk: Desk,
    baseline: SideOf,
    candidate: SideOf,
    queries: Sequence[EvaluationQuery],
    judgements: Judgements,
    snapshots: Snapshots,
) -> Compared:
    """Hold a candidate against a baseline, on what both were asked.

    Raises ConfigError where they cannot be compared.
    """
    found = comparability(baseline, candidate, snapshots)
    chosen = tuple(one for one in queries if one.query_id in found.common)
    sides = []
    for side, name in (
        (baseline, _name(baseline, candidate)),
        (candidate, candidate.engine.engine_id),
    ):
        of = measured_side(side, queries, found.common, judgements)
        given = tuple(one for one in side.answers if one.query_id in found.common)
        plan = side.plan
        sides.append(Side(name, of, given, chosen, plan.machine, plan.concurrency))
    gates, seed = desk.gates(), candidate.plan.seed
    report = judge(sides[0], sides[1], gates, seed)
    if candidate.plan.schedule in PROMOTING:
        report = go_or_no_go(report, sides[0], sides[1], gates, seed)
    return Compared(tempered(report, found), found, sides[0].measured, sides[1].measured)


def measured_side(
    side: SideOf,
    queries: Sequence[EvaluationQuery],
    of: frozenset[str],
    judgements: Judgements,
) -> Measured:
    """What a side measured over those of the queries that are in `of`."""
    return measured(
        side.engine.engine_id,
        tuple(one for one in queries if one.query_id in of),
        tuple(one for one in side.answers if one.query_id in of),
        judgements,
    )


def _name(baseline: SideOf, candidate: SideOf) -> str:
    """The engine's id, of another run with that run's."""
    same = baseline.plan.run_id == candidate.plan.run_id
    return baseline.engine.engine_id if same else baseline.name


def contender_of(desk: Desk, side: SideOf, of: Measured) -> Contender:
    """A baseline of another run, measured by the labels of this one, for the report."""
    kept = desk.runs.kept(side.plan.run_id)
    assert kept.summary is not None, "side_named has seen that it is finished"
    summary = kept.summary.model_copy(update={"figures": (of.figures,)})
    (found,) = contenders(summary, of.queries, side.answers, side.plan.run_id)
    return found


def earlier_report(desk: Desk, head: RunHead) -> Earlier | None:
    """The last finished run of the same schedule that asked a version of the same query set."""
    for kept in desk.runs.all():
        if (
            kept.summary is not None
            and kept.plan.schedule is head.schedule
            and kept.plan.query_set.name == head.query_set.name
            and kept.plan.started_at < head.started_at
        ):
            return Earlier(kept.summary, desk.runs.queries(kept.plan.run_id))
    return None
