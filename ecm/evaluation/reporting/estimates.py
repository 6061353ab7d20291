"""What a report says with intervals: means of every engine, and changes to the reference.

For all queries, and for those of each type and difficulty. Knows which queries belong where; the
arithmetic is `intervals`', the figures of the run itself are the summary's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ecm.contracts.evaluation import Difficulty
from ecm.contracts.measured import Measure
from ecm.contracts.search import QueryType
from ecm.evaluation.reporting.intervals import Interval, intervals
from ecm.evaluation.reporting.material import RANKED, Contender, Material

NOTHING = Interval(None, None, None, 0)


class Slice(StrEnum):
    """By what the queries of a run are divided."""

    ALL = "all"
    TYPE = "query type"
    DIFFICULTY = "difficulty"


@dataclass(frozen=True)
class Stratum:
    """Some of the queries: all, those of one type, those of one difficulty."""

    slice: Slice
    name: str


ALL = Stratum(Slice.ALL, "all")


@dataclass(frozen=True)
class Estimates:
    """Intervals by stratum, engine (by its name) and measure."""

    strata: tuple[Stratum, ...]
    means: dict[tuple[Stratum, str, Measure], Interval]
    changes: dict[tuple[Stratum, str, Measure], Interval]

    def mean(self, stratum: Stratum, engine: Contender, measure: Measure) -> Interval:
        return self.means.get((stratum, engine.name, measure), NOTHING)

    def change(self, stratum: Stratum, engine: Contender, measure: Measure) -> Interval:
        """Of the engine, less the reference, over the queries that both have."""
        return self.changes.get((stratum, engine.name, measure), NOTHING)


def estimates_of(material: Material) -> Estimates:
    """All intervals of a run; the seed is the run's, so that they are always the same."""
    parts = _strata(material)
    found = Estimates(tuple(parts), {}, {})
    for stratum, asked in parts.items():
        _add(found, stratum, material, asked)
    return found


def _strata(material: Material) -> dict[Stratum, Sequence[str]]:
    """Those with queries, in the order of a report."""
    asked = material.asked
    queries = material.queries
    parts: dict[Stratum, Sequence[str]] = {ALL: asked}
    for kind in QueryType:
        parts[Stratum(Slice.TYPE, kind)] = [q for q in asked if queries[q].query_type is kind]
    for level in Difficulty:
        chosen = [q for q in asked if queries[q].difficulty is level]
        parts[Stratum(Slice.DIFFICULTY, level)] = chosen
    return {stratum: asked for stratum, asked in parts.items() if asked}


def _add(found: Estimates, stratum: Stratum, material: Material, asked: Sequence[str]) -> None:
    columns = []
    places = []
    for engine in material.shown:
        for measure in RANKED:
            columns.append(engine.column(measure, asked))
            places.append((found.means, (stratum, engine.name, measure)))
    reference = material.reference
    if reference is not None:
        for engine in material.compared:
            for measure in RANKED:
                change = engine.column(measure, asked) - reference.column(measure, asked)
                columns.append(change)
                places.append((found.changes, (stratum, engine.name, measure)))
    if columns:
        told = intervals(np.column_stack(columns), material.summary.head.seed)
        for (table, key), interval in zip(places, told, strict=True):
            table[key] = interval
