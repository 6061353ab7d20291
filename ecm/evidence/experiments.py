"""Experiments on record: what runs, since when, at which stage, and who said so.

    experiments/e-0001/0000.json               events, numbered, each written once
    experiments/e-0001/tallies/<replica>.json  what a replica has counted, written over

Whoever writes number n decides what happened then, so that of two people or replicas one is
refused. What is in force follows from the events alone. Knows no ranking and no feedback.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field, ValidationError

from ecm.contracts.experiment import (
    DAY_SECONDS,
    Definition,
    ExperimentTerms,
    ReplicaTally,
    Stage,
)
from ecm.contracts.identity import Contract, TenantId
from ecm.errors import ConfigError, LeaseLost, StoreCorrupt
from ecm.evidence.numbered_events import put_event, read_events
from ecm.evidence.storage import Storage

EXPERIMENTS: Final = "experiments"
_RECORD: Final = re.compile(r"^e-[0-9]{4}$")


class ExperimentState(StrEnum):
    """The newest event of an experiment is its state.

    `running`: units are dealt by its stage. `paused`: control answers all, it may go on. `stopped`:
    somebody ended it. `aborted`: a guard or a significant loss did.
    """

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    ABORTED = "aborted"


class Cause(StrEnum):
    """What ended or halted an experiment by itself."""

    ERRORS = "errors"
    LATENCY = "latency"
    LOSS = "loss"
    TIME = "time"


class ExperimentEvent(Contract):
    """One thing that happened; `at` is in Unix seconds (UTC), `by` who did it."""

    format_version: Literal[1] = 1
    number: int = Field(ge=0, le=9999)
    state: ExperimentState
    stage: int = Field(ge=0, le=10)
    at: float
    by: str = Field(min_length=1, max_length=512)
    reason: str = Field(default="", max_length=4096)
    cause: Cause | None = None
    terms: ExperimentTerms | None = None


@dataclass(frozen=True)
class Experiment:
    """An experiment by its events, oldest first; at least the one that started it."""

    record: str
    terms: ExperimentTerms
    events: tuple[ExperimentEvent, ...]

    @property
    def definition(self) -> Definition:
        return self.terms.definition

    @property
    def id(self) -> str:
        return self.terms.definition.id

    @property
    def last(self) -> ExperimentEvent:
        return self.events[-1]

    @property
    def stage(self) -> int:
        return self.last.stage

    @property
    def step(self) -> Stage:
        """The method and share of the present stage."""
        return self.definition.steps()[self.stage]

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self.last.state in (ExperimentState.RUNNING, ExperimentState.PAUSED)

    @property
    def started_at(self) -> float:
        return self.events[0].at

    @property
    def ends_at(self) -> float:
        """When it is over whatever anybody does, Unix seconds."""
        return self.started_at + self.definition.max_days * DAY_SECONDS

    def deals(self, now: float) -> bool:
        """Whether units are dealt to arms at a moment: it runs, and its time is not over."""
        return self.last.state is ExperimentState.RUNNING and now < self.ends_at

    def concerns(self, tenant_id: TenantId) -> bool:
        """Whether a tenant takes part."""
        own = self.definition.tenant_id
        return own is None or own == tenant_id


class ExperimentRecords:
    """Experiments as they are read again and again: what was read once is never read twice, since
    no event changes. Not thread-safe.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, Experiment] = {}

    def all(self) -> tuple[Experiment, ...]:
        """Every experiment on record, oldest first. Raises StoreCorrupt, StoreUnavailable."""
        names = sorted(filter(_RECORD.match, self._storage.children(EXPERIMENTS)))
        for name in names:
            known = self._known.get(name)
            if known is None or known.open:
                found = _read(self._storage, name, known.events if known else ())
                if found is not None:
                    self._known[name] = found
        return tuple(self._known[name] for name in names if name in self._known)


def all_experiments(storage: Storage) -> tuple[Experiment, ...]:
    """Every experiment on record, oldest first. Raises StoreCorrupt, StoreUnavailable."""
    return ExperimentRecords(storage).all()


def named(storage: Storage, experiment_id: str | None) -> Experiment:
    """The experiment of an id, the newest without one. Raises ConfigError, StoreCorrupt."""
    found = all_experiments(storage)
    if not found:
        raise ConfigError(
            "no experiment on record", "experiment.none", "start: ecm experiment start"
        )
    if experiment_id is None:
        return found[-1]
    for one in found:
        if one.id == experiment_id:
            return one
    there = ", ".join(each.id for each in found[-10:])
    raise ConfigError(f"no experiment {experiment_id}", "experiment.unknown", f"there are: {there}")


def begin(storage: Storage, terms: ExperimentTerms, now: float, by: str) -> Experiment:
    """Put an experiment on record, at its first stage.

    Raises ConfigError where its id was used before or one of its tenants takes part in another
    one, LeaseLost (code `experiment.taken`) when another one was begun meanwhile.
    """
    before = all_experiments(storage)
    _check_room(before, terms.definition)
    number = 1 if not before else int(before[-1].record.removeprefix("e-")) + 1
    event = ExperimentEvent(
        number=0, state=ExperimentState.RUNNING, stage=0, at=now, by=by, terms=terms
    )
    record = f"e-{number:04d}"
    _write(storage, record, event)
    return Experiment(record, terms, (event,))


def append(storage: Storage, experiment: Experiment, event: ExperimentEvent) -> Experiment:
    """The experiment with one more event; its number is given here.

    Raises LeaseLost (code `experiment.taken`) when somebody else was there first.
    """
    numbered = event.model_copy(update={"number": experiment.last.number + 1})
    _write(storage, experiment.record, numbered)
    return Experiment(experiment.record, experiment.terms, (*experiment.events, numbered))


def put_tally(storage: Storage, experiment: Experiment, tally: ReplicaTally) -> None:
    """Keep what a replica has counted, in place of what it had before."""
    name = hashlib.sha256(tally.replica.encode()).hexdigest()[:32]
    where = f"{EXPERIMENTS}/{experiment.record}/tallies/{name}.json"
    storage.put(where, tally.model_dump_json().encode())


def tallies(storage: Storage, experiment: Experiment) -> tuple[ReplicaTally, ...]:
    """What all replicas have counted. Raises StoreCorrupt, StoreUnavailable."""
    folder = f"{EXPERIMENTS}/{experiment.record}/tallies"
    found = []
    for name in storage.children(folder):
        raw = storage.read(f"{folder}/{name}")
        try:
            found.append(ReplicaTally.model_validate_json(raw or b""))
        except ValidationError as error:
            raise _damaged(f"{folder}/{name}") from error
    return tuple(found)


def _check_room(before: Iterable[Experiment], wanted: Definition) -> None:
    for other in before:
        if other.id == wanted.id:
            raise ConfigError(
                f"there was an experiment {wanted.id} before",
                "experiment.id",
                "choose another id: its units would be dealt as they were then",
            )
        both = wanted.tenant_id is None or other.concerns(wanted.tenant_id)
        if other.open and (both or other.definition.tenant_id is None):
            raise ConfigError(
                f"experiment {other.id} is {other.last.state.value} for the same tenant",
                "experiment.running",
                f"end it first: ecm experiment stop {other.id} --reason …",
            )


def _read(storage: Storage, record: str, known: tuple[ExperimentEvent, ...]) -> Experiment | None:
    folder = f"{EXPERIMENTS}/{record}"
    events = read_events(storage, folder, ExperimentEvent, _damaged, known)
    if not events:
        return None  # its first event is being written
    terms = events[0].terms
    if terms is None:
        raise _damaged(f"{folder}: events are missing")
    if max(event.stage for event in events) >= len(terms.definition.steps()):
        raise _damaged(f"{folder}: a stage that it does not have")
    return Experiment(record, terms, events)


def _damaged(what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{what} of the evidence store is damaged", "experiment.damaged", "restore it from a copy"
    )


def _write(storage: Storage, record: str, event: ExperimentEvent) -> None:
    if not put_event(storage, f"{EXPERIMENTS}/{record}", event):
        raise LeaseLost(
            "somebody else has just changed this experiment, or begun another one",
            "experiment.taken",
            "see: ecm experiment status",
        )
