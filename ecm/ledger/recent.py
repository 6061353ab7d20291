"""What a process remembers of the evidence that recent batches left. Knows an order, and no task.

Batches are numbered as they are persisted. Up to one number their evidence stands in a table (see
existing.py), what came after is read once and kept here.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ecm.ledger.connector import Params, Session


@dataclass(slots=True)
class Recent:
    """Evidence keys of the batches that are not folded yet, each with the stream of its task.

    `since` and `upto` are places in the order in which batches were persisted. Shared among the
    threads of a process, which each see what the latest of them has read.
    """

    streams: dict[bytes, int] = field(default_factory=dict)
    since: int = 0
    upto: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def catch_up(self, session: Session) -> None:
        """Read what was persisted since the last time, and forget what was folded meanwhile."""
        folded = place(session, "folded")
        if folded > self.since:
            self.streams.clear()
            self.since = self.upto = folded
        newest = place(session, "persisted")
        if newest <= self.upto:
            return
        span: Params = {"after": self.upto, "upto": newest}
        for row in session.stream("stream_recent_evidence", span):
            self.streams[bytes.fromhex(row["evidence_key"])] = row["stream_id"]
        self.upto = newest


def place(session: Session, counter: str) -> int:
    """Where a counter of persisted batches stands."""
    row = session.one("read_counter", {"name": counter})
    return 0 if row is None else int(row["value"])
