"""`ecm admin-log`: what administrators did, and what was refused to whom. Changes nothing."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ecm.access.trail import DamagedLine, Trail
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    note,
    open_profile,
    span_of,
    table_of,
    utc,
)


def register(app: typer.Typer) -> None:
    """Add this command to the `ecm` command."""
    app.command("admin-log")(admin_log)


def admin_log(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="SPAN", help="Only the last 12h, 30d, …; all by default."),
    ] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", "-t", help="Only what was about this tenant.")
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What administrators did over HTTP or with keys, and what was refused to whom; oldest first.

    Each action has a line when it begins and one when it ends. The file (audit/admin.jsonl of the
    home) is only ever appended to; every machine that serves has its own. The exit code is 1 when
    a line is no entry: it was cut off by a crash, or somebody has changed it.
    """
    settings = open_profile(profile, home, overrides)
    start = time.time() - span_of(since) if since else 0.0
    found = list(Trail(settings.trail_file).entries(start))
    damaged = [entry.number for entry in found if isinstance(entry, DamagedLine)]
    items: list[dict[str, Any]] = [
        entry.model_dump(mode="json", exclude={"schema_version"})
        for entry in found
        if not isinstance(entry, DamagedLine) and tenant in (None, entry.tenant_id)
    ]
    columns = ["at", "who", "tenant", "action", "target", "outcome", "detail", "request"]
    rows: list[list[object]] = [
        [
            utc(item["at"]),
            item["who"],
            item["tenant_id"] or "(all)",
            item["action"],
            item["target"],
            item["outcome"],
            item["detail"],
            item["request_id"],
        ]
        for item in items
    ]
    for number in damaged:
        note(f"line {number} of {settings.trail_file} is not an entry")
    value = {"items": items, "damaged_lines": damaged}
    emit(value, as_json, lambda console: console.print(table_of("", columns, rows)))
    if damaged:
        raise typer.Exit(FAILED)
