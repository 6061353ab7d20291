"""How feedback gets from an ingress replica into the store: a few batches rather than many.

Whoever tells something is answered when it is durable: it is written after LINGER_SECONDS at most,
or as soon as BATCH_EVENTS or the events of BATCH_CALLERS are together. What nobody waits for is
written with the rest, and when the replica ends. Knows the clock and how long feedback is kept;
knows no route.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ecm.contracts.feedback import FeedbackEvent, FeedbackReceipt, StoredEvent, day_of
from ecm.errors import EcmError, Overloaded, TransientError
from ecm.evidence.feedback import DAY_SECONDS, FeedbackStore

log = logging.getLogger("ray.serve")

LINGER_SECONDS = 0.5
BATCH_EVENTS = 500
BATCH_CALLERS = 32
MAX_WAITING = 10_000
"""Events that wait to be written: beyond that it is said to come again."""

MAX_CALLERS = 64
"""Who waits at a time: a store that is slow must not take the places of those who search."""

AHEAD_SECONDS = 300.0
"""A caller's clock may be ahead of ours by this."""

KNOWN_EVENTS = 20_000
"""Ids of events that this replica has lately seen written."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class _Told:
    """Events of one caller; None waits for them where the service itself has seen them."""

    events: Sequence[StoredEvent]
    answer: asyncio.Future[FeedbackReceipt] | None


class FeedbackWriter:
    """What a replica is told, on its way to the store.

    Args:
        store_of: the store; blocks, raises EcmError.
        kept_days: events of longer ago are not taken, and whole days of them removed.
        wall: Unix seconds.
        linger: seconds that events wait for others.
        most: events that wait at a time.
    """

    def __init__(
        self,
        store_of: Callable[[], FeedbackStore],
        kept_days: int,
        wall: Callable[[], float] = time.time,
        linger: float = LINGER_SECONDS,
        most: int = MAX_WAITING,
    ) -> None:
        self._store_of = store_of
        self._kept_seconds = kept_days * DAY_SECONDS
        self._wall = wall
        self._linger = linger
        self._most = most
        self._waiting: list[_Told] = []
        self._count = 0
        self._callers = 0
        self._full = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._writing = threading.Lock()
        self._store: FeedbackStore | None = None
        self._known: OrderedDict[Key, None] = OrderedDict()
        self._tidied = ""

    async def add(self, tenant_id: str, events: Sequence[FeedbackEvent]) -> FeedbackReceipt:
        """Durable, when this returns. Raises Overloaded, and as the store does."""
        if self._count + len(events) > self._most or self._callers >= MAX_CALLERS:
            raise Overloaded("too much feedback waits to be written", "feedback.full")
        taken = self._within(events)
        outside = len(events) - len(taken)
        if not taken:
            return FeedbackReceipt(stored=0, repeated=0, outside=outside)
        answer: asyncio.Future[FeedbackReceipt] = asyncio.get_running_loop().create_future()
        self._callers += 1
        try:
            sealed = await asyncio.to_thread(self._sealed, tenant_id, taken)
            self._take(_Told(sealed, answer))
            receipt = await answer
        finally:
            self._callers -= 1
        return receipt.model_copy(update={"outside": outside})

    async def note(self, tenant_id: str, event: FeedbackEvent) -> None:
        """Taken in, to be written soon. What cannot be taken in is said in the log."""
        if self._count >= self._most:
            log.warning("an impression is not stored: too much feedback waits to be written")
            return
        try:
            sealed = await asyncio.to_thread(self._sealed, tenant_id, [event])
        except EcmError as error:
            log.warning("an impression is not stored: %s", error)
            return
        self._take(_Told(sealed, None))

    def close(self) -> None:
        """Write what waits; blocks. What cannot be written is said in the log."""
        waiting, self._waiting, self._count = self._waiting, [], 0
        events = [event for told in waiting for event in told.events]
        if not events:
            with self._writing:  # what is just being written is waited for
                return
        try:
            self._write(events)
        except EcmError as error:
            log.warning("%d events of feedback are lost: %s", len(events), error)

    def _within(self, events: Sequence[FeedbackEvent]) -> list[FeedbackEvent]:
        now = self._wall()
        first, last = now - self._kept_seconds, now + AHEAD_SECONDS
        return [event for event in events if first <= event.at <= last]

    def _sealed(self, tenant_id: str, events: Sequence[FeedbackEvent]) -> list[StoredEvent]:
        store = self._opened()
        return [store.sealed(tenant_id, event) for event in events]

    def _take(self, told: _Told) -> None:
        self._waiting.append(told)
        self._count += len(told.events)
        if self._count >= BATCH_EVENTS or len(self._waiting) >= BATCH_CALLERS:
            self._full.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_all())

    async def _write_all(self) -> None:
        """Goes on for as long as there is something to write."""
        while self._waiting:
            try:
                async with asyncio.timeout(self._linger):
                    await self._full.wait()
            except TimeoutError:
                pass  # fewer than a full batch: it is time all the same
            await self._write_waiting()

    async def _write_waiting(self) -> None:
        waiting, self._waiting, self._count = self._waiting, [], 0
        self._full.clear()
        events = [event for told in waiting for event in told.events]
        failed: EcmError = TransientError("feedback could not be written", "feedback.failed")
        written: frozenset[int] | None = None
        try:
            written = await asyncio.to_thread(self._write, events)
        except EcmError as error:
            failed = error
            log.warning("feedback could not be written: %s", error)
        finally:
            for told in waiting:
                _settle(told, written, failed)

    def _write(self, events: Sequence[StoredEvent]) -> frozenset[int]:
        """The events that are new, by `id`."""
        with self._writing:
            store = self._opened()
            new = store.add([event for event in events if _key(event) not in self._known])
            for event in events:
                self._known[_key(event)] = None
                self._known.move_to_end(_key(event))
            while len(self._known) > KNOWN_EVENTS:
                self._known.popitem(last=False)
            self._tidy(store)
            return frozenset(map(id, new))

    def _tidy(self, store: FeedbackStore) -> None:
        """Once a day, what is kept no longer is removed."""
        now = self._wall()
        if day_of(now) == self._tidied:
            return
        try:
            store.forget_before(day_of(now - self._kept_seconds))
        except EcmError as error:
            log.warning("old feedback could not be removed, which will be tried again: %s", error)
            return
        self._tidied = day_of(now)

    def _opened(self) -> FeedbackStore:
        if self._store is None:
            self._store = self._store_of()
        return self._store


def _settle(told: _Told, written: frozenset[int] | None, failed: EcmError) -> None:
    if told.answer is None or told.answer.done():
        return
    if written is None:
        told.answer.set_exception(failed)
        return
    stored = sum(id(event) in written for event in told.events)
    repeated = len(told.events) - stored
    told.answer.set_result(FeedbackReceipt(stored=stored, repeated=repeated))


def _key(event: StoredEvent) -> Key:
    return event.tenant_id, event.day, event.event_id
