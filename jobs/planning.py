"""Plans a run without running it: what to look at, with which models, and what it would come to.

Knows profiles, sources and where ledger and store are opened for reading; how places are compared
is known to `ecm.delivery.planning`. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ecm.config import Profile
from ecm.delivery.planning import (
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
from ecm.delivery.replacing import Replacement, replaced
from ecm.errors import ConfigError
from ecm.evidence.store import EvidenceStore
from ecm.evidence.whereabouts import Whereabouts
from ecm.images.listing import Found, Skipped, list_source
from ecm.ledger.ledger import open_ledger
from ecm.opening import plan_of
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
        profile.models, request.transforms, request.roles, profile.models_folder
    )
    wanted = profile.model_copy(update={"models": models})
    plan = plan_of(wanted)
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
