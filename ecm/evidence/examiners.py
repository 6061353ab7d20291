"""Processes that read pieces of a store, each of which may die of what it reads.

Two of 6,000 tables with one random byte changed made Lance abort the process that read them; a
length that was altered can ask for more memory than there is. So pieces are read by processes of
their own with a limit on their memory. One that dies or hangs is a finding about the piece it had,
and another takes its place. Knows no finding but that.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from ecm.errors import EcmError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.damage import FragmentRef, HeadOf, IndexRef, KeysOf, RowsOf

if TYPE_CHECKING:
    from ecm.evidence.store import EvidenceStore

Piece = HeadOf | IndexRef | FragmentRef | KeysOf | RowsOf

MEMORY: Final = 8 * 2**30
"""Bytes of memory of its own that a reader may have."""
PATIENCE: Final = 600.0
"""Seconds a piece may take, and a second more for every thousand of its rows."""


@dataclass(frozen=True, slots=True)
class Died:
    """The reader of a piece ended before it had an answer: how."""

    how: str


class Asked(Protocol):
    """Whoever looks at pieces of a store."""

    def ask(self, pieces: Sequence[Piece]) -> Iterator[Any]:
        """The answers in the order of the pieces, or Died in the place of one.

        Raises StoreUnavailable, ConfigError and what else a reader raises that is no finding.
        """


class Here:
    """Looks at pieces in this process, which dies if a piece is deadly."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store

    def ask(self, pieces: Sequence[Piece]) -> Iterator[Any]:
        return (_examine(self._store, piece) for piece in pieces)


class Examiners:
    """So many readers of one store. Use as a context manager; one thread asks."""

    def __init__(self, config: EvidenceConfig, readers: int) -> None:
        self._config = config
        self._local = threading.local()
        self._open: list[_Reader] = []
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="examiner")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._threads.shutdown(wait=kind is None, cancel_futures=True)
        for reader in self._open:
            reader.close()

    def ask(self, pieces: Sequence[Piece]) -> Iterator[Any]:
        futures: list[Future[Any]] = [self._threads.submit(self._one, piece) for piece in pieces]
        for future in futures:
            yield future.result()

    def _one(self, piece: Piece) -> Any:
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._local.reader = _Reader(self._config)
            self._open.append(reader)
        answer = reader.answer(piece)
        if isinstance(answer, Died):
            reader.close()
            self._local.reader = None
        if isinstance(answer, BaseException):
            raise answer
        return answer


class _Reader:
    """One process and the line to it."""

    def __init__(self, config: EvidenceConfig) -> None:
        context = multiprocessing.get_context("spawn")  # Lance does not survive a fork
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, config), daemon=True)
        self._process.start()
        theirs.close()

    def answer(self, piece: Piece) -> Any:
        patience = PATIENCE + (piece.rows / 1000 if isinstance(piece, FragmentRef) else 0.0)
        try:
            self._line.send(piece)
            if not self._line.poll(patience):
                return Died(f"no answer within {patience:.0f} s")
            return self._line.recv()
        except (EOFError, OSError):
            self._process.join()
            return Died(_ending(self._process.exitcode))

    def close(self) -> None:
        self._line.close()
        self._process.kill()
        self._process.join()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the process that read it was ended by {signal.Signals(-code).name}"
    return f"the process that read it ended with code {code}"


def _serve(line: Connection, config: EvidenceConfig) -> None:
    """What a reader does until nobody asks any more."""
    from ecm.evidence.store import EvidenceStore

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # panics of Lance print their stacks
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    store: EvidenceStore | None = None
    while True:
        try:
            piece = line.recv()
        except EOFError:
            return
        try:
            if store is None:
                store = EvidenceStore.open(config)
            answer = _examine(store, piece)
        except EcmError as error:
            answer = error
        except MemoryError:
            answer = Died(f"it asks for more than {MEMORY >> 30} GiB of memory")
        except Exception:  # noqa: BLE001 - told to the parent, which raises it
            answer = RuntimeError(f"reading {piece!r}: {traceback.format_exc()}")
        line.send(answer)


def _examine(store: EvidenceStore, piece: Piece) -> Any:
    from ecm.evidence.integrity import examine_fragment, keys_of
    from ecm.evidence.snapshot_exam import rows_of
    from ecm.evidence.table_heads import examine_head, examine_index

    match piece:
        case HeadOf():
            return examine_head(store, piece)
        case IndexRef():
            return examine_index(store, piece)
        case FragmentRef():
            return examine_fragment(store, piece)
        case KeysOf():
            return keys_of(store, piece)
        case RowsOf():
            return rows_of(store, piece)
