"""`ecm evaluate engines`: which engines there are, and whether each could be asked now.

Knows how that is asked for and shown.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    table_of,
)

if TYPE_CHECKING:
    from rich.console import Console


def register(group: typer.Typer) -> None:
    """Add this command to `ecm evaluate`."""
    group.command("engines")(evaluate_engines)


def evaluate_engines(
    engines: Annotated[
        list[str] | None,
        typer.Argument(help="NAME, NAME@WHERE, ID=NAME@WHERE or a YAML file; default: all."),
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the engines that `ecm evaluate run --engines` can ask, and whether each is ready.

    An engine is a file of conf/engines: `internal` is our own search in this process,
    `internal@http://host:8000` that of a running service, `internal@new.yaml` with another
    ranking profile; `open_source` is qdrant-edge on the same vectors; `commercial` is a product
    behind its REST API, for which a recorded contract stands in as long as its address and key
    are not set. `before=internal@old.yaml` gives one another name, so that two can be compared.

        ecm evaluate engines

        ecm evaluate engines internal@http://127.0.0.1:8000 --json
    """
    from jobs.engine_listing import listed_engines
    from jobs.engines import engines_folder

    settings = open_profile(profile, home, overrides, tenant)
    found = listed_engines(settings, engines_folder(os.environ), os.environ, engines or ())

    def show(console: Console) -> None:
        rows: list[list[object]] = [
            [one.engine_id, one.kind.value, one.description, "yes" if one.ready else "no", one.says]
            for one in found
        ]
        title = f"{len(found)} engines of tenant {settings.tenant}"
        console.print(table_of(title, ["id", "kind", "what it is", "ready", ""], rows))

    emit({"items": [one.model_dump(mode="json") for one in found]}, as_json, show)
