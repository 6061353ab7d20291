"""Live progress of a run: a bar in a terminal, one line every few seconds elsewhere.

Writes to stderr only. Knows numbers, not where they come from.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

LINE_SECONDS = 5.0


@dataclass(frozen=True)
class Reading:
    """Images by what became of them so far, and how many there are to do."""

    total: int
    done: int
    reused: int
    dead: int
    note: str = ""


class LiveProgress:
    """Shows readings as they come; a context manager."""

    def __init__(self, console: Console, started: float | None = None) -> None:
        self._console = console
        self._began = time.monotonic() if started is None else started
        self._first: tuple[float, int] | None = None
        self._last_line = 0.0
        self._last = Reading(0, 0, 0, 0)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> LiveProgress:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]indexing"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[detail]}"),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=None, detail="listing")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._last.total:
            self._console.print(self._line(self._last), highlight=False)

    @property
    def is_watched(self) -> bool:
        """Whether there is a bar, on which a total is worth its price."""
        return self._bar is not None

    def show(self, reading: Reading) -> None:
        """Take a reading; redraws the bar, or prints a line when one is due."""
        self._last = reading
        if reading.done and self._first is None:
            self._first = (time.monotonic(), reading.done)
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                total=reading.total or None,
                completed=reading.done,
                detail=self._detail(reading),
            )
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(self._line(reading), highlight=False)

    def _line(self, reading: Reading) -> str:
        seconds = time.monotonic() - self._began
        return f"[{seconds:7.1f}s] {reading.done}/{reading.total} images, {self._detail(reading)}"

    def _detail(self, reading: Reading) -> str:
        parts = []
        rate = self._rate(reading)
        if rate:
            left = max(reading.total - reading.done, 0)
            eta = f", ETA {_clock(left / rate)}" if left else ""
            parts.append(f"{rate:.1f} images/s{eta}")
        parts.append(f"reused {reading.reused}, dead {reading.dead}")
        if reading.note:
            parts.append(reading.note)
        return ", ".join(parts)

    def _rate(self, reading: Reading) -> float:
        """Images per second since the first ones were done: start-up would spoil the ETA."""
        if self._first is None:
            return 0.0
        at, done = self._first
        seconds = time.monotonic() - at
        return (reading.done - done) / seconds if seconds > 0 else 0.0


class LiveCount:
    """A count that grows towards a total, or without one: a bar, or a line every few seconds."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._began = time.monotonic()
        self._last_line = 0.0
        self._shown = ""
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[detail]}", markup=False),
                console=self._console,
            )
            self._task = self._bar.add_task(self._title, total=None, detail="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, total: int | None, detail: str) -> None:
        """Take a reading; redraws the bar, or prints a line when one is due and says more."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None, detail=detail)
            return
        due = time.monotonic() - self._last_line >= LINE_SECONDS
        if due and detail != self._shown:
            self._last_line = time.monotonic()
            self._shown = detail
            seconds = self._last_line - self._began
            of = f"{done:,} of {total:,}" if total else f"{done:,}"
            line = f"[{seconds:7.1f}s] {self._title}: {of}, {detail}"
            self._console.print(line, highlight=False, markup=False)


class LiveListing(LiveCount):
    """A listing on its way into the ledger, and why it waits when it does."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, "listing")
        self._waiting = ""

    def show_listing(self, listed: int, queued: int, waiting: str) -> None:
        """Resources listed and queued so far, and what the producer waits for, if it waits."""
        if waiting and not self._waiting:
            self._last_line = 0.0  # said at once
        self._waiting = waiting
        detail = f"{queued:,} queued"
        self.show(listed, None, f"{detail}, {waiting}" if waiting else detail)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def stderr_console() -> Console:
    """A console on stderr: stdout is for results."""
    return Console(file=sys.stderr, soft_wrap=True)
