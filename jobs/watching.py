"""What a run remembers of its listing, so that it can be compared with the store afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from ecm.delivery.listed import ListedPlaces
from ecm.images.entries import Found, Skipped
from jobs.enqueue import ListingProgress


class Watch:
    """The onlooker that keeps a listing on disk; an `Onlooker` of `jobs.enqueue`."""

    def __init__(self, listed: ListedPlaces) -> None:
        self._listed = listed

    def noted(self, chunk: Sequence[Found | Skipped]) -> None:
        """Keep what was listed. Raises ResourceExhausted when the disk is full."""
        self._listed.add(chunk)

    def closing(
        self, progress: ListingProgress, stop: threading.Event
    ) -> Iterator[Sequence[Found]]:
        """From here on the listing counts as complete."""
        self._listed.complete()
        return iter(())
