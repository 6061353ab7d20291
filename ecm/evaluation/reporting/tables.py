"""Tables of measures: engines by measure, changes to the reference, and the same by stratum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ecm.contracts.evaluation import QueryKind
from ecm.contracts.measured import EngineFigures, Measure
from ecm.evaluation.reporting.estimates import ALL, Estimates
from ecm.evaluation.reporting.glossary import LABELS
from ecm.evaluation.reporting.intervals import Interval
from ecm.evaluation.reporting.material import RANKED, Contender, Material
from ecm.evaluation.reporting.text import (
    NONE,
    code,
    counted,
    number,
    percent,
    points,
    ranged,
    table,
)

STRATIFIED: Final = (Measure.NDCG_10, Measure.RECALL_50)
_SURE: Final = "Bold: the interval does not reach zero."


def measures_section(material: Material, estimates: Estimates) -> str:
    """Engines by measure with intervals, and what differs from the reference."""
    if not material.shown:
        return "## Measures\n\nNo engine was measured.\n"
    judged = max(one.figures.all.judged for one in material.shown)
    parts = [
        "## Measures",
        f"Means over the {counted(judged, 'query', 'queries')} of which a relevant asset is known, "
        "with 95 % intervals in brackets. Zero results are over all queries.",
        _means(material, estimates),
    ]
    if judged == 0:
        parts.insert(1, "**No query has a relevant asset that is known: nothing can be told.**")
    reference = material.reference
    if reference is not None and material.compared:
        parts += [
            f"Changes to {code(reference.name)}, in percentage points, over the queries that both "
            f"answered or failed. {_SURE}",
            _changes(material, estimates),
        ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def strata_section(material: Material, estimates: Estimates) -> str:
    """The two measures that gate, by query type, difficulty and kind."""
    parts = ["## By query type and difficulty"]
    for measure in STRATIFIED:
        parts += [f"### {LABELS[measure]}", _by_stratum(material, estimates, measure)]
    reference = material.reference
    if reference is not None and material.compared:
        parts.append(
            f"Changes are to {code(reference.name)}. {_SURE} Of twenty such intervals one misses "
            "the truth by chance: a single bold stratum is a hint, not a finding."
        )
    kinds = [kind for kind in QueryKind if any(kind in e.figures.by_kind for e in material.shown)]
    if kinds:
        parts += ["### By kind of query", _by_kind(material, kinds)]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _means(material: Material, estimates: Estimates) -> str:
    rows = []
    for engine in material.shown:
        whole = engine.figures.all
        cells = [_mean(whole.values.get(m), estimates.mean(ALL, engine, m)) for m in RANKED]
        zero = percent(whole.values.get(Measure.ZERO_RESULTS))
        rows.append([_named(engine, material), *cells, zero, f"{whole.judged:,}"])
    columns = ["engine", *(LABELS[m] for m in RANKED), "zero results", "judged queries"]
    return table(columns, rows)


def _changes(material: Material, estimates: Estimates) -> str:
    rows = [
        [code(engine.name), *(_change(estimates.change(ALL, engine, m)) for m in RANKED)]
        for engine in material.compared
    ]
    return table(["engine", *(LABELS[m] for m in RANKED)], rows)


def _by_stratum(material: Material, estimates: Estimates, measure: Measure) -> str:
    shown, compared = material.shown, material.compared if material.reference else ()
    columns = ["queries", "judged", *(code(one.name) for one in shown)]
    columns += [f"change of {code(one.name)}" for one in compared]
    rows = []
    for stratum in estimates.strata:
        means = [estimates.mean(stratum, one, measure) for one in shown]
        changes = [estimates.change(stratum, one, measure) for one in compared]
        judged = max((one.queries for one in means), default=0)
        told = [number(one.mean) if compared else _mean(one.mean, one) for one in means]
        rows.append([stratum.name, f"{judged:,}", *told, *(_change(one) for one in changes)])
    return table(columns, rows)


def _by_kind(material: Material, kinds: Sequence[QueryKind]) -> str:
    columns = ["kind", "queries"]
    columns += [f"{LABELS[m]} {code(one.name)}" for m in STRATIFIED for one in material.shown]
    rows = []
    for kind in kinds:
        sides = [one.figures for one in material.shown]
        asked = max(one.by_kind[kind].queries for one in sides if kind in one.by_kind)
        cells = [_of_kind(one, kind, measure) for measure in STRATIFIED for one in sides]
        rows.append([kind.value.replace("_", " "), f"{asked:,}", *cells])
    return table(columns, rows)


def _of_kind(figures: EngineFigures, kind: QueryKind, measure: Measure) -> str:
    return number(figures.by_kind[kind].values.get(measure)) if kind in figures.by_kind else NONE


def _named(engine: Contender, material: Material) -> str:
    return f"{code(engine.name)} (baseline)" if engine is material.baseline else code(engine.name)


def _mean(value: float | None, interval: Interval) -> str:
    if value is None or interval.lower is None:
        return number(value)
    return ranged(number(value), number(interval.lower), number(interval.upper))


def _change(interval: Interval) -> str:
    said = points(interval.mean)
    if interval.lower is None or interval.upper is None:
        return said
    said = ranged(said, points(interval.lower), points(interval.upper))
    return f"**{said}**" if interval.lower > 0 or interval.upper < 0 else said
