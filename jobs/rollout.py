"""Bring a new model in by steps, compare it with the old one, flip or roll back by itself.

python -m jobs.rollout start --profile conf/L1.yaml --from OLD --to NEW
ray job submit --working-dir . -- python -m jobs.rollout resume --profile conf/C1.yaml

Knows the order of things and what is put on record when; how evidence is computed is known to
`jobs.trialling`, how it is judged to `ecm.evidence`. Whatever it is killed at, `resume` goes on.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ecm.config import ModelChoice, Profile
from ecm.contracts.identity import ContentIdentity
from ecm.crashpoints import crash_point
from ecm.delivery.gates import load_gates
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.replacing import ROLES
from ecm.delivery.sampling import drawn, population_of
from ecm.delivery.tenure import commit_tenure
from ecm.errors import ConfigError, SnapshotRejected
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.rollouts import (
    ErrorCount,
    Rollout,
    RolloutEvent,
    RolloutState,
    StepReport,
    Terms,
    append,
    begin,
    newest,
)
from ecm.evidence.store import EvidenceStore
from ecm.evidence.trial import Judge, Sides, Trial, add_tenant
from ecm.evidence.trial_gates import Measured, Outcome, Verdict, outcome
from ecm.evidence.trial_measures import Facts, measures_of
from ecm.models.manifest import load_manifest
from ecm.opening import effective, plan_for, plan_of
from ecm.publishing import materialize, preferred
from ecm.stages.plan import TransformPlan

Sampled = Mapping[str, Sequence[ContentIdentity]]
Told = Callable[[str], None]


class Trialling(Protocol):
    """How a step's evidence comes about, and what is known of the models beside it.

    A context manager around everything that is computed.
    """

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...

    def compute(self, rollout: Rollout, plan: TransformPlan, pct: int, sampled: Sampled) -> None:
        """Commit what the new model says about these places, by tenant; what is there stays."""

    def facts(self, rollout: Rollout, sampled: Sampled, population: int) -> Facts:
        """The size of a step and the paces of both models."""

    def judge(self, plan: TransformPlan) -> tuple[Judge | None, str]:
        """What brings captions into the visual space of a plan, or why nothing does."""

    def errors(self, rollout: Rollout, tenants: Sequence[str]) -> tuple[ErrorCount, ...]:
        """Dead letters by side and class."""

    def withdraw(self, rollout: Rollout, tenants: Sequence[str]) -> None:
        """Cancel what is still queued for the new model."""


@dataclass(frozen=True)
class Driver:
    """What a rollout is driven with; `told` hears what is being done, line by line."""

    profile: Profile
    store: EvidenceStore
    trialling: Trialling
    told: Told

    def add(self, rollout: Rollout, event: RolloutEvent) -> Rollout:
        """Put an event on record. Raises LeaseLost when another driver was there first."""
        return append(self.store.storage, rollout, event)


def happened(
    state: RolloutState,
    *,
    pct: int | None = None,
    reason: str = "",
    report: StepReport | None = None,
    snapshot_id: str | None = None,
    before: str | None = None,
) -> RolloutEvent:
    """An event of now and of this process; its number is given when it is put on record."""
    return RolloutEvent(
        number=0,
        state=state,
        at=time.time(),
        by=str(Incarnation.here()),
        pct=pct,
        reason=reason[:4096],
        report=report,
        snapshot_id=snapshot_id,
        before=before,
    )


def start(
    profile: Profile, store: EvidenceStore, old: str, new: str, roles: Sequence[str]
) -> Rollout:
    """Put a rollout on record, or find the one of these models that is open.

    `roles` are those that change hands; none: all that `old` has and `new` provides. Raises
    ConfigError when the profile does not use `old`, nothing would change, or another rollout is
    open; ManifestError; LeaseLost when another was begun meanwhile.
    """
    before = newest(store.storage)
    if before is not None and before.open:
        if (before.terms.old, before.terms.new) == (old, new):
            return before
        raise ConfigError(
            f"rollout {before.rollout_id} ({before.terms.old} → {before.terms.new}) is open",
            "rollout.open",
            "one at a time: ecm rollout resume, or ecm rollout abort",
        )
    if published_ref(store) is None:
        raise ConfigError(
            "no snapshot is published: there is nothing to compare on", "rollout.nothing",
            "ecm index first",
        )  # fmt: skip
    models = effective(profile).models
    chosen = _roles(models, old, load_manifest(new, profile.manifest_folders).provides, roles)
    present = plan_of(profile)
    tried = plan_for(models.model_copy(update=dict.fromkeys(chosen, new)), profile.manifest_folders)
    changed = [
        kind
        for kind, transform in tried.by_type.items()
        if present.by_type[kind].fingerprint != transform.fingerprint
    ]
    if not changed:
        raise ConfigError(
            f"{new} computes what {old} computes: no fingerprint differs", "rollout.same"
        )
    terms = Terms.model_validate(
        {
            "old": old,
            "new": new,
            "roles": tuple(chosen),
            "before": {kind: present.by_type[kind].fingerprint for kind in changed},
            "after": {kind: tried.by_type[kind].fingerprint for kind in changed},
            "salt": uuid.uuid4().hex[:16],
            "gates": load_gates(profile.gates).rollout,
        }
    )
    return begin(store.storage, terms, time.time(), str(Incarnation.here()))


def _roles(
    models: ModelChoice, old: str, provides: Sequence[str], wanted: Sequence[str]
) -> list[str]:
    taken = [role for role in ROLES if getattr(models, role) == old]
    if not taken:
        used = ", ".join(f"{r}={m}" for r in ROLES if (m := getattr(models, r)) is not None)
        raise ConfigError(f"the profile gives {old} no role", "rollout.from", f"it has {used}")
    for role in wanted:
        if role not in taken:
            raise ConfigError(
                f"{old} does not have the role {role}", "rollout.role", f"it has {', '.join(taken)}"
            )
    chosen = [role for role in taken if ROLES[role] in provides and role in (wanted or taken)]
    lacking = sorted(set(wanted) - set(chosen))
    if lacking or not chosen:
        raise ConfigError(
            f"the new model does not provide {', '.join(lacking or taken)}", "rollout.role"
        )
    return chosen


def tried_plan(profile: Profile, terms: Terms) -> TransformPlan:
    """The plan in which the new model has its roles.

    Raises ConfigError (code `rollout.changed`) when it is not what the rollout began with.
    """
    models = effective(profile).models
    models = models.model_copy(update=dict.fromkeys(terms.roles, terms.new))
    plan = plan_for(models, profile.manifest_folders)
    for kind, mark in terms.after.items():
        if kind not in plan.by_type or plan.by_type[kind].fingerprint != mark:
            raise ConfigError(
                f"{kind.value} of {terms.new} has another fingerprint than when the rollout began",
                "rollout.changed",
                "restore manifests and profile, or: ecm rollout abort",
            )
    return plan


def drive(driver: Driver, rollout: Rollout) -> Rollout:
    """Go on until it is promoted, held or rolled back.

    Raises LeaseLost when another driver or run is at it, and what computing raises: `resume` goes
    on from there.
    """
    plan = tried_plan(driver.profile, rollout.terms)
    while rollout.open:
        if rollout.state is RolloutState.COMPARED:
            rollout = _concluded(driver, rollout)
            if rollout.state is RolloutState.HELD:
                return rollout
            if not rollout.open:
                break
        left = [pct for pct in rollout.terms.gates.steps if pct > rollout.passed]
        rollout = _step(driver, rollout, plan, left[0]) if left else flip(driver, rollout, plan)
        if rollout.state is RolloutState.HELD:
            return rollout
    return rollout


def _concluded(driver: Driver, rollout: Rollout) -> Rollout:
    """What follows from the newest comparison; a step that passed needs no word."""
    event = rollout.last
    if event.report is None or event.report.outcome is Outcome.PASSED:
        return rollout
    why = reasons(event.report.measures) or "nothing of what it says could be compared"
    if event.report.outcome is Outcome.HELD and _extensible(rollout, event):
        driver.told(f"{event.pct} %: cannot tell, looking at twice as many: {why}")
        return rollout
    if event.report.outcome is Outcome.HELD:
        driver.told(f"held at {event.pct} %: {why}")
        return driver.add(rollout, happened(RolloutState.HELD, pct=event.pct, reason=why))
    driver.told(f"failed at {event.pct} %: {why}")
    driver.trialling.withdraw(rollout, tuple(event.report.tenants))
    return driver.add(rollout, happened(RolloutState.ROLLED_BACK, pct=event.pct, reason=why))


def _extensible(rollout: Rollout, event: RolloutEvent) -> bool:
    """Whether a step that cannot tell may look at more assets before it is held."""
    report = event.report
    looks = [each for each in rollout.since_held if each.report and each.pct == event.pct]
    more = report is not None and report.assets < report.population
    return more and len(looks) <= rollout.terms.gates.extensions


def _least(rollout: Rollout, pct: int) -> int:
    """The least size of a step's sample: never less than before, twice that of a look in doubt."""
    least = rollout.terms.gates.min_assets
    sizes = [each.report.assets for each in rollout.reports if each.report and each.pct == pct]
    doubted = any(each.report and each.pct == pct for each in rollout.since_held)
    return max([least, *sizes]) * (2 if doubted else 1)


def _step(driver: Driver, rollout: Rollout, plan: TransformPlan, pct: int) -> Rollout:
    """Compute, compare and record one step."""
    if not (rollout.state is RolloutState.COMPUTING and rollout.last.pct == pct):
        rollout = driver.add(rollout, happened(RolloutState.COMPUTING, pct=pct))
    crash_point("rollout.begun")
    began = time.monotonic()
    terms, population = rollout.terms, population_of(driver.store)
    sample = drawn(population, terms.salt, pct, _least(rollout, pct))
    sampled = {t: [population[t][asset] for asset in assets] for t, assets in sample.items()}
    size = sum(map(len, sample.values()))
    driver.told(f"{pct} %: {size} assets, computing what {terms.new} says of them")
    driver.trialling.compute(rollout, plan, pct, sampled)
    crash_point("rollout.computed")
    driver.told(f"{pct} %: comparing")
    judge, no_score = driver.trialling.judge(plan_of(driver.profile))
    trial = Trial()
    for tenant, assets in sample.items():
        sides = Sides(terms.before, terms.after)
        add_tenant(trial, driver.store, tenant, sides, assets, judge)
    facts = driver.trialling.facts(rollout, sampled, sum(map(len, population.values())))
    measures = measures_of(trial, facts, no_score, terms.gates)
    report = StepReport(
        assets=size,
        population=facts.population,
        compared=trial.complete,
        tenants={tenant: len(assets) for tenant, assets in sample.items()},
        measures=measures,
        errors=driver.trialling.errors(rollout, tuple(sample)),
        outcome=outcome(measures, terms.gates),
        seconds=round(time.monotonic() - began, 3),
    )
    rollout = driver.add(rollout, happened(RolloutState.COMPARED, pct=pct, report=report))
    crash_point("rollout.compared")
    driver.told(f"{pct} %: {report.outcome.value}")
    return rollout


def reasons(measures: Sequence[Measured]) -> str:
    """The measures that stand in the way, for a person."""
    lines = []
    for measure in measures:
        if measure.verdict in (Verdict.FAILED, Verdict.DOUBTFUL, Verdict.LIKELY):
            lines.append(
                f"{measure.name} {measure.verdict.value}: {measure.estimate:.3f} "
                f"(between {measure.lower:.3f} and {measure.upper:.3f}, {_allowed(measure)})"
            )
    return "; ".join(lines)


def _allowed(measure: Measured) -> str:
    bounds = measure.bounds
    if bounds is None:
        return "no bounds"
    least = [] if bounds.least is None else [f"at least {bounds.least:g}"]
    return " and ".join([*least, *([] if bounds.most is None else [f"at most {bounds.most:g}"])])


def flip(driver: Driver, rollout: Rollout, plan: TransformPlan) -> Rollout:
    """Publish a snapshot of the new model and put on record that it has the roles.

    A snapshot beyond a limit of the profile is not published: then the rollout is held.
    """
    store, before = driver.store, published_ref(driver.store)
    done = before is not None and _shows(before, plan)
    if rollout.state is not RolloutState.FLIPPING or not done:
        past = before.snapshot_id if before else None
        rollout = driver.add(rollout, happened(RolloutState.FLIPPING, before=past))
    crash_point("rollout.flipping")
    driver.told("every step passed: building the snapshot of the new model")
    try:
        with commit_tenure(driver.profile.ledger, store) as tenure:
            ref = materialize(store, plan, driver.profile.snapshots, tenure.confirm)
            crash_point("rollout.published")
            promoted = happened(
                RolloutState.PROMOTED,
                pct=100,
                snapshot_id=ref.snapshot_id,
                before=rollout.last.before,
            )
            # Before the right is free: whoever publishes next must know whose roles they are.
            ended = driver.add(rollout, promoted)
    except SnapshotRejected as error:
        return driver.add(rollout, happened(RolloutState.HELD, pct=100, reason=str(error)))
    driver.told(f"promoted: snapshot {ref.snapshot_id} is served")
    return ended


def _shows(ref: SnapshotRef, plan: TransformPlan) -> bool:
    """Whether a snapshot was made for the transforms of a plan."""
    return dict(ref.policy.transforms) == preferred(plan)


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["rollout", *sys.argv[1:]]))
