"""`ecm evaluate list`: runs that are kept.

Knows how they are asked for and shown; where they lie is known to `ecm.evaluation.shelf`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ecm.evaluation.shelf import Shelf


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    group.command("list")(evaluate_list)


def shelf_of(settings: Profile) -> Shelf:
    """The documents of the profile's tenant. Raises ConfigError when there is no store."""
    from ecm.evaluation.shelf import Shelf
    from ecm.evidence.storage import STORE_HEADER, open_storage

    storage = open_storage(settings.evidence)
    if storage.read(STORE_HEADER) is None:
        raise ConfigError(
            f"no evidence store at {storage.root}",
            "config.no_store",
            "index something first, or check the path",
        )
    return Shelf(storage, settings.tenant)


def evaluate_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs that are kept of a tenant."""
    settings = open_profile(profile, home, overrides, tenant)
    runs = shelf_of(settings).names("runs")

    def show(console: Console) -> None:
        console.print("\n".join(runs) or "no runs")

    emit({"tenant_id": settings.tenant, "items": list(runs)}, as_json, show)
