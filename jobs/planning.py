"""Plans a run without running it: what to look at, with which models, and what it would come to.

Knows profiles, sources and where ledger and store are opened for reading; how places are compared
is known to `ecm.delivery.planning`. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ecm.config import Profile
from ecm.contracts.task import TaskType
from ecm.delivery.estimates import Estimate, estimate
from ecm.delivery.fitting import check_settings
from ecm.delivery.planning import (
    Change,
    Course,
    NoRecords,
    Place,
    PlannedTask,
    Planner,
    Records,
    Tally,
    decoded_assets,
    known_places,
    listed_places,
)
from ecm.delivery.rates import measured, measured_reading
from ecm.delivery.replacing import ROLES, Replacement, replaced
from ecm.errors import ConfigError
from ecm.evidence.footprint import Footprint
from ecm.evidence.runs import runs_of
from ecm.evidence.store import EvidenceStore
from ecm.evidence.whereabouts import Whereabouts
from ecm.images.listing import Found, Skipped, list_source
from ecm.ledger.ledger import open_ledger
from ecm.models.checkpoint import is_recipe
from ecm.opening import effective, plan_for, plan_of
from ecm.stages.plan import TransformPlan
from jobs.cli_ledger import missing_ledger
from jobs.enqueue import confine


@dataclass(frozen=True)
class PlanRequest:
    """What to plan: sources (none: what is known to lie somewhere), and models to be tried.

    `transforms` take every role they provide, `roles` are ``role=manifest`` each.
    """

    sources: tuple[str, ...] = ()
    transforms: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """The profile as it would run, what of its models is new, and the tasks by their course."""

    profile: Profile
    plan: TransformPlan
    replacements: tuple[Replacement, ...]
    tally: Tally
    skipped: int
    store: EvidenceStore | None


def plan_run(
    profile: Profile, request: PlanRequest, each: Callable[[PlannedTask], None]
) -> Planned:
    """Compare the places with what is on record; `each` is told every task as it is found.

    Lists sources as a run would and reads no image. Raises ConfigError, ManifestError, SourceError,
    LedgerUnavailable, StoreUnavailable, StoreCorrupt.
    """
    models, replacements = replaced(
        effective(profile).models, request.transforms, request.roles, profile.manifest_folders
    )
    wanted = profile.model_copy(update={"models": models})
    plan = plan_for(models, profile.manifest_folders) if replacements else plan_of(profile)
    for source in request.sources:
        confine(source, profile.roots)
    store = _existing_store(profile)
    known = Whereabouts.of(store, profile.tenant) if store else None
    skipped = _Skipping(request.sources)
    tally = Tally()
    with ExitStack() as stack:
        records: Records = NoRecords()
        if missing_ledger(profile) is None:
            records = stack.enter_context(open_ledger(profile.ledger)).scoped(profile.tenant)
        decoded = decoded_assets(store, profile.tenant) if store else frozenset()
        planner = Planner(profile.tenant, plan, records, decoded)
        for task in planner.tasks(_places(skipped, known), tally):
            each(task)
    return Planned(wanted, plan, replacements, tally, skipped.count, store)


@dataclass(frozen=True)
class Pricing:
    """What is said, not measured: ``role=images per second`` each, the price of a GPU-hour."""

    rates: tuple[str, ...] = ()
    gpu_hour_price: float | None = None


@dataclass(frozen=True)
class Forecast:
    """What a run would do and what that would take."""

    planned: Planned
    estimate: Estimate
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The JSON of `ecm plan`. Unknown numbers are null."""
        planned, told = self.planned, self.estimate
        return {
            "tenant": planned.profile.tenant,
            "replaced": [
                {"role": each.role, "from": each.before, "to": each.after}
                for each in planned.replacements
            ],
            "places": {change.value: planned.tally.places[change] for change in Change},
            "skipped": planned.skipped,
            "images": planned.tally.images,
            "courses": [course.value for course in Course],
            "transforms": [self._transform(kind) for kind in planned.plan.by_type],
            "reading_images_per_second": told.reading,
            "hours": told.hours,
            "gpus": told.gpus,
            "gpu_hours": told.gpu_hours,
            "gpu_hour_price": planned.profile.pipeline.gpu_hour_price,
            "cost": told.cost,
            "storage_bytes": told.storage_bytes,
            "notes": list(self.notes),
        }

    def _transform(self, kind: TaskType) -> dict[str, Any]:
        transform, told = self.planned.plan.by_type[kind], self.estimate.by_type[kind]
        return {
            "task_type": kind.value,
            "model": transform.manifest.name,
            "transform": transform.fingerprint,
            **{course.value: self.planned.tally.of(kind, course) for course in Course},
            "images_per_second": told.rate,
            "rate": told.source,
            "hours": told.hours,
            "storage_bytes": told.storage_bytes,
        }


def forecast(
    profile: Profile,
    request: PlanRequest,
    pricing: Pricing,
    each: Callable[[PlannedTask], None],
) -> Forecast:
    """Plan and estimate; `each` as in `plan_run`, errors too. Writes nothing."""
    given = _given(pricing.rates)
    if pricing.gpu_hour_price is not None:
        price = {"gpu_hour_price": pricing.gpu_hour_price}
        pipeline = profile.pipeline.model_copy(update=price)
        profile = profile.model_copy(update={"pipeline": pipeline})
    planned = plan_run(profile, request, each)
    store, plan = planned.store, planned.plan
    runs = runs_of(store) if store else ()
    told = estimate(
        plan,
        planned.tally,
        profile.pipeline,
        measured(runs, tuple(plan.by_type.values())),
        measured_reading(runs),
        given,
        Footprint(store) if store else None,
    )
    return Forecast(planned, told, tuple(_notes(planned)))


def _given(rates: Sequence[str]) -> dict[TaskType, float]:
    """Images per second by task type. Raises ConfigError."""
    found: dict[TaskType, float] = {}
    for text in rates:
        role, _, number = text.partition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = 0.0
        if role not in ROLES or not 0 < rate < float("inf"):
            known = ", ".join(ROLES)
            raise ConfigError(
                f"--rate {text}: write it as vision=12.5", code="plan.rate", hint=f"roles: {known}"
            )
        found[ROLES[role]] = rate
    return found


def _notes(planned: Planned) -> Iterator[str]:
    """What a reader should know besides the numbers."""
    if planned.tally.unread:
        yield (
            f"{planned.tally.unread:,} images are new or changed: what is planned for them is an "
            "upper bound, copies of known images are linked when they are read"
        )
    if not sum(planned.tally.places.values()):
        yield "no image is known to lie anywhere: name sources to plan for"
    for transform in {t.manifest.name: t for t in planned.plan.by_type.values()}.values():
        if is_recipe(transform.manifest):
            name = transform.manifest.name
            yield f"{name} is a recipe: ecm models fetch {name} before it can run"
    try:
        check_settings(planned.plan, planned.profile.pipeline)
    except ConfigError as error:
        yield f"a run would be refused: {error}"
    if planned.replacements:
        settings = " ".join(
            f"--set models.{each.role}={each.after}" for each in planned.replacements
        )
        yield f"to run it: ecm index SOURCE {settings}"


class _Skipping:
    """What sources list, counting what is no image."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = sources
        self.count = 0

    def __iter__(self) -> Iterator[Found | Skipped]:
        for source in self.sources:
            for entry in list_source(source):
                self.count += isinstance(entry, Skipped)
                yield entry


def _places(listed: _Skipping, known: Whereabouts | None) -> Iterator[Place]:
    if listed.sources:
        return listed_places(listed, known)
    return known_places(known) if known else iter(())


def _existing_store(profile: Profile) -> EvidenceStore | None:
    """The store of the profile, or None where none was made yet."""
    try:
        return EvidenceStore.open(profile.evidence)
    except ConfigError as error:
        if error.code != "config.no_store":
            raise
        return None
