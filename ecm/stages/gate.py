"""Who may be in an engine at once, so that the picture that kills it is known by its death.

A picture kills an engine before the engine begins to answer about it. At most `window` requests
are let in that have not been answered to yet: with a window of one, a death has one suspect. Where
there are more, each goes in afterwards with nobody else unanswered. When an engine dies that had
begun to answer all of them, each of them goes in by itself, until its end: that death may have had
another cause, and a second one by itself has not. Knows requests by their keys; no engine, no row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Visit:
    """One request in the engine, which had died `deaths` times when it went in and had room for
    `limit` then. Nobody else is unanswered while one is `alone`, nor inside while one is `only`.
    """

    key: str
    deaths: int
    limit: int
    alone: bool = False
    only: bool = False
    looked: bool = False


@dataclass
class Gate:
    """Lets requests in: `limit` in all, `window` of them unanswered (0: no limit of these).

    For one event loop. `deaths` counts those of the engine, `mended` the engines after one.
    """

    limit: int
    window: int
    deaths: int = 0
    mended: int = 0
    _inside: list[Visit] = field(default_factory=list)
    _suspects: frozenset[str] = frozenset()
    _late: frozenset[str] = frozenset()
    _last: frozenset[str] = frozenset()
    _waiting: deque[tuple[str, asyncio.Future[Visit]]] = field(default_factory=deque)

    @asynccontextmanager
    async def visit(self, key: str) -> AsyncIterator[Visit]:
        """Goes in when there is room for it in a living engine; suspects go before others."""
        visit = await self._admitted(key)
        try:
            yield visit
        finally:
            self._inside.remove(visit)
            if visit.looked or visit.deaths == self.deaths:
                self._suspects -= {key}
            if visit.deaths == self.deaths:
                self._late -= {key}
            self._let_in()

    def looked(self, visit: Visit) -> None:
        """The engine has begun to answer: this picture does not kill it."""
        visit.looked = True
        self._suspects -= {visit.key}
        self._let_in()

    def died(self, visit: Visit) -> frozenset[str]:
        """The keys of which one killed the engine that `visit` was in; empty: nobody is suspected.

        The first of its visits to tell counts the death. Nobody goes in before `mend`.
        """
        if visit.deaths == self.deaths:
            self.deaths += 1
            inside = [v for v in self._inside if v.deaths == visit.deaths]
            unanswered = frozenset(v.key for v in inside if not v.looked)
            self._last = unanswered or frozenset(v.key for v in inside if v.only)
            if len(unanswered) > 1:
                self._suspects |= unanswered
            if not unanswered:
                self._late |= {v.key for v in inside}
        return self._last if visit.deaths == self.deaths - 1 else frozenset()

    def mend(self) -> None:
        """There is an engine again."""
        self.mended = self.deaths
        self._let_in()

    def suspect(self, key: str) -> None:
        """Let this one go in alone: a process died while its engine was looking at it."""
        self._suspects |= {key}

    def narrow(self, visit: Visit) -> None:
        """Half as many at once from now on: the device had no memory for as many as there were.

        Once for all visits that went in when there was room for more than there is now.
        """
        if visit.limit == self.limit:
            self.limit = max(1, min(self.limit, len(self._inside)) // 2)

    async def _admitted(self, key: str) -> Visit:
        waiting: asyncio.Future[Visit] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, waiting))
        self._let_in()
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                self._inside.remove(waiting.result())
                self._let_in()
            raise

    def _let_in(self) -> None:
        """Whoever has room now, in their order. Who has none keeps those behind it out, too: what
        holds for one holds for all, and a suspect must not wait for ever.
        """
        while (first := self._first()) is not None:
            key, waiting = first
            if not waiting.done():
                if not self._room(key):
                    return
                visit = Visit(
                    key, self.deaths, self.limit, key in self._suspects, key in self._late
                )
                self._inside.append(visit)
                waiting.set_result(visit)
            self._waiting.remove(first)

    def _first(self) -> tuple[str, asyncio.Future[Visit]] | None:
        if self._suspects or self._late:
            for each in self._waiting:
                if each[0] in self._suspects or each[0] in self._late:
                    return each
        return self._waiting[0] if self._waiting else None

    def _room(self, key: str) -> bool:
        if self.mended < self.deaths or len(self._inside) >= self.limit:
            return False
        if key in self._late:
            return not self._inside
        if any(visit.only for visit in self._inside):
            return False
        unanswered = [visit for visit in self._inside if not visit.looked]
        if key in self._suspects:
            return not unanswered
        if any(visit.alone for visit in unanswered):
            return False
        return not self.window or len(unanswered) < self.window
