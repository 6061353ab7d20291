"""`ecm evaluate queries`: query sets with their labels: built, listed, shown.

Knows how they are asked for and shown; how they are made is known to `ecm.evaluation.datasets`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    table_of,
    utc,
)

if TYPE_CHECKING:
    from ecm.contracts.evaluation import EvaluationQuery
    from ecm.evaluation.datasets.building import Built
    from ecm.evaluation.shelf import Queries
    from jobs.evaluate_sources import Progress

queries = typer.Typer(
    no_args_is_help=True,
    help="Query sets and their labels: build them, look at them, refresh them, hand them on.",
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the query set.")]
VersionOption = Annotated[
    int | None, typer.Option("--version", min=1, help="The newest by default.")
]
LabelsFile = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help='What people know of images, a JSON object a line: {"path": "a.jpg", "labels": '
        '["dog"], "captions": ["A dog."]}; sha256 or uri instead of path.',
    ),
]
QueriesFile = Annotated[
    Path | None,
    typer.Option(
        "--queries",
        metavar="FILE",
        help='Queries with answers, a JSON object a line: {"qid": "q1", "kind": "class", "text": '
        '"dog", "relevant": ["a.jpg"]}.',
    ),
]
LogsFile = Annotated[
    Path | None,
    typer.Option("--logs", metavar="FILE", help="Searches, as `ecm feedback export` wrote them."),
]
FeedbackOption = Annotated[
    bool, typer.Option("--feedback", help="Searches of the store's own feedback.")
]
UnitsOption = Annotated[
    int, typer.Option("--min-units", min=2, help="Searches that so many units asked for.")
]
LooksOption = Annotated[
    bool, typer.Option("--looks/--no-looks", help="Ask for how pictures look, too.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="What is chosen follows from it.")]


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    from jobs import cli_evaluate_refresh

    cli_evaluate_refresh.register(queries)
    group.add_typer(queries, name="queries")


@queries.command("build")
def queries_build(
    name: NameArgument,
    labels: LabelsFile = None,
    asked: QueriesFile = None,
    logs: LogsFile = None,
    feedback: FeedbackOption = False,
    min_units: UnitsOption = 3,
    looks: LooksOption = True,
    count: Annotated[int, typer.Option("--count", min=1, max=100_000)] = 500,
    held_out: Annotated[
        float, typer.Option("--held-out", min=0.0, max=1.0, help="Share never learned from.")
    ] = 0.5,
    beside: Annotated[
        list[str] | None,
        typer.Option("--beside", metavar="NAME", help="Sides are as in this other set, too."),
    ] = None,
    locale: Annotated[str, typer.Option(help="Of what names none.")] = "en",
    seed: SeedOption = 0,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a query set with its labels from what is known of the assets in the published snapshot.

    From files of what people know; without any, from the assets' own evidence, whose labels are
    weak; from templates for how pictures look; and from searches, anonymised. 35 % are keywords, 35
    % sentences, 20 % pictures and looks, 10 % both at once; what cannot be filled is said.

    The same sources, seed and count make the same set. A name that is there gets a new version.
    What is about the same thing lies on one side, learn or held out; --beside keeps that between
    several sets.

    ecm evaluate queries build gold --labels photos.jsonl --queries queries.jsonl --count 500
    """
    from ecm.evaluation.datasets.building import Named, build_queries
    from ecm.evaluation.datasets.sources import draw
    from jobs.evaluate_sets import keep, kept_already, newest_of, next_versions
    from jobs.evaluate_sources import Wanted, open_shelf, open_sources

    settings = open_profile(profile, home, overrides, tenant)
    shelf = open_shelf(settings)
    version, label_version = next_versions(shelf, name)
    others = [newest_of(shelf, other) for other in beside or ()]
    sides_from = {f"beside {one.head.name}": one.head.digest for one, _ in others}
    wanted = Wanted(labels, asked, logs, feedback, min_units, looks, locale)
    with looking() as progress:
        sources, made_from = open_sources(settings, wanted, seed, progress)
    named = Named(
        tenant_id=settings.tenant,
        name=name,
        version=version,
        label_version=label_version,
        now=time.time(),
        seed=seed,
        made_from={**made_from, "count": str(count), "held_out": str(held_out), **sides_from},
    )
    built = build_queries(draw(sources, seed), sources.known, named, count, held_out, others)
    if not built.queries.queries:
        raise ConfigError(
            "nothing to ask for", "evaluation.no_queries", "give --labels or --queries"
        )
    if not sources.files:
        note("no file of what people know: labels are weak, from the assets' own evidence")
    if there := kept_already(shelf, built.queries, built.labels):
        note(f"version {there[0].head.version} is the same already: nothing new was kept")
        built = replace(built, queries=there[0], labels=there[1])
    else:
        keep(shelf, built.queries, built.labels)
    emit(built_value(built), as_json, lambda console: show_built(built, console))


@queries.command("list")
def queries_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the query sets of a tenant with their versions."""
    from jobs.evaluate_sources import open_shelf

    shelf = open_shelf(open_profile(profile, home, overrides, tenant))
    heads = [
        shelf.queries(name, version).head
        for name in shelf.names("query_sets")
        for version in shelf.versions("query_sets", name)
    ]
    columns = ["name", "version", "queries", "seed", "made", "digest"]
    rows: list[list[object]] = [
        [one.name, one.version, one.queries, one.seed, utc(one.created_at), one.digest[:12]]
        for one in heads
    ]
    emit(
        {"query_sets": [one.model_dump(mode="json") for one in heads]},
        as_json,
        lambda console: console.print(table_of("query sets", columns, rows)),
    )


@queries.command("show")
def queries_show(
    name: NameArgument,
    version: VersionOption = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Queries that are shown.")] = 20,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a query set is made of, and some of its queries; with --json all of them."""
    from jobs.evaluate_sources import open_shelf

    shelf = open_shelf(open_profile(profile, home, overrides, tenant))
    found = shelf.queries(name, version)
    value: dict[str, Any] = {
        "query_set": found.head.model_dump(mode="json"),
        "strata": strata_of(found),
        "queries": [one.model_dump(mode="json") for one in found.queries],
    }
    columns = ["query", "type", "kind", "difficulty", "side", "asks for"]
    rows: list[list[object]] = [
        [
            one.query_id,
            one.query_type,
            one.kind,
            one.difficulty,
            one.split,
            _said(one),
        ]
        for one in found.queries[:limit]
    ]

    def show(console: Console) -> None:
        head = found.head
        console.print(f"{head.name}, version {head.version}: {head.queries} queries, {head.digest}")
        for what, counts in value["strata"].items():
            said = ", ".join(f"{name} {number}" for name, number in counts.items())
            console.print(f"  {what}: {said}")
        console.print(table_of("", columns, rows))

    emit(value, as_json, show)


def _said(query: EvaluationQuery) -> str:
    shown = f"shown {query.shown_asset_id[:12]}" if query.shown_asset_id is not None else ""
    return " and ".join(part for part in (query.query_text, shown) if part)


def strata_of(found: Queries) -> dict[str, dict[str, int]]:
    """How many queries there are of each type, difficulty, kind, source and side."""
    fields = ("query_type", "difficulty", "kind", "source", "split")
    return {
        field: dict(sorted(Counter(str(getattr(one, field)) for one in found.queries).items()))
        for field in fields
    }


def built_value(built: Built) -> dict[str, Any]:
    """What came of building, for programs."""
    return {
        "query_set": built.queries.head.model_dump(mode="json"),
        "label_set": built.labels.head.model_dump(mode="json"),
        "strata": strata_of(built.queries),
        "cells": [
            {
                "query_type": cell.query_type,
                "difficulty": cell.difficulty,
                "wanted": cell.wanted,
                "available": cell.available,
                "taken": cell.taken,
            }
            for cell in built.cells
        ],
        "left_out": dict(built.left),
    }


def show_built(built: Built, console: Console) -> None:
    """What came of building, for people: strata, what they lack, what was left out."""
    head, labels = built.queries.head, built.labels.head
    console.print(
        f"{head.name}, version {head.version}: {head.queries} queries, {labels.labels} labels "
        f"({', '.join(f'{number} {source}' for source, number in labels.by_source.items())})"
    )
    rows: list[list[object]] = [
        [cell.query_type, cell.difficulty, cell.wanted, cell.taken, cell.available]
        for cell in built.cells
    ]
    columns = ["type", "difficulty", "wanted", "taken", "available"]
    console.print(table_of("strata", columns, rows))
    for cell in built.cells:
        if cell.short:
            note(f"{cell.query_type} {cell.difficulty}: {cell.short} fewer than wanted")
    _show_left(built.left)


def _show_left(left: Mapping[str, int]) -> None:
    for why, number in left.items():
        note(f"left out: {number} {why}")


@contextmanager
def looking() -> Iterator[Progress]:
    """A bar on stderr; nothing is drawn where that is no terminal."""
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("looking at pictures", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
