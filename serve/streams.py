"""Answers of many lines: how many at a time, for how long, and how they end.

Each holds a connection of the database and its view of a moment while it is read, so a client that
reads slowly must neither take all of them nor keep one. Knows no operation and no tenant.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.concurrency import iterate_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from ecm.errors import LedgerUnavailable

LINES = "application/x-ndjson"


@dataclass(frozen=True)
class StreamBounds:
    """At once, of all callers and of one; seconds that a page may take to be read, and in all."""

    most: int = 4
    most_of_one: int = 2
    stalled_seconds: float = 30.0
    whole_seconds: float = 600.0


class Streams:
    """The streams of one replica. Safe to share among threads."""

    def __init__(self, bounds: StreamBounds) -> None:
        self.bounds = bounds
        self._lock = threading.Lock()
        self._open: Counter[str | None] = Counter()

    @contextmanager
    def taken(self, whose: str | None) -> Iterator[float]:
        """A place, and the monotonic time at which it is over. Raises LedgerUnavailable."""
        with self._lock:
            if (
                self._open[whose] >= self.bounds.most_of_one
                or self._open.total() >= self.bounds.most
            ):
                raise LedgerUnavailable(
                    "too many long answers are being read", "ledger.streams", "try again"
                )
            self._open[whose] += 1
        try:
            yield time.monotonic() + self.bounds.whole_seconds
        finally:
            with self._lock:
                self._open[whose] -= 1


class Lines(StreamingResponse):
    """A first line and those that follow; what they hold is let go however reading them ends."""

    def __init__(
        self, first: bytes, others: Generator[bytes, None, None], stalled_seconds: float
    ) -> None:
        async def all_lines() -> AsyncIterator[bytes]:
            yield first
            async for line in iterate_in_threadpool(others):
                yield line

        super().__init__(all_lines(), media_type=LINES)
        self._others = others
        self._stalled_seconds = stalled_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bounded(message: Message) -> None:
            await asyncio.wait_for(send(message), self._stalled_seconds)

        try:
            await super().__call__(scope, receive, bounded)
        except (TimeoutError, ClientDisconnect):
            return  # nobody reads: without its last line the answer is known to have broken off
        finally:
            # Not awaited, since this may be a cancellation.
            asyncio.get_running_loop().run_in_executor(None, self._others.close)
