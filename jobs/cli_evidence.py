"""Commands about what is stored: snapshots, sql, materialize."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ecm.config import Profile
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    open_profile,
    table_of,
)

snapshots = typer.Typer(no_args_is_help=True, help="Published search snapshots.")
SnapshotArgument = Annotated[str, typer.Argument(help="A snapshot id; see: ecm snapshots list")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(materialize)
    app.command()(sql)
    app.add_typer(snapshots, name="snapshots")


def _snapshot_store(settings: Profile) -> Any:
    from ecm.evidence.snapshot import SnapshotStore
    from ecm.evidence.store import EvidenceStore

    return SnapshotStore(EvidenceStore.open(settings.evidence))


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


@snapshots.command("list")
def snapshots_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """All snapshots, newest first, and which one is published."""
    store = _snapshot_store(open_profile(profile, home, overrides))
    published = store.published()
    items = [
        {
            "snapshot_id": ref.snapshot_id,
            "created_at": ref.created_at,
            "assets": ref.assets,
            "transforms": {axis.value: list(t) for axis, t in ref.transforms.items()},
            "measurements": ref.measurements.model_dump(mode="json"),
        }
        for ref in store.list()
    ]
    current = published.snapshot_id if published else None
    rows: list[list[object]] = [
        ["*" if item["snapshot_id"] == current else "", item["snapshot_id"], item["assets"]]
        for item in items
    ]
    value = {"published": current, "items": items}
    columns = ["", "snapshot", "assets"]
    emit(value, as_json, lambda console: console.print(table_of("snapshots", columns, rows)))


@snapshots.command("publish")
def snapshots_publish(
    snapshot_id: SnapshotArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve this snapshot from now on; searchers switch within two seconds."""
    store = _snapshot_store(open_profile(profile, home, overrides))
    store.publish(snapshot_id, time.time())
    emit({"published": snapshot_id}, as_json, lambda c: c.print(f"published {snapshot_id}"))


@snapshots.command("rollback")
def snapshots_rollback(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve what was published before the present snapshot."""
    store = _snapshot_store(open_profile(profile, home, overrides))
    ref = store.rollback(time.time())
    value = {"published": ref.snapshot_id}
    emit(value, as_json, lambda console: console.print(f"published {ref.snapshot_id}"))
