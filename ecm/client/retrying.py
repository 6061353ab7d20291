"""When a call is sent again, and after how long: pure, no clock and no connection."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ecm.client.errors import Busy, ClientError, NoAnswer

FIRST_SECONDS = 0.2
LONGEST_SECONDS = 8.0
PATIENCE_SECONDS = 60.0
LATE = "client.timeout"


@dataclass(frozen=True)
class Retries:
    """Up to `most` times more where the service says that it cannot now (429, 503) or was not
    reached; never after a time-out, which would only be waited for once more.

    Waits at least as long as the service asks for, and never longer than `patience` seconds at a
    time: then its answer is the caller's to deal with. `chance` gives numbers in [0, 1).
    """

    most: int
    patience: float = PATIENCE_SECONDS
    chance: Callable[[], float] = random.random

    def pause(self, before: int, failed: ClientError) -> float | None:
        """Seconds until it is sent again after `before` earlier tries again; None: never."""
        if before >= self.most or not isinstance(failed, Busy | NoAnswer) or failed.code == LATE:
            return None
        own = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**before) * (0.5 + self.chance() / 2)
        wait = max(own, failed.retry_after or 0.0)
        return wait if wait <= self.patience else None
