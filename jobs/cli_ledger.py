"""Commands about the ledger itself: copy, health, restoration; and how commands open one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    note,
    open_profile,
)

if TYPE_CHECKING:
    from ecm.delivery.rebuild import Rebuilt

ledger_app = typer.Typer(no_args_is_help=True, help="The task ledger: back up, check, rebuild.")


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(ledger_app, name="ledger")


@contextmanager
def existing_ledger(profile: Profile) -> Iterator[Any]:
    """The ledger of a home that has one; reading must not create an empty one."""
    from ecm.ledger.ledger import open_ledger

    check_exists(profile)
    with open_ledger(profile.ledger) as ledger:
        yield ledger


@contextmanager
def tenant_ledger(profile: Profile) -> Iterator[Any]:
    """The same as its tenant may use it: jobs and tasks of others do not exist there."""
    with existing_ledger(profile) as ledger:
        yield ledger.scoped(profile.tenant)


def check_exists(profile: Profile) -> None:
    """Raises ConfigError when the ledger is a file that is not there."""
    path = missing_ledger(profile)
    if path is not None:
        raise ConfigError(f"no ledger at {path}", hint="index something first: ecm index FOLDER")


def missing_ledger(profile: Profile) -> Path | None:
    """The file that the ledger would be, where it is one and not there."""
    path = Path(profile.ledger.url.removeprefix("sqlite://"))
    return path if profile.ledger.url.startswith("sqlite://") and not path.is_file() else None


@ledger_app.command("backup")
def ledger_backup(
    dest: Annotated[Path, typer.Argument(help="A file that does not exist yet.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the ledger while others use it: of one moment, and never over another file.

    SQLite: a database file, checked. PostgreSQL: a dump for pg_restore.
    """
    from ecm.ledger.backup import backup

    settings = open_profile(profile, home, overrides)
    check_exists(settings)
    made = backup(settings.ledger, dest)
    value = {
        "path": str(made.path),
        "bytes": made.size,
        "proof": made.proof,
        "restore": made.restore,
    }
    line = f"{made.path}: {made.size:,} bytes, {made.proof}. To put it back: {made.restore}"
    emit(value, as_json, lambda console: console.print(line))


@ledger_app.command("check")
def ledger_check(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read the whole ledger and fail if it is damaged."""
    settings = open_profile(profile, home, overrides)
    with existing_ledger(settings) as ledger:
        ledger.verify()
    emit({"ok": True}, as_json, lambda console: console.print("the ledger is whole"))


@ledger_app.command("rebuild")
def ledger_rebuild(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    into_existing: Annotated[
        bool,
        typer.Option(
            "--into-existing",
            help="Into a ledger that has jobs: add what it does not know, and settle waiting and "
            "dead tasks whose evidence is stored. For a ledger put back from a backup.",
        ),
    ] = False,
) -> None:
    """Restore what is done from the evidence store, for all tenants. Computes nothing again.

    For a lost ledger: move the damaged file away first. Safe to kill, safe to repeat. Dead letters
    and skipped files are not in the store; the next run lists them again.
    """
    from ecm.delivery.rebuild import check_empty, rebuild
    from ecm.evidence.spool import Spool
    from ecm.evidence.store import EvidenceStore
    from ecm.ledger.ledger import open_ledger
    from jobs.progress import LiveCount, stderr_console
    from jobs.rebuilding import audit_problems, rebuild_settings

    settings = open_profile(profile, home, overrides)
    store = EvidenceStore.open(settings.evidence)
    with open_ledger(settings.ledger) as ledger:
        if not into_existing:
            check_empty(ledger, store)
        with LiveCount(stderr_console(), "rebuilding") as live:

            def report(done: Rebuilt) -> None:
                live.show(done.versions, done.of, f"{done.tasks:,} tasks restored")

            wanted = rebuild_settings(settings, store, "rebuild")
            done = rebuild(ledger, store, Spool(settings.spool), wanted, report)
        problems = audit_problems(ledger, store, done.jobs.values())
    value = done.to_json() | {"problems": problems}
    emit(value, as_json, lambda console: console.print(_sentence(done)))
    for problem in problems:
        note(f"audit: {problem}")
    if problems:
        raise typer.Exit(FAILED)


def _sentence(done: Rebuilt) -> str:
    parts = [f"{done.tasks:,} tasks of {done.resources:,} images restored as done"]
    if done.settled:
        parts.append(f"{done.settled:,} waiting or dead tasks settled")
    if done.spooled:
        parts.append(f"{done.spooled} batches completed from the spool")
    jobs = ", ".join(done.jobs.values()) or "none"
    return f"{'; '.join(parts)}; {done.batches:,} batches known; jobs: {jobs}"
