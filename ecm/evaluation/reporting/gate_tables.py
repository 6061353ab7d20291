"""Gates in a report: thresholds, what was measured, how surely, and the verdicts as given.

A threshold says how much worse it may become; here it has the sign of what is worse, so that it
reads beside the change. Knows the names of gates and judges nothing.
"""

from __future__ import annotations

import math
from typing import Final

from ecm.contracts.measured import GateCheck, Measure, Verdict
from ecm.evaluation.reporting.glossary import LABELS
from ecm.evaluation.reporting.material import Material
from ecm.evaluation.reporting.text import (
    NONE,
    SPACE,
    chance,
    code,
    dollars,
    milliseconds,
    number,
    percent,
    points,
    ranged,
    signed,
    table,
    words,
)

_MARKS: Final = {
    Verdict.PASS: "pass",
    Verdict.WARN: "**warn**",
    Verdict.BLOCK: "**BLOCK**",
    Verdict.INCONCLUSIVE: "**inconclusive**",
}
_CONDITIONS: Final = {
    Verdict.PASS: "met",
    Verdict.WARN: "**warn**",
    Verdict.BLOCK: "**not met**",
    Verdict.INCONCLUSIVE: "**cannot be told**",
}
_NAMES: Final = {
    **{measure.value: label for measure, label in LABELS.items()},
    "ndcg@10 gain": "gain of nDCG@10",
    "hardest ndcg@10": "nDCG@10 of hard queries",
    "p95_latency": "p95 latency",
    "cost_per_1k": "cost per 1,000 queries",
}
RATES: Final = (Measure.ZERO_RESULTS, Measure.UNJUDGED_10, "error_rate", "degraded_rate")
"""Gates on shares of queries: what happens to some and not to others."""
_RISING: Final = (*RATES, "p95_latency", "cost_per_1k")
"""Of these more is worse; of all others less is."""
_GAINS: Final = ("ndcg@10 gain",)
"""Of these the threshold is the least that is wanted."""
_COLUMNS: Final = (
    "baseline",
    "candidate",
    "change [interval]",
    "limit",
    "detectable",
    "Wilcoxon p",
    "queries",
)


def gates_section(material: Material) -> str:
    """The gates and the conditions of promotion, or why there are none."""
    gates = material.summary.gates
    if gates is None:
        return (
            "## Gates\n\nNone: the run has no baseline. Give one with `--baseline`: a run, "
            "RUN:ENGINE, or an engine of the same run.\n"
        )
    told = (
        f"Candidate {code(gates.candidate)} against baseline {code(gates.baseline)}. A gate blocks "
        "when the candidate is worse by more than the limit and surely worse: an interval that is "
        "wider than the one printed, so that all gates together seldom block what is as good, "
        "excludes that nothing changed. It passes when the interval excludes being worse by more "
        "than the limit. Between the two these queries cannot tell: inconclusive, but where a gate "
        "is set to let pass what is estimated within the limit.\n"
    )
    parts = ["## Gates", told, _table("gate", gates.checks, _MARKS) or "No gate was set.\n"]
    if gates.promotion:
        outcome = {True: "go", False: "no-go", None: "not asked"}[gates.go]
        parts += [
            f"### Go or no-go for promotion: {outcome}",
            _table("condition", gates.promotion, _CONDITIONS),
        ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def label_of(name: str) -> str:
    """A gate's name for people."""
    return _NAMES.get(name) or words(name.replace("_", " "), 64)


def rising(check: GateCheck) -> bool:
    """Whether more of it is worse."""
    return check.name in _RISING


def limit_of(check: GateCheck) -> float:
    """The threshold as a change: with the sign of what is worse, of gains of what is wanted."""
    if check.name in _GAINS or rising(check):
        return check.threshold
    return -check.threshold


def changed(check: GateCheck, change: float | None) -> str:
    """A change in the unit of the gate: percentage points, or per cent of the baseline."""
    if check.unit == "points":
        return points(change)
    return NONE if change is None else f"{signed(change * 100, 2)}{SPACE}%"


def span(check: GateCheck) -> str:
    """The interval of the change."""
    return f"{changed(check, check.lower)} to {changed(check, check.upper)}"


def value_of(check: GateCheck, value: float | None) -> str:
    """What was measured of one side."""
    if value is None or not math.isfinite(value):
        return NONE
    match check.name:
        case "p95_latency":
            return f"{milliseconds(value)}{SPACE}ms"
        case "cost_per_1k":
            return f"US${SPACE}{dollars(value)}"
        case name if name in RATES:
            return percent(value, 2)
        case _:
            return number(value)


def detectable_of(check: GateCheck) -> str:
    """The smallest change for the worse (of gains: the smallest gain) that would be found."""
    return changed(check, check.detectable).lstrip("+")


def _table(title: str, checks: tuple[GateCheck, ...], marks: dict[Verdict, str]) -> str:
    if not checks:
        return ""
    notes = [f"- {label_of(one.name)}: {words(one.reason)}" for one in checks if one.reason]
    rows = table([title, "verdict", *_COLUMNS], [_row(one, marks) for one in checks], left=2)
    return rows + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _row(check: GateCheck, marks: dict[Verdict, str]) -> list[str]:
    limit = f"{'at least ' if check.name in _GAINS else ''}{changed(check, limit_of(check))}"
    return [
        label_of(check.name),
        marks[check.verdict],
        value_of(check, check.baseline),
        value_of(check, check.candidate),
        _around(check),
        limit,
        detectable_of(check),
        chance(check.wilcoxon_p),
        f"{check.queries:,}",
    ]


def _around(check: GateCheck) -> str:
    """The change with its interval; prices are known, and have none."""
    if check.lower is None or check.lower == check.upper:
        return changed(check, check.change)
    ends = changed(check, check.lower), changed(check, check.upper)
    return ranged(changed(check, check.change), *ends)
