"""What a run remembers of its listing, to compare it with the store, and what it reads again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from ecm.delivery.listed import ListedPlaces
from ecm.delivery.verifying import ContentCheck, Verified
from ecm.images.entries import Found, Skipped
from jobs.enqueue import ListingProgress


class Watch:
    """The onlooker that keeps a listing on disk; an `Onlooker` of `jobs.enqueue`.

    With a `check`, what is taken for unchanged is read before the listing is closed, and what has
    other bytes is queued besides.
    """

    def __init__(self, listed: ListedPlaces, check: ContentCheck | None = None) -> None:
        self._listed = listed
        self._check = check

    def noted(self, chunk: Sequence[Found | Skipped]) -> None:
        """Keep what was listed. Raises ResourceExhausted when the disk is full."""
        self._listed.add(chunk)

    def closing(
        self, progress: ListingProgress, stop: threading.Event
    ) -> Iterator[Sequence[Found]]:
        """From here on the listing counts as complete."""
        self._listed.complete()
        if self._check is None:
            return
        check = self._check
        progress.detail = lambda: _reading(check.totals)
        for altered in check.run(stop):
            yield [Found(identity) for identity in altered]


def _reading(totals: Verified) -> str:
    found = f", {totals.altered} with other bytes" if totals.altered else ""
    return f"verifying: {totals.files:,} files, {totals.bytes_read / 2**20:,.0f} MiB read{found}"
