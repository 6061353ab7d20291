"""The pictures of a report: changes with their intervals, by measure and by stratum; latencies.

Every number in them is in a table of the report too. Names of engines are the only words in them
that are not the program's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ecm.contracts.measured import GateCheck, Measure
from ecm.evaluation.reporting.canvas import FAINT, INK, framed, picture, style_of
from ecm.evaluation.reporting.estimates import ALL, Estimates, Slice
from ecm.evaluation.reporting.gate_tables import limit_of
from ecm.evaluation.reporting.glossary import LABELS
from ecm.evaluation.reporting.intervals import Interval
from ecm.evaluation.reporting.material import RANKED, Contender, Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH: Final = 8.0
MOST: Final = 7
"""Engines of one picture; beyond it colours and marks would repeat."""
_NAME: Final = 32


@dataclass(frozen=True)
class Row:
    """One line of a forest plot: an interval for every engine, and the limit of a gate."""

    name: str
    intervals: tuple[Interval, ...]
    limit: float | None = None


def measures_plot(material: Material, estimates: Estimates) -> bytes | None:
    """By measure: changes to the reference, or means where there is nothing to compare with."""
    reference = material.reference
    engines = _drawn(material)
    if not engines:
        return None
    if reference is None or not material.compared:
        rows = [Row(LABELS[m], tuple(estimates.mean(ALL, e, m) for e in engines)) for m in RANKED]
        return _forest(rows, engines, material, "Means with 95 % intervals", 1.0)
    limits = _limits(material)
    rows = [
        Row(LABELS[m], tuple(estimates.change(ALL, e, m) for e in engines), limits.get(m))
        for m in RANKED
    ]
    title = f"Change to {reference.name[:_NAME]}, percentage points, 95 % intervals"
    return _forest(rows, engines, material, title, 100.0)


def strata_plot(material: Material, estimates: Estimates) -> bytes | None:
    """nDCG@10 by type and difficulty: changes to the reference, or means without one."""
    reference = material.reference
    engines = _drawn(material)
    if not engines or not estimates.strata:
        return None
    compared = reference is not None and bool(material.compared)
    told = estimates.change if compared else estimates.mean
    rows = []
    for stratum in estimates.strata:
        intervals = tuple(told(stratum, one, Measure.NDCG_10) for one in engines)
        count = max(one.queries for one in intervals)
        name = "all" if stratum.slice is Slice.ALL else stratum.name
        limit = _limits(material).get(Measure.NDCG_10) if stratum == ALL else None
        rows.append(Row(f"{name} ({count:,})", intervals, limit))
    if compared and reference is not None:
        title = f"nDCG@10 by stratum: change to {reference.name[:_NAME]}, percentage points"
        return _forest(rows, engines, material, title, 100.0)
    return _forest(rows, engines, material, "nDCG@10 by stratum, 95 % intervals", 1.0)


def latency_plot(material: Material) -> bytes | None:
    """The share of answers that came within each time, by engine; None without answers."""
    engines = [one for one in material.shown[:MOST] if one.latencies]
    if not engines:
        return None

    def draw(figure: Figure) -> None:
        with framed(figure.subplots(), "Share of answers within a time") as axes:
            for one in engines:
                style = style_of(_place(material, one))
                times = np.sort(np.maximum(one.latencies, 0.01))
                shares = np.arange(1, times.size + 1) / times.size
                label = _latency_label(one)
                axes.step(
                    times,
                    shares,
                    where="post",
                    color=style.colour,
                    linestyle=style.line,
                    label=label,
                )
                p95 = one.figures.all.p95_ms
                if p95 is not None:
                    axes.plot([max(p95, 0.01)], [0.95], style.mark, color=style.colour)
            axes.axhline(0.95, color=FAINT, linewidth=0.8, linestyle=":")
            axes.annotate(
                "95 %", (0.0, 0.95), (3, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", color=FAINT, fontsize=8,
            )  # fmt: skip
            axes.set_xscale("log")
            axes.set_ylim(0, 1.02)
            axes.set_xlabel("milliseconds, logarithmic")
            _plain_numbers(axes)
        figure.legend(loc="outside lower left", ncols=2 if len(engines) > 3 else 1)

    return picture(WIDTH, 3.4 + 0.2 * len(engines), draw)


def _drawn(material: Material) -> tuple[Contender, ...]:
    compared = material.compared if material.reference is not None else ()
    return (compared or material.shown)[:MOST]


def _place(material: Material, engine: Contender) -> int:
    """The same style in every picture."""
    return material.shown.index(engine)


def _latency_label(one: Contender) -> str:
    p50, p95 = one.figures.all.p50_ms, one.figures.all.p95_ms
    if p50 is None or p95 is None:
        return one.name[:_NAME]
    return f"{one.name[:_NAME]}: p50 {p50:,.1f} ms, p95 {p95:,.1f} ms"


def _limits(material: Material) -> dict[Measure, float]:
    """Limits of gates on measures, as changes of the measure in points."""
    gates = material.summary.gates
    checks: Sequence[GateCheck] = () if gates is None else gates.checks
    names = {measure.value: measure for measure in Measure}
    return {
        names[one.name]: limit_of(one)
        for one in checks
        if one.name in names and one.unit == "points"
    }


def _forest(
    rows: Sequence[Row],
    engines: Sequence[Contender],
    material: Material,
    title: str,
    scale: float,
) -> bytes:
    """Intervals below each other, one band of lines per row, one mark per engine."""
    step = 0.8 / max(1, len(engines))

    def draw(figure: Figure) -> None:
        with framed(figure.subplots(), title) as axes:
            for place, engine in enumerate(engines):
                style = style_of(_place(material, engine))
                for line, row in enumerate(rows):
                    at = line + (place - (len(engines) - 1) / 2) * step
                    _bar(axes, row.intervals[place], at, scale, style.colour, style.mark)
                axes.plot([], [], style.mark, color=style.colour, label=engine.name[:_NAME])
            limited = False
            for line, row in enumerate(rows):
                if row.limit is not None:
                    limited = True
                    where = row.limit * scale
                    axes.plot([where, where], [line - 0.45, line + 0.45], color=INK, linewidth=1.6)
            if limited:
                axes.plot([], [], color=INK, linewidth=1.6, label="limit of the gate")
            if scale != 1.0:
                axes.axvline(0.0, color=INK, linewidth=0.8, linestyle="--")
            axes.set_yticks(range(len(rows)), [row.name for row in rows])
            axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(False, axis="y")
        figure.legend(loc="outside lower left", ncols=3)

    height = 1.2 + len(rows) * max(0.34, 0.17 * len(engines)) + 0.16 * len(engines)
    return picture(WIDTH, height, draw)


def _bar(axes: Axes, interval: Interval, at: float, scale: float, colour: str, mark: str) -> None:
    if interval.mean is None:
        return
    if interval.lower is not None and interval.upper is not None:
        ends = [interval.lower * scale, interval.upper * scale]
        axes.plot(ends, [at, at], color=colour, linewidth=2.0, solid_capstyle="butt")
    axes.plot([interval.mean * scale], [at], mark, color=colour, markersize=5.5)


def _plain_numbers(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
