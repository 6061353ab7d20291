"""Rollouts on record: one model after another takes a role, step by step, or does not.

A rollout is a folder of numbered events, each written once and never changed: whoever writes number
n decides what happened then, so that of two drivers one is refused. What is in force follows from
the events alone. Knows no model and no gate file; takes no step itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.task import TaskType
from ecm.errors import LeaseLost, StoreCorrupt
from ecm.evidence.numbered_events import put_event, read_events
from ecm.evidence.storage import Storage
from ecm.evidence.trial_gates import Measured, Outcome, RolloutGates

ROLLOUTS: Final = "rollouts"
Role = Literal["vision", "vv", "x", "mv", "ocr"]
_ID: Final = re.compile(r"^r-[0-9]{4}$")


class RolloutState(StrEnum):
    """The kinds of events; the newest of a rollout is its state.

    `held`: a step did not pass for sure; `resume` looks again. `accepted`: somebody let it pass who
    answers for it. `flipping`: every step passed, the
    snapshot of the new model is being built. `promoted`: the new model has the roles.
    `rolled_back`: it failed, or was taken back after it was promoted. `aborted`: somebody ended it.
    """

    STARTED = "started"
    COMPUTING = "computing"
    COMPARED = "compared"
    HELD = "held"
    ACCEPTED = "accepted"
    FLIPPING = "flipping"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


ENDED: Final = frozenset({RolloutState.PROMOTED, RolloutState.ROLLED_BACK, RolloutState.ABORTED})


class Terms(Contract):
    """What a rollout is about, fixed when it starts.

    `before` and `after` are the fingerprints of the task types that change; `salt` draws the
    sample.
    """

    old: str = Field(min_length=1, max_length=4096, description="manifest that has the roles")
    new: str = Field(min_length=1, max_length=4096, description="manifest that is to have them")
    roles: tuple[Role, ...] = Field(min_length=1)
    before: dict[TaskType, Digest]
    after: dict[TaskType, Digest]
    salt: str = Field(min_length=1, max_length=64)
    gates: RolloutGates


class ErrorCount(Contract):
    """Dead letters of one class of one side, in images."""

    side: Literal["a", "b"]
    error_class: str
    images: int


class StepReport(Contract):
    """What came of one step: how many assets, what was measured, the outcome."""

    assets: int = Field(ge=0, description="in the sample")
    population: int = Field(ge=0)
    compared: int = Field(ge=0, description="of which the new model said all it was asked")
    tenants: dict[TenantId, int] = Field(default_factory=dict, description="sampled, by tenant")
    measures: tuple[Measured, ...]
    errors: tuple[ErrorCount, ...] = ()
    outcome: Outcome
    seconds: float = Field(ge=0)


class RolloutEvent(Contract):
    """One thing that happened; `at` is in Unix seconds (UTC), `by` an incarnation."""

    format_version: Literal[1] = 1
    number: int = Field(ge=0, le=9999)
    state: RolloutState
    at: float
    by: str = Field(max_length=512)
    pct: int | None = Field(default=None, description="of the assets")
    reason: str = Field(default="", max_length=4096)
    terms: Terms | None = None
    report: StepReport | None = None
    snapshot_id: str | None = Field(default=None, description="that shows the new model")
    before: str | None = Field(default=None, description="the snapshot that was published then")


@dataclass(frozen=True)
class Rollout:
    """A rollout by its events, oldest first; at least the one that started it."""

    rollout_id: str
    terms: Terms
    events: tuple[RolloutEvent, ...]

    @property
    def last(self) -> RolloutEvent:
        return self.events[-1]

    @property
    def state(self) -> RolloutState:
        return self.last.state

    @property
    def open(self) -> bool:
        """Whether something is still to come of it."""
        return self.state not in ENDED

    @property
    def pct(self) -> int:
        """Per cent of the assets of the newest step that was begun; 0 before the first."""
        return max((event.pct or 0 for event in self.events), default=0)

    @property
    def passed(self) -> int:
        """Per cent of the newest step that passed; 0 before any did."""
        return max((event.pct or 0 for event in self.events if _passed(event)), default=0)

    @property
    def since_held(self) -> tuple[RolloutEvent, ...]:
        """What happened since it was held last, or since the beginning."""
        held = [e.number for e in self.events if e.state is RolloutState.HELD]
        return self.events[held[-1] + 1 :] if held else self.events

    @property
    def reports(self) -> tuple[RolloutEvent, ...]:
        return tuple(event for event in self.events if event.report is not None)


def _passed(event: RolloutEvent) -> bool:
    if event.state is RolloutState.ACCEPTED:
        return True
    return event.report is not None and event.report.outcome is Outcome.PASSED


def all_rollouts(storage: Storage) -> tuple[Rollout, ...]:
    """Every rollout on record, oldest first. Raises StoreCorrupt, StoreUnavailable."""
    names = filter(_ID.match, storage.children(ROLLOUTS))
    return tuple(filter(None, (_read(storage, name) for name in sorted(names))))


def newest(storage: Storage) -> Rollout | None:
    """The rollout begun last, or None. Raises as `all_rollouts` does."""
    rollouts = all_rollouts(storage)
    return rollouts[-1] if rollouts else None


def begin(storage: Storage, terms: Terms, now: float, by: str) -> Rollout:
    """Put a new rollout on record; the caller has seen that none is open.

    Raises LeaseLost (code `rollout.taken`) when another one was begun meanwhile.
    """
    before = newest(storage)
    number = 1 if before is None else int(before.rollout_id.removeprefix("r-")) + 1
    rollout_id = f"r-{number:04d}"
    event = RolloutEvent(number=0, state=RolloutState.STARTED, at=now, by=by, terms=terms)
    _write(storage, rollout_id, event)
    return Rollout(rollout_id, terms, (event,))


def append(storage: Storage, rollout: Rollout, event: RolloutEvent) -> Rollout:
    """The rollout with one more event; its number is given here.

    Raises LeaseLost (code `rollout.taken`) when another driver was there first.
    """
    numbered = event.model_copy(update={"number": rollout.last.number + 1})
    _write(storage, rollout.rollout_id, numbered)
    return Rollout(rollout.rollout_id, rollout.terms, (*rollout.events, numbered))


def in_force(rollouts: Iterable[Rollout]) -> tuple[Rollout, ...]:
    """Those whose new model has its roles now, in the order they came."""
    return tuple(each for each in rollouts if each.state is RolloutState.PROMOTED)


def roles_after(models: Mapping[str, str | None], rollouts: Iterable[Rollout]) -> dict[str, str]:
    """Roles that have another model than `models` says, by what was promoted: role and manifest."""
    present = dict(models)
    for rollout in in_force(rollouts):
        for role in rollout.terms.roles:
            if present.get(role) == rollout.terms.old:
                present[role] = rollout.terms.new
    return {r: name for r, name in present.items() if name is not None and name != models.get(r)}


def unproven(rollouts: Iterable[Rollout]) -> frozenset[str]:
    """Fingerprints of models that are on trial or were turned down: no snapshot shows them unless
    its policy names them.
    """
    return frozenset(
        mark
        for rollout in rollouts
        if rollout.state is not RolloutState.PROMOTED
        for mark in rollout.terms.after.values()
    )


def _read(storage: Storage, rollout_id: str) -> Rollout | None:
    folder = f"{ROLLOUTS}/{rollout_id}"
    events = read_events(storage, folder, RolloutEvent, _damaged)
    if not events:
        return None  # its first event is being written
    terms = events[0].terms
    if terms is None:
        raise _damaged(f"{folder}: events are missing")
    return Rollout(rollout_id, terms, events)


def _damaged(what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{what} of the evidence store is damaged", "rollout.damaged", "restore it from a copy"
    )


def _write(storage: Storage, rollout_id: str, event: RolloutEvent) -> None:
    if not put_event(storage, f"{ROLLOUTS}/{rollout_id}", event):
        raise LeaseLost(
            f"another driver has taken rollout {rollout_id} further",
            "rollout.taken",
            "see: ecm rollout status",
        )
