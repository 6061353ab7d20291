"""What a run would compute, before it runs: the difference between a plan and what is on record.

Decides as a run would, by the same keys: a task that is committed stays, bytes whose evidence is
committed are linked, everything else is computed. Reads ledger and store, no image; writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Protocol

from ecm.contracts.identity import ContentIdentity, TenantId, dedupe_key, evidence_key
from ecm.contracts.task import TaskType, task_id_of
from ecm.evidence.schema import ASSETS
from ecm.evidence.store import EvidenceStore, of_tenant
from ecm.evidence.whereabouts import Whereabouts
from ecm.images.listing import Found, Skipped
from ecm.ledger.lookahead import Standing
from ecm.ledger.states import COMMITTED, HELD, RUNNABLE, TaskState
from ecm.stages.plan import Transform, TransformPlan

ASSETS_AT_ONCE = 500

_LINGERING = COMMITTED | {TaskState.REPORTED}
_WORKED_ON = RUNNABLE | HELD | {TaskState.CANCELLED}


class Change(StrEnum):
    """How a place compares with what the store knows of it."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Place:
    """What lies somewhere now; `asset_id` is None until its bytes have been read."""

    identity: ContentIdentity
    asset_id: str | None
    change: Change


class Course(StrEnum):
    """What a run would do about one image and one task type.

    `compute`: its content is known and has no evidence of this transform. `read`: its content is
    not known, so it is computed at most: copies of known content are linked. `reuse`: the evidence
    is there. `fail`: tried, although its bytes could not be decoded before. `dead`, `blocked`: left
    alone, being a dead letter or a task for which no worker had the declared model.
    """

    COMPUTE = "compute"
    READ = "read"
    REUSE = "reuse"
    FAIL = "fail"
    DEAD = "dead"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """One image and task type; `uri` is a place where the image lies."""

    course: Course
    task_type: TaskType
    transform: str
    asset_id: str | None
    uri: str


class Records(Protocol):
    """What a ledger knows of tasks and evidence."""

    def standing(self, task_ids: Collection[str]) -> Mapping[str, Standing]:
        """Where tasks stand, by id; without the unknown."""

    def done_evidence(self, evidence_keys: Collection[str]) -> frozenset[str]:
        """Those of the keys whose evidence is committed."""


class NoRecords:
    """A ledger that was not made yet: nothing was ever asked for."""

    def standing(self, task_ids: Collection[str]) -> Mapping[str, Standing]:
        """No task is known."""
        return {}

    def done_evidence(self, evidence_keys: Collection[str]) -> frozenset[str]:
        """No evidence is committed."""
        return frozenset()


@dataclass
class Tally:
    """Planned tasks by type and course, and the images behind them by what happens to them.

    `images` are those that would be read; the content of `unread` of them is not known.
    """

    tasks: Counter[tuple[TaskType, Course]] = field(default_factory=Counter)
    places: Counter[Change] = field(default_factory=Counter)
    images: int = 0
    unread: int = 0

    def of(self, kind: TaskType, *courses: Course) -> int:
        """How many tasks of a type take one of the courses."""
        return sum(self.tasks[kind, course] for course in courses)

    def work(self, kind: TaskType) -> int:
        """Tasks of a type that a model would be asked for, at most."""
        return self.of(kind, Course.COMPUTE, Course.READ)


def known_places(whereabouts: Whereabouts) -> Iterator[Place]:
    """Every place that holds something by the last word on it."""
    for asset_id, there, identity in whereabouts.now.values():
        if there:
            yield Place(identity, asset_id, Change.UNCHANGED)


def listed_places(
    entries: Iterable[Found | Skipped], whereabouts: Whereabouts | None
) -> Iterator[Place]:
    """What a listing found, with the content that is known to lie behind the same identity."""
    for entry in entries:
        if isinstance(entry, Skipped):
            continue
        identity = entry.identity
        if whereabouts is None:
            yield Place(identity, None, Change.NEW)
            continue
        asset_id = whereabouts.by_identity.get(identity.key())
        if asset_id is not None:
            yield Place(identity, asset_id, Change.UNCHANGED)
        else:
            known = identity.uri in whereabouts.now
            yield Place(identity, None, Change.CHANGED if known else Change.NEW)


def decoded_assets(store: EvidenceStore, tenant_id: TenantId) -> frozenset[str]:
    """A tenant's assets that were decoded by some run."""
    if not store.has_table(ASSETS):
        return frozenset()
    rows = store.read(ASSETS, ["asset_id"], of_tenant(tenant_id))
    return frozenset(rows["asset_id"].to_pylist())


@dataclass(frozen=True)
class Planner:
    """Compares places with what is on record. `decoded` are assets that could be decoded."""

    tenant_id: TenantId
    plan: TransformPlan
    records: Records
    decoded: frozenset[str]

    def tasks(self, places: Iterable[Place], tally: Tally) -> Iterator[PlannedTask]:
        """What would become of every image and task type, once each; counted in `tally`.

        Holds the places in memory, some 500 bytes each. Raises LedgerUnavailable.
        """
        chunk: list[list[Place]] = []
        for same in _by_content(places):
            for place in same:
                tally.places[place.change] += 1
            chunk.append(same)
            if len(chunk) == ASSETS_AT_ONCE:
                yield from self._chunk(chunk, tally)
                chunk = []
        yield from self._chunk(chunk, tally)

    def _chunk(self, images: Sequence[list[Place]], tally: Tally) -> Iterator[PlannedTask]:
        transforms = tuple(self.plan.by_type.values())
        ids = {
            (place.identity.key(), transform.task_type): self._task_id(place, transform)
            for same in images
            for place in same
            for transform in transforms
        }
        standing = self.records.standing(frozenset(ids.values()))
        keys = {
            (asset_id, transform.task_type): evidence_key(
                self.tenant_id, asset_id, transform.task_type, transform.fingerprint
            )
            for asset_id in (same[0].asset_id for same in images)
            for transform in transforms
            if asset_id is not None
        }
        done = self.records.done_evidence(frozenset(keys.values()))
        for same in images:
            touched = False
            for transform in transforms:
                kind, asset_id = transform.task_type, same[0].asset_id
                found = [standing.get(ids[place.identity.key(), kind]) for place in same]
                states = {None if each is None else each.state for each in found}
                is_done = asset_id is not None and keys[asset_id, kind] in done
                course = self._course(states, is_done, asset_id)
                touched |= course in (Course.COMPUTE, Course.READ, Course.FAIL)
                tally.tasks[kind, course] += 1
                uri = same[0].identity.uri
                yield PlannedTask(course, kind, transform.fingerprint, asset_id, uri)
            tally.images += touched
            tally.unread += touched and same[0].asset_id is None

    def _course(
        self, states: Collection[TaskState | None], done: bool, asset_id: str | None
    ) -> Course:
        """What becomes of an image whose tasks at its places stand so (None: not asked for yet)."""
        if done or any(state in _LINGERING for state in states):
            return Course.REUSE
        if any(state is None or state in _WORKED_ON for state in states):
            if asset_id is None:
                return Course.READ
            return Course.COMPUTE if asset_id in self.decoded else Course.FAIL
        return Course.BLOCKED if TaskState.MODEL_MISMATCH in states else Course.DEAD

    def _task_id(self, place: Place, transform: Transform) -> str:
        kind = transform.task_type.value
        return task_id_of(
            dedupe_key(self.tenant_id, place.identity.key(), transform.fingerprint, kind)
        )


def _by_content(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Places of one content together, each place once; what was never read is alone."""
    once = {place.identity.key(): place for place in places}

    def content(entry: tuple[str, Place]) -> str:
        return entry[1].asset_id or f"unread {entry[0]}"

    for _, same in groupby(sorted(once.items(), key=content), content):
        yield [place for _, place in same]
