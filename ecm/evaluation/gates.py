"""May it ship: what two sides measured, held against thresholds. Arithmetic; no file, no clock.

**The rule.** A threshold is breached when the estimate is beyond it *and* it surely is worse: a
point estimate alone blocks a third of unchanged builds on 50 queries, an interval that must lie
wholly beyond the threshold lets most real damage through. What is sure is told by an interval that
is wider than the one printed, so that all gates that block err together as one interval does
(`EvaluationGates.surely`). A threshold holds when the interval excludes more than it allows.
Between the two these queries cannot tell: `inconclusive`, but where a gate's `unsure` is `pass` and
the estimate lies within. Shares of failures have the exact sign test instead of that interval. A
gate whose `beyond` is `at_all` asks for none: for queries that stand for nothing but themselves,
asked of builds that answer alike.

The verdict of all is the worst: block, inconclusive, warn, pass. benchmarks/gates_power.py has how
often unchanged builds are blocked, and what is found of the printed `detectable`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from ecm.contracts.measured import GateCheck, GateReport, Measure, Verdict
from ecm.evaluation.config import EvaluationGates, Gate
from ecm.evaluation.pairing import Pairing, Pairs
from ecm.evaluation.pairing import Side as Side
from ecm.evaluation.shares import Shares, paired_shares
from ecm.evaluation.significance import Paired, paired, paired_quantile

Unit = Literal["points", "relative"]
P95: Final = 0.95
ORDER: Final = (Verdict.PASS, Verdict.WARN, Verdict.INCONCLUSIVE, Verdict.BLOCK)
"""Verdicts from best to worst."""


@dataclass(frozen=True)
class Harm:
    """How much worse it became: the estimate, its interval, and whether it surely is worse."""

    estimate: float
    least: float
    most: float
    sure: bool


def judge(baseline: Side, candidate: Side, gates: EvaluationGates, seed: int = 0) -> GateReport:
    """Every gate that is not taken away. Raises ContractError where the sides do not compare:
    queries or labels that differ.
    """
    checks = tuple(checks_of(Pairing(baseline, candidate), gates, seed))
    return GateReport(
        baseline=baseline.name,
        candidate=candidate.name,
        verdict=worst(check.verdict for check in checks),
        checks=checks,
    )


def checks_of(pairs: Pairing, gates: EvaluationGates, seed: int) -> Iterator[GateCheck]:
    """Each gate that is not taken away. Raises ContractError as `judge`."""
    kept = gates.gates
    if kept.ndcg_10 is not None:
        yield quality_check(pairs, Measure.NDCG_10, kept.ndcg_10, gates, seed)
    if kept.recall_50 is not None:
        yield quality_check(pairs, Measure.RECALL_50, kept.recall_50, gates, seed)
    if kept.zero_results is not None:
        found = pairs.quality(Measure.ZERO_RESULTS)
        yield share_check(Measure.ZERO_RESULTS, found, kept.zero_results, gates)
    if kept.error_rate is not None:
        yield share_check("error_rate", pairs.failures(), kept.error_rate, gates)
    if kept.degraded_rate is not None:
        yield share_check("degraded_rate", pairs.degraded(), kept.degraded_rate, gates)
    if kept.p95_latency is not None:
        yield latency_check(pairs, kept.p95_latency, gates, seed)
    if kept.cost_per_1k is not None:
        yield _cost(pairs, kept.cost_per_1k, gates)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; `pass` of none."""
    return max(verdicts, key=ORDER.index, default=Verdict.PASS)


def quality_check(
    pairing: Pairing, measure: Measure, gate: Gate, gates: EvaluationGates, seed: int
) -> GateCheck:
    """The drop of a measure, in points."""
    pairs = pairing.quality(measure)
    if short := not_told(pairs, gates):
        return unmeasured(measure, gate.most, "points", gates, len(pairs.baseline), short)
    found = paired(
        pairs.baseline,
        pairs.candidate,
        confidence=gates.confidence,
        surely=gates.surely,
        resamples=gates.resamples,
        seed=seed,
    )
    harm = Harm(-found.change, -found.upper, -found.lower, -found.change > found.beyond)
    verdict, reason = ruled(harm, gate, "points")
    if not found.error and found.change == 0:
        reason = f"all {found.queries} queries score the same"
    verdict, reason = as_labelled(pairing, gates, verdict, reason)
    return checked(measure, pairs, found, gate, verdict, _and_left_out(reason, pairs))


def not_told(pairs: Pairs, gates: EvaluationGates) -> str:
    """Why quality cannot be judged whatever it is; empty where it can."""
    count = len(pairs.baseline)
    if count < gates.min_queries:
        return f"{count} queries with a relevant asset: {gates.min_queries} are needed"
    if pairs.left_out > gates.max_left_out * (count + pairs.left_out):
        return f"the baseline failed {pairs.left_out} of {count + pairs.left_out} queries"
    return ""


def as_labelled(
    pairing: Pairing, gates: EvaluationGates, verdict: Verdict, reason: str
) -> tuple[Verdict, str]:
    """The verdict on quality, as far as labels allow it.

    What is not labelled counts as no answer, for either side alike: with labels of one answer for
    each query most of a first ten has none. What misleads is that one side found more of what
    nobody has looked at. Where that is the candidate it is better than it looks, so that it may
    pass, and is not blocked; where that is the baseline it may be blocked, and does not pass.
    """
    unjudged = pairing.quality(Measure.UNJUDGED_10)
    before, after = float(unjudged.baseline.mean()), float(unjudged.candidate.mean())
    stands = verdict is Verdict.PASS if after > before else verdict is not Verdict.PASS
    if stands or abs(after - before) <= gates.max_unjudged_apart:
        return verdict, reason
    return Verdict.INCONCLUSIVE, (
        f"{100 * after:.0f} % of the candidate's first ten are without a label, "
        f"{100 * before:.0f} % of the baseline's: label these first ({reason})"
    )


def share_check(name: str, pairs: Pairs, gate: Gate, gates: EvaluationGates) -> GateCheck:
    """The rise of a share of failures, in points."""
    if not len(pairs.baseline):
        return unmeasured(name, gate.most, "points", gates, 0, "no query to compare")
    found = paired_shares(
        pairs.baseline, pairs.candidate, confidence=gates.confidence, surely=gates.surely
    )
    harm = Harm(found.change, found.lower, found.upper, found.significant)
    verdict, reason = ruled(harm, gate, "points")
    if not found.worse:
        verdict, reason = Verdict.PASS, "no query of which the baseline did better"
    elif verdict is not Verdict.PASS:
        reason += f" ({found.worse} queries worse, {found.better} better, p = {found.p:.2g})"
    return checked(name, pairs, found, gate, verdict, _and_left_out(reason, pairs))


def latency_check(pairing: Pairing, gate: Gate, gates: EvaluationGates, seed: int) -> GateCheck:
    """The rise of the 95th percentile of latency, relative."""
    name = "p95_latency"
    unlike = pairing.unlike()
    if unlike:
        return unmeasured(name, gate.most, "relative", gates, 0, unlike)
    pairs = pairing.latencies()
    there = ~np.isnan(pairs.baseline)
    queries = int(there.any(axis=1).sum())
    if queries < gates.min_queries:
        said = f"latencies of {queries} queries compare: {gates.min_queries} are needed"
        return unmeasured(name, gate.most, "relative", gates, queries, said)
    found = paired_quantile(
        pairs.baseline,
        pairs.candidate,
        quantile=P95,
        confidence=gates.confidence,
        surely=gates.surely,
        resamples=gates.resamples,
        seed=seed,
    )
    harm = Harm(found.change, found.lower, found.upper, math.log1p(found.change) > found.beyond)
    verdict, reason = ruled(harm, gate, "relative")
    detectable = found.detectable_beyond(math.log1p(gate.most))
    return GateCheck(
        name=name,
        baseline=float(np.quantile(pairs.baseline[there], P95)),
        candidate=float(np.quantile(pairs.candidate[there], P95)),
        change=found.change,
        lower=found.lower,
        upper=found.upper,
        threshold=gate.most,
        unit="relative",
        confidence=gates.confidence,
        detectable=None if detectable is None else math.expm1(detectable),
        queries=queries,
        verdict=verdict,
        reason=reason,
    )


def ruled(harm: Harm, gate: Gate, unit: Unit) -> tuple[Verdict, str]:
    """The verdict of a measurement, and why in words. See the rule above."""
    allowed = said(gate.most, unit)
    if harm.estimate > gate.most and (harm.sure or gate.beyond == "at_all"):
        breach = Verdict.BLOCK if gate.breach == "block" else Verdict.WARN
        how = "surely worse" if harm.sure else "on these queries"
        return breach, f"worse by {said(harm.estimate, unit)}, {how}; {allowed} is allowed"
    if harm.most <= gate.most:
        return Verdict.PASS, f"more than {allowed} worse is excluded"
    reach = f"may be worse by up to {said(harm.most, unit)}; {allowed} is allowed"
    if harm.estimate > gate.most:
        return Verdict.INCONCLUSIVE, f"worse by {said(harm.estimate, unit)}, not surely; {reach}"
    verdict = Verdict.PASS if gate.unsure == "pass" else Verdict.INCONCLUSIVE
    return verdict, reach


def said(value: float, unit: Unit) -> str:
    """A change in words: 1.2 points of a share, or per cent."""
    return f"{100 * value:.2f} points" if unit == "points" else f"{100 * value:.1f} %"


def checked(
    name: str, pairs: Pairs, found: Paired | Shares, gate: Gate, verdict: Verdict, reason: str
) -> GateCheck:
    """A check, in points, of values that pair up."""
    return GateCheck(
        name=name,
        baseline=float(pairs.baseline.mean()),
        candidate=float(pairs.candidate.mean()),
        change=found.change,
        lower=found.lower,
        upper=found.upper,
        threshold=gate.most,
        unit="points",
        confidence=found.confidence,
        detectable=found.detectable_beyond(gate.most),
        wilcoxon_p=found.wilcoxon_p if isinstance(found, Paired) else None,
        queries=found.queries,
        verdict=verdict,
        reason=reason,
    )


def unmeasured(
    name: str, threshold: float, unit: Unit, gates: EvaluationGates, queries: int, reason: str
) -> GateCheck:
    """A check of which nothing can be told."""
    return GateCheck(
        name=name,
        baseline=None,
        candidate=None,
        change=None,
        threshold=threshold,
        unit=unit,
        confidence=gates.confidence,
        queries=queries,
        verdict=Verdict.INCONCLUSIVE,
        reason=reason,
    )


def _cost(pairing: Pairing, gate: Gate, gates: EvaluationGates) -> GateCheck:
    """The rise of what a thousand answers cost, relative; prices are known and have no interval."""
    costs, name = pairing.costs(), "cost_per_1k"
    if costs is None:
        reason = "no query was answered by both"
        return unmeasured(name, gate.most, "relative", gates, 0, reason)
    before, after = costs
    change = after / before - 1 if before else (0.0 if not after else None)
    if change is None:
        verdict = Verdict.BLOCK if gate.breach == "block" else Verdict.WARN
        reason = "costs something, the baseline nothing"
    else:
        verdict, reason = ruled(Harm(change, change, change, True), gate, "relative")
    return GateCheck(
        name=name,
        baseline=before,
        candidate=after,
        change=change,
        lower=change,
        upper=change,
        threshold=gate.most,
        unit="relative",
        confidence=gates.confidence,
        queries=len(pairing.queries),
        verdict=verdict,
        reason=reason,
    )


def _and_left_out(reason: str, pairs: Pairs) -> str:
    if not pairs.left_out:
        return reason
    return f"{reason}; {pairs.left_out} queries that the baseline failed are left out"
