"""Who may be in an engine at once, so that the picture that kills it is known by its death.

A picture kills an engine before the engine begins to answer about it. At most `window` requests
are let in that have not been answered to yet: with a window of one, a death has one suspect. Where
there are more, each goes in alone afterwards. Knows requests by their keys; no engine and no row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Visit:
    """One request in the engine. `deaths` of the engine were counted when it went in."""

    key: str
    deaths: int
    alone: bool = False
    looked: bool = False


@dataclass
class Gate:
    """Lets requests in: `limit` in all, `window` of them unanswered (0: no limit of these).

    For one event loop. `deaths` counts those of the engine.
    """

    limit: int
    window: int
    deaths: int = 0
    _inside: list[Visit] = field(default_factory=list)
    _suspects: frozenset[str] = frozenset()
    _last: frozenset[str] = frozenset()
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def visit(self, key: str) -> AsyncIterator[Visit]:
        """Goes in when there is room; suspects only when nobody else is unanswered."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._room(key))
            visit = Visit(key, self.deaths, alone=key in self._suspects)
            self._inside.append(visit)
        try:
            yield visit
        finally:
            self._inside.remove(visit)
            if visit.looked or visit.deaths == self.deaths:
                self._suspects -= {key}
            await self.turned()

    def looked(self, visit: Visit) -> None:
        """The engine has begun to answer: this picture does not kill it."""
        visit.looked = True
        self._suspects -= {visit.key}

    async def turned(self) -> None:
        """Lets those who wait look again whether there is room."""
        async with self._changed:
            self._changed.notify_all()

    def died(self, visit: Visit) -> frozenset[str]:
        """The keys of which one killed the engine that `visit` was in; empty: nobody is suspected.

        The first of its visits to tell counts the death.
        """
        if visit.deaths == self.deaths:
            self.deaths += 1
            unanswered = [v for v in self._inside if v.deaths == visit.deaths and not v.looked]
            self._last = frozenset(v.key for v in unanswered)
            if len(self._last) > 1:
                self._suspects |= self._last
        return self._last if visit.deaths == self.deaths - 1 else frozenset()

    def suspect(self, key: str) -> None:
        """Let this one go in alone: a process died while its engine was looking at it."""
        self._suspects |= {key}

    def narrow(self) -> None:
        """Half as many at once from now on: the device has no memory for more."""
        self.limit = max(1, min(self.limit, len(self._inside)) // 2)

    def _room(self, key: str) -> bool:
        unanswered = [visit for visit in self._inside if not visit.looked]
        if len(self._inside) >= self.limit:
            return False
        if key in self._suspects:
            return not unanswered
        if any(visit.alone for visit in unanswered):
            return False
        return not self.window or len(unanswered) < self.window
