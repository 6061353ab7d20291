"""Runs of an evaluation as a person reads them in a terminal: the verdict first, then figures.

Knows how things are shown; computes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from ecm.contracts.measured import (
    EngineFigures,
    GateCheck,
    GateReport,
    Measure,
    RunPlan,
    RunState,
    Summary,
    Verdict,
)
from jobs.edge import printable, table_of

if TYPE_CHECKING:
    from rich.console import Console

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.BLOCK: "red",
}
_MEASURES = tuple(Measure)


def show_summary(console: Console, summary: Summary) -> None:
    """A finished run."""
    head = summary.head
    console.print(verdict_line(summary))
    if head.state is not RunState.COMPLETE:
        console.print(f"[yellow]{head.state.value}[/yellow]: {_plain(head.reason)}")
    for remark in summary.remarks:
        console.print(f"mind: {_plain(remark)}")
    show_figures(console, head, summary.figures)
    if summary.gates is not None:
        show_gates(console, summary.gates)
    for engine, share in head.tied.items():
        if share:
            console.print(f"{engine}: equal scores in {share:.0%} of answers; its ranks decide")


def verdict_line(summary: Summary) -> str:
    """What came of it, in one line."""
    if summary.gates is None:
        return f"[bold]measured[/bold], compared with nothing: run {summary.head.run_id}"
    gates, colour = summary.gates, _COLOURS[summary.verdict]
    failed = f" by {', '.join(gates.failed)}" if gates.failed else ""
    return (
        f"[bold {colour}]{summary.verdict.value}[/bold {colour}]{failed}: {gates.candidate} "
        f"against {gates.baseline}, run {summary.head.run_id}"
    )


def show_figures(
    console: Console,
    plan: RunPlan,
    figures: Sequence[EngineFigures],
    names: Sequence[str] | None = None,
) -> None:
    """What each engine measured, and how it was asked; `names` where ids do not tell them apart."""
    columns = ["engine", "queries", *(one.value for one in _MEASURES)]
    columns += ["p50 ms", "p95 ms", "errors", "USD/1k"]
    rows: list[list[object]] = []
    for one, name in zip(figures, names or [each.engine_id for each in figures], strict=True):
        all_of = one.all
        values = [_number(all_of.values.get(measure), 4) for measure in _MEASURES]
        rows.append(
            [
                name,
                all_of.queries,
                *values,
                _number(all_of.p50_ms, 1),
                _number(all_of.p95_ms, 1),
                f"{all_of.error_rate:.1%}",
                f"{all_of.cost_per_1k_usd:.2f}",
            ]
        )
    console.print(table_of("", columns, rows))
    queries, labels = plan.query_set, plan.label_set
    console.print(
        f"{len(plan.queries)} queries of {queries.name}@{queries.version}, labels "
        f"{labels.name}@{labels.label_version}, {plan.rounds} rounds after {plan.warm_up} queries "
        f"of warm-up, {plan.concurrency} at once, {plan.depth} results"
    )
    for facts in plan.engines:
        known = (facts.snapshot_id, facts.ranking_profile, (facts.ranking_digest or "")[:12])
        stands = f"stands in for {facts.stands_for}" if facts.stands_for else ""
        said = ", ".join(filter(None, (*known, stands)))
        if said:
            console.print(f"{facts.engine_id}: {_plain(said)}")


def show_gates(console: Console, gates: GateReport) -> None:
    """Thresholds, what was measured, and how small a change would have been seen."""
    sure = f"{100 * gates.checks[0].confidence:g} %" if gates.checks else "interval"
    columns = ["gate", "baseline", "candidate", "change", sure, "threshold", "detectable"]
    columns += ["verdict"]
    console.print(table_of("gates", columns, [_gate_row(one) for one in gates.checks]))
    if gates.promotion:
        rows = [_gate_row(one) for one in gates.promotion]
        console.print(table_of("promotion: " + _going(gates.go), columns, rows))
    for check in (*gates.checks, *gates.promotion):
        if check.reason and check.verdict is not Verdict.PASS:
            console.print(f"{check.name}: {_plain(check.reason)}")


def show_runs(console: Console, rows: Sequence[Sequence[object]]) -> None:
    """The list of runs."""
    columns = ["run", "begun (UTC)", "state", "queries", "engines", "verdict", "accepted by"]
    console.print(table_of("", columns, [list(row) for row in rows]) if rows else "no runs")


def _gate_row(check: GateCheck) -> list[object]:
    unit = _relative if check.unit == "relative" else _points
    between = "-"
    if check.lower is not None and check.upper is not None:
        between = f"[{unit(check.lower)}, {unit(check.upper)}]"
    return [
        check.name,
        _number(check.baseline, 4),
        _number(check.candidate, 4),
        unit(check.change),
        between,
        unit(check.threshold).lstrip("+"),
        unit(check.detectable).lstrip("+"),
        check.verdict.value,
    ]


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f} pp"


def _relative(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _going(go: bool | None) -> str:
    return "not asked" if go is None else ("go" if go else "no-go")


def _plain(text: str) -> str:
    return escape(printable(text))
