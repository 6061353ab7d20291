"""Commands about the installation: models, doctor, schemas."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.errors import EcmError
from jobs.cli_pin import register as register_pins
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

if TYPE_CHECKING:
    from ecm.models.manifest import ModelManifest

models = typer.Typer(no_args_is_help=True, help="Model manifests and their files.")


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    register_pins(models)
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
    """Every manifest of the models folder, and every pinned one, and what it provides.

    `state` is `recipe` where the files have yet to be fetched with `ecm models fetch NAME`.
    """
    from ecm.models.checkpoint import is_recipe
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
            "state": "recipe" if is_recipe(manifest) else "pinned",
            "probes": manifest.probes is not None,
            "gpus": manifest.needs.gpus,
            "gpu_memory_gib": manifest.needs.gpu_memory_gib,
        }
        for manifest in list_manifests(settings.models_folder, settings.pinned_models)
    ]
    rows: list[list[object]] = [
        [
            *(i["name"], i["model_id"], ", ".join(i["provides"])),  # type: ignore[arg-type]
            *(i["files"], i["state"], f"{i['gpu_memory_gib']:g}"),
        ]
        for i in items
    ]
    columns = ["manifest", "model", "provides", "files", "state", "GPU GiB"]
    emit({"items": items}, as_json, lambda c: c.print(table_of("models", columns, rows)))


@models.command("verify")
def models_verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Manifests; by default all whose files have been fetched."),
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not read files again that are known unchanged.")
    ] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Load each model and ask it its golden probes, too.")
    ] = False,
) -> None:
    """Hash every file of the manifests and compare with what they declare.

    Also compared: what lies in a checkpoint's folder and is not declared, its revision, and what
    its configuration says of dimensions and preprocessing. Exit code 1 when anything differs.
    """
    from ecm.models.attestation import attest, memory_below
    from ecm.models.checkpoint import is_recipe
    from ecm.models.manifest import list_manifests, load_manifest

    settings = open_profile(profile, home, overrides)
    folders = [settings.pinned_models, settings.models_folder]
    chosen = [load_manifest(name, folders) for name in names or ()] or [
        manifest
        for manifest in list_manifests(settings.models_folder, settings.pinned_models)
        if not is_recipe(manifest)
    ]
    memory = memory_below(settings.cache) if fast else None
    items = []
    for manifest in chosen:
        problem, probes = "", ""
        try:
            attest(manifest, memory)
            if probe:
                probes = _probed(manifest, settings.pipeline.threads)
        except EcmError as error:
            problem = str(error)
        items.append(
            {
                "name": manifest.name,
                "verified": not problem,
                "problem": problem,
                "probes": probes,
            }
        )
    rows: list[list[object]] = [
        [i["name"], "ok" if i["verified"] else "FAILED", i["probes"], i["problem"]] for i in items
    ]
    columns = ["manifest", "files", "probes", "problem"]
    emit({"items": items}, as_json, lambda c: c.print(table_of("models", columns, rows)))
    if not all(item["verified"] for item in items):
        raise typer.Exit(FAILED)


def _probed(manifest: ModelManifest, threads: int) -> str:
    """What came of the probes in words. Raises ManifestMismatch when one fails."""
    from ecm.stages.golden import verdict

    told = verdict(manifest, threads)
    if told is None:
        return "none"
    told.check(manifest)
    return f"{told.run} passed, least cosine {told.least_cosine:.6f}"


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
