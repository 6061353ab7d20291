"""Ends the processes of an engine when the process that started them is gone, however it went.

An actor that is killed cannot end what it started, and an engine that nobody talks to keeps its
memory. A small process of its own waits for the end of a pipe: that comes with any death. Knows
processes; knows no engine.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import psutil

_POLL_SECONDS: Final = 0.2

# Only the standard library: it must start at once and stay small. A process is known by its number
# and the moment of its start, so that a number used again is not mistaken for it.
_WATCH: Final = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
def began(pid):
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""
watched = {}
for line in sys.stdin:
    pid = int(line)
    watched[pid] = began(pid)
for pid, moment in watched.items():
    if began(pid) == moment:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
"""


class Warden:
    """A process that outlives this one by a moment, to end what it was told to watch."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def watch(self, pids: Iterable[int]) -> None:
        """End these, too, when this process ends or `close` is called."""
        assert self._process.stdin is not None
        for pid in pids:
            self._process.stdin.write(f"{pid}\n")
        self._process.stdin.flush()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Watch whatever this process starts meanwhile, from the moment it is there."""
        before, done = children(), threading.Event()

        def look() -> None:
            known = set(before)
            last = False
            while not last:
                last = done.wait(_POLL_SECONDS)
                found = children() - known - {self._process.pid}
                self.watch(found)
                known |= found

        looking = threading.Thread(target=look, name="warden", daemon=True)
        looking.start()
        try:
            yield
        finally:
            done.set()
            looking.join()

    def close(self) -> None:
        """End what is watched now."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Warden:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def children() -> frozenset[int]:
    """Numbers of the processes that this one has started, and of those that they have."""
    return frozenset(child.pid for child in psutil.Process().children(recursive=True))
