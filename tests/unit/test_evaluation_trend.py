"""Trends: what is joined by a line and what is not, what is said to have changed, the page."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.measured import GateReport, Schedule, Verdict
from ecm.evaluation.report import INTERVALS, report_of
from ecm.evaluation.reporting.rates import quantile_interval, wilson
from ecm.evaluation.reporting.trend import (
    Change,
    Finished,
    Join,
    RunTold,
    Trend,
    joins_of,
    lines_of,
    timed_joins_of,
    trend_of,
)
from ecm.evaluation.reporting.trend_page import report_page, trend_page
from ecm.evaluation.reporting.trend_plot import trend_plot
from tests.measured_runs import (
    NOW,
    MeasuredRun,
    Ranking,
    gated,
    label_set,
    measured_run,
    query_set,
)

DAY = 86_400.0
ASKED = query_set(20)
LABELS = label_set(ASKED)
ENGINE = Ranking("internal")


def run(day: int, engine: Ranking = ENGINE, **changes: object) -> MeasuredRun:
    told: dict[str, object] = {"queries": ASKED, "labels": LABELS, **changes}
    return measured_run(20, [engine], run_id=f"r-{day}", at=NOW + day * DAY, **told)  # type: ignore[arg-type]


def trend(*runs: MeasuredRun) -> Trend:
    return trend_of("t", None, [Finished(one.summary) for one in runs])


def test_the_same_build_on_the_same_queries_is_joined() -> None:
    found = trend(run(1), run(0), run(2))
    assert [one.run_id for one in found.runs] == ["r-0", "r-1", "r-2"]
    assert [one.changed for one in found.runs] == [(), (), ()]
    (line,) = lines_of(found, "internal")
    assert joins_of(line) == [Join.SAME, Join.SAME]


@pytest.mark.parametrize(
    ("change", "other", "joined", "timed"),
    [
        (Change.QUERIES, {"queries": query_set(21)}, Join.APART, Join.APART),
        (Change.LABELS, {"labels": label_set(ASKED, version=2, seed=5)}, Join.APART, Join.APART),
        (Change.SNAPSHOT, {"snapshot_id": "s-2"}, Join.OTHER_BUILD, Join.OTHER_BUILD),
        (Change.RANKING, {"ranking_digest": "e" * 64}, Join.OTHER_BUILD, Join.OTHER_BUILD),
        (Change.VERSION, {"version": "2"}, Join.OTHER_BUILD, Join.OTHER_BUILD),
        (Change.MACHINE, {"machine": "8 cores"}, Join.SAME, Join.APART),
        (Change.MACHINE, {"concurrency": 9}, Join.SAME, Join.APART),
    ],
)
def test_what_changed_is_marked_and_what_does_not_compare_is_not_joined(
    change: Change, other: dict[str, object], joined: Join, timed: Join
) -> None:
    before = run(0)
    if change in (Change.SNAPSHOT, Change.RANKING, Change.VERSION):
        kept = before.summary.head.engines[0].ranking_digest
        facts = {"ranking_digest": kept, **other}
        now = run(1, replace(ENGINE, facts=facts))
    elif change is Change.QUERIES:
        asked = query_set(21)
        now = run(1, queries=asked, labels=label_set(asked))
    else:
        now = run(1, **other)
    found = trend(before, now)
    assert change in found.runs[1].changed
    (line,) = lines_of(found, "internal")
    assert joins_of(line) == [joined]
    assert timed_joins_of(line) == [timed]


def test_schedules_have_lines_of_their_own() -> None:
    found = trend(run(0), run(1, schedule="release"), run(2))
    lines = list(lines_of(found, "internal"))
    assert [[one.run_id for one, _ in line] for line in lines] == [["r-0", "r-2"], ["r-1"]]
    assert [one.changed for one in found.runs] == [(), (), ()]


def test_figures_have_the_intervals_of_their_report() -> None:
    one = run(0)
    told = report_of(
        one.summary, one.queries, one.judgements, one.measured, one.answers, None, lambda _: None
    )
    kept = RunTold.model_validate_json(told.files[INTERVALS])
    ((found,), (plain,)) = (
        trend_of("t", None, [Finished(one.summary, each)]).runs[0].points for each in (kept, None)
    )
    lower, upper = found.ndcg_10.lower, found.ndcg_10.upper
    assert lower is not None
    assert upper is not None
    assert f"[{lower:.4f},\u00a0{upper:.4f}]" in told.markdown
    assert (plain.ndcg_10.value, plain.ndcg_10.lower) == (found.ndcg_10.value, None)


def test_the_page_needs_nothing_and_tells_the_last_verdict() -> None:
    gates = GateReport(baseline="a", candidate="<b>", verdict=Verdict.BLOCK, checks=())
    last = gated(run(1), gates)
    hostile = last.summary.model_copy(update={"failed_gate": "<script>x</script>"})
    found = trend_of(
        "t",
        Schedule.NIGHTLY,
        [Finished(run(0).summary), Finished(hostile, accepted_by="<i>mary</i>")],
    )
    page = trend_page(found, trend_plot(found), {"r-0"})
    assert "The last of 2 runs: may not ship (&lt;script&gt;x&lt;/script&gt;)" in page
    assert "accepted by &lt;i&gt;mary&lt;/i&gt;" in page
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert f'<a href="{report_page("r-0")}">' in page
    assert report_page("r-1") not in page
    assert all(
        one.startswith("data:image/png;base64,") for one in re.findall(r'src="([^"]*)"', page)
    )
    value = found.runs[0].points[0].ndcg_10.value
    assert f"{value:.4f}" in page


def test_a_trend_of_nothing_is_a_page_too() -> None:
    found = trend()
    assert trend_plot(found) is None
    assert "No finished run yet." in trend_page(found, None, ())


def test_a_picture_is_the_same_every_time() -> None:
    found = trend(run(0), run(1))
    assert trend_plot(found) == trend_plot(found)


@given(st.integers(0, 400), st.integers(1, 400))
def test_rates_lie_in_their_intervals(failed: int, count: int) -> None:
    rate = min(failed, count) / count
    ends = wilson(rate, count)
    assert ends is not None
    assert 0 <= ends[0] <= rate + 1e-12
    assert rate - 1e-12 <= ends[1] <= 1


@given(st.lists(st.floats(0.1, 1e4), min_size=80, max_size=200), st.sampled_from([0.5, 0.9]))
def test_quantiles_lie_in_their_intervals(values: list[float], share: float) -> None:
    ends = quantile_interval(values, share)
    assert ends is not None
    below = sum(one <= ends[1] for one in values) / len(values)
    assert ends[0] <= ends[1]
    assert below > share
    assert sum(one < ends[0] for one in values) / len(values) < share
