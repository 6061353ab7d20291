"""How fast models were: what a run puts on record about its transforms, and what runs have shown.

A rate is images per second of one actor, by task type and model: another prompt or threshold of the
same model has its rate. Knows records of runs and plans; reads no table itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from ecm.contracts.result import ResultEnvelope
from ecm.contracts.task import ModelSpec, TaskType
from ecm.evidence.runs import RunRecord
from ecm.stages.envelope import OWN_MS
from ecm.stages.plan import Transform, TransformPlan

RECENT: Final = 5
"""Runs whose median counts."""

FEWEST: Final = 32
"""Images below which a run says nothing about speed: it was over before it was warm."""

_COMPUTED, _ACTORS, _BUSY = "computed", "actors", "busy_seconds"
_READ: Final = "read"
_READING: Final = ("read_ms", "decode_ms")


@dataclass(frozen=True, slots=True)
class Rate:
    """Images per second of one actor, and over how many runs."""

    per_actor: float
    runs: int


@dataclass
class Work:
    """Envelopes that one transform has computed, and what stages took for them, by their names."""

    computed: int = 0
    milliseconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))


class WorkByTransform:
    """Running sums by transform fingerprint."""

    def __init__(self) -> None:
        self._work: dict[str, Work] = defaultdict(Work)

    def add(self, envelope: ResultEnvelope) -> None:
        """Count an envelope that was computed and committed."""
        work = self._work[envelope.transform]
        work.computed += 1
        for stage, milliseconds in envelope.telemetry.latency_ms.items():
            work.milliseconds[stage] += milliseconds

    def numbers(
        self, plan: TransformPlan, actors: Mapping[TaskType, int], readers: int
    ) -> dict[str, float]:
        """What a run of `plan` with so many actors per task type, and so many workers that read and
        decode, puts on record beside its summary: whole numbers are counts, others telemetry.
        """
        told: dict[str, float] = {}
        most = max(self._work.values(), key=lambda work: work.computed, default=None)
        if most is not None:
            reading = sum(most.milliseconds.get(stage, 0.0) for stage in _READING) / 1000.0
            told |= {f"{_COMPUTED}|{_READ}": most.computed, f"{_ACTORS}|{_READ}": readers}
            told |= {f"{_BUSY}|{_READ}": reading} if reading else {}
        for kind, transform in plan.by_type.items():
            work = self._work.get(transform.fingerprint)
            if work is None:
                continue
            key = rate_key(kind, transform.model)
            told[f"{_COMPUTED}|{key}"] = work.computed
            told[f"{_ACTORS}|{key}"] = actors[kind]
            busy = work.milliseconds.get(_stage(plan, kind), 0.0) / 1000.0
            if busy:
                told[f"{_BUSY}|{key}"] = busy
        return told


def rate_key(kind: TaskType, model: ModelSpec) -> str:
    """Whose speed it is: the task type and the model, whatever it is asked."""
    return "|".join(
        (kind.value, model.backend, model.model_id, model.revision, model.dtype, model.quantization)
    )


def measured(runs: Iterable[RunRecord], transforms: Sequence[Transform]) -> dict[TaskType, Rate]:
    """The median rate of the last runs (newest first) that computed something by these models.

    A run shows two lower bounds of what an actor can do: its images over the seconds it was busy
    with them, and over all seconds after start-up; the higher one counts. Task types that no run
    has computed enough of by that model are absent.
    """
    found: dict[TaskType, list[float]] = defaultdict(list)
    keys = {each.task_type: rate_key(each.task_type, each.model) for each in transforms}
    for run in runs:
        for kind, key in keys.items():
            rate = _rate(run, key)
            if rate is not None and len(found[kind]) < RECENT:
                found[kind].append(rate)
    return {kind: Rate(median(rates), len(rates)) for kind, rates in found.items() if rates}


def measured_reading(runs: Iterable[RunRecord]) -> Rate | None:
    """The same of the workers that read and decode images; None where no run has shown it."""
    rates = [rate for run in runs if (rate := _rate(run, _READ)) is not None][:RECENT]
    return Rate(median(rates), len(rates)) if rates else None


def _rate(run: RunRecord, key: str) -> float | None:
    images = run.counts.get(f"{_COMPUTED}|{key}", 0)
    actors = run.counts.get(f"{_ACTORS}|{key}", 0)
    if images < FEWEST or not actors:
        return None
    wall = run.telemetry.get("seconds", 0.0) - run.telemetry.get("startup_seconds", 0.0)
    bounds = [wall * actors, run.telemetry.get(f"{_BUSY}|{key}", 0.0)]
    return max((images / seconds for seconds in bounds if seconds > 0), default=None)


def _stage(plan: TransformPlan, kind: TaskType) -> str:
    """Which time in an envelope is that of the stage behind a task type."""
    if kind is TaskType.MV_EMBED:
        return "text_ms"
    return "decode_ms" if plan.computes_structure(kind) else OWN_MS
