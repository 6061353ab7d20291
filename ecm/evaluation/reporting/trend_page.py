"""The page of a trend: the last verdict, the picture, and every run with its figures.

One HTML file that fetches nothing and runs nothing; its links go to pages of reports beside it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Collection
from typing import Final

from ecm.contracts.measured import RunState, Verdict
from ecm.evaluation.reporting.pages import framed_page, inlined
from ecm.evaluation.reporting.text import (
    NONE,
    counted,
    listed,
    milliseconds,
    moment,
    number,
    percent,
    plain,
    ranged,
)
from ecm.evaluation.reporting.trend import Around, Trend, TrendPoint, TrendRun

Said = Callable[[float | None], str]
PICTURE: Final = "trend.png"
_HEADS: Final = (
    ("ended", ""),
    ("run", ""),
    ("verdict", ""),
    ("changed", ""),
    ("engine", ""),
    ("nDCG@10", "right"),
    ("Recall@50", "right"),
    ("p95 ms", "right"),
    ("errors", "right"),
    ("judged", "right"),
)
_WORDS: Final = {
    Verdict.PASS: "may ship",
    Verdict.WARN: "may ship, with a warning",
    Verdict.BLOCK: "may not ship",
    Verdict.INCONCLUSIVE: "cannot be told",
}


def trend_page(trend: Trend, picture: bytes | None, linked: Collection[str]) -> str:
    """The page. `linked` are the ids of runs that have a page at `report_page(run_id)`."""
    title = f"Evaluation trend of {trend.tenant_id}"
    if trend.schedule is not None:
        title += f", {trend.schedule.value} runs"
    parts = [f"<h1>{_text(title)}</h1>", _summary(trend, linked)]
    if picture is not None:
        parts.append(
            f'<img class="plot" src="{inlined(PICTURE, picture)}" alt="{_text(_said(trend))}">'
        )
    if trend.runs:
        parts += [_reading(), _table(trend, linked)]
    return framed_page(title, "\n".join(parts) + "\n")


def report_page(run_id: str) -> str:
    """The name of the page of a run's report, relative to that of the trend."""
    return f"reports/{run_id}.html"


def _summary(trend: Trend, linked: Collection[str]) -> str:
    if not trend.runs:
        return "<p>No finished run yet.</p>"
    last = trend.runs[-1]
    word = "compared with nothing" if last.verdict is None else _WORDS[last.verdict]
    by = f" ({_text(last.failed_gate)})" if last.failed_gate else ""
    runs = counted(len(trend.runs), "run")
    return (
        f"<p><strong>The last of {runs}: {word}{by}</strong>, {_link(last, linked)} of "
        f"{_text(moment(last.at))}.</p>"
    )


def _said(trend: Trend) -> str:
    """The picture in words, for who cannot see it."""
    return (
        f"nDCG@10, Recall@50, p95 latency and errors of {listed(trend.engines)} over "
        f"{counted(len(trend.runs), 'run')}; every figure is in the table below"
    )


def _reading() -> str:
    return (
        "<p>Points have 95 % intervals. A full line joins the same build on the same queries and "
        "labels; a dotted one another snapshot, ranking or version of it. Where queries or labels "
        "changed there is no line, for the figures do not compare; for latencies neither where the "
        "machine or the concurrency changed. <em>Changed</em> names "
        "what was another than in the run of the same schedule before.</p>"
    )


def _table(trend: Trend, linked: Collection[str]) -> str:
    heads = "".join(f"<th{_class(kind)}>{name}</th>" for name, kind in _HEADS)
    rows = "\n".join(_rows(run, linked) for run in reversed(trend.runs))
    return (
        f'<h2>Runs</h2>\n<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _rows(run: TrendRun, linked: Collection[str]) -> str:
    """A row for each engine; what is of the whole run stands in the first."""
    span = max(1, len(run.points))
    rows = f' rowspan="{span}"' if span > 1 else ""
    verdict = NONE if run.verdict is None else run.verdict.value
    if run.failed_gate:
        verdict += f": {run.failed_gate}"
    if run.state is not RunState.COMPLETE:
        verdict += f" ({run.state.value})"
    if run.accepted_by is not None:
        verdict += f", accepted by {run.accepted_by}"
    strong = run.verdict is Verdict.BLOCK
    whole = [
        _text(moment(run.at).removesuffix(" UTC")),
        _link(run, linked),
        f"<strong>{_text(verdict)}</strong>" if strong else _text(verdict),
        _text(_changed(run)),
    ]
    kinds = (' class="whole"', "", "", "")
    first = "".join(f"<td{rows}{kind}>{cell}</td>" for cell, kind in zip(whole, kinds, strict=True))
    engines = [_engine(point) for point in run.points] or ['<td colspan="6">no figures</td>']
    return "\n".join(
        f"<tr>{first if place == 0 else ''}{cells}</tr>" for place, cells in enumerate(engines)
    )


def _changed(run: TrendRun) -> str:
    said = {
        "queries": f"queries: {run.query_set}@{run.query_set_version}",
        "labels": f"labels: {run.label_set}@{run.label_version}",
    }
    return ", ".join(said.get(change.value, change.value) for change in run.changed)


def _engine(point: TrendPoint) -> str:
    figures = [
        _figure(point.ndcg_10, number),
        _figure(point.recall_50, number),
        _figure(point.p95_ms, milliseconds),
        _figure(point.error_rate, percent),
        f"{point.judged:,}",
    ]
    cells = "".join(f'<td class="right">{figure}</td>' for figure in figures)
    return f"<td><code>{_text(point.engine_id)}</code></td>{cells}"


def _figure(around: Around, said: Said) -> str:
    ends = [None if end is None else said(end) for end in (around.lower, around.upper)]
    return ranged(said(around.value), ends[0], ends[1])


def _link(run: TrendRun, linked: Collection[str]) -> str:
    name = f"<code>{_text(run.run_id)}</code>"
    if run.run_id not in linked:
        return name
    return f'<a href="{_text(report_page(run.run_id))}">{name}</a>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _text(text: str) -> str:
    return html.escape(plain(text, 300))
