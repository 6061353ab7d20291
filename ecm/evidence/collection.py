"""Garbage collection of snapshots: the order in which what is not needed goes.

References go first, so that a kill leaves files that nothing names and never a broken snapshot; the
next collection finishes what was begun. The caller holds the right to commit, so nobody builds or
maintains meanwhile. Publishing and reading need no right: a snapshot is condemned before it is
looked whether anyone uses it (see `ecm.evidence.pins`). What is needed is known to `retention`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from ecm.crashpoints import crash_point
from ecm.errors import ContractError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.committer import StillMine
from ecm.evidence.faults import lance_errors
from ecm.evidence.pins import PINS, all_pins, condemn, is_condemned, spare, unpin
from ecm.evidence.refs import (
    SnapshotRef,
    all_refs,
    folder_of,
    has_ref,
    is_snapshot_id,
    remove_ref,
)
from ecm.evidence.retention import PINNED, PUBLISHED, Retention, leftovers, need_of, survey
from ecm.evidence.store import EvidenceStore

Told = Callable[[str], None]
"""Hears a line for a person about each thing removed."""

_NOTHING: Final = timedelta(0)


@dataclass
class Collected:
    """What a collection did.

    `spared` says why snapshots stayed that nobody had seemed to need; `left` says by table what
    kept old versions from being removed from it.
    """

    snapshots: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    versions: int = 0
    pins: int = 0
    bytes_freed: int = 0
    spared: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def collect(
    store: EvidenceStore, rule: Retention, now: float, confirm: StillMine, told: Told
) -> Collected:
    """Remove what nobody needs: snapshots, their versions and folders, leftovers, dead pins.

    `confirm` is asked before every removal; it raises LeaseLost when another has the right. Raises
    StoreCorrupt, with nothing removed, when a reference or a pin cannot be read; StoreUnavailable.
    """
    done = Collected()
    found = survey(store, rule, now)
    for snapshot_id in found.spared:
        confirm()
        spare(store, snapshot_id)
    for ref in found.doomed:
        confirm()
        if _unreferenced(store, ref.snapshot_id, rule, now, confirm, done):
            told(f"removed snapshot {ref.snapshot_id} of {ref.assets} assets")
    _sweep(store, rule, now, confirm, told, done)
    return done


def sweep(
    store: EvidenceStore, rule: Retention, now: float, confirm: StillMine, told: Told
) -> Collected:
    """Like `collect`, but every snapshot stays: only what belongs to none goes."""
    done = Collected()
    _sweep(store, rule, now, confirm, told, done)
    return done


def _sweep(
    store: EvidenceStore,
    rule: Retention,
    now: float,
    confirm: StillMine,
    told: Told,
    done: Collected,
) -> None:
    kept = all_refs(store)
    for table, refs in _generations(kept).items():
        confirm()
        _clean_versions(store, table, refs, done)
    crash_point("gc.cleaned")
    for leftover in leftovers(store, kept, rule, now):
        confirm()
        store.storage.remove(leftover.name)
        crash_point("gc.swept")
        done.leftovers.append(leftover.name)
        done.bytes_freed += leftover.size
        told(f"removed {leftover.name}, {leftover.size} bytes")
    _tidy(store, kept)
    done.pins = _drop_dead(store, now)


def discard(
    store: EvidenceStore, snapshot_id: str, rule: Retention, now: float, confirm: StillMine
) -> None:
    """Make one snapshot cease to exist, young or damaged as it may be; `collect` does the rest.

    Raises SnapshotNotFound, ContractError while it is published or a reader pins it.
    """
    if not has_ref(store, snapshot_id):
        raise SnapshotNotFound(
            f"no snapshot {snapshot_id}", hint="`ecm snapshots list` shows those there are"
        )
    confirm()
    earlier = is_condemned(store, snapshot_id)
    condemn(store, snapshot_id)
    need = need_of(store, snapshot_id, rule, now)
    if need in (PUBLISHED, PINNED):
        if not earlier:
            spare(store, snapshot_id)
        raise ContractError(
            f"snapshot {snapshot_id} is {need}",
            code="snapshot.in_use",
            hint="publish another one first; a searcher lets go of it some minutes later",
        )
    confirm()
    remove_ref(store, snapshot_id)


def _unreferenced(
    store: EvidenceStore,
    snapshot_id: str,
    rule: Retention,
    now: float,
    confirm: StillMine,
    done: Collected,
) -> bool:
    """Condemn, look, and take the reference away; False when somebody turns out to use it."""
    earlier = is_condemned(store, snapshot_id)
    if not earlier:
        condemn(store, snapshot_id)
    crash_point("gc.condemned")
    need = need_of(store, snapshot_id, rule, now)
    used = need in (PUBLISHED, PINNED)
    if used or (need and not earlier):
        # An earlier collection that sleeps may have looked before this use began: a reader who
        # comes after it is turned away, and only a publication shows that it was seen.
        if not earlier or need == PUBLISHED:
            spare(store, snapshot_id)
        done.spared[snapshot_id] = need
        return False
    confirm()
    remove_ref(store, snapshot_id)
    crash_point("gc.unreferenced")
    done.snapshots.append(snapshot_id)
    return True


def _generations(refs: Sequence[SnapshotRef]) -> dict[str, list[SnapshotRef]]:
    tables: dict[str, list[SnapshotRef]] = {}
    for ref in refs:
        tables.setdefault(ref.table, []).append(ref)
    return tables


def _clean_versions(
    store: EvidenceStore, table: str, refs: Sequence[SnapshotRef], done: Collected
) -> None:
    """Drop the tags of what is no snapshot, see that every snapshot has its own, then clean up.

    A table that cannot be opened is left as it is: it may still be mended.
    """
    try:
        with lance_errors(f"cannot clean up {table}"):
            dataset = store.open_lance(table)
            _put_tags_right(dataset, {ref.snapshot_id: ref.version for ref in refs})
            crash_point("gc.untagged")
            # Whoever holds the right is the only one to write here: what is in no version was left.
            stats = dataset.cleanup_old_versions(
                older_than=_NOTHING, error_if_tagged_old_versions=False, delete_unverified=True
            )
    except StoreCorrupt as error:
        done.left[table] = error.message
        return
    done.versions += int(stats.old_versions)
    done.bytes_freed += int(stats.bytes_removed)


def _put_tags_right(dataset: Any, versions: dict[str, int]) -> None:
    tagged = {name: int(tag["version"]) for name, tag in dataset.tags.list().items()}
    for name in tagged.keys() - versions.keys():
        if is_snapshot_id(name):
            dataset.tags.delete(name)
    for name, version in versions.items():
        if name not in tagged:
            dataset.tags.create(name, version)
        elif tagged[name] != version:
            dataset.tags.update(name, version)


def _tidy(store: EvidenceStore, kept: Sequence[SnapshotRef]) -> None:
    """What a collected snapshot leaves beside a generation that others go on using."""
    living = {ref.snapshot_id for ref in kept}
    for table in {ref.table for ref in kept}:
        folder, _, name = table.rpartition("/")
        if folder in {folder_of(one) for one in living}:
            continue
        for child in store.storage.children(folder):
            if child != name and not child.startswith("."):
                store.storage.remove(f"{folder}/{child}")


def _drop_dead(store: EvidenceStore, now: float) -> int:
    """Pins that ran out, and the empty folders of pins on what does not exist."""
    dead = [held for held in all_pins(store) if not held.is_live(now)]
    for held in dead:
        unpin(store, held.snapshot_id, held.reader)
    for one in store.storage.children(PINS):
        if not store.storage.children(f"{PINS}/{one}") and not has_ref(store, one):
            store.storage.remove(f"{PINS}/{one}")
    return len(dead)
