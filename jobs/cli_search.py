"""Commands that ask: search (in this process) and serve (the HTTP application)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ecm.config import Profile
from ecm.errors import QueryError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    printable,
)


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(search)
    app.command()(serve)


def search(
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Find images like this file.")
    ] = None,
    like: Annotated[str | None, typer.Option("--like", help="Find images like this asset.")] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="Hits.", min=1, max=200)] = 10,
    axes: Annotated[
        list[str] | None, typer.Option("--axis", help="Only vv, x, mv or fts; repeatable.")
    ] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where an answer ended.")] = None,
) -> None:
    """Search the published snapshot by text, image, or both, and say why each hit is there."""
    settings = open_profile(profile, home, overrides, tenant)
    request = _request(settings, text, image, like, limit, axes, cursor)
    response = _answer(settings, request)
    value = response.model_dump(mode="json", by_alias=True)
    emit(value, as_json, lambda console: _show(value, console))


def _request(
    settings: Profile,
    text: str | None,
    image: Path | None,
    like: str | None,
    limit: int,
    axes: list[str] | None,
    cursor: str | None,
) -> Any:
    import base64

    from pydantic import ValidationError

    from ecm.contracts.search import SearchRequest

    try:
        data = base64.b64encode(image.read_bytes()) if image is not None else None
        return SearchRequest(
            tenant_id=settings.tenant,
            text=text,
            image=data,
            asset_id=like,
            limit=limit,
            axes=tuple(axes) if axes else None,  # type: ignore[arg-type]
            cursor=cursor,
        )
    except OSError as error:
        raise QueryError(f"cannot read {image}: {error.strerror}", "query.image") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ")
        raise QueryError(f"{where}: {message}" if where else message, "query.invalid") from error


def _answer(settings: Profile, request: Any) -> Any:
    from ecm.opening import open_engine

    with _fetching_told(), open_engine(settings) as engine:
        return engine.search(request)


@contextmanager
def _fetching_told() -> Iterator[None]:
    """Copying a snapshot from object storage takes its time: say so on stderr."""
    log, teller = logging.getLogger("ecm.evidence.snapshot_cache"), logging.StreamHandler()
    teller.setFormatter(logging.Formatter("ecm: %(message)s"))
    log.addHandler(teller)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(teller)
        log.setLevel(logging.NOTSET)


def _show(value: dict[str, Any], console: Console) -> None:
    for notice in value["degraded"]:
        console.print(f"without {notice['axis']}: {escape(notice['reason'])}")
    if not value["hits"]:
        console.print("nothing found")
    for hit in value["hits"]:
        console.print(f"[bold]{hit['rank']:>3}[/bold]  {hit['score']:.5f}  {_where(hit)}")
        if hit["caption"]:
            mark = " (composed)" if hit["caption_composed"] else ""
            console.print(f"     {escape(printable(hit['caption']))}{mark}")
        console.print(f"     {escape(printable(hit['why']))}")
    console.print(
        f"{value['query_type']} query, {value['took_ms']:.0f} ms, snapshot {value['snapshot_id']}"
    )


def _where(hit: dict[str, Any]) -> str:
    more = f" and {len(hit['uris']) - 1} more" if len(hit["uris"]) > 1 else ""
    return escape(printable(hit["uris"][0])) + more if hit["uris"] else hit["asset_id"]


def serve(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    port: Annotated[int | None, typer.Option(help="The profile's port by default.")] = None,
) -> None:
    """Start the search service and its page, and keep them until interrupted."""
    open_profile(profile, home, overrides, tenant)
    settings = [*(overrides or ()), *([f"tenant={tenant}"] if tenant else [])]
    arguments = [sys.executable, "-m", "serve.app"]
    arguments += ["--profile", profile] if profile else []
    arguments += ["--home", str(home)] if home else []
    arguments += ["--port", str(port)] if port is not None else []
    for setting in settings:
        arguments += ["--set", setting]
    os.execv(sys.executable, arguments)  # noqa: S606 - replaces this process, no shell
