"""What a report is drawn from: a run with its engines, each with its answers and measures.

Knows who is compared with whom, and which queries count for whom; knows no Markdown, no picture and
no file. A baseline may be an engine of the same run or of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import (
    Answered,
    EngineAnswer,
    EngineFacts,
    EngineFigures,
    EngineKind,
    Measure,
    QueryMeasured,
    Summary,
)
from ecm.evaluation.judgements import Judgements

RANKED: Final = (
    Measure.NDCG_10,
    Measure.RECALL_50,
    Measure.RECALL_20,
    Measure.MRR_10,
    Measure.PRECISION_5,
)
"""Measures of judged queries, of which higher is better, in the order of a report."""


@dataclass(frozen=True)
class Contender:
    """One engine that is compared: what it is, what it answered, what came of it.

    `name` is the engine's id, of another run RUN:ENGINE. `values` and `answers` are by query id, of
    the round that is judged; `latencies` are milliseconds of every answer of every round.
    """

    name: str
    facts: EngineFacts
    figures: EngineFigures
    values: Mapping[str, Mapping[Measure, float | None]]
    answers: Mapping[str, EngineAnswer]
    latencies: tuple[float, ...]

    def column(self, measure: Measure, asked: Sequence[str]) -> npt.NDArray[np.float64]:
        """float64 (n,): values of the queries `asked`, NaN where the measure says nothing."""
        found = (self.values.get(query_id, {}).get(measure) for query_id in asked)
        return np.array([np.nan if value is None else value for value in found], np.float64)


@dataclass(frozen=True)
class Material:
    """A run, and who is compared in it.

    `candidate` is what the report is about. `reference` is what the others are compared with: the
    baseline, or without one the candidate where there is more than one engine; None otherwise.
    """

    summary: Summary
    queries: Mapping[str, EvaluationQuery]
    judgements: Judgements
    contenders: tuple[Contender, ...]
    candidate: Contender | None
    baseline: Contender | None

    @property
    def reference(self) -> Contender | None:
        if self.baseline is not None:
            return self.baseline
        return self.candidate if len(self.contenders) > 1 else None

    @property
    def asked(self) -> tuple[str, ...]:
        """Ids of the queries that the set knows, in its order."""
        return tuple(one for one in self.summary.head.queries if one in self.queries)

    @property
    def shown(self) -> tuple[Contender, ...]:
        """Everyone with figures, the baseline first, each once."""
        rest = tuple(one for one in self.contenders if one is not self.baseline)
        return rest if self.baseline is None else (self.baseline, *rest)

    @property
    def compared(self) -> tuple[Contender, ...]:
        """Everyone but the reference."""
        return tuple(one for one in self.shown if one is not self.reference)


def contenders(
    summary: Summary,
    measured: Iterable[QueryMeasured],
    answers: Iterable[Answered],
    of_run: str | None = None,
) -> tuple[Contender, ...]:
    """The engines of a run that have figures, in its order; with `of_run` named RUN:ENGINE."""
    values: dict[str, dict[str, Mapping[Measure, float | None]]] = {}
    for one in measured:
        values.setdefault(one.engine_id, {})[one.query_id] = one.values
    judged: dict[str, dict[str, EngineAnswer]] = {}
    latencies: dict[str, list[float]] = {}
    for line in answers:
        if line.round == 0:
            judged.setdefault(line.engine_id, {})[line.query_id] = line.answer
        if line.answer.error is None and line.answer.latency_ms is not None:
            latencies.setdefault(line.engine_id, []).append(line.answer.latency_ms)
    figures = {one.engine_id: one for one in summary.figures}
    return tuple(
        Contender(
            name=facts.engine_id if of_run is None else f"{of_run}:{facts.engine_id}",
            facts=facts,
            figures=figures[facts.engine_id],
            values=values.get(facts.engine_id, {}),
            answers=judged.get(facts.engine_id, {}),
            latencies=tuple(latencies.get(facts.engine_id, ())),
        )
        for facts in summary.head.engines
        if facts.engine_id in figures
    )


def differing(one: EngineFacts, other: EngineFacts) -> list[str]:
    """What two engines, or one at two times, differ in."""
    same = {
        "version": one.version == other.version,
        "snapshot": one.snapshot_id == other.snapshot_id,
        "ranking": one.ranking_digest == other.ranking_digest,
        "models": one.fingerprints == other.fingerprints,
        "assets": one.assets == other.assets,
    }
    return [name for name, is_so in same.items() if not is_so]


def material_of(
    summary: Summary,
    queries: Iterable[EvaluationQuery],
    judgements: Judgements,
    own: tuple[Contender, ...],
    other: Contender | None,
) -> Material:
    """Who is who. `own` are the contenders of the run, `other` is a baseline of another run."""
    head = summary.head
    baseline = other or _named(own, head.baseline, head.run_id)
    rest = tuple(one for one in own if one is not baseline)
    judged = head.candidate or (summary.gates.candidate if summary.gates is not None else None)
    gated = _named(rest, judged, head.run_id)
    internal = (one for one in rest if one.facts.kind is EngineKind.INTERNAL)
    candidate = gated or next(internal, None) or next(iter(rest), None)
    known = {one.query_id: one for one in queries}
    return Material(summary, known, judgements, own, candidate, baseline)


def _named(among: Sequence[Contender], name: str | None, run_id: str) -> Contender | None:
    """The one that a run calls ENGINE, or RUN:ENGINE where RUN is this one."""
    of_run, _, engine = (name or "").rpartition(":")
    if of_run not in ("", run_id):
        return None
    return next((one for one in among if one.facts.engine_id == engine), None)
