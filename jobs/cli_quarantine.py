"""`ecm quarantine`: evidence said before a golden probe failed, and what becomes of it."""

from __future__ import annotations

import getpass
import time
from collections.abc import Sequence
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
    TenantOption,
    emit,
    open_profile,
    printable,
    table_of,
    utc,
)

if TYPE_CHECKING:
    from ecm.evidence.quarantine import Quarantine
    from ecm.evidence.store import EvidenceStore

SHOWN_KEYS = 20

quarantine = typer.Typer(
    no_args_is_help=True,
    help="""Evidence that a model said before its golden probes failed.

    It stays in the store and is shown by no snapshot that is built afterwards, until it is derived
    again (redo) or found to be right after all (release).
    """,
)

IdArguments = Annotated[
    list[str], typer.Argument(metavar="ID...", help="See: ecm quarantine list.")
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="See: ecm quarantine list.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def quarantine_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every quarantine of the tenant, oldest first: model, probe, how much, and where it stands.

    The exit code is 1 while one of them is open.
    """
    from ecm.evidence.quarantine import QuarantineState, quarantines

    settings, store = _opened(profile, home, overrides, tenant)
    mine = [one for one in quarantines(store) if one.notice.tenant_id == settings.tenant]
    items = [_item(one) for one in mine]
    open_ones = sum(one.state is QuarantineState.OPEN for one in mine)

    def show(console: Console) -> None:
        columns = ["id", "state", "until", "manifest", "keys", "said"]
        rows: list[list[object]] = [
            [utc(item[c]) if c == "until" else item[c] for c in columns] for item in items
        ]
        console.print(table_of(f"{open_ones} open", columns, rows))

    emit({"items": items, "open": open_ones}, as_json, show)
    if open_ones:
        raise typer.Exit(FAILED)


@quarantine.command("show")
def quarantine_show(
    quarantine_id: IdArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """One quarantine: the probe that failed, who said what when, and how much of it is stored."""
    from ecm.evidence.quarantine import shut_out_by
    from ecm.evidence.schema import is_evidence_table

    settings, store = _opened(profile, home, overrides, tenant)
    (one,) = _mine(store, settings, [quarantine_id])
    tables = {name: store.dataset(name) for name in store.tables() if is_evidence_table(name)}
    value = {
        **_item(one),
        "drift": one.notice.drift.model_dump(),
        "transforms": list(one.notice.transforms),
        "stored_rows": shut_out_by(one).count(tables),
        "released": one.released and one.released.model_dump(),
        "redone": one.redone and one.redone.model_dump(),
        "evidence_keys": list(one.notice.keys),
    }

    def show(console: Console) -> None:
        hidden = ("evidence_keys", "keys")
        rows: list[list[object]] = [[k, v] for k, v in value.items() if k not in hidden]
        rows += [["evidence key", key] for key in one.notice.keys[:SHOWN_KEYS]]
        more = len(one.notice.keys) - SHOWN_KEYS
        rows += [["", f"and {more} more"]] if more > 0 else []
        console.print(table_of(one.quarantine_id, ["", ""], rows))

    emit(value, as_json, show)


@quarantine.command("redo")
def quarantine_redo(
    quarantine_ids: IdArguments,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the rows out of the store and queue their tasks, and those the model had blocked.

    Then run `ecm index` on the same sources, or workers, on a machine whose model passes: only what
    was taken out or blocked is computed. Rows that another run has derived meanwhile stay. Takes
    the right to commit, so not while a run is committing: the exit code is 75 then. Safe to kill,
    and to do again.
    """
    from ecm.delivery.quarantining import redo
    from ecm.delivery.tenure import commit_tenure
    from ecm.ledger.ledger import open_ledger

    settings, store = _opened(profile, home, overrides, tenant)
    found = _mine(store, settings, quarantine_ids)
    with commit_tenure(settings.ledger, store) as tenure, open_ledger(settings.ledger) as ledger:
        done = [redo(ledger, store, one, tenure.confirm).to_json() for one in found]

    def show(console: Console) -> None:
        for each in done:
            console.print(
                f"{each['quarantine_id']}: {each['rows']:,} rows taken out, {each['reopened']:,} "
                f"tasks queued, {each['unblocked']:,} blocked tasks queued",
            )
        console.print("next: ecm index SOURCE, or workers")

    emit({"items": done}, as_json, show)


@quarantine.command("release")
def quarantine_release(
    quarantine_ids: IdArguments,
    why: Annotated[str, typer.Option(help="Why its evidence is right; kept with it.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide that the evidence is right: the next snapshot shows it again.

    For a probe that was wrong itself. Who decided, when and why stays on record, and cannot be
    taken back. Blocked tasks are queued again with: ecm dead-letters redrive --mismatch.
    """
    from ecm.evidence.quarantine import Release, release

    settings, store = _opened(profile, home, overrides, tenant)
    if not why.strip():
        raise ConfigError("--why is empty", "quarantine.why")
    decision = Release(at=time.time(), by=_who(), why=why.strip()[:1000])
    found = _mine(store, settings, quarantine_ids)
    items = [_item(release(store, one, decision)) for one in found]

    def show(console: Console) -> None:
        for item in items:
            console.print(f"{item['id']}: {item['state']}; next: ecm materialize")

    emit({"items": items}, as_json, show)


def _opened(
    profile: str | None, home: Any, overrides: list[str] | None, tenant: str | None
) -> tuple[Profile, EvidenceStore]:
    from ecm.evidence.store import EvidenceStore

    settings = open_profile(profile, home, overrides, tenant)
    check_exists(settings)
    return settings, EvidenceStore.open(settings.evidence)


def _mine(store: EvidenceStore, settings: Profile, ids: Sequence[str]) -> list[Quarantine]:
    """Those of the tenant; another tenant's are told as if they were not there."""
    from ecm.evidence.quarantine import quarantine_of, unknown

    found = [quarantine_of(store, quarantine_id) for quarantine_id in dict.fromkeys(ids)]
    for one in found:
        if one.notice.tenant_id != settings.tenant:
            raise unknown(one.quarantine_id)
    return found


def _item(one: Quarantine) -> dict[str, Any]:
    notice = one.notice
    return {
        "id": one.quarantine_id,
        "state": one.state.value,
        "tenant_id": notice.tenant_id,
        "manifest": notice.manifest,
        "run_id": notice.run_id,
        "worker_id": notice.worker_id,
        "since": notice.since,
        "until": notice.until,
        "keys": len(notice.keys),
        "said": printable(notice.drift.said),
    }


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "nobody the system knows"
