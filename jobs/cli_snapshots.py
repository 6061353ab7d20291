"""`ecm snapshots`: list, show, diff, publish, rollback, gc.

Knows how they are asked for; what they do is in `ecm.evidence`, how they are shown in
`jobs.snapshot_views`.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecm.config import Profile
from ecm.errors import ConfigError, SnapshotNotFound
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

if TYPE_CHECKING:
    from rich.console import Console

    from ecm.evidence.refs import SnapshotRef
    from ecm.evidence.store import EvidenceStore

DAY = 86_400.0
DIFF_SECONDS = 3600.0
"""How long the pins of a comparison live if it dies."""
PUBLISHED = "published"

snapshots = typer.Typer(
    no_args_is_help=True,
    help="Published search snapshots: what is served, what could be, and the way back.",
)
SnapshotArgument = Annotated[
    str, typer.Argument(help="A snapshot id, or `published`; see: ecm snapshots list")
]
OnlyTenant = Annotated[
    str | None,
    typer.Option("--tenant", "-t", help="Count only this tenant's assets; all by default."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(snapshots, name="snapshots")


@snapshots.command("list")
def snapshots_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: OnlyTenant = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """All snapshots, newest first: which one is published, how old they are, who reads them.

    Snapshots are the store's, for all its tenants; --tenant counts one tenant's assets only.
    """
    from ecm.evidence.pins import all_pins
    from ecm.evidence.refs import read_published, refs_and_damage
    from jobs.snapshot_views import age, item_of

    store, now = _store(open_profile(profile, home, overrides, tenant)), time.time()
    published, pins = read_published(store), all_pins(store)
    refs, damaged = refs_and_damage(store)
    items = [item_of(ref, published, pins, tenant, now) for ref in refs]
    rows: list[list[object]] = [
        [
            "*" if item["published"] else "",
            item["snapshot_id"],
            age(item["age_seconds"]),
            item["assets"],
            item["pins"],
            "; ".join(short["measurement"] for short in item["measurements"]["shortfalls"]),
        ]
        for item in items
    ]
    for error in damaged.values():
        note(str(error))
    value = {
        "published": published.current.snapshot_id if published else None,
        "items": items,
        "damaged": {snapshot_id: error.message for snapshot_id, error in damaged.items()},
    }
    columns = ["", "snapshot", "age", "assets", "readers", "does not measure up"]
    emit(value, as_json, lambda console: console.print(table_of("snapshots", columns, rows)))
    if damaged:
        raise typer.Exit(FAILED)


@snapshots.command("show")
def snapshots_show(
    snapshot_id: SnapshotArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: OnlyTenant = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything on record about one snapshot.

    Policy, transforms and their fingerprints per axis, assets per tenant, measurements, what it was
    built from, when it was served, and who reads it.
    """
    from ecm.evidence.pins import pins_of
    from ecm.evidence.refs import read_published
    from ecm.opening import model_notes
    from jobs.snapshot_views import show_whole, whole_of

    settings = open_profile(profile, home, overrides, tenant)
    store = _store(settings)
    ref = _named(store, snapshot_id)
    pins = pins_of(store, ref.snapshot_id)
    value = whole_of(ref, read_published(store), pins, tenant, time.time())

    def show(console: Console) -> None:
        models = model_notes(settings)
        show_whole(console, value, {mark: note.name for mark, note in models.items()})

    emit(value, as_json, show)


@snapshots.command("diff")
def snapshots_diff(
    before: SnapshotArgument,
    after: SnapshotArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="Examples of each kind.", min=0, max=1000)] = 5,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="Compare all tenants, for the operator.")
    ] = False,
) -> None:
    """What snapshot AFTER shows that BEFORE does not: assets, texts, places, vectors.

    Compares the assets of one tenant. Try: ecm snapshots diff ID published
    """
    from ecm.evidence.difference import difference
    from jobs.snapshot_views import show_difference

    if tenant is not None and all_tenants:
        raise ConfigError("--tenant or --all-tenants, not both", "snapshots.which")
    settings = open_profile(profile, home, overrides, tenant)
    store = _store(settings)
    old, new = _named(store, before), _named(store, after)
    with ExitStack() as stack:
        for ref in (old, new):
            _pin(stack, store, ref)
        found = difference(store, old, new, None if all_tenants else settings.tenant, limit)
    emit(found.model_dump(mode="json"), as_json, lambda console: show_difference(console, found))


@snapshots.command("publish")
def snapshots_publish(
    snapshot_id: SnapshotArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    despite: Annotated[
        bool,
        typer.Option(
            "--despite-measurements", help="Even if it does not measure up; see: snapshots show ID"
        ),
    ] = False,
) -> None:
    """Serve this snapshot from now on; searchers switch within two seconds.

    Nothing is built and nothing stops: requests under way finish on the snapshot they began on.
    """
    from ecm.evidence.publication import publish, publish_despite_measurements

    store = _store(open_profile(profile, home, overrides))
    serve = publish_despite_measurements if despite else publish
    ref = serve(store, _named(store, snapshot_id).snapshot_id, time.time())
    _published(ref, as_json)


@snapshots.command("rollback")
def snapshots_rollback(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    to: Annotated[
        str | None, typer.Option(help="A snapshot published earlier; the one before by default.")
    ] = None,
) -> None:
    """Serve what was published before the present snapshot; again goes back further."""
    from ecm.evidence.publication import rollback

    store = _store(open_profile(profile, home, overrides))
    _published(rollback(store, time.time(), to), as_json)


@snapshots.command("gc")
def snapshots_gc(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    keep: Annotated[
        int, typer.Option(help="Newest snapshots kept, and steps of rollback.", min=1)
    ] = 3,
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", help="Keep what is younger than this, too.", min=0)
    ] = 0.0,
    grace: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Spare what changed or was served since.", min=0),
    ] = 3600.0,
    discard_one: Annotated[
        str | None,
        typer.Option(
            "--discard",
            metavar="ID",
            help="Remove this one first, though it is young or damaged; never one in use.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell, and remove nothing.")] = False,
) -> None:
    """Remove snapshots that nobody needs, and what killed builds have left.

    Kept are the published snapshot, those that rollback may need, the newest, all that a searcher
    reads, and everything within the grace period. Safe to kill, safe beside searchers and publish;
    waits for no one: it is refused while something is being committed.
    """
    from ecm.delivery.tenure import commit_tenure
    from ecm.evidence.collection import collect, discard
    from ecm.evidence.retention import Retention

    settings = open_profile(profile, home, overrides)
    store = _store(settings)
    rule = Retention(newest=keep, rollbacks=keep, younger_than=older_than * DAY, grace=grace)
    if dry_run and discard_one is not None:
        raise ConfigError("--dry-run or --discard, not both", "snapshots.which")
    if dry_run:
        _tell_survey(store, rule, as_json)
        return
    with commit_tenure(settings.ledger, store) as tenure:
        if discard_one is not None:
            discard(store, discard_one, rule, time.time(), tenure.confirm)
            note(f"removed snapshot {discard_one}")
        done = collect(store, rule, time.time(), tenure.confirm, note)
    value = {
        "discarded": discard_one,
        "snapshots": done.snapshots,
        "leftovers": done.leftovers,
        "versions": done.versions,
        "pins": done.pins,
        "bytes_freed": done.bytes_freed,
        "spared": done.spared,
        "left": done.left,
    }
    line = (
        f"removed {len(done.snapshots)} snapshots, {done.versions} old versions, "
        f"{len(done.leftovers)} folders, {done.pins} pins of dead readers: "
        f"{done.bytes_freed} bytes freed"
    )
    for table, why in done.left.items():
        note(f"{table} was left as it is: {why}")
    emit(value, as_json, lambda console: console.print(line))
    if done.left:
        raise typer.Exit(FAILED)


def _tell_survey(store: EvidenceStore, rule: Any, as_json: bool) -> None:
    from ecm.evidence.retention import survey

    found = survey(store, rule, time.time())
    rows: list[list[object]] = [["remove", ref.snapshot_id, ""] for ref in found.doomed]
    rows += [["remove", one.name, f"{one.size} bytes"] for one in found.leftovers]
    rows += [["keep", snapshot_id, why] for snapshot_id, why in found.needed.items()]
    value = {
        "dry_run": True,
        "snapshots": [ref.snapshot_id for ref in found.doomed],
        "leftovers": [one.name for one in found.leftovers],
        "kept": dict(found.needed),
    }
    emit(value, as_json, lambda console: console.print(table_of("", ["", "", ""], rows)))


def _store(settings: Profile) -> EvidenceStore:
    from ecm.evidence.store import EvidenceStore

    return EvidenceStore.open(settings.evidence)


def _named(store: EvidenceStore, snapshot_id: str) -> SnapshotRef:
    """The snapshot of an id or the one that is published. Raises SnapshotNotFound."""
    from ecm.evidence.refs import published_ref, read_ref

    if snapshot_id != PUBLISHED:
        return read_ref(store, snapshot_id)
    ref = published_ref(store)
    if ref is None:
        raise SnapshotNotFound("no snapshot is published yet", hint="`ecm materialize` makes one")
    return ref


def _pin(stack: ExitStack, store: EvidenceStore, ref: SnapshotRef) -> None:
    """A store that may only be read takes no pins; then the grace period has to do."""
    from ecm.evidence.pins import pinned

    try:
        stack.enter_context(pinned(store, ref.snapshot_id, "diff", time.time(), DIFF_SECONDS))
    except ConfigError as error:
        note(f"{ref.snapshot_id} is not pinned: {error}")


def _published(ref: SnapshotRef, as_json: bool) -> None:
    value = {"published": ref.snapshot_id}
    emit(value, as_json, lambda console: console.print(f"published {ref.snapshot_id}"))
