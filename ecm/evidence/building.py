"""How a snapshot comes about: by what changed since another one of its policy, or anew.

Knows when building on is possible and worth it, and the steps of either way. Both give the same
rows. Measures nothing, writes no reference and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.crashpoints import crash_point
from ecm.errors import StoreCorrupt
from ecm.evidence.changes import PLACE_TABLES, Anew, Touched, state_of, touched_since
from ecm.evidence.choice import chosen
from ecm.evidence.generation import (
    create_indices,
    dim_of,
    extend_generation,
    extend_indices,
    reduce_generation,
    write_generation,
)
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.quarantine import ShutOut, shut_out
from ecm.evidence.refs import VECTOR_AXES, EvidenceTable, Lineage, SnapshotRef
from ecm.evidence.schema import ASSET_WORDS, ASSETS, EVIDENCE_TEXT, vector_table
from ecm.evidence.store import EvidenceStore

FEW_ASSETS: Final = 256
"""So many may always be touched: what they cost is less than what opening the tables does."""
MOST_TOUCHED: Final = 0.2
"""Share of the assets; so many took a quarter of the time of all, and leave as many behind."""
MOST_REMOVED: Final = 0.2
"""Share of rows that are holes: every search reads past them."""
MOST_ADDED: Final = 0.25
"""Share of rows added since the build anew: every step indexes them again, and the partitions of a
vector index are not theirs."""
MOST_STEPS: Final = 64
"""Every step adds a fragment, which every search opens."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The tables a snapshot is made of, pinned at their present versions, and what of them is not
    to be shown.
    """

    datasets: Mapping[str, Any]
    vectors: Mapping[Axis, Any]
    names: Mapping[Axis, str]
    shut_out: ShutOut

    def state(self) -> dict[str, EvidenceTable]:
        return state_of(self.datasets)

    def versions(self) -> dict[str, int]:
        return {name: int(dataset.version) for name, dataset in self.datasets.items()}

    def transforms(self, policy: SnapshotPolicy) -> dict[Axis, tuple[str, ...]]:
        """The one transform behind each vector axis, and those preferred for texts."""
        found = {
            axis: (dataset.schema.metadata[b"ecm.transform"].decode(),)
            for axis, dataset in self.vectors.items()
        }
        return {**found, Axis.FTS: policy.transforms.get(Axis.FTS, ())}

    def dims(self) -> dict[Axis, int]:
        return {axis: dim_of(dataset) for axis, dataset in self.vectors.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """Build on a snapshot by looking at some assets again."""

    base: SnapshotRef
    touched: Touched


@dataclass(frozen=True, slots=True)
class Generation:
    """A written and indexed version of a table `search_materialized`, and what it was built on.

    `added` of its rows, the last ones, are written in this build.
    """

    base: SnapshotRef | None
    location: str
    dataset: Any
    tenants: Mapping[str, int]
    added: int
    superseded: int
    lineage: Lineage


def sources_of(store: EvidenceStore, policy: SnapshotPolicy) -> Sources:
    """The tables that a policy draws on. Raises StoreCorrupt."""
    wanted = (ASSETS, *PLACE_TABLES, ASSET_WORDS, EVIDENCE_TEXT)
    names = [name for name in wanted if store.has_table(name)]
    datasets = {name: store.dataset(name) for name in names}
    vectors, tables = {}, {}
    for axis in VECTOR_AXES:
        for transform in policy.transforms.get(axis, ()):
            name = vector_table(Space(axis.value), transform)
            if store.has_table(name) and store.dataset(name).count_rows():
                datasets[name] = vectors[axis] = store.dataset(name)
                tables[axis] = name
                break
    return Sources(datasets, vectors, tables, shut_out(store))


def way_to(
    store: EvidenceStore, policy: SnapshotPolicy, sources: Sources, refs: Iterable[SnapshotRef]
) -> Step | Anew:
    """Whether to build on the newest snapshot of the policy or anew, and why."""
    digest = policy.digest()
    base = next((ref for ref in refs if ref.policy_digest == digest), None)
    if base is None:
        return Anew("there is no snapshot of this policy")
    reason = _unfit(store, base, policy, sources)
    if reason:
        return Anew(reason)
    touched = touched_since(base.evidence, sources.datasets)
    if isinstance(touched, Anew):
        return touched
    count = touched.assets.num_rows
    if count > max(FEW_ASSETS, MOST_TOUCHED * base.assets):
        return Anew(f"{count} assets of {base.assets} are to be looked at again")
    limit = store.config.vector_index_rows
    lacking = [axis for axis in base.dims if axis.value not in base.measurements.indexed_rows]
    if lacking and base.assets + count >= limit:
        return Anew(f"with {limit} assets the axes have indices")
    return Step(base, touched)


def write_anew(
    store: EvidenceStore, location: str, policy: SnapshotPolicy, sources: Sources, reason: str
) -> Generation:
    """A new generation. Raises as `chosen` and `write_generation` do."""
    with chosen(policy, sources.datasets, sources.vectors, sources.shut_out) as choice:
        written = write_generation(store, location, choice, sources.vectors)
        superseded, tenants = choice.superseded(), choice.tenants()
    create_indices(written, tuple(sources.vectors), store.config.vector_index_rows)
    assets = sum(tenants.values())
    lineage = Lineage(reason=reason, touched=assets)
    dataset = store.open_lance(location)
    return _whole(Generation(None, location, dataset, tenants, assets, superseded, lineage))


def write_step(
    store: EvidenceStore, step: Step, policy: SnapshotPolicy, sources: Sources
) -> Generation:
    """A new version of the base's generation; the base itself stays as it is.

    Raises as `write_anew`, and StoreCorrupt when the base is damaged.
    """
    base, touched = step.base, step.touched
    shut = sources.shut_out
    with chosen(policy, sources.datasets, sources.vectors, shut, touched) as choice:
        removed = reduce_generation(store, base.table, base.version, touched.assets)
        crash_point("snapshot.reduced")
        added = choice.tenants()
        if added:
            extend_generation(store, base.table, choice, sources.vectors)
            crash_point("snapshot.extended")
            extend_indices(store.open_lance(base.table))
        # Of those touched, some that had evidence before had no row even then.
        before = choice.stated_before(sources.names) - sum(removed.values())
        superseded = base.measurements.superseded + choice.superseded() - before
    lineage = Lineage(
        base=base.snapshot_id,
        steps=base.lineage.steps + 1,
        touched=touched.assets.num_rows,
        removed=base.lineage.removed + sum(removed.values()),
        added=base.lineage.added + sum(added.values()),
    )
    tenants = {
        tenant: base.tenants.get(tenant, 0) - removed.get(tenant, 0) + added.get(tenant, 0)
        for tenant in sorted({*base.tenants, *added})
    }
    tenants = {tenant: assets for tenant, assets in tenants.items() if assets}
    dataset = store.open_lance(base.table)
    fresh = sum(added.values())
    return _whole(Generation(base, base.table, dataset, tenants, fresh, superseded, lineage))


def _unfit(
    store: EvidenceStore, base: SnapshotRef, policy: SnapshotPolicy, sources: Sources
) -> str:
    """Why a snapshot cannot be built on, or should not be; empty when it can."""
    lineage = base.lineage
    if not base.assets:
        return "the snapshot before is empty"
    if not base.evidence:
        return "the snapshot before is of a release that did not remember what it saw"
    if (base.transforms, base.dims) != (sources.transforms(policy), sources.dims()):
        return "an axis has another transform than before"
    if set(base.quarantines) != set(sources.shut_out.ids):
        return "other evidence is quarantined than before"
    if lineage.steps >= MOST_STEPS:
        return f"{lineage.steps} snapshots have been built on one another"
    if lineage.removed > max(FEW_ASSETS, MOST_REMOVED * base.assets):
        return f"{lineage.removed} rows of {base.assets} have been taken out"
    if lineage.added > max(FEW_ASSETS, MOST_ADDED * base.assets):
        return f"{lineage.added} rows of {base.assets} have been added"
    try:
        store.open_lance(base.table, base.version)
    except StoreCorrupt as error:
        return f"the snapshot before cannot be opened: {error.message}"
    return ""


def _whole(made: Generation) -> Generation:
    """Raises StoreCorrupt when the table has other rows than were chosen."""
    if sum(made.tenants.values()) != made.dataset.count_rows():
        raise StoreCorrupt(f"{made.location} has lost rows", hint="build the snapshot again")
    return made
