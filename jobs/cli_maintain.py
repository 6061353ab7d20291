"""`ecm maintain`: keep the evidence tables in order, once or again and again."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError, LeaseLost, TransientError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    note,
    open_profile,
    table_of,
)

if TYPE_CHECKING:
    from ecm.delivery.maintaining import Maintained
    from ecm.evidence.maintenance import TableStatistics


def register(app: typer.Typer) -> None:
    """Add this command to the `ecm` command."""
    app.command()(maintain)


def maintain(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    every: Annotated[
        float | None, typer.Option(help="Again after so many seconds, until SIGTERM.", min=0.1)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Merge small fragments, extend indices, remove old versions and what dead processes left.

    Takes the right to commit, so not while a run is committing: the exit code is 75 then (with
    --every the turn is left out). Safe to kill at any moment. Versions go after
    evidence.maintenance.versions_seconds, orphans after evidence.maintenance.orphans_seconds; what
    a snapshot needs is never touched (see: ecm snapshots gc). Runs do a little of this between
    their own batches.
    """
    if dry_run and every is not None:
        raise ConfigError("--dry-run or --every, not both", "maintain.options")
    settings = open_profile(profile, home, overrides)
    if dry_run:
        from jobs.maintain import plan

        _emit(plan(settings), as_json, "would be")
        return
    with _stop_on_terminate() as stopped:
        good = _once(settings, stopped, as_json) if every is None else True
        while every is not None and not stopped.is_set():
            good = _turn(settings, stopped, as_json) and good
            stopped.wait(every)
    if not good:
        raise typer.Exit(FAILED)


def _once(settings: Profile, stopped: threading.Event, as_json: bool) -> bool:
    from jobs.maintain import run_maintenance
    from jobs.progress import stderr_console

    began = time.monotonic()
    done = run_maintenance(settings, stderr_console(), stopped.is_set)
    _emit(done, as_json, "were", time.monotonic() - began)
    for problem in done.problems:
        note(f"left alone: {problem}")
    return not done.problems


def _turn(settings: Profile, stopped: threading.Event, as_json: bool) -> bool:
    """One of many: what may be better next time is only said."""
    try:
        return _once(settings, stopped, as_json)
    except (LeaseLost, TransientError) as error:
        note(f"not now: {error} [{error.code}]")
        return True


def _emit(done: Maintained, as_json: bool, verb: str, seconds: float | None = None) -> None:
    taken = {} if seconds is None else {"seconds": round(seconds, 3)}
    emit(done.to_json() | taken, as_json, lambda console: _show(done, verb, console))


def _show(done: Maintained, verb: str, console: Console) -> None:
    before = {table.table: table for table in done.before}
    rows = [_row(before.get(table.table, table), table) for table in done.after or done.before]
    columns = ["table", "rows", "deleted", "fragments", "versions", "MiB", "live MiB", "indexed"]
    console.print(table_of("", columns, rows))
    console.print(
        f"{done.fragments_merged} fragments {verb} merged, {done.versions_removed} versions and "
        f"{done.orphans_removed} orphans removed, {done.bytes_freed / 2**20:.1f} MiB freed"
    )
    if not done.complete:
        console.print("stopped before the end; the next maintenance goes on")


def _row(before: TableStatistics, after: TableStatistics) -> list[object]:
    return [
        after.table,
        f"{after.rows:,}",
        _changed(before.deleted_rows, after.deleted_rows),
        _changed(before.fragments, after.fragments),
        _changed(before.versions, after.versions),
        _changed(round(before.bytes / 2**20, 1), round(after.bytes / 2**20, 1)),
        round(after.live_bytes / 2**20, 1),
        "-" if after.indexed is None else f"{after.indexed:.0%}",
    ]


def _changed(before: float, after: float) -> str:
    return f"{after}" if before == after else f"{before} → {after}"


@contextmanager
def _stop_on_terminate() -> Iterator[threading.Event]:
    """SIGTERM ends the maintenance after the step it is in."""
    stopped = threading.Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stopped
    finally:
        signal.signal(signal.SIGTERM, before)
