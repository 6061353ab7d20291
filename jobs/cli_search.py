"""Commands that ask: search (in this process) and serve (the HTTP application)."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ecm.config import Profile
from jobs.edge import (
    HomeOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    printable,
    table_of,
)
from jobs.search_options import SearchOptions, command_of

if TYPE_CHECKING:
    from ecm.contracts.search import SearchRequest, SearchResponse


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(command_of(SearchOptions, search))
    app.command()(serve)


def search(options: SearchOptions) -> None:
    """Search the published snapshot by words, by images, or both, and say why each hit is there.

    Words may say what is to be absent (`beach without people`), hold phrases in quotes, name
    colours and places (`red on the left`), or be a file name.

    Filters leave only some assets: a repeated option is each needed, `A|B` is either. What is not
    known of an asset passes no filter.

    ecm search "dog on a beach" --tag animal --colour "blue|cyan" --min-width 1000

    ecm search sunset --taken-after 2023-06-01 --taken-before 2023-09-01 --path ~/Pictures/Italy/

    ecm search --like holiday.jpg --unlike crowd.jpg=0.5 --facet tags --facet year

    ecm search invoice --has text --min-relevance auto --sort newest

    ecm search cat --filter '{"must_not": [{"field": "has", "value": "date"}]}'
    """
    from jobs.search_request import request_of

    settings = open_profile(options.profile, options.home, options.overrides, options.tenant)
    response = _answer(settings, request_of(options, settings.tenant))
    value = response.model_dump(mode="json", by_alias=True)
    emit(value, options.as_json, lambda console: _show(value, console))


def _answer(settings: Profile, request: SearchRequest) -> SearchResponse:
    from ecm.opening import open_engine

    with _fetching_told(), open_engine(settings) as engine:
        # Loading is not part of the question, whose time is limited.
        engine.warm(settings.tenant)
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
        lost = notice["axis"] or notice["step"] or "a part"
        console.print(f"without {lost}: {escape(printable(notice['reason']))}")
    if value["partial"]:
        console.print("time was up: this is not all there is")
    if not value["hits"]:
        console.print("nothing found")
    for hit in value["hits"]:
        console.print(f"[bold]{hit['rank']:>3}[/bold]  {_score(hit)}  {_where(hit)}")
        if hit["caption"]:
            mark = " (composed)" if hit["caption_composed"] else ""
            console.print(f"     {escape(printable(hit['caption']))}{mark}")
        if hit["why"]:
            console.print(f"     {escape(printable(hit['why']))}")
    for field, counts in value["facets"].items():
        rows: list[list[object]] = [[each["value"], each["count"]] for each in counts]
        console.print(table_of(field, ["value", "assets"], rows) if rows else f"{field}: none")
    if value["profile"]:
        rows = [[stage, f"{took:.1f}"] for stage, took in value["profile"].items()]
        console.print(table_of("timings", ["stage", "ms"], rows))
    cut = value["ranking"]["cut"]
    less = f", {cut} less relevant left out" if cut else ""
    console.print(
        f"{len(value['hits'])} of {value['matched']}{less}; {value['query_type']} query, "
        f"{value['took_ms']:.0f} ms, snapshot {value['snapshot_id']}"
    )
    if value["cursor"]:
        console.print(f"more: --cursor {value['cursor']}")


def _score(hit: dict[str, Any]) -> str:
    relevance = hit["relevance"]
    return f"{hit['score']:.5f}" + (f" ({relevance:.0%} relevant)" if relevance is not None else "")


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
