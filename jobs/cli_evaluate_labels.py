"""`ecm evaluate labels`: pool, batch, serve, judge, agreement, publish, weak, list, show, stats,
export, import.

Knows how work is prepared and made into labels; looking at labels is `cli_evaluate_label_views`',
judging `cli_evaluate_judging`'s.
"""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console

from ecm.errors import ConfigError
from jobs import cli_evaluate_judging, cli_evaluate_label_views, cli_evaluate_weak
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
)
from jobs.label_options import NameArgument, QueriesOption, SetArgument, shelf_of, work_of
from jobs.label_views import published_value, show_published

labels = typer.Typer(
    no_args_is_help=True,
    help="What answers a query: judged by people, blind and twice, or told by clicks.",
)


def register(group: typer.Typer) -> None:
    """Add these commands to `ecm evaluate`."""
    labels.command("pool")(labels_pool)
    labels.command("batch")(labels_batch)
    cli_evaluate_judging.register(labels)
    labels.command("publish")(labels_publish)
    cli_evaluate_weak.register(labels)
    cli_evaluate_label_views.register(labels)
    group.add_typer(labels, name="labels")


def labels_pool(
    name: SetArgument,
    runs: Annotated[
        list[str] | None,
        typer.Option("--runs", metavar="RUN", help="A run; may be given several times."),
    ] = None,
    depth: Annotated[int, typer.Option(help="Results of each engine and query.", min=1)] = 10,
    queries: QueriesOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pool what the engines of stored runs have found, so that people may judge it.

    A pool is the union of the best --depth results of every engine for each query: what no engine
    finds is judged by nobody, and what one finds alone is judged as well. Who found what is kept
    for figures, and shown to nobody who judges.

    ecm evaluate labels pool gold --runs run-20261125T101500Z-3f9a --depth 10

    Then draw a batch: ecm evaluate labels batch gold
    """
    from ecm.evaluation.labels.pooling import found_alone
    from ecm.evaluation.labels.preparing import make_pool
    from ecm.evaluation.labels.publishing import newest, queries_by_digest, queries_of
    from ecm.evaluation.runs import Runs

    if not runs:
        raise ConfigError("no run is named", "labels.pool", "--runs RUN; see: ecm evaluate list")
    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    kept = Runs(shelf)
    plans = [kept.plan(run_id) for run_id in dict.fromkeys(runs)]
    if queries is None and newest(shelf, work.name) is None:
        asked = plans[0].query_set
        chosen = queries_by_digest(shelf, asked.name, asked.digest)
    else:
        chosen = queries_of(shelf, work.name, queries)
    answers = (one for plan in plans for one in kept.answers(plan.run_id))
    names = [plan.run_id for plan in plans]
    made = make_pool(shelf, work, chosen, answers, names, depth, time.time())
    value = {
        "tenant_id": settings.tenant,
        "name": work.name,
        "pool": made.head.number,
        "pairs": made.head.pairs,
        "queries": len({one.query_id for one in made.result.pairs}),
        "unjudged": made.unjudged,
        "found_alone": found_alone(made.result.pairs),
        "failed_answers": made.result.failed,
        "foreign_answers": made.result.foreign,
    }

    def show(console: Console) -> None:
        console.print(
            f"pool {made.head.number} of {work.name}: {made.head.pairs} pairs of "
            f"{value['queries']} queries, {made.unjudged} without a label"
        )
        for engine, count in found_alone(made.result.pairs).items():
            console.print(f"  {count} found by {engine} alone")
        if made.result.failed or made.result.foreign:
            console.print(
                f"  left out: {made.result.failed} answers that failed, "
                f"{made.result.foreign} to queries that {chosen.head.name} does not have"
            )
        console.print(f"next: ecm evaluate labels batch {work.name}")

    emit(value, as_json, show)


def labels_batch(
    name: NameArgument = None,
    pairs: Annotated[int, typer.Option(help="Pairs to judge.", min=1, max=10_000)] = 100,
    overlap: Annotated[int, typer.Option(help="Labelers for each pair.", min=1, max=9)] = 2,
    checks: Annotated[
        int,
        typer.Option(
            help="Settled pairs mixed in, good and bad, to watch how people judge.", min=0
        ),
    ] = 0,
    seed: Annotated[
        int | None,
        typer.Option(help="Of what is drawn; the number of the batch by default.", min=0),
    ] = None,
    queries: QueriesOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a batch of pairs from the pools, for people to judge: a hundred make a week's work.

    What has no label comes first, then what is labelled weakly. Query types get pairs in proportion
    to their queries, queries take turns, and what some engine ranks high comes first. Of one seed
    the same is drawn.
    """
    from ecm.evaluation.labels.batches import Draw
    from ecm.evaluation.labels.preparing import make_batch
    from ecm.evaluation.labels.publishing import newest, queries_by_digest, queries_of

    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    pools = work.pools()
    if queries is None and newest(shelf, work.name) is None and pools:
        head = pools[-1].head
        chosen = queries_by_digest(shelf, head.query_set, head.query_set_digest)
    else:
        chosen = queries_of(shelf, work.name, queries)
    size = Draw(pairs, checks, work.next_number("batches") if seed is None else seed)
    made = make_batch(shelf, work, chosen, size, overlap, time.time())
    types = {query.query_id: query.query_type.value for query in chosen.queries}
    by_type = {
        kind: sum(types[one.query_id] == kind for one in made.pairs)
        for kind in sorted({types[one.query_id] for one in made.pairs})
    }
    value = {
        "tenant_id": settings.tenant,
        "name": work.name,
        "batch": made.head.number,
        "pairs": made.head.pairs,
        "checks": sum(one.check is not None for one in made.pairs),
        "queries": len({one.query_id for one in made.pairs}),
        "by_type": by_type,
        "overlap": overlap,
        "seed": made.head.seed,
        "left": made.left,
    }

    def show(console: Console) -> None:
        console.print(
            f"batch {made.head.number} of {work.name}: {made.head.pairs} pairs of "
            f"{value['queries']} queries, each for {overlap} labelers; {made.left} pairs are left"
        )
        console.print("  " + ", ".join(f"{kind} {count}" for kind, count in by_type.items()))
        console.print(f"  {value['checks']} of them checks, {checks} asked for")
        console.print(f"next: ecm evaluate labels serve {work.name} --labeler NAME")

    emit(value, as_json, show)


def labels_publish(
    name: NameArgument = None,
    queries: QueriesOption = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new version of a label set with what people have said.

    What two or more labelers say alike, or a third has settled, is `adjudicated`; what one alone
    says is `human`; while they differ there is no label. People win over weak labels, those who
    agree over a single one; where nobody has judged, the earlier label stays. Nothing is made where
    nothing has changed.
    """
    from ecm.evaluation.labels.publishing import publish_votes, queries_by_digest

    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    if queries is None and not shelf.versions("label_sets", work.name):
        batches = work.batches()
        if batches:
            head = batches[-1].head
            of = queries_by_digest(shelf, head.query_set, head.query_set_digest)
            queries = f"{of.head.name}@{of.head.version}"
    made = publish_votes(shelf, work, queries, time.time())
    emit(
        {"tenant_id": settings.tenant, "name": work.name, **published_value(made)},
        as_json,
        lambda console: show_published(console, work.name, made),
    )
