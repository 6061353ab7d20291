"""Which snapshots are needed, by whom, and which are not. Reads the store and changes nothing.

A snapshot is needed while it is published, while `rollback` may go back to it, while a reader pins
it, while it was served a moment ago, while it is young or among the newest. Whatever lies beside
snapshots and belongs to none is a leftover once nothing in it has changed for the grace period.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ecm.evidence.pins import Held, all_pins, is_condemned, pins_of
from ecm.evidence.refs import (
    SNAPSHOTS,
    Published,
    SnapshotRef,
    all_refs,
    folder_of,
    is_snapshot_id,
    read_published,
)
from ecm.evidence.storage import ASIDE
from ecm.evidence.store import EvidenceStore

PUBLISHED: Final = "published"
PINNED: Final = "pinned"


@dataclass(frozen=True)
class Retention:
    """What is kept though nobody reads it: the newest, those `rollback` needs, and the young.

    `younger_than` and `grace` are in seconds. Nothing unfinished or just superseded is touched
    within the grace period: it covers readers too short-lived to pin.
    """

    newest: int = 3
    rollbacks: int = 3
    younger_than: float = 0.0
    grace: float = 3600.0


@dataclass(frozen=True)
class Leftover:
    """A folder that belongs to no snapshot: of a build that was killed, or of one collected.

    `size` is in bytes.
    """

    name: str
    size: int


@dataclass(frozen=True)
class Survey:
    """What may be collected now, oldest first, and why the rest is needed.

    `spared` was condemned by an earlier collection that then saw it published, and died.
    """

    doomed: tuple[SnapshotRef, ...]
    needed: dict[str, str]
    leftovers: tuple[Leftover, ...]
    spared: tuple[str, ...]


def survey(store: EvidenceStore, rule: Retention, now: float) -> Survey:
    """Raises StoreCorrupt when a reference or a pin cannot be read, StoreUnavailable."""
    pins, published, refs = all_pins(store), read_published(store), all_refs(store)
    needed = _young(refs, rule, now) | _served(published, rule, now) | _used(published, pins, now)
    # What an earlier collection condemned it may be about to remove: only use takes that back.
    condemned = {r.snapshot_id for r in refs if is_condemned(store, r.snapshot_id)}
    for one in condemned:
        if needed.get(one) not in (PUBLISHED, PINNED):
            needed.pop(one, None)
    doomed = tuple(ref for ref in reversed(refs) if ref.snapshot_id not in needed)
    kept = [ref for ref in refs if ref.snapshot_id in needed]
    return Survey(
        doomed=doomed,
        needed={ref.snapshot_id: needed[ref.snapshot_id] for ref in kept},
        leftovers=tuple(leftovers(store, kept, rule, now)),
        spared=tuple(sorted(one for one in condemned if needed.get(one) == PUBLISHED)),
    )


def need_of(store: EvidenceStore, snapshot_id: str, rule: Retention, now: float) -> str:
    """Who uses a snapshot as of this moment, or nothing. Asked after it was condemned."""
    published = read_published(store)
    used = _used(published, pins_of(store, snapshot_id), now)
    return (_served(published, rule, now) | used).get(snapshot_id, "")


def leftovers(
    store: EvidenceStore, kept: Iterable[SnapshotRef], rule: Retention, now: float
) -> list[Leftover]:
    """Folders that nothing names: not the reference of `kept`, not a pin, not their youth."""
    named = {ref.table.rpartition("/")[0] for ref in kept}
    named |= {folder_of(ref.snapshot_id) for ref in kept}
    pinned = _used(None, all_pins(store), now)
    found = []
    for one in store.storage.children(SNAPSHOTS):
        folder = f"{SNAPSHOTS}/{one}"
        if not is_snapshot_id(one) or folder in named or one in pinned:
            continue
        extent = store.storage.extent(folder)
        if is_condemned(store, one) or extent.modified <= now - rule.grace:
            found.append(Leftover(folder, extent.size))
    for one in store.storage.children(ASIDE):
        extent = store.storage.extent(f"{ASIDE}/{one}")
        if extent.modified <= now - rule.grace:
            found.append(Leftover(f"{ASIDE}/{one}", extent.size))
    return found


def _young(refs: Sequence[SnapshotRef], rule: Retention, now: float) -> dict[str, str]:
    """`refs` are newest first."""
    since = now - max(rule.younger_than, rule.grace)
    young = {ref.snapshot_id: "young" for ref in refs if ref.created_at > since}
    return young | {ref.snapshot_id: "among the newest" for ref in refs[: rule.newest]}


def _served(published: Published | None, rule: Retention, now: float) -> dict[str, str]:
    if published is None:
        return {}
    lately = {
        one.snapshot_id: "served until a moment ago"
        for one, following in pairwise(published.publications())
        if following.at > now - rule.grace
    }
    back = list(dict.fromkeys(one.snapshot_id for one in reversed(published.history)))
    return lately | dict.fromkeys(back[: rule.rollbacks], "rollback may need it")


def _used(published: Published | None, pins: Iterable[Held], now: float) -> dict[str, str]:
    used = {held.snapshot_id: PINNED for held in pins if held.is_live(now)}
    return used if published is None else used | {published.current.snapshot_id: PUBLISHED}
