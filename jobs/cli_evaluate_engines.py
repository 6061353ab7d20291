"""`ecm evaluate engines` and `corpus`: which engines there are, and what a product is to index.

Knows how that is asked for and shown.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
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
    """Add these commands to `ecm evaluate`."""
    group.command("engines")(evaluate_engines)
    group.command("corpus")(evaluate_corpus)


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


def evaluate_corpus(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder to write into.")],
    index: Annotated[str, typer.Option(metavar="NAME", help="Name of the index.")] = "ecm-assets",
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what Azure AI Search is to index, so that `commercial` can ask the product itself.

    The texts and vectors of the published snapshot: index.json is the body of Create Index,
    documents-0001.json and so on those of Index Documents (api-version 2024-07-01). Nothing is
    sent. What is said of pictures is in them, and the names of their files and folders; the
    pictures are not.

        ecm evaluate corpus --out azure/

        curl -X PUT "$AZURE_SEARCH_ENDPOINT/indexes/ecm-assets?api-version=2024-07-01" -H
        "api-key: $ADMIN_KEY" -H "content-type: application/json" --data-binary @azure/index.json
    """
    from ecm.errors import ConfigError, StoreUnavailable
    from ecm.evaluation.engines.azure_index import document_batches, index_definition
    from ecm.whole_files import write_whole
    from jobs.engines import tenant_corpus

    settings = open_profile(profile, home, overrides, tenant)
    if any(out.glob("documents-*.json")):
        raise ConfigError(f"{out} has documents already", "engine.out", "name an empty folder")
    corpus = tenant_corpus(settings)
    written = []
    try:
        for number, body in enumerate(document_batches(corpus), start=1):
            written.append(f"documents-{number:04d}.json")
            write_whole(out / written[-1], body, 0o600)
        write_whole(out / "index.json", json.dumps(index_definition(index, corpus)).encode())
    except OSError as error:
        raise StoreUnavailable(f"cannot write into {out}: {error.strerror}") from error
    value = {
        "tenant_id": settings.tenant,
        "snapshot_id": corpus.snapshot_id,
        "index": index,
        "assets": len(corpus.ids),
        "files": ["index.json", *written],
    }

    def show(console: Console) -> None:
        console.print(f"{len(corpus.ids)} assets of {corpus.snapshot_id} in {len(written)} batches")
        console.print(f"index.json and {written[0]} … in {out}", markup=False)

    emit(value, as_json, show)
