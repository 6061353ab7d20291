"""`ecm evaluate labels list`, `show`, `stats`, `export` and `import`: labels and votes looked at,
written out and taken in.

Knows how it is asked for and written out; where it lies is known to `ecm.evaluation`.
"""

from __future__ import annotations

import sys
import time
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
    open_profile,
    printable,
    table_of,
    utc,
)
from jobs.label_options import (
    QueriesOption,
    SetArgument,
    checked_name,
    shelf_of,
    work_of,
)
from jobs.label_views import published_value, show_published

if TYPE_CHECKING:
    from ecm.contracts.evaluation import LabelSet
    from ecm.evaluation.labels.work import LabelWork

VersionOption = Annotated[
    int | None, typer.Option("--version", help="The newest by default.", min=1)
]
VotesOption = Annotated[
    bool, typer.Option("--votes", help="Votes of people, in place of the labels made of them.")
]

_BATCH = (
    *("batch", "made", "pairs", "overlap"),
    *("unsaid", "single", "agreed", "disputed", "settled", "undecidable"),
)
"""What is told of a batch: the last six are the states that its pairs are in."""


def register(labels: typer.Typer) -> None:
    """Add these commands to `ecm evaluate labels`."""
    labels.command("list")(labels_list)
    labels.command("show")(labels_show)
    labels.command("stats")(labels_stats)
    labels.command("export")(labels_export)
    labels.command("import")(labels_import)


def labels_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the label sets of a tenant with all their versions, and how far the work on them is: how
    many pairs of each batch nobody judged, one did, two agree on or differ over, and are settled.
    """
    from ecm.evaluation.labels.work import work_names
    from ecm.evidence.storage import open_storage

    settings = open_profile(profile, home, overrides, tenant)
    shelf = shelf_of(settings)
    heads = [
        shelf.labels(name, version).head
        for name in shelf.names("label_sets")
        for version in shelf.versions("label_sets", name)
    ]
    work = {
        name: _work_value(work_of(settings, name))
        for name in work_names(open_storage(settings.evidence), settings.tenant)
    }
    value = {
        "tenant_id": settings.tenant,
        "items": [head.model_dump(mode="json", exclude={"complete"}) for head in heads],
        "work": work,
    }

    def show(console: Console) -> None:
        rows: list[list[object]] = [
            [h.name, h.label_version, utc(h.created_at), h.labels, _sources(h), h.query_set]
            for h in heads
        ]
        columns = ["set", "version", "made", "labels", "by source", "queries"]
        console.print(table_of(f"label sets of {settings.tenant}", columns, rows))
        for name, there in work.items():
            rows = [[*one.values()] for one in there["batches"]]
            title = f"work on {name}: {there['pools']} pools, {there['votes']} votes"
            columns = [word.replace("_", " ") for word in _BATCH]
            console.print(table_of(title, columns, rows))

    emit(value, as_json, show)


def labels_show(
    name: SetArgument,
    query: Annotated[
        str | None, typer.Option("--query", metavar="ID", help="The labels of one query.")
    ] = None,
    version: VersionOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the head of a label set; with --query the labels of one query."""
    settings = open_profile(profile, home, overrides, tenant)
    found = shelf_of(settings).labels(checked_name(name), version)
    of_query = [label for label in found.labels if label.query_id == query]
    if query is not None and not of_query and query not in found.head.complete:
        raise ConfigError(f"{name} has no label of query {query}", "labels.query")
    value = {
        "head": found.head.model_dump(mode="json"),
        "labels": [label.model_dump(mode="json") for label in of_query],
    }

    def show(console: Console) -> None:
        head = found.head
        console.print(f"{head.name}, version {head.label_version}, made {utc(head.created_at)}")
        console.print(f"  {head.labels} labels: {_sources(head)}")
        console.print(f"  {len(head.complete)} queries of which every asset is judged")
        console.print(f"  of query set {head.query_set} ({head.query_set_digest[:12]})")
        if head.made_from:
            said = ", ".join(f"{what} {of}" for what, of in head.made_from.items())
            console.print(printable(f"  made from {said}"), markup=False)
        for what, figure in head.agreement.items():
            console.print(f"  {what} {'undefined' if figure is None else f'{figure:.2f}'}")
        rows: list[list[object]] = [
            [o.asset_id, o.relevance, o.label_source.value, o.labeler or "-", f"{o.weight:.2f}"]
            for o in of_query
        ]
        columns = ["asset", "relevance", "source", "labeler", "weight"]
        if rows:
            console.print(table_of(f"labels of {query}", columns, rows))

    emit(value, as_json, show)


def labels_stats(
    name: SetArgument,
    version: VersionOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how well the queries of a label set are covered, by whom, and how agreement has gone."""
    from ecm.evaluation.labels.coverage import coverage
    from ecm.evaluation.labels.publishing import queries_by_digest

    settings = open_profile(profile, home, overrides, tenant)
    shelf, name = shelf_of(settings), checked_name(name)
    found = shelf.labels(name, version)
    head = found.head
    queries = queries_by_digest(shelf, head.query_set, head.query_set_digest)
    covered = coverage(queries.queries, found.labels, head.complete)
    history = [
        shelf.labels(name, number).head
        for number in shelf.versions("label_sets", name)
        if number <= head.label_version
    ]
    value = {
        "name": name,
        "label_version": head.label_version,
        "queries": covered.queries,
        "labelled": covered.labelled,
        "complete": covered.complete,
        "with_relevant": covered.with_relevant,
        "unlabelled": list(covered.unlabelled),
        "per_query_median": covered.per_query_median,
        "by_source": covered.by_source,
        "by_relevance": covered.by_relevance,
        "by_type": covered.by_type,
        "labelers": covered.labelers,
        "history": [
            {"label_version": one.label_version, "labels": one.labels, **one.agreement}
            for one in history
        ],
    }

    def show(console: Console) -> None:
        console.print(
            f"{name}, version {head.label_version}: {covered.labelled} of {covered.queries} "
            f"queries have labels, {covered.with_relevant} something relevant, "
            f"{covered.complete} are complete; {covered.per_query_median:g} labels a query (median)"
        )
        for title, counts in (("source", covered.by_source), ("relevance", covered.by_relevance)):
            rows: list[list[object]] = [[what, count] for what, count in counts.items()]
            console.print(table_of(f"by {title}", [title, "labels"], rows))
        types: list[list[object]] = [
            [kind, *counts.values()] for kind, counts in covered.by_type.items()
        ]
        columns = ["type", "queries", "labelled", "labels"]
        console.print(table_of("by query type", columns, types))
        past: list[list[object]] = [
            [one.label_version, utc(one.created_at), one.labels, *_agreement(one)]
            for one in history
        ]
        columns = ["version", "made", "labels", "kappa", "AC1", "PABAK"]
        console.print(table_of("agreement of those behind it", columns, past))

    emit(value, as_json, show)


def labels_export(
    name: SetArgument,
    votes: VotesOption = False,
    version: VersionOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout, as without.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
) -> None:
    """Write the labels of a set, or the votes behind them, as JSON lines to stdout."""
    settings = open_profile(profile, home, overrides, tenant)
    if votes:
        for vote in work_of(settings, name).votes():
            sys.stdout.write(vote.model_dump_json() + "\n")
        return
    for label in shelf_of(settings).labels(checked_name(name), version).labels:
        sys.stdout.write(label.model_dump_json() + "\n")


def labels_import(
    name: SetArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines; - reads stdin.")],
    votes: VotesOption = False,
    queries: QueriesOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take in labels or votes from JSON lines, all of them or none.

    Labels make a new version, in which each replaces what is not surer than it (weak, human,
    adjudicated). Votes, of the tenant where they name none, join those that are there; one that is
    there already counts once. Queries that the set does not have are refused.
    """
    from ecm.evaluation.labels.exchange import labels_of, votes_of
    from ecm.evaluation.labels.publishing import publish_told, queries_of

    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}", "labels.file") from error
    chosen = queries_of(shelf, work.name, queries)
    known = {query.query_id for query in chosen.queries}
    if votes:
        told = votes_of(data, str(file), settings.tenant, known)
        new = work.add_votes(told)
        value: dict[str, object] = {"name": work.name, "votes": len(told), "new": new}
        emit(value, as_json, lambda console: console.print(f"{new} of {len(told)} votes are new"))
        return
    made = publish_told(shelf, work.name, chosen, labels_of(data, str(file), known), time.time())
    emit(
        {"name": work.name, **published_value(made)},
        as_json,
        lambda console: show_published(console, work.name, made),
    )


def _work_value(work: LabelWork) -> dict[str, Any]:
    """What there is to judge for a label set, and how far each batch is."""
    from ecm.evaluation.labels.batches import states_of
    from ecm.evaluation.labels.standing import standings

    votes = work.votes()
    standing = standings(votes)
    batches = []
    for one in work.batches():
        head = one.head
        counts = {state.value: count for state, count in states_of(one, standing).items()}
        figures = (head.number, utc(head.created_at), head.pairs, head.overlap, *counts.values())
        batches.append(dict(zip(_BATCH, figures, strict=True)))
    return {"pools": len(work.pools()), "votes": len(votes), "batches": batches}


def _sources(head: LabelSet) -> str:
    return ", ".join(f"{n} {source.value}" for source, n in sorted(head.by_source.items())) or "-"


def _agreement(head: LabelSet) -> list[str]:
    figures = [head.agreement.get(name) for name in ("kappa", "ac1", "pabak")]
    return ["-" if figure is None else f"{figure:.2f}" for figure in figures]
