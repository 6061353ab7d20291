"""`ecm evaluate report` and `ecm evaluate trend`: what came of runs that are kept, told again.

Knows how they are asked for and where their files go; what they say is known to `ecm.evaluation`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ecm.errors import ConfigError, StoreCorrupt
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    printable,
    table_of,
    utc,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ecm.contracts.measured import Schedule, Summary
    from ecm.evaluation.report import Contender, Report
    from ecm.evaluation.reporting.trend import RunTold, Trend
    from jobs.concluding import Desk, Sets

LAST = "last"
PAGE = "index.html"

OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Write it with its pictures there.")
]


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    group.command("report")(evaluate_report)
    group.command("trend")(evaluate_trend)


def evaluate_report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Its id, or last: the one that was begun last.")
    ],
    out: OutOption = None,
    page: Annotated[
        bool, typer.Option("--html", help="A page with its pictures in it too, for a browser.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a run again, from the answers that are kept: no engine is asked.

    Without --out the Markdown is printed. With it the folder gets evaluation_report_DAY.md,
    its pictures in report_files/, summary.json, and with --html evaluation_report_DAY.html, one
    file that needs nothing else.

    ecm evaluate report last

    ecm evaluate report release-20261101T020000Z-3f9a --out report/ --html

    The same run gives the same bytes. The exit code says whether a report was written, not what it
    says: see ecm evaluate show.
    """
    from jobs.concluding import Desk

    if page and out is None:
        raise ConfigError("--html needs a folder", "evaluation.out", "say --out DIR")
    desk = Desk.of(open_profile(profile, home, overrides, tenant))
    summary, report = report_again(desk, _named(desk, run))
    written = [] if out is None else _write(out, summary, report, page)
    value = {
        "run_id": summary.head.run_id,
        "verdict": summary.verdict.value,
        "failed_gate": summary.failed_gate,
        "report": report.name,
        "out": str(out) if out is not None else None,
        "files": written,
    }

    def show(console: Console) -> None:
        if out is None:
            console.print(report.markdown, markup=False, emoji=False)
        else:
            console.print(printable(f"report: {out / report.name}"), markup=False)

    emit(value, as_json, show)


def evaluate_trend(
    schedule: Annotated[
        Literal["smoke", "nightly", "release", "run"] | None,
        typer.Option("--schedule", help="Only runs of this one; all by default."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write index.html, trend.png and reports/."),
    ] = None,
    reports: Annotated[
        int, typer.Option("--reports", min=0, help="Pages of the newest so many reports.")
    ] = 30,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the runs that are kept have developed: quality, latency, errors, verdicts.

    With --out the folder gets a page that needs nothing else, its picture, and the newest reports
    as pages it links to: copy it to where people look. Points of other queries or labels are not
    joined by a line, for their figures do not compare.

    ecm evaluate trend --schedule nightly

    ecm evaluate trend --schedule nightly --out trend/
    """
    from ecm.contracts.measured import Schedule
    from jobs.concluding import Desk

    desk = Desk.of(open_profile(profile, home, overrides, tenant))
    trend = _trend(desk, None if schedule is None else Schedule(schedule))
    if out is not None:
        _write_trend(desk, trend, out, reports)
    value = {**trend.model_dump(mode="json"), "out": str(out) if out is not None else None}

    def show(console: Console) -> None:
        console.print(_trend_table(trend))
        if out is not None:
            console.print(printable(f"page: {out / PAGE}"), markup=False)

    emit(value, as_json, show)


def report_again(desk: Desk, run_id: str) -> tuple[Summary, Report]:
    """The report of a finished run, from what is kept of it.

    Raises ConfigError (no such run, not finished, its sets are gone), StoreCorrupt.
    """
    from ecm.evaluation.judgements import Judgements
    from ecm.evaluation.report import report_of
    from jobs.concluding import Sets, earlier_report

    summary = desk.runs.kept(run_id).summary
    if summary is None:
        raise ConfigError(
            f"run {run_id} is not finished",
            "evaluation.unfinished",
            f"go on with it: ecm evaluate run --resume {run_id}",
        )
    sets = Sets.of(desk, summary.head)
    report = report_of(
        summary,
        sets.queries,
        Judgements.of(sets.labels),
        desk.runs.queries(run_id),
        desk.runs.answers(run_id),
        earlier_report(desk, summary.head),
        desk.thumbnail,
        _baseline(desk, summary, sets),
    )
    return summary, report


def _baseline(desk: Desk, summary: Summary, sets: Sets) -> Contender | None:
    """The engine of another run that this one was compared with, measured by the labels of this
    one; None: there is none, or that run is no longer kept, which is said.
    """
    from ecm.evaluation.comparing import comparability, side_of
    from ecm.evaluation.judgements import Judgements
    from jobs.concluding import contender_of, measured_side, side_named

    head = summary.head
    if head.baseline is None or ":" not in head.baseline or head.candidate is None:
        return None
    of_run = head.baseline.partition(":")[0]
    if of_run not in desk.shelf.names("runs"):
        note(f"run {of_run} is no longer kept: the report has no queries compared with it")
        return None
    baseline = side_named(desk, head, (), head.baseline)
    candidate = side_of(head, head.candidate, desk.runs.answers(head.run_id))
    common = comparability(baseline, candidate, head.snapshots).common
    judgements = Judgements.of(sets.labels)
    return contender_of(desk, baseline, measured_side(baseline, sets.asked, common, judgements))


def _named(desk: Desk, run: str) -> str:
    """The id of a run. Raises ConfigError where there is none of it."""
    finished = (kept.head.run_id for kept in desk.runs.all() if kept.head is not None)
    found = next(finished, None) if run == LAST else run
    if found is None or found not in desk.shelf.names("runs"):
        raise ConfigError(
            f"no {'finished run' if run == LAST else f'run {run}'} of tenant "
            f"{desk.shelf.tenant_id}",
            "evaluation.no_run",
            "see: ecm evaluate list",
        )
    return found


def _write(out: Path, summary: Summary, report: Report, page: bool) -> list[str]:
    """The files of a report below `out`; their names."""
    from ecm.evaluation.reporting.pages import page_of
    from ecm.evaluation.runs import SUMMARY
    from jobs.evaluation_ending import write

    files = {report.name: report.markdown.encode(), **report.files}
    files[SUMMARY] = summary.model_dump_json(indent=1).encode() + b"\n"
    if page:
        title = report.name.removesuffix(".md")
        files[f"{title}.html"] = page_of(title, report.markdown, report.files).encode()
    for name, data in files.items():
        write(out / name, data)
    return sorted(files)


def _trend(desk: Desk, schedule: Schedule | None) -> Trend:
    """The trend of the finished runs of a tenant. Raises StoreCorrupt."""
    from ecm.evaluation.reporting.trend import Finished, trend_of

    chosen = [
        Finished(
            one.summary,
            _told(desk, one.plan.run_id),
            one.accepted.by if one.accepted is not None else None,
        )
        for one in desk.runs.all()
        if one.summary is not None and schedule in (None, one.plan.schedule)
    ]
    return trend_of(desk.shelf.tenant_id, schedule, chosen)


def _told(desk: Desk, run_id: str) -> RunTold | None:
    """The intervals beside a report; None: it was made without. Raises StoreCorrupt."""
    from pydantic import ValidationError

    from ecm.evaluation.report import INTERVALS
    from ecm.evaluation.reporting.trend import RunTold

    data = desk.runs.file(run_id, INTERVALS)
    try:
        return None if data is None else RunTold.model_validate_json(data)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise StoreCorrupt(f"{INTERVALS} of run {run_id}: {said}") from error


def _write_trend(desk: Desk, trend: Trend, out: Path, reports: int) -> None:
    """The page, its picture, and the pages of the newest reports as they were written."""
    from ecm.evaluation.reporting.trend_page import PICTURE, report_page, trend_page
    from ecm.evaluation.reporting.trend_plot import trend_plot
    from jobs.evaluation_ending import write

    pages = {}
    for run in trend.runs[::-1][:reports]:
        page = _kept_page(desk, run.run_id)
        if page is not None:
            pages[run.run_id] = page
    picture = trend_plot(trend)
    if picture is not None:
        write(out / PICTURE, picture)
    for run_id, page in pages.items():
        write(out / report_page(run_id), page.encode())
    write(out / PAGE, trend_page(trend, picture, pages).encode())


def _kept_page(desk: Desk, run_id: str) -> str | None:
    """The report that is kept of a run as a page; None: there is none."""
    from ecm.evaluation.report import FOLDER
    from ecm.evaluation.reporting.pages import page_of
    from ecm.evaluation.runs import REPORT

    markdown = desk.runs.file(run_id, REPORT)
    if markdown is None:
        return None
    names = (f"{FOLDER}/{name}" for name in desk.shelf.files(run_id, FOLDER))
    files = {name: desk.runs.file(run_id, name) or b"" for name in names}
    return page_of(f"Evaluation {run_id}", markdown.decode(), files)


def _trend_table(trend: Trend) -> Table:
    from ecm.evaluation.reporting.text import SPACE, milliseconds, number, percent

    rows: list[list[object]] = [
        [
            utc(run.at),
            run.run_id,
            "-" if run.verdict is None else run.verdict.value,
            run.accepted_by or "",
            run.failed_gate or "",
            point.engine_id,
            number(point.ndcg_10.value),
            number(point.recall_50.value),
            milliseconds(point.p95_ms.value),
            percent(point.error_rate.value).replace(SPACE, " "),
            ", ".join(run.changed),
        ]
        for run in trend.runs
        for point in run.points
    ]
    columns = [
        "ended",
        "run",
        "verdict",
        "accepted by",
        "failed",
        "engine",
        "nDCG@10",
        "Recall@50",
        "p95 ms",
    ]
    return table_of(f"runs of {trend.tenant_id}", [*columns, "errors", "changed"], rows)
