"""A few connections shared by the threads of one process. Knows no database.

Connections are made by the thread that needs one, so that it hears at once why none can be made;
there are no threads here that could outlive anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from ecm.errors import LedgerUnavailable


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Pool(Generic[C]):
    """At most `size` connections; whoever finds none waits up to `patience` seconds.

    `usable` says whether a connection that has lain idle, or comes back, may be used again.
    """

    def __init__(
        self, connect: Callable[[], C], usable: Callable[[C], bool], size: int, patience: float
    ) -> None:
        self._connect = connect
        self._usable = usable
        self._patience = patience
        self._places = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[C] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[C]:
        """A connection for one transaction. Raises LedgerUnavailable when all stay in use."""
        if not self._places.acquire(timeout=self._patience):
            raise LedgerUnavailable(
                f"all connections of this process were in use for {self._patience:g} s",
                "ledger.busy",
                "try again",
            )
        try:
            taken = self._pop() or self._connect()
            try:
                yield taken
            finally:
                self._put_back(taken)
        finally:
            self._places.release()

    def close(self) -> None:
        """Close what lies idle; what is in use is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _pop(self) -> C | None:
        """The connection used last, which is the warmest, if it is still good."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if self._usable(connection):
                return connection
            connection.close()

    def _put_back(self, connection: C) -> None:
        usable = self._usable(connection)
        with self._lock:
            if usable and not self._closed:
                self._idle.append(connection)
                return
        connection.close()
