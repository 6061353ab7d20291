"""Commands that move evidence between stores: export, import, relink.

Knows options and how results are shown; what is done is in `jobs.export`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    printable,
    table_of,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ecm.delivery.importing import Import
    from ecm.delivery.relinking import Relinked
    from jobs.export import Told

DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and count, and change nothing.")]
Relinks = Annotated[
    list[str] | None,
    typer.Option(
        "--relink",
        metavar="OLD=NEW",
        help="What lay below OLD lies below NEW now: paths or URIs; may be given several times.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command("export")(export)
    app.command("import")(import_)
    app.command("relink")(relink)


def export(
    dest: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    file_format: Annotated[
        str, typer.Option("--format", metavar="lance|parquet", help="How tables are stored.")
    ] = "lance",
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Every tenant, not only one.")
    ] = False,
    snapshot: Annotated[
        str | None,
        typer.Option("--snapshot", metavar="ID", help="The choice to name; the published one."),
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--with-thumbnails/--without-thumbnails", help="Small JPEGs as well.")
    ] = True,
) -> None:
    """Write everything the store holds of a tenant into a bundle that stands by
    itself.

    One file or Lance table per evidence table, compacted and sorted by asset,
    and a manifest with the models behind every fingerprint and a checksum of
    every file. The store may be in use: what is exported is one moment of it.
    An export that is cut off leaves no bundle. See: ecm import.
    """
    from ecm.evidence.bundle import BundleFormat
    from jobs.export import THUMBNAIL_TABLES, ExportRequest, run_export
    from jobs.progress import LiveCount, stderr_console

    if file_format not in list(BundleFormat):
        raise ConfigError(f"--format {file_format}: write lance or parquet", "export.format")
    if all_tenants and tenant:
        raise ConfigError("--tenant or --all-tenants, not both", "export.which")
    settings = open_profile(profile, home, overrides, tenant)
    request = ExportRequest(
        dest=dest,
        tenants=None if all_tenants else (settings.tenant,),
        file_format=BundleFormat(file_format),
        left_out=frozenset() if thumbnails else THUMBNAIL_TABLES,
        snapshot=snapshot,
    )
    with LiveCount(stderr_console(), "exporting") as live:
        manifest = run_export(
            settings, request, lambda done, of, table: live.show(done, of, f"rows, {table}")
        )
    size = sum(file.size for file in manifest.files())
    value = {
        "path": str(dest.absolute()),
        "bundle_id": manifest.bundle_id,
        "format": manifest.file_format.value,
        "bytes": size,
        "tenants": dict(manifest.tenants),
        "snapshot_id": manifest.snapshot_id,
        "transforms": [
            {
                "fingerprint": each.fingerprint,
                "task_types": list(each.task_types),
                "model": each.model and str(each.model),
            }
            for each in manifest.transforms
        ],
        "tables": {
            table.name: {"rows": table.rows, "key_digest": str(table.key_digest)}
            for table in manifest.tables
        },
    }
    rows: list[list[object]] = [[t.name, f"{t.rows:,}", len(t.files)] for t in manifest.tables]
    title = f"{dest}: {sum(manifest.tenants.values()):,} assets, {size:,} bytes"
    emit(value, as_json, lambda c: c.print(table_of(title, ["table", "rows", "files"], rows)))


def import_(
    bundle: Annotated[Path, typer.Argument(help="A folder that ecm export wrote.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", "-t", metavar="AS", help="As whom; the bundle's own by default."),
    ] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    keep_apart: Annotated[
        bool,
        typer.Option(
            "--keep-apart",
            help="Take evidence of other models under the same name as well: it lies beside, and "
            "no snapshot chooses it unless a profile asks for its fingerprint.",
        ),
    ] = False,
    relink: Relinks = None,
    dry_run: DryRun = False,
) -> None:
    """Take a bundle into this store: all of it is checked before any of it is
    written.

    Every file against its checksum, every row against what it can be, every
    model against the profile's. Safe to kill, safe to repeat. Afterwards ecm
    index computes nothing of it again; with --relink the images are found by
    content where they lie now. It is searched from the next ecm index or ecm
    materialize on.
    """
    from ecm.delivery.relinking import Move
    from jobs.export import check_import, plan_import, run_import
    from jobs.progress import LiveCount, stderr_console

    settings = open_profile(profile, home, overrides, tenant)
    moves = tuple(Move.parse(text) for text in relink or ())
    plan = plan_import(settings, bundle, tenant)
    if not keep_apart:
        plan.refuse_mismatches()
    with LiveCount(stderr_console(), "checking") as live:
        check_import(plan, live.show)
    told = None
    if not dry_run:
        with LiveCount(stderr_console(), "importing") as live:
            told = run_import(settings, plan, moves, live.show)
    value = _import_json(plan, told)
    emit(value, as_json, lambda console: _print(console, _import_lines(plan, told)))
    _end(told)


def relink(
    moves: Annotated[list[str], typer.Argument(metavar="OLD=NEW…", help="Paths or URIs.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    dry_run: DryRun = False,
) -> None:
    """Find images that lie elsewhere now by their content, whatever they are
    called there.

    Only files whose size some known content has are read. What is found gets
    its new place; places below OLD that hold nothing any more are put on
    record as gone. Nothing is computed again, and nothing is removed. Safe to
    kill, safe to repeat.
    """
    from ecm.delivery.relinking import Move
    from jobs.export import look_for, run_relink
    from jobs.progress import LiveCount, stderr_console

    settings = open_profile(profile, home, overrides, tenant)
    wanted = tuple(Move.parse(text) for text in moves)
    told = None
    with LiveCount(stderr_console(), "relinking") as live:
        if dry_run:
            found = look_for(settings, [settings.tenant], wanted, live.show)
        else:
            told = run_relink(settings, wanted, live.show)
            found = told.relinked
    value: dict[str, Any] = {"dry_run": dry_run, **found[settings.tenant].to_json()}
    value["problems"] = told.problems if told else []
    emit(value, as_json, lambda console: _print(console, _relink_lines(found)))
    _end(told)


def _print(console: Console, lines: list[str]) -> None:
    """Names in them come from files and from other people's bundles."""
    for line in lines:
        console.print(printable(line), markup=False)


def _end(told: Told | None) -> None:
    for problem in told.problems if told else ():
        note(f"audit: {problem}")
    if told and told.problems:
        raise typer.Exit(FAILED)


def _import_json(plan: Import, told: Told | None) -> dict[str, Any]:
    manifest = plan.bundle.manifest
    imported = told.imported if told else None
    return {
        "bundle_id": manifest.bundle_id,
        "import_id": plan.import_id,
        "dry_run": told is None,
        "tenants": dict(plan.tenants),
        "rows": {table.name: table.rows for table in manifest.tables},
        "added": dict(imported.added) if imported else {},
        "apart": [
            {"fingerprint": each.theirs.fingerprint, "why": str(each)} for each in plan.mismatches
        ],
        "relinked": {t: r.to_json() for t, r in told.relinked.items()} if told else {},
        "ledger": told.ledger.to_json() if told and told.ledger else {},
        "problems": told.problems if told else [],
    }


def _import_lines(plan: Import, told: Told | None) -> list[str]:
    rows = sum(table.rows for table in plan.bundle.manifest.tables)
    lines = []
    if told is None or told.imported is None:
        lines.append(f"the bundle is whole: {rows:,} rows; nothing was changed")
    else:
        added = sum(told.imported.added.values())
        lines.append(f"{added:,} of {rows:,} rows are new here, the others were here already")
    for each in plan.mismatches:
        lines.append(f"kept apart: {each}")
    if told and told.relinked:
        lines += _relink_lines(told.relinked)
    if told and told.ledger:
        lines.append(
            f"the ledger knows {told.ledger.tasks:,} more tasks as done; "
            "ecm index or ecm materialize makes them searchable"
        )
    return lines


def _relink_lines(found: dict[str, Relinked]) -> list[str]:
    lines = []
    for tenant, seen in sorted(found.items()):
        lines.append(
            f"{tenant}: {seen.files:,} files, {seen.attached:,} attached, {seen.known:,} known "
            f"there already, {seen.strangers:,} of unknown content; {seen.gone:,} old places gone"
        )
        if not seen.old_places:
            lines.append("no place below OLD was known to hold anything; check how it is written")
        if seen.unmatched:
            lines.append(f"{seen.unmatched:,} images lie nowhere now: {', '.join(seen.named)}")
        if seen.unreadable:
            lines.append(f"{len(seen.unreadable):,} files unreadable: {seen.unreadable[0]}")
    return lines
