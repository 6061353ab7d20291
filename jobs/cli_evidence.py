"""Commands about what is stored: sql, materialize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.errors import ConfigError
from jobs.cells import plain, write_csv
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    table_of,
)

if TYPE_CHECKING:
    from ecm.evidence.sql import Described


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(materialize)
    app.command()(sql)


def materialize(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew", help="From the evidence alone, though a snapshot could be built on."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Choose the best evidence per asset and publish it as a snapshot.

    A snapshot is built on the one before, by what has changed since, where that is possible and
    worth it. It is measured before it is published: beyond a limit of the profile (under
    snapshots.limits) it is kept, but not published, and the command fails. `ecm snapshots show ID`
    says why.
    """
    from ecm.delivery.tenure import commit_tenure
    from ecm.evidence.store import EvidenceStore
    from ecm.opening import plan_of
    from jobs.materialize import materialize as build
    from jobs.materialize import materialize_anew

    settings = open_profile(profile, home, overrides)
    store, plan = EvidenceStore.open(settings.evidence), plan_of(settings)
    with (
        commit_tenure(settings.ledger, store) as tenure,
        Console(stderr=True).status("choosing evidence, building and measuring"),
    ):
        make = materialize_anew if anew else build
        ref = make(store, plan, settings.snapshots, tenure.confirm)
    value = {
        "snapshot_id": ref.snapshot_id,
        "assets": ref.assets,
        "base": ref.lineage.base,
        "seconds": round(ref.measurements.seconds, 3),
    }
    way = f"on {ref.lineage.base}" if ref.lineage.base else f"anew: {ref.lineage.reason}"
    line = f"published {ref.snapshot_id}: {ref.assets} assets, built {way}"
    emit(value, as_json, lambda c: c.print(line))


def sql(
    query: Annotated[
        str | None,
        typer.Argument(help="SELECT … over the evidence tables (DuckDB).", show_default=False),
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    everybody: Annotated[
        bool, typer.Option("--all-tenants", help="The rows of every tenant, for the operator.")
    ] = False,
    limit: Annotated[int, typer.Option(help="Most rows answered.", min=1, max=1_000_000)] = 10_000,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which the query is stopped.", min=0.01, max=86_400)
    ] = 60.0,
    schema: Annotated[
        bool, typer.Option("--schema", help="List the tables and their columns instead.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Comma-separated values on stdout.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Query the evidence tables with one SELECT, read only, and only the rows of one tenant.

    Start with: ecm sql --schema

    What was seen most: ecm sql "SELECT text, count(*) AS n FROM evidence_text WHERE kind = 'tag'
    GROUP BY text ORDER BY n DESC LIMIT 20"

    Times are Unix seconds: to_timestamp(observed_at) makes dates of them.
    """
    from ecm.evidence.sql import ALL_TENANTS, Limits, answer, described
    from ecm.evidence.store import EvidenceStore

    if everybody and tenant is not None:
        raise ConfigError("--tenant and --all-tenants exclude each other")
    if (query is None) != schema:
        raise ConfigError("give either a query or --schema", hint='such as: ecm sql "SHOW TABLES"')
    settings = open_profile(profile, home, overrides, tenant)
    store = EvidenceStore.open(settings.evidence)
    seen = ALL_TENANTS if everybody else settings.tenant
    if query is None:
        _show_schema(described(store, seen), as_json)
        return
    found = answer(store, query, seen, Limits(rows=limit, seconds=timeout))
    columns = found.table.column_names
    rows = [[plain(cell.as_py()) for cell in row] for row in zip(*found.table.columns, strict=True)]
    if as_csv:
        write_csv(columns, rows)
    else:
        value = {
            "tenant": None if everybody else seen,
            "columns": columns,
            "rows": rows,
            "truncated": found.truncated,
        }
        emit(value, as_json, lambda console: console.print(table_of("", columns, rows)))
    if found.truncated and not as_json:
        note(f"only the first {limit} rows; more with --limit")


def _show_schema(found: tuple[Described, ...], as_json: bool) -> None:
    tables = [
        {
            "name": each.relation.name,
            "about": each.relation.about,
            "columns": [{"name": c.name, "type": c.type} for c in each.columns],
        }
        for each in found
    ]

    def show(console: Console) -> None:
        for each in found:
            console.print(f"{each.relation.name}: {each.relation.about}", markup=False)
            for column in each.columns:
                console.print(f"    {column.name}  {column.type}", markup=False)

    emit({"tables": tables}, as_json, show)
