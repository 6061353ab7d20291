"""The report of a run: verdict first, everything named, nothing that is not there, always alike."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from ecm.contracts.measured import GateReport, RunState, Verdict
from ecm.evaluation.report import INTERVALS, Earlier, Report, report_of
from tests.measured_runs import (
    NOW,
    THREE,
    MeasuredRun,
    Ranking,
    gated,
    judged_run,
    label_set,
    measured_run,
    query_set,
    thumbnail,
)

OLD, BETTER, WORSE = (
    Ranking("old"),
    Ranking("new", noise=0.45, seed=5),
    Ranking("new", noise=2.0, seed=5),
)


def report(run: MeasuredRun, earlier: Earlier | None = None, pictures: bool = True) -> Report:
    return report_of(
        run.summary,
        run.queries,
        run.judgements,
        run.measured,
        run.answers,
        earlier,
        thumbnail if pictures else lambda _: None,
    )


def compared(new: Ranking, count: int = 60) -> MeasuredRun:
    run = measured_run(count, [new, OLD], baseline="old", candidate="new")
    return judged_run(run, "old", "new")


def first_paragraph(told: Report) -> str:
    return told.markdown.split("\n\n")[2]


@pytest.fixture(scope="module")
def blocked() -> MeasuredRun:
    return compared(WORSE)


@pytest.fixture(scope="module")
def blocked_report(blocked: MeasuredRun) -> Report:
    return report(blocked)


def test_what_blocks_is_said_first(blocked: MeasuredRun, blocked_report: Report) -> None:
    assert blocked.summary.failed_gate == "ndcg@10"
    assert blocked_report.markdown.startswith("# Evaluation of 2026-09-21: blocked")
    said = first_paragraph(blocked_report)
    assert said.startswith("**It may not ship:** nDCG@10")
    assert "`new` against `old`" in said
    check = blocked.summary.gates.checks[0]  # type: ignore[union-attr]
    line = next(
        line for line in blocked_report.markdown.split("\n") if line.startswith("- nDCG@10:")
    )
    assert f"{check.baseline:.4f} to {check.candidate:.4f}" in line
    assert f"−{-100 * check.change:.2f}\u00a0pp" in line  # type: ignore[operator]
    assert "the limit is −1.00\u00a0pp" in line
    assert "`new` and `old` differ in: ranking.\n" in blocked_report.markdown


def test_what_passes_says_what_could_go_unseen() -> None:
    run = compared(replace(OLD, engine_id="new"))
    said = first_paragraph(report(gated(run, _all(run, Verdict.PASS))))
    assert said.startswith("**It may ship:** `new` against `old` passes 7 gates.")


def test_what_cannot_be_told_says_how_many_queries_would() -> None:
    told = report(compared(replace(OLD, engine_id="new", seed=8), 40)).markdown
    assert "**It cannot be told whether it may ship:** nDCG@10" in told
    assert re.search(r"About [\d,]+ queries would tell, if the true change is as measured", told)


def test_without_a_baseline_nothing_is_claimed() -> None:
    told = report(measured_run(30))
    assert "not gated" in told.markdown.split("\n")[0]
    assert "no baseline" in first_paragraph(told)
    assert "the queries with the lowest nDCG@10 of `internal`" in told.markdown
    assert "ship" not in told.markdown


def test_everything_that_was_compared_is_named() -> None:
    run = measured_run(30)
    told = report(run).markdown
    head = run.summary.head
    for facts in head.engines:
        assert f"| `{facts.engine_id}` |" in told
        assert facts.ranking_digest is not None
        assert f"`{facts.ranking_digest[:12]}`" in told
    for name in (head.run_id, head.query_set.digest[:12], head.label_set.digest[:12], "2 cores"):
        assert name in told
    assert "**A recorded contract stands in for Example Search.**" in told
    assert "`commercial` is a recorded contract that stands in for Example Search" in told
    assert "target of 0.6: cohen\\_kappa 0.55 (beside it: ac1 0.82 and pabak 0.79)" in told
    assert "those who judged the same: cohen\\_kappa 0.55, ac1 0.82, pabak 0.79." in told
    assert "Gain is linear" in told


def test_pictures_are_those_that_are_shown(blocked_report: Report) -> None:
    shown = set(re.findall(r"!\[[^\]]*\]\(([^)]*)\)", blocked_report.markdown))
    assert shown | {INTERVALS} == set(blocked_report.files)
    assert {
        "report_files/measures.png",
        "report_files/strata.png",
        "report_files/latency.png",
    } < shown
    assert any(name.endswith(".jpg") for name in shown)


def test_a_report_is_the_same_every_time(blocked: MeasuredRun, blocked_report: Report) -> None:
    again = report(blocked)
    assert (again.name, again.markdown) == (blocked_report.name, blocked_report.markdown)
    assert dict(again.files) == dict(blocked_report.files)
    assert again.name == "evaluation_report_2026-09-21.md"


def test_losses_come_worst_first_with_what_was_missed(
    blocked: MeasuredRun, blocked_report: Report
) -> None:
    losses = blocked_report.markdown.split("### Largest losses")[1].split("### Largest gains")[0]
    changes = [float(one) for one in re.findall(r"\(−([\d.]+)\u00a0pp\)", losses)]
    assert len(changes) == 5
    assert changes == sorted(changes, reverse=True)
    query_id = re.findall(r"`(q-\d+)`", losses)[0]
    relevance = blocked.judgements.relevance(query_id)
    (answer,) = [
        one.answer for one in blocked.answers if (one.engine_id, one.query_id) == ("new", query_id)
    ]
    missed = [one for one in answer.ranked if relevance.get(one.asset_id, 0) and one.rank > 10]
    first = max(missed, key=lambda one: (relevance[one.asset_id], -one.rank))
    row = next(line for line in losses.split("\n") if line.startswith("| ![missed asset]"))
    assert row.startswith(
        f"| ![missed asset](report_files/{first.asset_id[:16]}.jpg) "
        f"| {relevance[first.asset_id]} | {first.rank} |"
    )
    assert r"tagged \*" in row


def test_without_pictures_assets_are_named(blocked: MeasuredRun) -> None:
    told = report(blocked, pictures=False)
    assert not any(name.endswith(".jpg") for name in told.files)
    assert "| `new` | `" in told.markdown


def test_the_report_before_it_is_compared_where_it_asked_the_same() -> None:
    run = measured_run(40, [OLD])
    before = measured_run(
        40, [replace(OLD, noise=0.8)], run_id="r-before", at=NOW - 86_400, code_version="0.5.0"
    )
    told = report(run, Earlier(before.summary, before.measured)).markdown
    section = told.split("## Since the last report")[1].split("## How to make it again")[0]
    then, now = (one.summary.figures[0].all.values["ndcg@10"] for one in (before, run))
    assert f"| `old` | nDCG@10 | {then:.4f} | {now:.4f} | +" in section
    assert "pp [" in section
    assert "changed: ranking" in section
    assert "code: `0.5.0` to `0.6.0`" in section

    other = measured_run(30, [OLD], run_id="r-other")
    told = report(run, Earlier(other.summary)).markdown
    assert "It asked other queries" in told
    assert "There is none before this one." in report(run).markdown


@pytest.mark.parametrize("state", [RunState.PARTIAL_FAILED, RunState.BUDGET_STOPPED])
def test_a_run_that_is_not_complete_says_so(state: RunState) -> None:
    run = measured_run(20, [OLD], state=state, reason="commercial: no answer | 3 times")
    told = report(run).markdown
    assert (
        f"**The run is not complete** ({state.value}): commercial: no answer \\| 3 times." in told
    )


def test_an_engine_without_figures_is_named() -> None:
    run = measured_run(20, THREE)
    partial = run.summary.model_copy(update={"figures": run.summary.figures[:2]})
    told = report(replace(run, summary=partial)).markdown
    assert "Without figures: `commercial`." in told


def test_one_query_is_a_report_without_intervals() -> None:
    told = report(measured_run(1, [OLD])).markdown
    assert "over the 1 query of which" in told
    row = next(line for line in told.split("\n") if line.startswith("| `old` | 0."))
    assert "[" not in row


def test_no_judged_query_is_said() -> None:
    asked = query_set(10)
    run = measured_run(10, [OLD, BETTER], queries=asked, labels=label_set(asked, judged=0.0))
    told = report(run).markdown
    assert "**No query has a relevant asset that is known: nothing can be told.**" in told
    assert "None: no query has a relevant asset that is known." in told
    assert not re.search(r"\bnan\b", told)


def test_what_is_not_the_same_on_both_sides_is_said_before_any_figure() -> None:
    run = compared(BETTER)
    remarked = run.summary.model_copy(update={"remarks": ("latencies are of <other> times",)})
    told = report(replace(run, summary=remarked)).markdown
    assert "- latencies are of \\<other\\> times.\n" in told.split("## What was compared")[0]


def test_a_baseline_that_is_gone_is_said() -> None:
    run = measured_run(40, [replace(OLD, engine_id="new")], baseline="r-0:new", candidate="new")
    base = compared(BETTER).summary.gates
    assert base is not None
    told = report(gated(run, base.model_copy(update={"baseline": "r-0:new"}))).markdown
    assert "The answers of the baseline `r-0:new` are no longer kept" in told


def test_many_engines_and_long_texts_stay_bounded() -> None:
    texts = ("very " * 390 + "long", "|" * 300, "`" * 99)
    asked = query_set(40, texts=texts)
    engines = [Ranking(f"engine-{number}", seed=number) for number in range(9)]
    told = report(measured_run(40, engines, queries=asked))
    assert sum(map(len, told.files.values())) + len(told.markdown) < 5_000_000
    assert max(map(len, told.markdown.split("\n"))) < 4_000
    assert "very very" in told.markdown
    assert "long" not in told.markdown.split("## Queries to look at")[1].split("####")[1][:200]


def test_nothing_heavy_is_loaded_before_it_is_needed() -> None:
    loaded = (
        "import sys, ecm.evaluation.report, ecm.evaluation.reporting.pages;"
        "print([n for n in ('matplotlib', 'scipy', 'markdown_it', 'PIL') if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_settings_of_matplotlib_stay_as_they_are(blocked: MeasuredRun) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    with matplotlib.rc_context({"font.size": 31.0}):
        told = report(blocked)
        assert matplotlib.rcParams["font.size"] == 31.0
    assert dict(matplotlib.rcParams) == before
    assert told.files == report(blocked).files


def _all(run: MeasuredRun, verdict: Verdict) -> GateReport:
    gates = run.summary.gates
    assert gates is not None
    checks = tuple(one.model_copy(update={"verdict": verdict}) for one in gates.checks)
    return gates.model_copy(update={"checks": checks, "verdict": verdict})
