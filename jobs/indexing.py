"""`ecm index` around one run: where its output goes, what `--follow` repeats, when it counts as
failed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

import typer
from rich.console import Console

from ecm.config import Profile
from jobs.edge import INTERRUPTED, emit, note
from jobs.index import IndexSummary, Rereading, run_index
from jobs.progress import stderr_console
from jobs.runtime import thread_environment


@dataclass(frozen=True)
class IndexOptions:
    """Dead letters tolerated, whether and how often (seconds) to list again, and how to look at
    what is known already, the first time.
    """

    max_dead: int
    follow: bool = False
    every: float = 30.0
    rereading: Rereading = field(default_factory=Rereading)


def index_command(
    profile: Profile, sources: tuple[str, ...], options: IndexOptions, as_json: bool
) -> bool:
    """Index once, or until interrupted; whether every run was good."""
    thread_environment()
    console = stderr_console()
    good = True
    rereading = options.rereading
    with _interrupt_on_terminate() as stopped:
        while True:
            try:
                summary = run_index(profile, sources, profile.tenant, console, rereading)
            except KeyboardInterrupt:
                note("interrupted; run the same command again to go on")
                raise typer.Exit(INTERRUPTED) from None
            good = _report(summary, options.max_dead, as_json) and good
            if not options.follow or stopped.wait(options.every):
                return good
            # What was agreed to once is not agreed to for ever.
            rereading = Rereading(verify_content=rereading.verify_content)


def _report(summary: IndexSummary, max_dead: int, as_json: bool) -> bool:
    emit(summary.to_json(), as_json, lambda console: _show(summary, console))
    for problem in summary.problems:
        note(problem)
    if summary.dead > max_dead:
        note(f"{summary.dead} images are dead letters; see: ecm dead-letters list")
    return not summary.problems and summary.dead <= max_dead


def _show(summary: IndexSummary, console: Console) -> None:
    console.print(
        f"{summary.listed} files listed: {summary.committed} committed, {summary.reused} reused, "
        f"{summary.filtered} filtered, {summary.dead} dead, {summary.pending} pending"
    )
    busy = max(summary.seconds - summary.startup_seconds, 1e-9)
    rate = f"{summary.images_through_models / busy:.1f} images/s after start-up"
    console.print(
        f"{summary.images_through_models} images through models in {summary.seconds:.1f} s "
        f"(start-up {summary.startup_seconds:.1f} s, {rate}), {summary.bytes_read:,} bytes read"
    )
    noted = [
        f"{summary.gone} places gone, {summary.moved} of them moved" if summary.gone else "",
        f"{summary.verified} unchanged files verified, {summary.bytes_verified:,} bytes"
        if summary.verified
        else "",
        f"{summary.returned} places hold known content again" if summary.returned else "",
        f"{summary.retried} attempts tried again" if summary.retried else "",
        f"{summary.stale} stale results refused" if summary.stale else "",
        f"listing waited {summary.throttled_seconds:.0f} s for a full queue"
        if summary.throttled_seconds
        else "",
    ]
    if any(noted):
        console.print("; ".join(note for note in noted if note))
    console.print(f"run {summary.run_id}, snapshot {summary.snapshot_id or 'none'}")


@contextmanager
def _interrupt_on_terminate() -> Iterator[threading.Event]:
    """SIGTERM ends a run like Ctrl-C: nothing is lost by either."""
    stopped = threading.Event()

    def interrupt(_: int, __: FrameType | None) -> None:
        stopped.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
