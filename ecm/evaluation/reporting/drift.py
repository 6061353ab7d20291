"""What has changed since the last report, where it asked the same queries.

Figures of other queries are not comparable: then it is said that there is no drift to tell. What
else has changed between the two is named, since a change may come from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ecm.contracts.measured import EngineFacts, EngineFigures, Measure, QueryMeasured, Summary
from ecm.evaluation.reporting.glossary import LABELS
from ecm.evaluation.reporting.intervals import Interval, intervals
from ecm.evaluation.reporting.material import RANKED, Contender, Material, differing
from ecm.evaluation.reporting.text import (
    NONE,
    code,
    listed,
    milliseconds,
    moment,
    number,
    percent,
    points,
    ranged,
    signed,
    table,
)


@dataclass(frozen=True)
class Earlier:
    """The last report before this one; `measured` may be empty: then changes have no interval."""

    summary: Summary
    measured: Sequence[QueryMeasured] = ()


def drift_section(material: Material, earlier: Earlier | None) -> str:
    """Every engine that both reports have, then and now."""
    title = "## Since the last report"
    if earlier is None:
        return f"{title}\n\nThere is none before this one.\n"
    now, then = material.summary.head, earlier.summary.head
    told = f"The one before is {code(then.run_id)} of {moment(then.finished_at)}."
    if now.query_set.digest != then.query_set.digest or now.queries != then.queries:
        return (
            f"{title}\n\n{told} It asked other queries ({code(then.query_set.name)} version "
            f"{then.query_set.version}, {len(then.queries):,} of them): its figures are not "
            "comparable with these.\n"
        )
    figures = {one.engine_id: one for one in earlier.summary.figures}
    facts = {one.engine_id: one for one in then.engines}
    both = [one for one in material.contenders if one.facts.engine_id in figures]
    if not both:
        return f"{title}\n\n{told} It has none of these engines.\n"
    rows = [
        row
        for one in both
        for row in _rows(material, one, figures[one.facts.engine_id], earlier.measured)
    ]
    changed = [_changed(one.facts, facts[one.facts.engine_id]) for one in both]
    notes = [f"- {code(one.name)}: {what}" for one, what in zip(both, changed, strict=True)]
    if now.label_set.digest != then.label_set.digest:
        versions = f"{then.label_set.label_version} to {now.label_set.label_version}"
        notes.insert(0, f"- **Labels changed** (version {versions}): changes may come from there.")
    if now.code_version != then.code_version:
        notes.append(f"- code: {code(then.code_version)} to {code(now.code_version)}")
    if now.machine != then.machine or now.concurrency != then.concurrency:
        notes.append("- **Machine or concurrency changed**: latencies do not compare.")
    columns = ["engine", "measure", "then", "now", "change [95 %]"]
    return (
        "\n\n".join([title, told, table(columns, rows, left=2).rstrip("\n"), "\n".join(notes)])
        + "\n"
    )


def _rows(
    material: Material, one: Contender, then: EngineFigures, measured: Sequence[QueryMeasured]
) -> list[list[str]]:
    around = _intervals(material, one, measured)
    now, before = one.figures.all, then.all
    rows = [
        [
            code(one.name),
            LABELS[measure],
            number(before.values.get(measure)),
            number(now.values.get(measure)),
            _change(before.values.get(measure), now.values.get(measure), around.get(measure)),
        ]
        for measure in (Measure.NDCG_10, Measure.RECALL_50)
    ]
    latency = NONE
    if before.p95_ms and now.p95_ms is not None:
        latency = f"{signed((now.p95_ms / before.p95_ms - 1) * 100, 1)} %"
    errors = points(now.error_rate - before.error_rate)
    rows.append(
        [code(one.name), "p95 ms", milliseconds(before.p95_ms), milliseconds(now.p95_ms), latency]
    )
    rows.append(
        [
            code(one.name),
            "error rate",
            percent(before.error_rate, 2),
            percent(now.error_rate, 2),
            errors,
        ]
    )
    return rows


def _intervals(
    material: Material, one: Contender, measured: Sequence[QueryMeasured]
) -> Mapping[Measure, Interval]:
    values = {
        each.query_id: each.values for each in measured if each.engine_id == one.facts.engine_id
    }
    if not values:
        return {}
    asked = material.asked
    columns = []
    for measure in RANKED:
        before = [values.get(query_id, {}).get(measure) for query_id in asked]
        then = np.array([np.nan if value is None else value for value in before], np.float64)
        columns.append(one.column(measure, asked) - then)
    told = intervals(np.column_stack(columns), material.summary.head.seed)
    return dict(zip(RANKED, told, strict=True))


def _change(before: float | None, now: float | None, around: Interval | None) -> str:
    if before is None or now is None:
        return NONE
    said = points(now - before)
    if around is None or around.lower is None or around.upper is None:
        return said
    return ranged(said, points(around.lower), points(around.upper))


def _changed(now: EngineFacts, then: EngineFacts) -> str:
    """What is another of an engine, in words."""
    names = differing(now, then)
    return f"changed: {listed(names)}" if names else "the same build on the same snapshot"
