"""Commands about the installation: models, doctor, schemas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ecm.errors import EcmError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    open_profile,
    printable,
    table_of,
)

models = typer.Typer(no_args_is_help=True, help="Model manifests and their files.")


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(models, name="models")
    app.command()(doctor)
    app.command()(schemas)


@models.command("list")
def models_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every manifest of the models folder and what it provides."""
    from ecm.models.manifest import list_manifests

    settings = open_profile(profile, home, overrides)
    items = [
        {
            "name": manifest.name,
            "backend": manifest.backend,
            "model_id": manifest.model_id,
            "revision": manifest.revision,
            "provides": [kind.value for kind in manifest.provides],
            "files": len(manifest.files),
        }
        for manifest in list_manifests(settings.models_folder)
    ]
    rows: list[list[object]] = [
        [i["name"], i["model_id"], ", ".join(i["provides"]), i["files"]]  # type: ignore[arg-type]
        for i in items
    ]
    columns = ["manifest", "model", "provides", "files"]
    emit({"items": items}, as_json, lambda c: c.print(table_of("models", columns, rows)))


@models.command("verify")
def models_verify(
    names: Annotated[list[str] | None, typer.Argument(help="Manifests; all by default.")] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hash every file of the manifests and compare with what they declare."""
    from ecm.models.attestation import verify_files
    from ecm.models.manifest import list_manifests, load_manifest

    settings = open_profile(profile, home, overrides)
    folder = settings.models_folder
    chosen = [load_manifest(name, [folder]) for name in names or ()] or list_manifests(folder)
    items = []
    for manifest in chosen:
        problem = ""
        try:
            verify_files(manifest)
        except EcmError as error:
            problem = str(error)
        items.append({"name": manifest.name, "verified": not problem, "problem": problem})
    rows: list[list[object]] = [
        [i["name"], "ok" if i["verified"] else "FAILED", i["problem"]] for i in items
    ]
    columns = ["manifest", "files", "problem"]
    emit({"items": items}, as_json, lambda c: c.print(table_of("models", columns, rows)))
    if not all(item["verified"] for item in items):
        raise typer.Exit(FAILED)


def doctor(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What is installed, missing or wrong, and the mend for each."""
    from ecm.doctor import Status, examine

    settings = open_profile(profile, home, overrides)
    checks = examine(settings, os.environ)
    items = [
        {"name": c.name, "status": c.status.value, "detail": c.detail, "mend": c.mend}
        for c in checks
    ]
    healthy = all(check.status is not Status.FAIL for check in checks)

    def show(console: Console) -> None:
        for check in checks:
            console.print(
                f"{check.status.value:>4}  {check.name}: {printable(check.detail)}", markup=False
            )
            if check.mend:
                console.print(f"      → {check.mend}", markup=False)

    emit({"healthy": healthy, "checks": items}, as_json, show)
    if not healthy:
        raise typer.Exit(FAILED)


def schemas(
    folder: Annotated[Path, typer.Argument(help="Where to write the JSON Schemas.")],
    as_json: JsonOption = False,
) -> None:
    """Write the JSON Schemas of the contracts."""
    from jobs.schemas import write_schemas

    written = [str(path) for path in write_schemas(folder)]
    emit({"files": written}, as_json, lambda console: console.print("\n".join(written)))
