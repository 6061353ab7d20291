"""`ecm models tiers`: which models go together, what they ask of GPUs, whether they fit here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from ecm.errors import ConfigError
from jobs import cli_models
from jobs.edge import (
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
    from collections.abc import Sequence

    from ecm.config import Profile
    from ecm.models.devices import Gpu
    from ecm.models.tiers import Tier


def register(_: typer.Typer) -> None:
    """Add this command to the models of the `ecm` command."""
    cli_models.models.command("tiers")(models_tiers)


def models_tiers(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tiers of models, the GPU memory they need, and whether this machine has it.

    A profile takes one with models.tier; roles named beside it keep their
    models. The memory is for one actor of each model; it is what manifests
    state, computed for recipes whose files nobody has fetched yet.

    Try: ecm index photos --set models.tier=standard; ecm models fetch NAME
    """
    from ecm.models.devices import present_gpus
    from ecm.models.tiers import list_tiers

    settings = open_profile(profile, home, overrides)
    gpus = present_gpus()
    items = [_item(tier, settings, gpus) for tier in list_tiers(settings.models_folder)]
    there = [str(gpu) for gpu in gpus]

    def show(console: Console) -> None:
        for item in items:
            chosen = " (this profile's)" if item["name"] == settings.models.tier else ""
            fits = "fits here" if item["fits"] else printable(item["refusal"])
            console.print(f"{item['name']}{chosen}: {item['description']}", markup=False)
            console.print(f"  GPU memory {item['gpu_memory_gib']:g} GiB in all; {fits}")
            columns = ["role", "manifest", "GPU GiB", "files"]
            rows: list[list[object]] = [
                [m["role"], m["manifest"], f"{m['gpu_memory_gib']:g}", m["state"]]
                for m in item["models"]
            ]
            console.print(table_of("", columns, rows))
        console.print(f"GPUs here: {'; '.join(there) or 'none'}", markup=False)

    emit({"gpus": there, "items": items}, as_json, show)


def _item(tier: Tier, profile: Profile, gpus: Sequence[Gpu]) -> dict[str, Any]:
    from ecm.models.checkpoint import is_recipe
    from ecm.models.devices import check_fit
    from ecm.models.tiers import demand

    manifests = tier.manifests(profile.manifest_folders)
    refusal = ""
    try:
        check_fit([(manifest, 1) for manifest in manifests.values()], gpus)
    except ConfigError as error:
        refusal = error.message
    asked = demand(manifests)
    return {
        "name": tier.name,
        "description": tier.description,
        "gpu_memory_gib": asked.gpu_memory_gib,
        "largest_gib": asked.largest_gib,
        "fits": not refusal,
        "refusal": refusal,
        "models": [
            {
                "role": role,
                "manifest": name,
                "gpus": manifests[name].needs.gpus,
                "gpu_memory_gib": manifests[name].needs.gpu_memory_gib,
                "state": "recipe" if is_recipe(manifests[name]) else "pinned",
            }
            for role, name in tier.roles().items()
            if name is not None
        ],
    }
