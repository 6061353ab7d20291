"""One call for all who wait for its outcome. Knows an event loop; knows no deployment."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Outcome = TypeVar("Outcome")


class Shared(Generic[Outcome]):
    """Whoever asks while a call is under way waits for that one.

    For what anybody may ask however often, without a key: it is done once at a time.
    """

    def __init__(self, call: Callable[[], Coroutine[Any, Any, Outcome]]) -> None:
        self._call = call
        self._under_way: asyncio.Task[Outcome] | None = None

    async def outcome(self) -> Outcome:
        """What the call returns or raises."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.get_running_loop().create_task(self._call())
        return await asyncio.shield(self._under_way)
