"""`ecm feedback`: what people did with what the search has shown them, for evaluating it.

Knows how it is asked for and written out; where it lies is known to `ecm.evidence.feedback`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    span_of,
    table_of,
)

if TYPE_CHECKING:
    from ecm.contracts.feedback import StoredEvent
    from ecm.evidence.feedback import FeedbackStore

feedback = typer.Typer(
    no_args_is_help=True,
    help="What was shown, clicked and looked at: export it, count it, forget it.",
)

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="SPAN", help="Only the last 12h, 30d, …; all by default."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(feedback, name="feedback")


@feedback.command("export")
def feedback_export(
    since: SinceOption = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout, as without.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
) -> None:
    """Write out the events of a tenant, day by day, each once: JSON lines, or a Parquet file.

    People and sessions are keyed hashes, the same for the same name and another in every tenant and
    store. The exit code is 1 when a batch is damaged: the rest is written.
    """
    if as_json and parquet is not None:
        raise ConfigError("--json or --parquet, not both", "feedback.form")
    settings = open_profile(profile, home, overrides, tenant)
    reading = _Reading(settings, since)
    if parquet is None:
        for event in reading.events():
            sys.stdout.write(event.model_dump_json() + "\n")
    else:
        from jobs.feedback_parquet import write_parquet

        note(f"{write_parquet(parquet, reading.events())} events written to {parquet}")
    reading.end()


@feedback.command("stats")
def feedback_stats(
    since: SinceOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count a tenant's events: searches shown and clicked, by rank; how soon the right hit came.

    The exit code is 1 when a batch is damaged: the rest is counted.
    """
    from ecm.evidence.feedback_figures import FeedbackFigures, figures

    settings = open_profile(profile, home, overrides, tenant)
    reading = _Reading(settings, since)
    found = figures(reading.events())
    value = {
        "tenant_id": settings.tenant,
        **found.model_dump(mode="json"),
        "damaged": reading.damaged,
    }

    def show(console: Console) -> None:
        lines: list[list[object]] = [
            [name.replace("_", " "), _said(getattr(found, name))]
            for name in FeedbackFigures.model_fields
            if not name.startswith("by_")
        ]
        console.print(table_of(f"feedback of {settings.tenant}", ["", ""], lines))
        places: list[list[object]] = [
            [one.rank, one.shown, one.clicked, _share(one.clicked, one.shown)]
            for one in found.by_rank
        ]
        if places:
            console.print(table_of("by rank", ["rank", "shown", "clicked", "share"], places))

    emit(value, as_json, show)
    reading.end()


@feedback.command("forget")
def feedback_forget(
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="SPAN", help="30d, 26w, …; serve.feedback_days by default."
        ),
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove whole days of feedback, of all tenants. A service does so when it stores some, once a
    day.
    """
    from ecm.contracts.feedback import day_of
    from ecm.evidence.feedback import DAY_SECONDS

    settings = open_profile(profile, home, overrides)
    kept = span_of(older_than) if older_than else settings.serve.feedback_days * DAY_SECONDS
    before = day_of(max(0.0, time.time() - kept))
    removed = _store(settings).forget_before(before)
    value = {"removed_days": removed, "before": before}
    emit(
        value,
        as_json,
        lambda console: console.print(f"{removed} days of tenants before {before} removed"),
    )


class _Reading:
    """The events of a tenant, and what of them is damaged."""

    def __init__(self, settings: Profile, since: str | None) -> None:
        self._store = _store(settings)
        self._tenant = settings.tenant
        self._since = max(0.0, time.time() - span_of(since)) if since else 0.0
        self.damaged: list[str] = []

    def events(self) -> Iterator[StoredEvent]:
        from ecm.evidence.feedback import DamagedBatch

        for event in self._store.events(self._tenant, self._since):
            if isinstance(event, DamagedBatch):
                note(f"{event.name}: {event.reason}; its events are left out")
                self.damaged.append(event.name)
            else:
                yield event

    def end(self) -> None:
        if self.damaged:
            raise typer.Exit(FAILED)


def _store(settings: Profile) -> FeedbackStore:
    """The feedback of the profile's store. Raises ConfigError when there is no store."""
    from ecm.evidence.feedback import FeedbackStore
    from ecm.evidence.storage import STORE_HEADER, open_storage

    storage = open_storage(settings.evidence)
    if storage.read(STORE_HEADER) is None:
        raise ConfigError(
            f"no evidence store at {storage.root}",
            "config.no_store",
            "index something first, or check the path",
        )
    return FeedbackStore(storage)


def _said(value: object) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3f}"
        case _:
            return str(value)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
