"""The report of a run: one Markdown document, with its pictures beside it.

A reader needs neither the code nor the plan: the verdict comes first, then what was compared, every
figure with how sure it is, and queries to look at. The same run gives the same bytes. Knows the
order of the parts; what each says is known to the modules of `reporting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ecm.contracts.measured import Answered, QueryMeasured, Summary
from ecm.evaluation.judgements import Judgements
from ecm.evaluation.reporting.closing import closing_section
from ecm.evaluation.reporting.drift import Earlier, drift_section
from ecm.evaluation.reporting.estimates import Estimates, estimates_of
from ecm.evaluation.reporting.examples import examples_section
from ecm.evaluation.reporting.gate_tables import gates_section
from ecm.evaluation.reporting.glossary import glossary
from ecm.evaluation.reporting.material import Contender, Material, contenders, material_of
from ecm.evaluation.reporting.operation import coverage_section, operation_section
from ecm.evaluation.reporting.plots import MOST, latency_plot, measures_plot, strata_plot
from ecm.evaluation.reporting.setting import cautions_section, setting_section
from ecm.evaluation.reporting.tables import measures_section, strata_section
from ecm.evaluation.reporting.text import code, day, listed
from ecm.evaluation.reporting.thumbs import FOLDER, Thumbs
from ecm.evaluation.reporting.trend import told_of
from ecm.evaluation.reporting.verdict import verdict_of, word_of
from ecm.evaluation.shelf import Queries

INTERVALS = f"{FOLDER}/intervals.json"
__all__ = ["FOLDER", "INTERVALS", "Contender", "Earlier", "Report", "contenders", "report_of"]


@dataclass(frozen=True)
class Report:
    """A report: `name` is what its file is called where a person keeps it.

    `files` are the pictures that it shows, by the name that it links them by, relative to it; and
    INTERVALS, its figures with their intervals for whoever follows them over time.
    """

    name: str
    markdown: str
    files: Mapping[str, bytes]


def report_of(
    summary: Summary,
    queries: Queries,
    judgements: Judgements,
    measured: Iterable[QueryMeasured],
    answers: Iterable[Answered],
    earlier: Earlier | Summary | None,
    thumbnails: Callable[[str], bytes | None],
    baseline: Contender | None = None,
) -> Report:
    """Write the report of a run.

    Args:
        summary: what came of it.
        queries: the query set it asked.
        judgements: of the label set it was measured by.
        measured: one per engine and query, as `queries.jsonl` of a run keeps them.
        answers: of all engines and rounds.
        earlier: the last report before it; None when there is none.
        thumbnails: the small JPEG of an asset, None when there is none.
        baseline: the engine it is compared with, where that is one of another run.
    """
    own = contenders(summary, measured, answers)
    material = material_of(summary, queries.queries, judgements, own, baseline)
    estimates = estimates_of(material)
    thumbs = Thumbs(thumbnails)
    plots = _plots(material, estimates)
    last = Earlier(earlier) if isinstance(earlier, Summary) else earlier
    parts = [
        _title(summary),
        verdict_of(material),
        cautions_section(material),
        setting_section(material),
        measures_section(material, estimates)
        + _shown(plots, "measures", "Intervals by measure")
        + _left_out(material),
        gates_section(material),
        strata_section(material, estimates) + _shown(plots, "strata", "Intervals by stratum"),
        coverage_section(material),
        operation_section(material) + _shown(plots, "latency", "Distribution of latencies"),
        examples_section(material, thumbs),
        drift_section(material, last),
        closing_section(material),
        glossary(),
    ]
    markdown = "\n".join(part for part in parts if part)
    told = told_of(material, estimates).model_dump_json().encode() + b"\n"
    files = {**plots, **thumbs.files, INTERVALS: told}
    return Report(report_name(summary), markdown, files)


def report_name(summary: Summary) -> str:
    """What the report of a run is called: by the day (UTC) on which the run ended."""
    return f"evaluation_report_{day(summary.head.finished_at)}.md"


def _title(summary: Summary) -> str:
    word = word_of(summary.verdict, summary.gates is not None)
    on = day(summary.head.finished_at)
    return f"# Evaluation of {on}: {word}\n\nRun {code(summary.head.run_id)}.\n"


def _plots(material: Material, estimates: Estimates) -> dict[str, bytes]:
    drawn = {
        "measures": measures_plot(material, estimates),
        "strata": strata_plot(material, estimates),
        "latency": latency_plot(material),
    }
    return {f"{FOLDER}/{name}.png": data for name, data in drawn.items() if data is not None}


def _left_out(material: Material) -> str:
    """Which engines no picture has room for."""
    rest = [code(one.name) for one in material.shown[MOST:]]
    return f"\nNot in the pictures, in the tables: {listed(rest)}.\n" if rest else ""


def _shown(plots: Mapping[str, bytes], name: str, said: str) -> str:
    file = f"{FOLDER}/{name}.png"
    return f"\n![{said}]({file})\n" if file in plots else ""
