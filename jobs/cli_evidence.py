"""Commands about what is stored: sql, materialize."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    open_profile,
    table_of,
)


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(materialize)
    app.command()(sql)


def materialize(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the best evidence per asset and publish it as a snapshot."""
    from ecm.evidence.store import EvidenceStore
    from ecm.opening import plan_of
    from jobs.materialize import materialize as build

    settings = open_profile(profile, home, overrides)
    ref = build(EvidenceStore.open(settings.evidence), plan_of(settings))
    value = {"snapshot_id": ref.snapshot_id, "assets": ref.assets}
    emit(value, as_json, lambda c: c.print(f"published {ref.snapshot_id}: {ref.assets} assets"))


def sql(
    query: Annotated[str, typer.Argument(help="SELECT … over the evidence tables (DuckDB).")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query the evidence tables, read only. Try: ecm sql "SHOW TABLES"."""
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides)
    result = EvidenceStore.open(settings.evidence).sql(query)
    records = result.to_pylist()
    rows: list[list[object]] = [list(record.values()) for record in records]
    value = {"columns": result.column_names, "rows": [[_plain(c) for c in row] for row in rows]}
    emit(value, as_json, lambda c: c.print(table_of("", result.column_names, rows)))


def _plain(cell: object) -> object:
    """JSON has no bytes, times or NaN."""
    if isinstance(cell, float):
        return cell if cell == cell and abs(cell) != float("inf") else None
    if cell is None or isinstance(cell, str | int | bool):
        return cell
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, list):
        return [_plain(item) for item in cell]
    if isinstance(cell, dict):
        return {str(key): _plain(item) for key, item in cell.items()}
    return str(cell)
