"""Whether two sides of a comparison are of the same thing, and what a gate may say if they are not.

What differs is never passed over: either the comparison is refused, or the gates that it touches
are inconclusive and say why, or it is a remark. Knows contracts alone.

    other tenant, other queries        refused
    other snapshot, other depth        every gate that passes is inconclusive (a block stays one),
                                       unless any snapshot will do
    other labels                       both sides are measured anew by the labels of the candidate
    one side was not asked everything  the queries that both have answered; every gate that passes
                                       is inconclusive

Latencies of other machines are the gates' own business (`pairing.Pairing.unlike`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ecm.contracts.measured import (
    Answered,
    EngineFacts,
    GateCheck,
    GateReport,
    RunPlan,
    Verdict,
)
from ecm.errors import ConfigError
from ecm.evaluation.gates import worst
from ecm.evaluation.settings import Snapshots


@dataclass(frozen=True)
class SideOf:
    """One side of a comparison: an engine of a run, with its answers."""

    plan: RunPlan
    engine: EngineFacts
    answers: tuple[Answered, ...]

    @property
    def name(self) -> str:
        """RUN:ENGINE."""
        return f"{self.plan.run_id}:{self.engine.engine_id}"

    @property
    def asked(self) -> frozenset[str]:
        """Queries that it was asked in round 0."""
        return frozenset(one.query_id for one in self.answers if one.round == 0)


@dataclass(frozen=True)
class Comparability:
    """What of two sides is not the same: reasons why no gate can pass, and remarks that touch none.
    `common`: queries that both were asked.
    """

    common: frozenset[str]
    gates: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def side_of(plan: RunPlan, engine_id: str, answers: Iterable[Answered]) -> SideOf:
    """An engine of a run. Raises ConfigError when the run has none of that name."""
    engine = next((one for one in plan.engines if one.engine_id == engine_id), None)
    if engine is None:
        raise ConfigError(
            f"run {plan.run_id} has no engine {engine_id}",
            "evaluation.no_engine",
            f"it has: {', '.join(one.engine_id for one in plan.engines)}",
        )
    return SideOf(plan, engine, tuple(one for one in answers if one.engine_id == engine_id))


def check_same_queries(baseline: RunPlan, candidate: RunPlan) -> None:
    """What no comparison gets over, told before anything is asked.

    Raises ConfigError for another tenant or other queries.
    """
    if baseline.tenant_id != candidate.tenant_id:
        raise ConfigError(
            f"run {baseline.run_id} is of tenant {baseline.tenant_id}", "evaluation.other_tenant"
        )
    if baseline.query_set.digest != candidate.query_set.digest:
        ours = candidate.query_set
        raise ConfigError(
            f"run {baseline.run_id} was asked query set {_set(baseline)}, {candidate.run_id} "
            f"{_set(candidate)}: these are not the same queries",
            "evaluation.other_queries",
            f"ask the baseline again: --queries {ours.name}@{ours.version}",
        )


def comparability(
    baseline: SideOf, candidate: SideOf, snapshots: Snapshots = "same"
) -> Comparability:
    """What of two sides differs.

    Args:
        baseline: what is compared with.
        candidate: what is judged.
        snapshots: `any`: another one is remarked on, and no gate minds.

    Raises ConfigError for another tenant, other queries, or none that both were asked.
    """
    ours, theirs = candidate.plan, baseline.plan
    check_same_queries(theirs, ours)
    common = baseline.asked & candidate.asked
    if not common:
        raise ConfigError(
            f"{baseline.name} and {candidate.name} have no query in common",
            "evaluation.other_queries",
        )
    gates, remarks = [], []
    least = min(len(ours.queries), len(theirs.queries))
    if len(common) < least:
        gates.append(f"only {len(common)} of {least} queries were asked of both")
    elif len(common) < max(len(ours.queries), len(theirs.queries)):
        remarks.append(f"compared on the {len(common)} queries that both were asked")
    if (other := _snapshots(baseline, candidate)) is not None:
        (remarks if snapshots == "any" else gates).append(other)
    if ours.depth != theirs.depth:
        gates.append(f"the baseline was asked for {theirs.depth} results, not {ours.depth}")
    if ours.label_set.digest != theirs.label_set.digest:
        remarks.append(
            f"the baseline's run was measured by labels {_labels(theirs)}; both are measured "
            f"by {_labels(ours)} here"
        )
    return Comparability(common, tuple(gates), tuple(remarks))


def tempered(report: GateReport, found: Comparability) -> GateReport:
    """The report with what the comparison cannot tell: passes become inconclusive, and say why.

    A gate that blocks goes on to: what is worse on other assets is for somebody to look at.
    """
    if not found.gates:
        return report

    def of(check: GateCheck) -> GateCheck:
        if check.verdict is Verdict.BLOCK:
            return check
        said = "; ".join(filter(None, [*found.gates, check.reason]))
        return check.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": said})

    checks = tuple(of(one) for one in report.checks)
    promotion = tuple(of(one) for one in report.promotion)
    verdict = worst(one.verdict for one in checks)
    go = report.go
    if go and any(one.verdict is not Verdict.PASS for one in promotion):
        go = False
    return report.model_copy(
        update={"checks": checks, "promotion": promotion, "verdict": verdict, "go": go}
    )


def _snapshots(baseline: SideOf, candidate: SideOf) -> str | None:
    ours, theirs = candidate.engine.snapshot_id, baseline.engine.snapshot_id
    if ours == theirs or ours is None or theirs is None:
        return None
    return f"the baseline searched snapshot {theirs}, the candidate {ours}: other assets"


def _set(plan: RunPlan) -> str:
    head = plan.query_set
    return f"{head.name}@{head.version} ({head.digest[:12]})"


def _labels(plan: RunPlan) -> str:
    head = plan.label_set
    return f"{head.name}@{head.label_version} ({head.digest[:12]})"
