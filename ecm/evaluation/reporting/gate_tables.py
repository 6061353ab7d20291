"""Gates in a report: thresholds, what was measured, how surely, and the verdicts as given."""

from __future__ import annotations

from typing import Final

from ecm.contracts.measured import GateCheck, Measure, Verdict
from ecm.evaluation.reporting.glossary import LABELS
from ecm.evaluation.reporting.material import Material
from ecm.evaluation.reporting.text import (
    NONE,
    SPACE,
    code,
    milliseconds,
    number,
    percent,
    points,
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
_COLUMNS: Final = [
    "gate",
    "baseline",
    "candidate",
    "change",
    "95 % interval",
    "limit",
    "detectable",
    "Wilcoxon p",
    "queries",
    "verdict",
]


def gates_section(material: Material) -> str:
    """The gates and the conditions of promotion, or why there are none."""
    gates = material.summary.gates
    if gates is None:
        return (
            "## Gates\n\nNone: the run has no baseline. Give one with `--baseline RUN:ENGINE`, or "
            "an engine of the same run.\n"
        )
    told = (
        f"Candidate {code(gates.candidate)} against baseline {code(gates.baseline)}. A gate blocks "
        "when the whole interval lies beyond its limit, passes when none of it does, and is "
        "inconclusive between the two.\n"
    )
    parts = ["## Gates", told, _table(gates.checks) if gates.checks else "No gate was set.\n"]
    if gates.promotion:
        outcome = {True: "go", False: "no-go", None: "not asked"}[gates.go]
        parts += [f"### Go or no-go for promotion: {outcome}", _table(gates.promotion)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def label_of(name: str) -> str:
    """A gate's name for people: the measure's where it is one."""
    for measure in Measure:
        if name == measure.value:
            return LABELS[measure]
    return words(name.replace("_", " "), 64)


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
    if "p95" in check.name or "p50" in check.name or "latency" in check.name:
        return f"{milliseconds(value)}{SPACE}ms"
    return percent(value, 2) if "error" in check.name else number(value)


def _table(checks: tuple[GateCheck, ...]) -> str:
    notes = [f"- {label_of(one.name)}: {words(one.reason)}" for one in checks if one.reason]
    rows = table(_COLUMNS, [_row(one) for one in checks])
    return rows + ("\n" + "\n".join(notes) + "\n" if notes else "")


def _row(check: GateCheck) -> list[str]:
    return [
        label_of(check.name),
        value_of(check, check.baseline),
        value_of(check, check.candidate),
        changed(check, check.change),
        NONE if check.lower is None else span(check),
        changed(check, check.threshold),
        changed(check, check.detectable).lstrip("+"),
        number(check.wilcoxon_p),
        f"{check.queries:,}",
        _MARKS[check.verdict],
    ]
