"""Commands that pin models: `ecm models pin` and `ecm models fetch`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from ecm.errors import ConfigError, EcmError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    emit,
    note,
    open_profile,
    printable,
)

if TYPE_CHECKING:
    from ecm.models.manifest import ModelManifest, Scalar
    from ecm.models.pinning import PinRequest
    from ecm.models.probe_files import ProbeSet

NoProbes = Annotated[
    bool, typer.Option("--no-probes", help="Do not load the model to record golden probes.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Overwrite another manifest there.")]


def register(models: typer.Typer) -> None:
    """Add these commands to the `ecm models` commands."""
    models.command("pin")(pin)
    models.command("fetch")(fetch)


def pin(
    checkpoint: Annotated[Path, typer.Argument(help="Folder with config.json and .safetensors.")],
    name: Annotated[str, typer.Option("--name", help="Name of the manifest.")],
    backend: Annotated[str, typer.Option("--backend", help="Such as dual-encoder or vllm.")],
    provides: Annotated[
        list[str] | None, typer.Option("--provides", help="Task type; the back end's by default.")
    ] = None,
    prompt: Annotated[Path | None, typer.Option(help="Prompt file of a captioner.")] = None,
    revision: Annotated[
        str, typer.Option(help="Where the folder says none; else the digest over its files.")
    ] = "",
    dtype: Annotated[str, typer.Option(help="Number format; the checkpoint's by default.")] = "",
    values: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE of the manifest: params.seed=1")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File; <home>/models/NAME.yaml else.")] = None,
    replace: Replace = False,
    no_probes: NoProbes = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a manifest that names every file of a checkpoint by sha256.

    The model is run once, and what it says about inputs that ship with ecm is kept beside the
    manifest: golden probes, which every worker runs before its first image. Pinning the same files
    again changes nothing; a manifest that says something else is kept unless --replace is given.
    """
    from ecm.contracts.task import TaskType
    from ecm.models.pinning import PinRequest

    settings = open_profile(profile, home, None)
    given = dict(_setting(text) for text in values or ())
    if dtype:
        given["dtype"] = dtype
    try:
        kinds = tuple(TaskType(kind) for kind in provides or ())
    except ValueError as error:
        known = ", ".join(kind.value for kind in TaskType)
        raise ConfigError(f"--provides: {error}", hint=f"one of {known}") from error
    request = PinRequest(
        folder=checkpoint.expanduser(),
        name=name,
        backend=backend,
        prompt=prompt,
        revision=revision,
        provides=kinds,
        settings=given,
    )
    place = out or settings.pinned_models / f"{name}.yaml"
    value = _pinned(request, place, replace, no_probes, settings.pipeline.threads)
    emit(value, as_json, lambda console: console.print(printable(_line(value)), markup=False))


def fetch(
    names: Annotated[list[str], typer.Argument(help="Recipes, as `ecm models list` shows them.")],
    replace: Replace = False,
    no_probes: NoProbes = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Download the files of recipes ahead of jobs, and pin them.

    Files come into <home>/models/NAME/COMMIT, the manifest beside them, where it goes before the
    recipe. Weights are .safetensors only. HF_ENDPOINT and HF_TOKEN are heard. Jobs never download.
    """
    from ecm.models.fetching import download
    from ecm.models.manifest import load_manifest
    from ecm.models.pinning import PinRequest

    settings = open_profile(profile, home, overrides)
    items: list[Mapping[str, object]] = []
    for name in names:
        try:
            recipe = load_manifest(name, [settings.models_folder])
            place = settings.pinned_models / f"{name}.yaml"
            _discard_damaged(place)
            folder = download(recipe, settings.pinned_models / name, note)
            base = recipe.model_dump(mode="json", exclude_defaults=True)
            request = PinRequest(folder, name, recipe.backend, base=base)
            items.append(_pinned(request, place, replace, no_probes, settings.pipeline.threads))
        except EcmError as error:
            items.append({"name": name, "problem": str(error)})
    emit(
        {"items": items},
        as_json,
        lambda console: console.print("\n".join(printable(_line(i)) for i in items), markup=False),
    )
    if any("problem" in item for item in items):
        raise typer.Exit(FAILED)


def _discard_damaged(place: Path) -> None:
    """Fetched files that are not the pinned ones any more are removed, to be fetched again."""
    from ecm.models.attestation import damaged_files
    from ecm.models.manifest import load_manifest

    if not place.is_file():
        return
    for path in damaged_files(load_manifest(place.absolute())):
        if path.absolute().is_relative_to(place.absolute().with_suffix("")):
            note(f"{path} is damaged and fetched again")
            path.unlink()


def _pinned(
    request: PinRequest, place: Path, replace: bool, no_probes: bool, threads: int
) -> dict[str, object]:
    from ecm.models.pinned_files import Standing, same_but_probes, with_probes, write_manifest
    from ecm.models.pinning import pin as pin_checkpoint

    manifest = pin_checkpoint(request)
    before = same_but_probes(manifest, place, Standing.REPLACE if replace else Standing.KEEP)
    standing = Standing.REPLACE if replace or before is not None else Standing.KEEP
    if before is not None and (before.probes is not None or no_probes):
        manifest = before
    elif no_probes:
        note(f"{manifest.name} has no golden probes: --no-probes")
    else:
        note(f"{manifest.name}: files are pinned, the model is asked its golden probes")
        manifest = with_probes(manifest, _recorded(manifest, threads), place, standing)
    written = write_manifest(manifest, place, standing)
    return {
        "name": manifest.name,
        "manifest": str(place),
        "written": written,
        "revision": manifest.revision,
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
        "probes": manifest.probes is not None,
    }


def _recorded(manifest: ModelManifest, threads: int) -> ProbeSet:
    """Raises what opening and asking the model raises, with the way around it."""
    from ecm.stages.golden import record

    try:
        return record(manifest, threads)
    except EcmError as error:
        hint = "; ".join(filter(None, [error.hint, "--no-probes pins without asking the model"]))
        raise type(error)(error.message, error.code, hint) from error


def _setting(text: str) -> tuple[str, Scalar]:
    key, equals, raw = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: write it as a.b=value", code="config.override")
    value = yaml.safe_load(raw)
    return key.strip(), value if isinstance(value, str | int | float | bool) else raw


def _line(item: Mapping[str, object]) -> str:
    if "problem" in item:
        return f"{item['name']}: {item['problem']}"
    done = "written" if item["written"] else "stands already, as it is"
    return (
        f"{item['name']}: {item['files']} files, {item['bytes']} bytes, revision "
        f"{item['revision']}; {item['manifest']} {done}"
    )
