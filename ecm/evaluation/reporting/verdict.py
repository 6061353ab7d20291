"""The first lines of a report: may it ship, why, and what these queries cannot tell.

Knows the verdicts of gates as they were given; judges nothing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ecm.contracts.measured import GateCheck, GateReport, RunState, Verdict
from ecm.evaluation.reporting.gate_tables import (
    changed,
    detectable_of,
    label_of,
    limit_of,
    rising,
    span,
    value_of,
)
from ecm.evaluation.reporting.material import Material
from ecm.evaluation.reporting.text import code, counted, listed, percent, words

_SURELY: Final = 1.2
_MOST: Final = 1_000_000
_STATES: Final = {
    RunState.PARTIAL_FAILED: "an engine could not go on",
    RunState.BUDGET_STOPPED: "the budget was used up",
}


def verdict_of(material: Material) -> str:
    """The verdict in one paragraph, with what else must be known to believe it."""
    summary = material.summary
    gates = summary.gates
    if gates is not None and summary.verdict is not gates.verdict:
        lines = [
            "**It cannot be told whether it may ship:** the run is not complete, and what is not "
            f"complete has not passed, though {code(gates.candidate)} against "
            f"{code(gates.baseline)} is {gates.verdict.value} by its gates so far."
        ]
    else:
        lines = [_sentence(gates, summary.failed_gate)]
    if gates is not None and gates.go is not None:
        lines.append(_promotion(gates))
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
    """How many queries would tell, if the true change is the one measured; None: it is not a matter
    of their number, or no reasonable number would.

    Intervals narrow with the square root of the number of queries. An estimate within the limit
    passes once the interval reaches no further than the limit; one beyond it blocks once it is
    surely worse, which is told by an interval that is up to a fifth wider.
    """
    if check.change is None or check.lower is None or check.upper is None:
        return None
    sign = 1.0 if rising(check) else -1.0
    worse, ends = sign * check.change, sorted((sign * check.lower, sign * check.upper))
    beyond = worse > check.threshold
    reach = _SURELY * (worse - ends[0]) if beyond else ends[1] - worse
    room = worse if beyond else check.threshold - worse
    if room <= 0 or reach <= room:
        return None
    exact = check.queries * (reach / room) ** 2
    return None if exact > _MOST else _rounded(exact)


def _rounded(exact: float) -> int:
    """Up, to two digits: more would be false precision."""
    size = 10 ** max(0, math.floor(math.log10(max(exact, 1.0))) - 1)
    return int(math.ceil(exact / size) * size)


def _sentence(gates: GateReport | None, failed: str | None) -> str:
    """The verdict in a sentence, and a line for every gate that it rests on."""
    if gates is None or not gates.checks:
        why = "it has no baseline to be compared with" if gates is None else "no gate was set"
        return f"**Nothing was gated:** {why}. The figures below stand for themselves."
    sides = f"{code(gates.candidate)} against {code(gates.baseline)}"
    decisive = [one for one in gates.checks if one.verdict is gates.verdict]
    names = listed(label_of(one.name) for one in decisive)
    match gates.verdict:
        case Verdict.BLOCK:
            decisive.sort(key=lambda one: one.name != failed)
            told = f"**It may not ship:** {names} of {sides} {_fail(decisive)}."
        case Verdict.INCONCLUSIVE:
            told = f"**It cannot be told whether it may ship:** {names} of {sides} is in doubt."
            told = told.replace(" is in doubt", " are in doubt") if len(decisive) > 1 else told
        case Verdict.WARN:
            told = f"**It may ship, with a warning:** {names} of {sides}."
        case Verdict.PASS:
            told = f"**It may ship:** {sides} passes {counted(len(decisive), 'gate')}."
            return f"{told} {_least_sure(gates)}".rstrip()
    return "\n".join([told, "", *(f"- {_why(one)}." for one in decisive)])


def _fail(decisive: Sequence[GateCheck]) -> str:
    return "fails its gate" if len(decisive) == 1 else "fail their gates"


def _why(check: GateCheck) -> str:
    return _unsure(check) if check.verdict is Verdict.INCONCLUSIVE else _said(check)


def _said(check: GateCheck) -> str:
    """One gate in words: what it was, what it is, what is allowed."""
    if check.change is None:
        return f"{label_of(check.name)}: not measured, {words(check.reason)}"
    sides = f"{value_of(check, check.baseline)} to {value_of(check, check.candidate)}"
    return (
        f"{label_of(check.name)}: {sides}, a change of {changed(check, check.change)}"
        f"{_interval(check)}; the limit is {changed(check, limit_of(check))}"
    )


def _interval(check: GateCheck) -> str:
    if check.lower is None or check.upper is None or check.lower == check.upper:
        return ""
    return f" ({percent(check.confidence, 0)} interval {span(check)})"


def _unsure(check: GateCheck) -> str:
    """Why a gate cannot tell, and what would."""
    if check.change is None:
        return _said(check)
    many = needed(check)
    told = f"{_said(check)}. {words(check.reason[:1].upper() + check.reason[1:])}"
    if many is None:
        return told
    return (
        f"{told}. About {counted(many, 'query', 'queries')} would tell, if the true change is as "
        f"measured; these were {check.queries:,}"
    )


def _least_sure(gates: GateReport) -> str:
    """What the first gate on quality would not have seen."""
    seen = next((c for c in gates.checks if c.detectable is not None and not rising(c)), None)
    if seen is None:
        return ""
    return (
        f"With {counted(seen.queries, 'query', 'queries')}, damage to {label_of(seen.name)} of "
        f"{detectable_of(seen)} or more is found four times in five; less can go unseen."
    )


def _promotion(gates: GateReport) -> str:
    if gates.go:
        return "**Promotion: go.** It is enough better to take the other's place."
    unmet = [label_of(c.name) for c in gates.promotion if c.verdict is not Verdict.PASS]
    return (
        "**Promotion: no-go.** It is not shown to be enough better to take the other's place; not "
        f"met: {listed(unmet) or 'a gate'}."
    )
