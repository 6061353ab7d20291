"""The picture of a trend: figures of every engine over time, and above them what was another.

Points of the same queries and labels are joined: by a full line where the build is the same, by a
dotted one where snapshot, ranking or version changed. What is not comparable is not joined. Every
number in it is in the table of the page too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from ecm.contracts.measured import Verdict
from ecm.evaluation.reporting.canvas import FAINT, INK, Style, framed, picture, style_of
from ecm.evaluation.reporting.trend import (
    Around,
    Change,
    Join,
    Line,
    Trend,
    TrendPoint,
    joins_of,
    lines_of,
    timed_joins_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST: Final = 7
"""Engines of one picture; beyond it colours and marks would repeat."""
_DAY: Final = 86_400.0
_APART: Final = 0.005
"""Of the width, between the points of two engines, so that intervals do not hide each other."""
_VERDICTS: Final = {
    Verdict.PASS: ("o", "#0072b2", "pass"),
    Verdict.WARN: ("D", "#e69f00", "warn"),
    Verdict.INCONCLUSIVE: ("v", "#8a8a8a", "cannot tell"),
    Verdict.BLOCK: ("X", "#d55e00", "block"),
}
_DRAWN: Final = {Join.SAME: "-", Join.OTHER_BUILD: ":"}
Panel = tuple[str, Callable[[TrendPoint], Around], Callable[[Line], list[Join]], float]
_PANELS: Final[tuple[Panel, ...]] = (
    ("nDCG@10", lambda point: point.ndcg_10, joins_of, 1.0),
    ("Recall@50", lambda point: point.recall_50, joins_of, 1.0),
    ("p95, ms", lambda point: point.p95_ms, timed_joins_of, 1.0),
    ("errors, %", lambda point: point.error_rate, joins_of, 100.0),
)


def trend_plot(trend: Trend) -> bytes | None:
    """A PNG; None where there is no point to draw."""
    engines = trend.engines[:MOST]
    if not engines:
        return None

    def draw(figure: Figure) -> None:
        heights = [1.3, 2.0, 2.0, 1.7, 1.5]
        axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        _changes(axes[0], trend)
        for panel, one in zip(_PANELS, axes[1:], strict=True):
            _panel(one, panel, trend, engines)
        _dates(axes[-1], trend)
        for place, engine in enumerate(engines):
            style = style_of(place)
            axes[1].plot([], [], style.mark, color=style.colour, label=engine[:32])
        handles, names = axes[1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=4)

    return picture(8.5, 10.0, draw)


def _changes(axes: Axes, trend: Trend) -> None:
    """Verdicts, and a stroke for everything that was another than in the run before."""
    rows = ["verdict", *(change.value for change in Change)]
    with framed(axes, "Verdicts, and what changed"):
        for run in trend.runs:
            if run.verdict is not None:
                mark, colour, _ = _VERDICTS[run.verdict]
                axes.plot([run.at / _DAY], [0], marker=mark, color=colour, markersize=6)
            for change in run.changed:
                row = rows.index(change.value)
                axes.plot([run.at / _DAY], [row], marker="|", color=INK, markersize=8, mew=1.4)
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.set_ylim(len(rows) - 0.4, -0.7)
        seen = {run.verdict for run in trend.runs if run.verdict is not None}
        for verdict, (mark, colour, name) in _VERDICTS.items():
            if verdict in seen:
                axes.plot([], [], linestyle="", marker=mark, color=colour, label=name)
        if seen:
            axes.legend(
                loc="lower right",
                bbox_to_anchor=(1.0, 0.98),
                ncols=4,
                fontsize=8,
                borderaxespad=0,
                handletextpad=0.2,
            )


def _panel(axes: Axes, panel: Panel, trend: Trend, engines: Sequence[str]) -> None:
    title, figure_of, joined, scale = panel
    with framed(axes, title):
        apart = (trend.runs[-1].at - trend.runs[0].at) / _DAY * _APART
        for place, engine in enumerate(engines):
            aside = (place - (len(engines) - 1) / 2) * apart
            for line in lines_of(trend, engine):
                points = [(run.at / _DAY + aside, figure_of(point)) for run, point in line]
                _line(axes, points, joined(line), style_of(place), scale)
        axes.margins(x=0.03, y=0.12)
        if title.startswith("errors"):
            top = max(axes.get_ylim()[1], 1.0)
            axes.set_ylim(-0.06 * top, top)


def _line(
    axes: Axes,
    points: Sequence[tuple[float, Around]],
    joins: Sequence[Join],
    style: Style,
    scale: float,
) -> None:
    for number, (at, around) in enumerate(points):
        if around.value is None:
            continue
        if around.lower is not None and around.upper is not None:
            ends = [around.lower * scale, around.upper * scale]
            axes.plot([at, at], ends, color=style.colour, linewidth=1.2, alpha=0.55)
        axes.plot([at], [around.value * scale], style.mark, color=style.colour, markersize=4)
        before = points[number - 1] if number else None
        join = joins[number - 1] if number else Join.APART
        if before is not None and before[1].value is not None and join in _DRAWN:
            values = [before[1].value * scale, around.value * scale]
            axes.plot(
                [before[0], at],
                values,
                linestyle=_DRAWN[join],
                color=style.colour,
                linewidth=1.3,
            )


def _dates(axes: Axes, trend: Trend) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz="UTC", minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz="UTC"))
    first, last = trend.runs[0].at / _DAY, trend.runs[-1].at / _DAY
    room = max((last - first) * 0.03, 300 / _DAY)
    axes.set_xlim(first - room, last + room)
    axes.set_xlabel("UTC")
    axes.tick_params(axis="x", colors=FAINT if first == last else INK)
