"""`ecm repair`: take what is damaged out of the store and queue what has to be derived again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.cli_ledger import check_exists
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    open_profile,
    printable,
)

if TYPE_CHECKING:
    from ecm.ledger.ledger import Ledger

SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add this command to the `ecm` command."""
    app.command()(repair)


def repair(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Mend a damaged store: read it whole, take out what is damaged, queue what that was.

    Damaged fragments and rows leave their tables, a table whose newest version cannot be read goes
    back to the newest that can, indices are made anew, damaged snapshots are replaced. Only the
    tasks behind what is lost are queued; then run `ecm index` on the same sources, or workers, and
    only those are computed. What is lost, and every key of it, is written into the store
    (repairs/NAME.json) before anything is changed; unreadable files are put aside (damaged/NAME).

    Takes the right to commit, so not while a run is committing: the exit code is 75 then. Safe to
    kill, and to do again. For all tenants of a store: it is an operator's command.
    """
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides)
    check_exists(settings)
    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise ConfigError("nobody can be asked here", "repair.unasked", "give --yes or --dry-run")
    store = EvidenceStore.open(settings.evidence)
    if dry_run:
        _plan(settings, store, as_json)
        return
    from ecm.delivery.repair import repair as mend
    from ecm.delivery.tenure import unfenced_tenure
    from ecm.ledger.ledger import open_ledger
    from ecm.opening import plan_of
    from ecm.publishing import materialize_anew
    from jobs.damage_views import read_whole
    from jobs.progress import stderr_console

    console = stderr_console()
    with unfenced_tenure(settings.ledger, store) as tenure, open_ledger(settings.ledger) as ledger:
        found = read_whole(ledger, store)
        value = found.to_json(None)
        if found.sound:
            emit({**value, "repair": None}, as_json, _nothing)
            return
        if not yes:
            _show(console, value)
            typer.confirm("Take the damaged rows out and queue their tasks?", abort=True, err=True)
        done = mend(
            ledger,
            store,
            found,
            lambda mended: materialize_anew(mended, plan_of(settings), settings.snapshots),
            tenure.confirm,
            lambda line: console.print(line, markup=False, highlight=False),
        )
        sources = _sources(ledger)
    told = {**done.to_json(), "sources": sources}
    emit({**value, "repair": told}, as_json, lambda out: _show_done(out, told))
    if done.problems:
        raise typer.Exit(FAILED)


def _plan(settings: Profile, store: Any, as_json: bool) -> None:
    """What a repair would find and queue."""
    from ecm.ledger.ledger import open_ledger
    from jobs.damage_views import read_whole

    with open_ledger(settings.ledger) as ledger:
        found = read_whole(ledger, store)
    value = found.to_json(None)
    emit(
        {**value, "repair": None},
        as_json,
        _nothing if found.sound else lambda out: _show(out, value),
    )
    if not found.sound:
        raise typer.Exit(FAILED)


def _sources(ledger: Ledger) -> list[str]:
    """What the jobs that have work again were asked to index."""
    from ecm.ledger.states import JobState

    jobs = [job for job in ledger.jobs(1000) if job.state is JobState.LISTED]
    return sorted({job.record.source for job in jobs if ledger.open_tasks(job.record.job_id)})


def _nothing(out: Console) -> None:
    out.print("nothing is damaged, nothing is lost: there is nothing to mend")


def _show(out: Console, value: dict[str, Any]) -> None:
    from jobs.damage_views import show_damage

    show_damage(out, value)


def _show_done(out: Console, done: dict[str, Any]) -> None:
    out.print(f"queued {done['reopened']:,} tasks; what was lost stands in {done['report']}")
    for source in done["sources"][:SHOWN]:
        out.print(f"next: ecm index {printable(source)}", markup=False)
    if done["reopened"]:
        out.print("or start workers; afterwards: ecm audit --deep")
