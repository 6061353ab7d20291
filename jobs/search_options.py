"""The options of `ecm search` as one value, and the command line that is made of it.

Knows names, types and helps. Knows no request and no search: see `jobs.search_request`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from jobs.edge import HomeOption, JsonOption, ProfileOption, SetOption, TenantOption

_FILTER, _RANK, _SHOW = "What may be found", "How to rank", "What to show"

Many = list[str] | None
Options = TypeVar("Options")


def _option(name: str, panel: str, text: str, metavar: str | None = None) -> Any:
    return typer.Option(name, rich_help_panel=panel, help=text, metavar=metavar, show_default=False)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What was said on the command line, as it was said."""

    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None
    image: Annotated[Path | None, typer.Option("--image", help="Find images like this file.")] = (
        None
    )
    like: Annotated[
        Many,
        typer.Option(
            "--like", metavar="ID|FILE[=WEIGHT]", help="Find images like this one; repeatable."
        ),
    ] = None
    unlike: Annotated[
        Many,
        typer.Option("--unlike", metavar="ID|FILE[=WEIGHT]", help="And unlike this; repeatable."),
    ] = None
    profile: ProfileOption = None
    home: HomeOption = None
    tenant: TenantOption = None
    overrides: SetOption = None
    as_json: JsonOption = False

    tag: Annotated[Many, _option("--tag", _FILTER, "Has this tag.", "A[|B]")] = None
    without_tag: Annotated[Many, _option("--without-tag", _FILTER, "Has it not.", "A[|B]")] = None
    classes: Annotated[Many, _option("--class", _FILTER, "Is of this class.", "A[|B]")] = None
    format: Annotated[Many, _option("--format", _FILTER, "jpeg, png, webp, …", "A[|B]")] = None
    colour: Annotated[
        Many, _option("--colour", _FILTER, "This colour covers some of it.", "A[|B]")
    ] = None
    orientation: Annotated[
        Many,
        _option("--orientation", _FILTER, "portrait, landscape, square or panorama.", "A[|B]"),
    ] = None
    min_width: Annotated[float | None, _option("--min-width", _FILTER, "Pixels.")] = None
    max_width: Annotated[float | None, _option("--max-width", _FILTER, "Pixels.")] = None
    min_height: Annotated[float | None, _option("--min-height", _FILTER, "Pixels.")] = None
    max_height: Annotated[float | None, _option("--max-height", _FILTER, "Pixels.")] = None
    min_pixels: Annotated[float | None, _option("--min-pixels", _FILTER, "Width by height.")] = None
    max_pixels: Annotated[float | None, _option("--max-pixels", _FILTER, "Width by height.")] = None
    min_bytes: Annotated[float | None, _option("--min-bytes", _FILTER, "Size of the file.")] = None
    max_bytes: Annotated[float | None, _option("--max-bytes", _FILTER, "Size of the file.")] = None
    min_confidence: Annotated[
        float | None, _option("--min-confidence", _FILTER, "Of the surest tag or class, 0 to 1.")
    ] = None
    taken_after: Annotated[
        str | None, _option("--taken-after", _FILTER, "Then or later, UTC.", "DATE[TTIME]")
    ] = None
    taken_before: Annotated[
        str | None, _option("--taken-before", _FILTER, "Earlier than this.", "DATE[TTIME]")
    ] = None
    modified_after: Annotated[
        str | None, _option("--modified-after", _FILTER, "File changed since.", "DATE[TTIME]")
    ] = None
    modified_before: Annotated[
        str | None, _option("--modified-before", _FILTER, "File changed before.", "DATE[TTIME]")
    ] = None
    added_after: Annotated[
        str | None, _option("--added-after", _FILTER, "First indexed since.", "DATE[TTIME]")
    ] = None
    added_before: Annotated[
        str | None, _option("--added-before", _FILTER, "First indexed before.", "DATE[TTIME]")
    ] = None
    path: Annotated[
        Many, _option("--path", _FILTER, "Lies below this folder or URI.", "PREFIX")
    ] = None
    run: Annotated[Many, _option("--run", _FILTER, "This run spoke of it.", "ID[|ID]")] = None
    has: Annotated[
        Many, _option("--has", _FILTER, "text, caption, tags, user-text or date.", "WHAT")
    ] = None
    lacks: Annotated[Many, _option("--lacks", _FILTER, "Has it not, as far as known.", "WHAT")] = (
        None
    )
    filter: Annotated[
        str | None,
        _option("--filter", _FILTER, "Any tree of conditions; @- is stdin.", "JSON|@FILE"),
    ] = None

    axes: Annotated[Many, _option("--axis", _RANK, "Only vv, x, mv or fts.", "AXIS")] = None
    require: Annotated[
        Many, _option("--require", _RANK, "Fail where this axis cannot answer.", "AXIS")
    ] = None
    rerank: Annotated[
        str, _option("--rerank", _RANK, "off: leave the order of the axes.", "auto|off")
    ] = "auto"
    min_relevance: Annotated[
        str | None,
        _option("--min-relevance", _RANK, "Leave out what is less relevant.", "auto|0..1"),
    ] = None
    sort: Annotated[
        str,
        _option("--sort", _RANK, "relevance, newest, oldest, largest, smallest or name.", "ORDER"),
    ] = "relevance"
    timeout: Annotated[
        float | None, _option("--timeout", _RANK, "Answer with what is there by then.", "MS")
    ] = None

    limit: Annotated[int, typer.Option(help="Hits.", min=1, max=200, rich_help_panel=_SHOW)] = 10
    cursor: Annotated[str | None, _option("--cursor", _SHOW, "Go on where an answer ended.")] = None
    facet: Annotated[
        Many,
        _option(
            "--facet",
            _SHOW,
            "Count tags, classes, format, orientation, colours, year or has.",
            "FIELD",
        ),
    ] = None
    no_explain: Annotated[
        bool, typer.Option("--no-explain", help="Leave out why.", rich_help_panel=_SHOW)
    ] = False
    timings: Annotated[
        bool,
        typer.Option("--timings", help="Milliseconds of each stage.", rich_help_panel=_SHOW),
    ] = False


def command_of(kind: type[Options], run: Callable[[Options], None]) -> Callable[..., None]:
    """A function for Typer with a parameter for each field of a dataclass; it calls `run`."""
    hints = get_type_hints(kind, include_extras=True)

    def command(**said: Any) -> None:
        run(kind(**said))

    command.__name__, command.__doc__ = run.__name__, run.__doc__
    command.__annotations__ = dict(hints)
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(each, hints[each.name]) for each in fields(kind)]  # type: ignore[arg-type]
    )
    return command


def _parameter(each: Field[Any], hint: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if each.default is MISSING else each.default
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
    )
