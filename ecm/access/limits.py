"""How often a key may ask: token buckets, one per key and scope, in this process.

A bucket holds `burst` tokens and gains `rate` of them a second; a request takes some. Knows no
HTTP; the clock is its caller's and must not run backwards (monotonic seconds).
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from ecm.access.scopes import Scope

MAX_BUCKETS: Final = 100_000
"""Of the longest unused ones those above are forgotten, which fills them."""


class RateLimit(BaseModel):
    """Requests a second in the long run, and how many may come at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(gt=0, le=1e6, allow_inf_nan=False, description="requests a second")
    burst: int = Field(ge=1, le=1_000_000, description="requests at once")


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request: whether it may go on, tokens left, and seconds to wait.

    `wait` is how long until there are tokens enough (0 for one that may go on), `full` until the
    bucket is full again.
    """

    granted: bool
    limit: RateLimit
    left: int
    wait: float
    full: float


class Limiter:
    """The buckets of one process, for any number of threads."""

    def __init__(self, limits: Mapping[Scope, RateLimit]) -> None:
        self._limits = dict(limits)
        self._buckets: OrderedDict[tuple[str, Scope], tuple[float, float]] = OrderedDict()
        self._taking = threading.Lock()

    def take(self, key_id: str, scope: Scope, now: float, cost: float = 1.0) -> Taken | None:
        """Take `cost` tokens (0 or more) of a key's bucket, or none; None where nothing is limited.

        A cost above the burst takes a full bucket: it would never be granted else.
        """
        limit = self._limits.get(scope)
        if limit is None:
            return None
        with self._taking:
            tokens, filled = self._buckets.pop((key_id, scope), (float(limit.burst), now))
            tokens = min(float(limit.burst), tokens + max(0.0, now - filled) * limit.rate)
            wanted = min(cost, limit.burst)
            # A token that is there but for the rounding of sums is there.
            granted = tokens >= wanted - 1e-9
            tokens = max(0.0, tokens - wanted) if granted else tokens
            self._buckets[key_id, scope] = tokens, max(now, filled)
            while len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        return Taken(
            granted=granted,
            limit=limit,
            left=math.floor(tokens + 1e-9),
            wait=0.0 if granted else (wanted - tokens) / limit.rate,
            full=(limit.burst - tokens) / limit.rate,
        )
