"""May it take another's place: go or no-go. Arithmetic; no file, no clock.

All must be shown: what these queries cannot tell is no go. Gates of `gates` hold beside it.

**Hardest queries.** They are those that the query set calls hard, by what was known before any
engine was asked. Not the fifth on which the baseline scored least: among the lowest scores are those
that are low by chance, so that whoever is asked next does better on them (regression to the mean),
and a candidate that hurts hard queries passes; benchmarks/gates_power.py has how often.
"""  # noqa: E501 - words that belong together

from __future__ import annotations

from ecm.contracts.evaluation import Difficulty
from ecm.contracts.measured import GateCheck, GateReport, Measure, Verdict
from ecm.evaluation.config import EvaluationGates, Gate
from ecm.evaluation.gates import (
    as_labelled,
    checked,
    latency_check,
    not_told,
    said,
    share_check,
    unmeasured,
)
from ecm.evaluation.pairing import Pairing, Pairs, Side
from ecm.evaluation.significance import Paired, paired, paired_relative


def go_or_no_go(
    report: GateReport, baseline: Side, candidate: Side, gates: EvaluationGates, seed: int = 0
) -> GateReport:
    """The report of `judge` over the same sides, with the criteria of promotion and what follows.

    Raises ContractError as `judge`.
    """
    pairs = Pairing(baseline, candidate)
    wanted = gates.promotion
    recall = pairs.quality(Measure.RECALL_20)
    hardest = pairs.quality(Measure.NDCG_10, lambda query: query.difficulty is Difficulty.HARD)
    checks = (
        _gain(pairs, gates, seed),
        _no_drop(pairs, "recall@20", recall, wanted.recall_20_most, gates, seed),
        _no_drop(pairs, "hardest ndcg@10", hardest, wanted.hardest_most, gates, seed),
        latency_check(pairs, Gate(most=wanted.p95_latency_most), gates, seed),
        share_check("error_rate", pairs.failures(), Gate(most=0.0), gates),
    )
    shown = all(check.verdict is Verdict.PASS for check in checks)
    return report.model_copy(
        update={
            "promotion": checks,
            "go": shown and report.verdict in (Verdict.PASS, Verdict.WARN),
        }
    )


def _gain(pairing: Pairing, gates: EvaluationGates, seed: int) -> GateCheck:
    """nDCG@10 grew by as much as is wanted, and surely grew."""
    wanted = gates.promotion.ndcg_10_gain
    name = "ndcg@10 gain"
    pairs = pairing.quality(Measure.NDCG_10)
    short = not_told(pairs, gates)
    if short or not pairs.baseline.mean() > 0:
        reason = short or "the baseline finds nothing, so that no gain is relative to it"
        return unmeasured(name, wanted, "relative", gates, len(pairs.baseline), reason)
    found = paired_relative(
        pairs.baseline,
        pairs.candidate,
        confidence=gates.confidence,
        resamples=gates.resamples,
        seed=seed,
    )
    grew = said(found.change, "relative")
    if found.upper < wanted:
        verdict, reason = Verdict.BLOCK, f"{said(wanted, 'relative')} more is excluded: {grew}"
    elif found.change >= wanted and found.lower > 0:
        verdict, reason = Verdict.PASS, f"{grew} more, surely more"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"{grew} more: these queries cannot tell"
    verdict, reason = as_labelled(pairing, gates, verdict, reason)
    return _relative(name, pairs, found, wanted, verdict, reason)


def _no_drop(
    pairing: Pairing, name: str, pairs: Pairs, most: float, gates: EvaluationGates, seed: int
) -> GateCheck:
    """Not surely worse, and a drop of more than `most` excluded."""
    if short := not_told(pairs, gates):
        return unmeasured(name, most, "points", gates, len(pairs.baseline), short)
    found = paired(
        pairs.baseline,
        pairs.candidate,
        confidence=gates.confidence,
        resamples=gates.resamples,
        seed=seed,
    )
    if found.upper < 0:
        verdict, reason = Verdict.BLOCK, f"worse by {said(-found.change, 'points')}, surely worse"
    elif found.lower >= -most:
        verdict, reason = Verdict.PASS, f"a drop of more than {said(most, 'points')} is excluded"
    else:
        verdict = Verdict.INCONCLUSIVE
        reason = f"may be worse by up to {said(-found.lower, 'points')}"
    verdict, reason = as_labelled(pairing, gates, verdict, reason)
    return checked(name, pairs, found, Gate(most=most), verdict, reason)


def _relative(
    name: str, pairs: Pairs, found: Paired, threshold: float, verdict: Verdict, reason: str
) -> GateCheck:
    return GateCheck(
        name=name,
        baseline=float(pairs.baseline.mean()),
        candidate=float(pairs.candidate.mean()),
        change=found.change,
        lower=found.lower,
        upper=found.upper,
        threshold=threshold,
        unit="relative",
        confidence=found.confidence,
        detectable=found.detectable,
        wilcoxon_p=found.wilcoxon_p,
        queries=found.queries,
        verdict=verdict,
        reason=reason,
    )
