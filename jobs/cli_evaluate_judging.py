"""`ecm evaluate labels serve`, `judge` and `agreement`: people judge, and how far they agree.

Knows how it is asked for; the page and the terminal are `jobs.labelling`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ecm.errors import ConfigError
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    note,
    open_profile,
    table_of,
)
from jobs.label_options import (
    INCONCLUSIVE,
    LabelerOption,
    NameArgument,
    checked_labeler,
    shelf_of,
    work_of,
)
from jobs.label_views import consensus_value

if TYPE_CHECKING:
    from ecm.evaluation.labels.consensus import Consensus, OneLabeler
    from ecm.evaluation.labels.work import LabelWork
    from ecm.evaluation.shelf import Shelf

WORST = 10
"""Queries that are shown of those that labelers differ over."""


def register(labels: typer.Typer) -> None:
    """Add these commands to `ecm evaluate labels`."""
    labels.command("serve")(labels_serve)
    labels.command("judge")(labels_judge)
    labels.command("agreement")(labels_agreement)


def labels_serve(
    name: NameArgument = None,
    labeler: Annotated[
        list[str] | None,
        typer.Option(
            "--labeler", metavar="NAME", help="Who judges; several times for several people."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; only this machine reaches the default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.", min=0, max=65_535)] = 8765,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the labelling page until interrupted, and print an address for each labeler.

    One pair at a time: the query, the picture, and the keys 0 (no), 1 (in part), 2 (yes), s (cannot
    say), u (back). Votes are durable at once, and several may judge at the same time, from one
    server or several. Nobody sees who found a picture or what others say; on the tab Settle a third
    person ends what two differ over.

    Whoever has an address judges under its name: it is a secret, good until the server ends. To
    others than this machine (--host) it goes unencrypted: put a proxy with TLS in between.
    """
    from ecm.evaluation.labels.sitting import Sitting
    from jobs.labelling.pictures import Pictures
    from jobs.labelling.serving import Where, serve

    if not labeler:
        raise ConfigError("who judges?", "labels.labeler", "--labeler NAME")
    people = [checked_labeler(one) for one in dict.fromkeys(labeler)]
    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    if not work.batches():
        raise ConfigError(
            f"no batch of {work.name} waits", "labels.batch", "ecm evaluate labels batch NAME"
        )
    where = Where(host, port)
    if not where.is_loopback:
        note(f"listening at {host}: votes and pictures go over the network unencrypted")

    def told(addresses: Mapping[str, str]) -> None:
        def show(console: Console) -> None:
            for person, address in addresses.items():
                console.print(f"{person}: {address}", markup=False)
            console.print("stop with Ctrl-C")

        emit({"name": work.name, "addresses": dict(addresses)}, as_json, show)
        sys.stdout.flush()  # who reads the address from a pipe gets it now, not at the end

    serve([Sitting(shelf, work, one) for one in people], Pictures.open(settings), where, told)


def labels_judge(
    labeler: LabelerOption,
    name: NameArgument = None,
    settle: Annotated[
        bool, typer.Option("--settle", help="End what others differ over, as a third person.")
    ] = False,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge in the terminal: each pair in words, with the path of the picture, and one key for it.

    0 no, 1 in part, 2 yes, s cannot say, u back to the last one, x end. Keys may come from a pipe.
    """
    from ecm.contracts.labelling import Part
    from ecm.evaluation.labels.sitting import Sitting
    from jobs.labelling.pictures import Pictures
    from jobs.labelling.terminal import Terminal, keys

    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    sitting = Sitting(shelf, work, checked_labeler(labeler))
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    with keys() as key:
        terminal = Terminal(sitting, Pictures.open(settings), console, key)
        given = terminal.run(Part.SETTLE if settle else Part.JUDGE)
    left = sitting.look(Part.JUDGE, 0).progress
    value = {
        "name": work.name,
        "labeler": sitting.labeler,
        "votes": given,
        "to_judge": left.to_judge,
        "to_settle": left.to_settle,
    }
    emit(
        value,
        as_json,
        lambda console: console.print(
            f"{given} votes; {left.to_judge} pairs to judge, {left.to_settle} to settle"
        ),
    )


def labels_agreement(
    name: NameArgument = None,
    target: Annotated[
        float, typer.Option(help="The least kappa that is good enough.", min=-1, max=1)
    ] = 0.6,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far labelers agree beyond chance, and which of them and which queries do least.

    Cohen's kappa where the same two people judged every pair, else Fleiss'; AC1 and PABAK beside
    it, which do not fall where one relevance prevails. Of each labeler the last vote counts.

    The exit code is 0 when kappa reaches --target, 1 when it does not, and 3 when nobody can say:
    fewer than 30 pairs with two labelers, or all votes are the same relevance.
    """
    from ecm.evaluation.labels.batches import checks_of
    from ecm.evaluation.labels.consensus import Enough, consensus
    from ecm.evaluation.labels.standing import standings

    settings = open_profile(profile, home, overrides, tenant)
    shelf, work = shelf_of(settings), work_of(settings, name)
    found = consensus(standings(work.votes()), checks_of(work.batches()), target)
    emit(
        {"tenant_id": settings.tenant, "name": work.name, **consensus_value(found)},
        as_json,
        lambda console: _show_consensus(console, work.name, found, _texts(shelf, work)),
    )
    codes = {Enough.MISSED: FAILED, Enough.UNTOLD: INCONCLUSIVE}
    if found.enough in codes:
        raise typer.Exit(codes[found.enough])


def _texts(shelf: Shelf, work: LabelWork) -> dict[str, str]:
    """What the queries of the batches ask, by id."""
    from ecm.evaluation.labels.publishing import queries_by_digest

    sets = {(one.head.query_set, one.head.query_set_digest) for one in work.batches()}
    return {
        query.query_id: query.query_text or "a picture"
        for name, digest in sorted(sets)
        for query in queries_by_digest(shelf, name, digest).queries
    }


def _show_consensus(
    console: Console, name: str, found: Consensus, texts: Mapping[str, str]
) -> None:
    between = "" if found.lower is None else f" ({found.lower:.2f} to {found.upper:.2f})"
    whose = "Cohen's" if found.kind == "Cohen" else "Fleiss'"
    console.print(
        f"{name}: {whose} kappa {_said(found.kappa)}{between}, "
        f"target {found.target:.2f}: {found.enough.value}"
    )
    console.print(
        f"  AC1 {_said(found.of.ac1)}, PABAK {_said(found.of.pabak)}, alike {_share(found.of.raw)} "
        f"of {found.of.items} pairs; {found.far} judged 0 by one and 2 by another"
    )
    if found.reason:
        console.print(f"  {found.reason}")
    rows: list[list[object]] = [
        [o.labeler, o.judged, o.cannot_say, _share(o.raw), _said(o.distance), _checks(o), _time(o)]
        for o in found.labelers
    ]
    columns = ["labeler", "judged", "cannot say", "alike", "distance", "checks right", "seconds"]
    if rows:
        console.print(table_of("labelers, who is agreed with least first", columns, rows))
    two: list[list[object]] = [
        [one.one, one.other, one.pairs, _share(one.raw), _said(one.kappa)] for one in found.two
    ]
    if two:
        console.print(table_of("two by two", ["one", "other", "pairs", "alike", "kappa"], two))
    queries: list[list[object]] = [
        [
            one.query_id,
            one.pairs,
            one.differing,
            _said(one.distance),
            texts.get(one.query_id, "-"),
        ]
        for one in found.queries[:WORST]
    ]
    if queries:
        columns = ["query", "pairs", "differing", "distance", "asks"]
        console.print(table_of("queries that labelers differ over most", columns, queries))


def _checks(one: OneLabeler) -> str:
    return f"{one.right} of {one.checks}" if one.checks else "-"


def _time(one: OneLabeler) -> str:
    return "-" if one.seconds is None else f"{one.seconds:.1f}"


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
