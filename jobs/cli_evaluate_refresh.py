"""`ecm evaluate queries refresh|diff|export|import`: versions of query sets, and handing them on.

Knows how they are asked for and shown.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ecm.contracts.evaluation import EvaluationQuery, Split
from ecm.errors import ConfigError
from jobs.cli_evaluate_queries import (
    FeedbackOption,
    LabelsFile,
    LogsFile,
    NameArgument,
    QueriesFile,
    SeedOption,
    VersionOption,
    built_value,
    looking,
    show_built,
)
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    printable,
    table_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ecm.evaluation.datasets.differences import Differences


def register(queries: typer.Typer) -> None:
    """Add these commands to `ecm evaluate queries`."""
    queries.command("refresh")(queries_refresh)
    queries.command("diff")(queries_diff)
    queries.command("export")(queries_export)
    queries.command("import")(queries_import)


def queries_refresh(
    name: NameArgument,
    replace: Annotated[
        float, typer.Option("--replace", min=0.0, max=1.0, help="Share of queries to replace.")
    ] = 0.25,
    labels: LabelsFile = None,
    asked: QueriesFile = None,
    logs: LogsFile = None,
    feedback: FeedbackOption = False,
    min_units: Annotated[
        int | None,
        typer.Option("--min-units", min=2, help="Searches that so many asked for; as before."),
    ] = None,
    label_set: Annotated[
        str | None,
        typer.Option("--label-set", metavar="NAME", help="Whose labels stay; NAME's by default."),
    ] = None,
    seed: SeedOption = 0,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new version of a query set with a share of its queries replaced, say once a month:
    a set that is always the same is learned by heart.

    What stays keeps its side and its labels; what comes takes the side of whatever it is tied to in
    any version. Queries whose assets are gone leave first. Files and searches that the set was made
    from are read again where they were, with as many people behind each search, unless said
    otherwise.

    ecm evaluate queries refresh gold --replace 0.25 --seed 202612
    """
    from ecm.evaluation.datasets.building import Named
    from ecm.evaluation.datasets.log_words import LEAST_UNITS
    from ecm.evaluation.datasets.refreshing import refreshed
    from ecm.evaluation.datasets.sources import draw
    from ecm.evaluation.datasets.splits import HELD_OUT_SHARE
    from jobs.evaluate_sets import keep, next_versions, past_of
    from jobs.evaluate_sources import Wanted, open_shelf, open_sources

    settings = open_profile(profile, home, overrides, tenant)
    shelf = open_shelf(settings)
    past = past_of(shelf, name, label_set)
    head = past.queries.head
    own_searches = feedback or (logs is None and "feedback" in head.made_from)
    wanted = Wanted(
        labels=labels or _recorded(head.made_from, "labels"),
        queries=asked or _recorded(head.made_from, "queries"),
        logs=logs or (None if own_searches else _recorded(head.made_from, "logs")),
        feedback=own_searches,
        least_units=min_units or int(_number(head.made_from, "min_units", LEAST_UNITS, most=1e9)),
        looks=head.made_from.get("looks") != "none",
        locale=head.made_from.get("locale", "en"),
    )
    with looking() as progress:
        sources, made_from = open_sources(settings, wanted, seed, progress)
    version, label_version = next_versions(shelf, name)
    named = Named(
        tenant_id=settings.tenant,
        name=name,
        version=version,
        label_version=label_version,
        now=time.time(),
        seed=seed,
        made_from={**made_from, "replaced": str(replace)},
        earlier=head.version,
    )
    held_out = _number(head.made_from, "held_out", HELD_OUT_SHARE, most=1.0)
    found = refreshed(past, draw(sources, seed), sources.known, named, replace, held_out)
    keep(shelf, found.built.queries, found.built.labels)
    value = {
        **built_value(found.built),
        "left": list(found.left),
        "gone": list(found.gone),
        "torn": list(found.torn),
        "came": list(found.came),
        "on_no_side": found.unplaced,
    }

    def show(console: Console) -> None:
        show_built(found.built, console)
        console.print(
            f"{len(found.left)} left ({len(found.gone)} because their assets are gone, "
            f"{len(found.torn)} because they are tied to the other side now), "
            f"{len(found.came)} came; {found.unplaced} are tied to both sides and did not"
        )

    emit(value, as_json, show)
    if len(found.came) < len(found.left):
        note(f"{len(found.left) - len(found.came)} fewer came than left: nothing else to ask for")


def queries_diff(
    name: NameArgument,
    before: Annotated[
        int | None, typer.Option("--from", min=1, help="The one before the newest by default.")
    ] = None,
    after: Annotated[int | None, typer.Option("--to", min=1, help="The newest by default.")] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which queries left, came, are asked otherwise, or changed sides between two versions."""
    from ecm.evaluation.datasets.differences import differences
    from jobs.evaluate_sources import open_shelf

    shelf = open_shelf(open_profile(profile, home, overrides, tenant))
    newer = shelf.queries(name, after)
    if before is None:
        older_ones = [n for n in shelf.versions("query_sets", name) if n < newer.head.version]
        if not older_ones:
            raise ConfigError(
                f"query set {name} has no version before {newer.head.version}", "evaluation.no_set"
            )
        before = older_ones[-1]
    older = shelf.queries(name, before)
    found = differences(older, newer)
    parts = _parts(found)
    value: dict[str, Any] = {
        "from": older.head.version,
        "to": newer.head.version,
        "same": found.same,
        **{what: [one.model_dump(mode="json") for one in those] for what, those in parts.items()},
    }
    rows: list[list[object]] = [
        [what, one.query_id, one.query_type, one.split, one.query_text or "a shown asset"]
        for what, those in parts.items()
        for one in those
    ]

    def show(console: Console) -> None:
        console.print(
            f"{name}, version {older.head.version} to {newer.head.version}: {found.same} the same, "
            + ", ".join(f"{len(those)} {what}" for what, those in parts.items())
        )
        console.print(table_of("", ["", "query", "type", "side", "asks for"], rows))

    emit(value, as_json, show)


def queries_export(
    name: NameArgument,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new folder.")],
    version: VersionOption = None,
    side: Annotated[
        Split | None, typer.Option("--side", help="Only what may be learned, or what is held out.")
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a query set and its newest labels into a folder: two heads and two JSONL files.

    With --side learn, whoever gets them has nothing of what is held out.
    """
    from ecm.evaluation.datasets.exchange import exported, of_side
    from jobs.evaluate_sets import labelled, write_files
    from jobs.evaluate_sources import open_shelf

    shelf = open_shelf(open_profile(profile, home, overrides, tenant))
    sets = labelled(shelf, name, version)
    if side is not None:
        sets = of_side(*sets, side)
    files = exported(*sets)
    write_files(out, files)
    value = {
        "query_set": sets[0].head.model_dump(mode="json"),
        "label_set": sets[1].head.model_dump(mode="json"),
        "files": {file: str(out / file) for file in files},
    }
    said = f"{sets[0].head.queries} queries, {sets[1].head.labels} labels written to {out}"
    emit(value, as_json, lambda console: console.print(said, markup=False))


def queries_import(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What was exported.")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in a query set with its labels that was exported, as a new version of NAME.

    Both are held against the digests in their heads. A set of another tenant is refused.
    """
    from ecm.evaluation.datasets.exchange import imported
    from ecm.evaluation.shelf import Labels, Queries
    from jobs.evaluate_sets import keep, next_versions, read_files
    from jobs.evaluate_sources import open_shelf

    settings = open_profile(profile, home, overrides, tenant)
    shelf = open_shelf(settings)
    queries, labels = imported(read_files(folder), settings.tenant)
    version, label_version = next_versions(shelf, name)
    query_head = queries.head.model_copy(
        update={"name": name, "version": version, "earlier": version - 1 or None}
    )
    label_head = labels.head.model_copy(
        update={
            "name": name,
            "query_set": name,
            "label_version": label_version,
            "earlier": label_version - 1 or None,
        }
    )
    keep(shelf, Queries(query_head, queries.queries), Labels(label_head, labels.labels))
    value = {
        "query_set": query_head.model_dump(mode="json"),
        "label_set": label_head.model_dump(mode="json"),
    }
    said = f"{name}, version {version}: {query_head.queries} queries, {label_head.labels} labels"
    emit(value, as_json, lambda console: console.print(said, markup=False))


def _number(made_from: Mapping[str, str], what: str, default: float, most: float) -> float:
    """A number that a set was made with. Raises ConfigError where a head from elsewhere has none
    there that could be.
    """
    said = made_from.get(what, str(default))
    try:
        number = float(said)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= most:
        raise ConfigError(
            f"the set says it was made with {what} {printable(said)[:40]!r}", "evaluation.input"
        )
    return number


def _recorded(made_from: Mapping[str, str], what: str) -> Path | None:
    """The file that a set was made from. Raises ConfigError when it is not there any more."""
    said = made_from.get(what)
    if said is None:
        return None
    if not Path(said).is_file():
        raise ConfigError(
            f"the set was made from {said}, which is not there",
            "evaluation.input",
            f"say where it is with --{what}",
        )
    return Path(said)


def _parts(found: Differences) -> dict[str, tuple[EvaluationQuery, ...]]:
    return {
        "left": found.left,
        "came": found.came,
        "changed": found.changed,
        "moved": found.moved,
    }
