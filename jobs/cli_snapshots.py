"""Commands about published search snapshots: list, show, diff, publish, rollback, gc."""

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
    app.add_typer(snapshots, name="snapshots")


def _snapshot_store(settings: Profile) -> Any:
    from ecm.evidence.snapshot import SnapshotStore
    from ecm.evidence.store import EvidenceStore

    return SnapshotStore(EvidenceStore.open(settings.evidence))


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
