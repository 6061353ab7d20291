"""Follows what is published: opens a new snapshot beside the present one, then switches.

Knows which snapshots are open, for how long, and that they are pinned meanwhile; knows no HTTP and
starts no thread. Requests that hold an older engine finish on it; a cursor finds its own snapshot
while that is still kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from ecm.contracts.search import SearchRequest
from ecm.errors import ConfigError, QueryError, SnapshotNotFound, TransientError
from ecm.evidence.refs import SnapshotRef
from ecm.search.cursor import Cursor
from ecm.search.engine import SearchEngine

KEPT: Final = 3
"""Snapshots kept open: the published one and those that cursors may still name."""
KEPT_SECONDS: Final = 900.0
"""How long after it was superseded a snapshot is kept open for cursors."""


class Pins(Protocol):
    """What `ecm.evidence.pins.PinKeeper` does for a reader."""

    def keep(self, snapshot_ids: frozenset[str], now: float) -> frozenset[str]:
        """Pin these; those of them that are being removed."""


class Following:
    """The engines of the published snapshot and of those before it. Thread-safe.

    Args:
        published: the reference that is published now, or None.
        opened: an engine on a snapshot.
        pins: keeps collection away from what is open.
    """

    def __init__(
        self,
        published: Callable[[], SnapshotRef | None],
        opened: Callable[[SnapshotRef], SearchEngine],
        pins: Pins,
    ) -> None:
        self._published = published
        self._opened = opened
        self._pins = pins
        self._engines: OrderedDict[str, SearchEngine] = OrderedDict()
        self._superseded: dict[str, float] = {}
        self._current: SearchEngine | None = None
        self._unpinned = ""
        self._held: frozenset[str] = frozenset()
        self._turn = threading.Lock()

    @property
    def unpinned(self) -> str:
        """Why what is open could not be pinned when last looked; empty: it is pinned."""
        return self._unpinned

    def refresh(self, now: float) -> bool:
        """Look once; True when another snapshot is served from now on. `now` is in Unix seconds.

        Raises what opening raises, and then goes on serving the snapshot it had. That pins cannot
        be written, say on a store that is only read, is told by `unpinned` and stops nothing.
        """
        with self._turn:
            self._close_old(now)
            self._pin(frozenset(self._engines), now)
            ref = self._published()
            if ref is None or self._is_current(ref):
                return False
            if ref.snapshot_id in self._pin(frozenset({*self._engines, ref.snapshot_id}), now):
                raise SnapshotNotFound(f"snapshot {ref.snapshot_id} is being removed")
            engine = self._engines.get(ref.snapshot_id) or self._opened(ref)
            if self._current is not None:
                # While the old one answers: nobody is to wait for what was in memory before.
                engine.warm_like(self._current)
                self._superseded[self._current.reader.ref.snapshot_id] = now
            self._superseded.pop(ref.snapshot_id, None)
            self._engines[ref.snapshot_id] = engine
            self._engines.move_to_end(ref.snapshot_id)
            self._current = engine
            while len(self._engines) > KEPT:
                self._close(next(iter(self._engines)))
            return True

    def renew(self, now: float) -> None:
        """Prolong the pins of what is open or being opened; does not wait for a refresh.

        Opening may take longer than a pin lives, say while a snapshot is fetched from afar.
        """
        try:
            self._pins.keep(self._held, now)
        except (TransientError, ConfigError) as error:
            self._unpinned = str(error)

    def current(self) -> SearchEngine:
        """The engine of the published snapshot. Raises SnapshotNotFound before there is one."""
        if self._current is None:
            raise SnapshotNotFound(
                "no snapshot is published yet",
                hint="`ecm index` or `ecm materialize` publishes one",
            )
        return self._current

    def engine_for(self, request: SearchRequest) -> SearchEngine:
        """The engine on the snapshot that the request's cursor names, else the current one.

        Raises QueryError `query.cursor_stale` when that snapshot is no longer open.
        """
        if request.cursor is None:
            return self.current()
        snapshot_id = Cursor.opened(request.cursor).snapshot_id
        engine = self._engines.get(snapshot_id)
        if engine is None:
            raise QueryError(
                "the cursor was made on a snapshot that is no longer served",
                "query.cursor_stale",
                "ask again without a cursor",
            )
        return engine

    def _pin(self, snapshot_ids: frozenset[str], now: float) -> frozenset[str]:
        """Those that are being removed; an older one of them is closed, lest it answer wrongly."""
        self._held = snapshot_ids
        try:
            removed = self._pins.keep(snapshot_ids, now)
            self._unpinned = ""
        except (TransientError, ConfigError) as error:
            self._unpinned = str(error)
            return frozenset()
        for snapshot_id in removed & self._superseded.keys():
            self._close(snapshot_id)
        return removed

    def _close_old(self, now: float) -> None:
        for snapshot_id, since in list(self._superseded.items()):
            if now - since > KEPT_SECONDS:
                self._close(snapshot_id)

    def _close(self, snapshot_id: str) -> None:
        """Whoever holds the engine finishes on it; its pin lasts as long as any request may."""
        self._engines.pop(snapshot_id, None)
        self._superseded.pop(snapshot_id, None)

    def _is_current(self, ref: SnapshotRef) -> bool:
        now = self._current
        return now is not None and now.reader.ref.snapshot_id == ref.snapshot_id
