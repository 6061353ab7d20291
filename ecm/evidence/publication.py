"""What is served: publishing a snapshot, and going back to one that was published before.

Knows the one document that searchers follow and the order of steps that keeps it from ever naming
what collection removes. Builds nothing and needs no right: it takes no longer than a few requests.
"""

from __future__ import annotations

from typing import Final

from ecm.crashpoints import crash_point
from ecm.errors import SnapshotNotFound, SnapshotRejected
from ecm.evidence.pins import is_condemned, pinned
from ecm.evidence.quarantine import unheeded
from ecm.evidence.refs import (
    Publication,
    Published,
    SnapshotRef,
    has_ref,
    read_published,
    read_ref,
    write_published,
)
from ecm.evidence.store import EvidenceStore

REMEMBERED: Final = 100
"""Publications kept on record, and how far `rollback` can go back."""
_SECONDS: Final = 300.0
"""More than publishing ever takes: how long its pin lives if it dies in between."""


def publish(store: EvidenceStore, snapshot_id: str, now: float) -> SnapshotRef:
    """Serve this snapshot from now on; what was served is kept for `rollback`.

    Raises SnapshotNotFound, StoreCorrupt when its table cannot be opened, SnapshotRejected
    when it did not measure up, or was built before evidence was quarantined that it may show.
    """
    ref = read_ref(store, snapshot_id)
    _check_quarantines(store, ref)
    shortfalls = ref.measurements.shortfalls
    if shortfalls:
        raise SnapshotRejected(
            f"snapshot {snapshot_id} does not measure up: "
            + "; ".join(shortfall.message for shortfall in shortfalls),
            hint=f"`ecm snapshots publish {snapshot_id} --despite-measurements` serves it anyway",
        )
    return publish_despite_measurements(store, snapshot_id, now)


def publish_despite_measurements(store: EvidenceStore, snapshot_id: str, now: float) -> SnapshotRef:
    """Like `publish`, for somebody who has looked at what was measured and answers for it."""
    before = read_published(store)
    if before is None:
        return _served(store, snapshot_id, (), now)
    if before.current.snapshot_id == snapshot_id:
        ref = read_ref(store, snapshot_id)
        store.open_lance(ref.table, ref.version)
        return ref
    return _served(store, snapshot_id, (*before.history, before.current), now)


def rollback(store: EvidenceStore, now: float, to: str | None = None) -> SnapshotRef:
    """Serve what was published before the present snapshot; again goes back further.

    `to` names one of those published before; without it the newest is taken that still exists.
    Raises SnapshotNotFound when there is none, StoreCorrupt when its table cannot be opened,
    SnapshotRejected when it was built before evidence was quarantined that it may show.
    """
    before = read_published(store)
    history = () if before is None else before.history
    for place in range(len(history) - 1, -1, -1):
        snapshot_id = history[place].snapshot_id
        if snapshot_id == to or (to is None and has_ref(store, snapshot_id)):
            _check_quarantines(store, read_ref(store, snapshot_id))
            return _served(store, snapshot_id, history[:place], now)
    if to is not None:
        raise SnapshotNotFound(
            f"snapshot {to[:100]!r} was not published before the present one",
            hint="`ecm snapshots publish ID` serves any there is",
        )
    raise SnapshotNotFound(
        "nothing was published before the present snapshot",
        hint="`ecm snapshots publish ID` serves any other",
    )


def _check_quarantines(store: EvidenceStore, ref: SnapshotRef) -> None:
    late = unheeded(store, ref.quarantines)
    if late:
        raise SnapshotRejected(
            f"snapshot {ref.snapshot_id} was built before quarantine {', '.join(late)} and may "
            "show its evidence",
            hint="`ecm materialize` builds one without it; `ecm snapshots publish "
            f"{ref.snapshot_id} --despite-measurements` serves this one anyway",
        )


def _served(
    store: EvidenceStore, snapshot_id: str, history: tuple[Publication, ...], now: float
) -> SnapshotRef:
    """Name it in the document, under a pin, so that no collection removes it meanwhile."""
    ref = read_ref(store, snapshot_id)
    with pinned(store, snapshot_id, "publish", now, _SECONDS):
        store.open_lance(ref.table, ref.version)
        before = read_published(store)
        current = Publication(snapshot_id=snapshot_id, at=now)
        past = () if before is None else before.publications()
        served = Published(
            current=current, history=history[-REMEMBERED:], log=(*past, current)[-REMEMBERED:]
        )
        write_published(store, served)
        crash_point("snapshot.published")
        # Whoever slept here for longer than a pin lives may have named what is gone by now.
        if has_ref(store, snapshot_id) and not is_condemned(store, snapshot_id):
            return ref
        if before is not None and read_published(store) == served:
            write_published(store, before)
        raise SnapshotNotFound(f"snapshot {snapshot_id} was removed while it was published")
