"""Follows what is published: opens a new snapshot beside the present one, then switches.

Knows which snapshots are open and for how long; knows no HTTP and starts no thread. Requests that
hold an older engine finish on it; a cursor finds its own snapshot while that is still kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ecm.contracts.search import SearchRequest
from ecm.errors import QueryError, SnapshotNotFound
from ecm.evidence.refs import SnapshotRef
from ecm.search.cursor import Cursor
from ecm.search.engine import SearchEngine

KEPT = 3
"""Snapshots kept open: the published one and those that cursors may still name."""


class Following:
    """The engines of the published snapshot and of those before it. Thread-safe.

    Args:
        published: the reference that is published now, or None.
        opened: an engine on a snapshot.
    """

    def __init__(
        self,
        published: Callable[[], SnapshotRef | None],
        opened: Callable[[SnapshotRef], SearchEngine],
    ) -> None:
        self._published = published
        self._opened = opened
        self._engines: OrderedDict[str, SearchEngine] = OrderedDict()
        self._current: SearchEngine | None = None
        self._turn = threading.Lock()

    def refresh(self) -> bool:
        """Look once; True when another snapshot is served from now on.

        Raises what opening raises, and then goes on serving the snapshot it had.
        """
        with self._turn:
            ref = self._published()
            if ref is None or self._is_current(ref):
                return False
            engine = self._engines.get(ref.snapshot_id) or self._opened(ref)
            self._engines[ref.snapshot_id] = engine
            self._engines.move_to_end(ref.snapshot_id)
            self._current = engine
            while len(self._engines) > KEPT:
                self._engines.popitem(last=False)
            return True

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

    def _is_current(self, ref: SnapshotRef) -> bool:
        now = self._current
        return now is not None and now.reader.ref.snapshot_id == ref.snapshot_id
