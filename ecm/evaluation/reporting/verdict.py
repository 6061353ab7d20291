"""The first lines of a report: may it ship, why, and what these queries cannot tell.

Knows the verdicts of gates as they were given; judges nothing itself.
"""

from __future__ import annotations

import math
from typing import Final

from ecm.contracts.measured import GateCheck, GateReport, RunState, Verdict
from ecm.evaluation.reporting.gate_tables import changed, label_of, span, value_of
from ecm.evaluation.reporting.material import Material
from ecm.evaluation.reporting.text import code, counted, listed, percent, words

_MOST: Final = 1_000_000
_STATES: Final = {
    RunState.PARTIAL_FAILED: "an engine could not go on",
    RunState.BUDGET_STOPPED: "the budget was used up",
}


def verdict_of(material: Material) -> str:
    """The verdict in one paragraph, with what else must be known to believe it."""
    summary = material.summary
    lines = [_sentence(summary.gates, summary.failed_gate, material)]
    if summary.gates is not None and summary.gates.go is not None:
        lines.append(_promotion(summary.gates))
    if summary.head.state is not RunState.COMPLETE:
        why = words(summary.head.reason) or _STATES[summary.head.state]
        lines.append(f"**The run is not complete** ({summary.head.state.value}): {why}.")
    return "\n\n".join(lines) + "\n"


def word_of(verdict: Verdict, gated: bool) -> str:
    """The verdict in a heading."""
    if not gated:
        return "not gated"
    return {
        Verdict.PASS: "may ship",
        Verdict.WARN: "may ship, with a warning",
        Verdict.BLOCK: "blocked",
        Verdict.INCONCLUSIVE: "cannot be told",
    }[verdict]


def needed(check: GateCheck) -> int | None:
    """How many queries would tell, if the true change is the one measured; None: no number would,
    or nothing is known of it.

    Intervals narrow with the square root of the number of queries: the half that reaches over the
    threshold has to shrink to the distance between them.
    """
    if check.change is None or check.lower is None or check.upper is None:
        return None
    distance = abs(check.change - check.threshold)
    worse = check.upper if check.threshold > 0 else check.lower
    half = abs(worse - check.change)
    if distance == 0 or half == 0 or check.queries == 0:
        return None
    exact = check.queries * (half / distance) ** 2
    return None if exact > _MOST else _rounded(exact)


def _rounded(exact: float) -> int:
    """Up, to two digits: more would be false precision."""
    size = 10 ** max(0, math.floor(math.log10(max(exact, 1.0))) - 1)
    return int(math.ceil(exact / size) * size)


def _sentence(gates: GateReport | None, failed: str | None, material: Material) -> str:
    if gates is None or not gates.checks:
        why = "it has no baseline to be compared with" if gates is None else "no gate was set"
        return f"**Nothing was gated:** {why}. The figures below stand for themselves."
    named = f"{code(gates.candidate)} against {code(gates.baseline)}"
    match gates.verdict:
        case Verdict.BLOCK:
            first = next((one for one in gates.checks if one.name == failed), None)
            first = first or next(c for c in gates.checks if c.verdict is Verdict.BLOCK)
            others = [label_of(name) for name in gates.failed if name != first.name]
            also = f" Also blocked by: {listed(others)}." if others else ""
            return f"**It may not ship** ({named}): {_said(first)}.{also}"
        case Verdict.INCONCLUSIVE:
            unsure = [one for one in gates.checks if one.verdict is Verdict.INCONCLUSIVE]
            told = "; ".join(f"{_said(one)}: {_what_would_tell(one)}" for one in unsure)
            return f"**It cannot be told whether it may ship** ({named}). {told}."
        case Verdict.WARN:
            warned = [one for one in gates.checks if one.verdict is Verdict.WARN]
            told = "; ".join(_said(one) for one in warned)
            return f"**It may ship, with a warning** ({named}): {told}."
        case Verdict.PASS:
            return (
                f"**It may ship** ({named}): all {counted(len(gates.checks), 'gate')} pass. "
                f"{_least_sure(gates)}"
            ).rstrip()


def _said(check: GateCheck) -> str:
    """One gate in words: what it was, what it is, what is allowed."""
    if check.change is None:
        return f"{label_of(check.name)} could not be measured ({words(check.reason)})"
    sides = f"{value_of(check, check.baseline)} to {value_of(check, check.candidate)}"
    return (
        f"{label_of(check.name)} went from {sides}, a change of {changed(check, check.change)}"
        f"{_interval(check)}, where {changed(check, check.threshold)} is the limit"
    )


def _interval(check: GateCheck) -> str:
    if check.lower is None or check.upper is None:
        return ""
    return f" ({percent(check.confidence, 0)} interval {span(check)})"


def _what_would_tell(check: GateCheck) -> str:
    many = needed(check)
    if check.lower is None:
        return words(check.reason) or "there is no interval"
    if many is None:
        return "it lies so near the limit that no reasonable number of queries would tell"
    return (
        f"about {counted(many, 'query', 'queries')} would tell, if the true change is as measured; "
        f"these were {check.queries:,}"
    )


def _least_sure(gates: GateReport) -> str:
    """What the first gate on quality would not have seen."""
    seen = next((c for c in gates.checks if c.detectable is not None and c.unit == "points"), None)
    if seen is None or seen.detectable is None:
        return ""
    least = changed(seen, math.copysign(seen.detectable, seen.threshold or -1.0))
    return (
        f"With {counted(seen.queries, 'query', 'queries')} a change of {label_of(seen.name)} "
        f"smaller than {least} could have gone unseen."
    )


def _promotion(gates: GateReport) -> str:
    if gates.go:
        return "**Promotion: go.** Every condition is met."
    unmet = [label_of(c.name) for c in gates.promotion if c.verdict is not Verdict.PASS]
    return f"**Promotion: no-go.** Not met: {listed(unmet) or 'a gate'}."
