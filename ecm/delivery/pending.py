"""What a commit loop has in hand and has done: entries, links that wait, totals. No I/O."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from ecm.delivery.entries import Entry, Fate, Settled
from ecm.delivery.rates import WorkByTransform


@dataclass
class CommitTotals:
    """What the loop has done so far. `images_*` count resources, the others tasks."""

    batches: int = 0
    committed: int = 0
    retried: int = 0
    dead: int = 0
    stale: int = 0
    images_settled: int = 0
    images_dead: int = 0
    images_through_models: int = 0
    bytes_read: int = 0
    work: WorkByTransform = field(default_factory=WorkByTransform)
    telemetry: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def count(self, settled: Sequence[Settled]) -> None:
        """Add what has left the loop."""
        for each in settled:
            self.images_settled += each.entry.images
            if each.fate is Fate.COMMITTED:
                self.work.add(each.entry.envelope)
                for name, value in each.entry.envelope.telemetry.counts.items():
                    self.telemetry[name] += value
            match each.fate:
                case Fate.COMMITTED | Fate.LINKED:
                    self.committed += 1
                case Fate.RETRIED:
                    self.retried += 1
                case Fate.DEAD:
                    self.dead += 1
                    self.images_dead += each.entry.images
                case Fate.STALE:
                    self.stale += 1
                case Fate.RELEASED:
                    pass
                case _:
                    assert_never(each.fate)


@dataclass
class PendingWork:
    """Entries not yet committed, and links that wait for the first analysis of the same bytes."""

    entries: list[Entry] = field(default_factory=list)
    _since: float = 0.0
    _waiting: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def take(self, entries: Sequence[Entry]) -> None:
        """Add what has come."""
        if not self.entries:
            self._since = time.monotonic()
        self.entries += entries

    def is_due(self, envelopes: int, seconds: float) -> bool:
        """Whether there are so many entries, or the first has waited so long."""
        full = len(self.entries) >= envelopes
        return full or (bool(self.entries) and time.monotonic() - self._since > seconds)

    def next_batch(self, envelopes: int) -> list[Entry]:
        """Take out the oldest entries, so many at most."""
        batch, self.entries = self.entries[:envelopes], self.entries[envelopes:]
        return batch

    def wait(self, link: Entry) -> None:
        """Put a link aside until its evidence has come."""
        self._waiting[link.key or ""].append(link)

    def links_to(self, entry: Entry) -> list[Entry]:
        """Take out the links that wait for this entry's evidence."""
        return self._waiting.pop(entry.key or "", [])

    def all_links(self) -> list[Entry]:
        """Take out every link that waits."""
        links = [entry for entries in self._waiting.values() for entry in entries]
        self._waiting.clear()
        return links
