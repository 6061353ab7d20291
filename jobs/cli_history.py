"""`ecm history` and `ecm provenance`: the story of one asset, and the proof of what is shown of it.

Knows how an asset is named on a command line and how its story is drawn; what it is made of is
known to `ecm.evidence`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ecm.config import Profile
from ecm.errors import ConfigError, QueryError, TransientError
from jobs.cli_ledger import tenant_ledger
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
    printable,
    utc,
)

if TYPE_CHECKING:
    from ecm.evidence.store import EvidenceStore
    from ecm.evidence.story import AssetHistory, GivenUp

AssetArgument = Annotated[
    str,
    typer.Argument(
        metavar="PATH|URI|ASSET", help="A path, a file:// or s3:// URI, or (the start of) an id."
    ),
]
SHORT = 12


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(history)
    app.command()(provenance)


def history(
    asset: AssetArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The story of an image: where it lay, what runs said, what shows it.

    A path names the content that lies there, or lay there last; its file need
    not exist any more. Contents that lay at the same places before or after
    are part of the story.

    Try: ecm history photos/cat.jpg; ecm history 3fa94c01
    """
    from ecm.evidence.history import asset_history
    from ecm.evidence.store import EvidenceStore
    from ecm.opening import model_notes

    settings = open_profile(profile, home, overrides, tenant)
    store = EvidenceStore.open(settings.evidence)
    asset_id = _asset(store, settings.tenant, asset)
    names = {mark: str(note) for mark, note in model_notes(settings).items()}
    story = asset_history(store, settings.tenant, asset_id, names)
    story = story.model_copy(update={"dead_letters": _dead_letters(settings, story)})
    value = story.model_dump(mode="json")
    emit(value, as_json, lambda console: _show(value, console))


def provenance(
    asset: AssetArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove what the published snapshot shows of an image, word by word.

    For each statement: its row of evidence, the run, the transform, the model
    with its revision and the sha256 of its files, the settings, the code
    version, the batch, and the bytes it is about. Ids and checksums are
    verified meanwhile; the exit code is 1 when something does not agree.
    """
    from ecm.evidence.provenance import provenance as prove
    from ecm.evidence.store import EvidenceStore
    from ecm.opening import model_notes

    settings = open_profile(profile, home, overrides, tenant)
    store = EvidenceStore.open(settings.evidence)
    asset_id = _asset(store, settings.tenant, asset)
    with _unknown_ends_here():
        proof = prove(store, settings.tenant, asset_id, model_notes(settings))
    value = proof.model_dump(mode="json")
    emit(value, as_json, lambda console: _show_proof(value, console))
    for problem in proof.problems:
        note(problem)
    if not proof.verified:
        raise typer.Exit(FAILED)


@contextmanager
def _unknown_ends_here() -> Iterator[None]:
    """What is not there ends the command with one line and exit code 1: it was asked rightly."""
    try:
        yield
    except QueryError as error:
        note(f"{error} [{error.code}]")
        raise typer.Exit(FAILED) from None


def _asset(store: EvidenceStore, tenant: str, name: str) -> str:
    """The asset that a person means."""
    from ecm.evidence.history import MIN_PREFIX, asset_at, find_asset

    hexadecimal = not set(name.lower()) - set("0123456789abcdef")
    with _unknown_ends_here():
        if hexadecimal and len(name) >= MIN_PREFIX:
            return find_asset(store, tenant, name)
        return asset_at(store, tenant, _uri(name))


def _uri(name: str) -> str:
    """The URI under which a listing would have named it; the file may be gone."""
    from ecm.contracts.identity import path_uri, uri_path
    from ecm.images.objects import is_object_uri, root_uri

    if is_object_uri(name):
        return root_uri(name)
    path = uri_path(name) if name.startswith("file://") else name
    return path_uri(os.path.realpath(path))


def _dead_letters(settings: Profile, story: AssetHistory) -> tuple[GivenUp, ...] | None:
    """What was given up, or None where no ledger is at hand: the rest of a story needs none."""
    from ecm.delivery.letters import given_up

    uris = {event.uri for event in story.events}
    try:
        with tenant_ledger(settings) as ledger:
            return given_up(ledger, settings.tenant, story.asset_id, uris)
    except (ConfigError, TransientError) as error:
        note(f"without dead letters: {error}")
        return None


def _show(value: dict[str, Any], console: Console) -> None:
    facts = value["facts"]
    console.print(f"[bold]{value['asset_id']}[/bold]")
    if facts:
        console.print(
            f"  {facts['format']}, {facts['width']} x {facts['height']} pixels, "
            f"{facts['size']:,} bytes, first seen {utc(facts['observed_at'])}"
        )
    for said in value["written"]:
        console.print(f"  {said['kind']} in the file ({said['source']}): {_text(said['text'])}")
    console.print(f"  lies at {_list(value['lies_at']) or 'no known place'}")
    console.print("places")
    for event in value["events"]:
        console.print(f"  {utc(event['at'])}  {_event(event, value['asset_id'])}")
    console.print("runs")
    for analysis in value["analyses"]:
        _show_analysis(analysis, console)
    for letter in value["dead_letters"] or ():
        console.print(
            f"  {utc(letter['at'])}  gave up {letter['task_type']} at {_text(letter['uri'])}: "
            f"{_text(letter['message'])} ({letter['code']}, {letter['attempts']} attempts)"
        )
    console.print("snapshots")
    for shown in value["snapshots"]:
        mark = ", published" if shown["published"] else ""
        console.print(f"  {utc(shown['created_at'])}  {shown['snapshot_id']}{mark}")
    if value["truncated"]:
        console.print(f"there is more of: {', '.join(value['truncated'])}")


def _event(event: dict[str, Any], asset_id: str) -> str:
    other = "" if event["asset_id"] == asset_id else f" other content {event['asset_id'][:SHORT]}"
    line = f"{event['what']}{other} {_text(event['uri'])}"
    if event["moved_to"]:
        line += f" to {_text(event['moved_to'])}"
    if event["moved_from"]:
        line += f", moved from {_text(event['moved_from'])}"
    if event["before"]:
        line += f", in place of {event['before'][:SHORT]}"
    return f"{line} (run {event['run_id']})"


def _show_analysis(analysis: dict[str, Any], console: Console) -> None:
    model = _text(analysis["model"] or "an unknown model")
    code = f", ecm {analysis['code_version']}" if analysis["code_version"] else ""
    console.print(
        f"  {utc(analysis['at'])}  {analysis['task_type']} by {model}, transform "
        f"{analysis['transform'][:SHORT]}, run {analysis['run_id']}{code}"
    )
    for said in analysis["texts"]:
        sure = "" if said["confidence"] is None else f" ({said['confidence']:.2f})"
        console.print(f"      {said['kind']}: {_text(said['text'])}{sure}{_place(said['box'])}")
    for measure in analysis["measures"]:
        console.print(f"      {_text(measure['name'])} = {measure['value']:g}")
    for vector in analysis["vectors"]:
        console.print(
            f"      vector {vector['space']}: {vector['dim']} dimensions, norm "
            f"{vector['norm']:.4f}, sha256 {vector['checksum'][:SHORT]}"
        )


def _show_proof(value: dict[str, Any], console: Console) -> None:
    models = {each["transform"]: each["model"] for each in value["models"]}
    runs = {each["run_id"]: each for each in value["runs"]}
    console.print(f"[bold]{value['asset_id']}[/bold]  (sha256 of its bytes)")
    console.print(f"  lies at {_list(value['uris'])}")
    published = utc(value["published_at"])
    console.print(f"  shown by snapshot {value['snapshot_id']}, published {published}")
    for (run_id, transform, batch_id), group in groupby(value["statements"], _source):
        statements = list(group)
        committed = statements[0]["committed_at"]
        console.print(_run(runs[run_id]))
        console.print(f"  transform {transform[:SHORT]}: {_model(models[transform])}")
        console.print(
            f"  batch {batch_id}" + (f", committed {utc(committed)}" if committed else "")
        )
        for said in statements:
            console.print(f"    {_words(said)}")


def _words(said: dict[str, Any]) -> str:
    text = f" {_text(said['text'])}" if said["text"] else ""
    sure = "" if said["confidence"] is None else f" ({said['confidence']:.2f})"
    verdict = _text("; ".join(said["problems"])) or "verified"
    where = f"evidence {said['evidence_id']} in {said['table'] or 'no table'}"
    place = _place(said["box"])
    return f"{said['kind']}:{text}{sure}{place}  [bold]{verdict}[/bold], {where}"


def _place(box: dict[str, float] | None) -> str:
    """Where words stand in the picture, in percent of its width and height; empty if unknown."""
    if box is None:
        return ""
    left, top, right, bottom = (
        round(100 * box[side]) for side in ("left", "top", "right", "bottom")
    )
    return f" at {left}-{right} % across, {top}-{bottom} % down"


def _source(said: dict[str, Any]) -> tuple[str, str, str]:
    """What statements have in common that came from one batch of one model."""
    return said["run_id"], said["transform"], said["batch_id"] or "unknown"


def _run(run: dict[str, Any]) -> str:
    if run["code_version"] is None:
        return f"run {run['run_id']}, which left no row"
    settings = run["config_digest"][:SHORT]
    return f"run {run['run_id']}, ecm {run['code_version']}, settings {settings}"


def _model(note: dict[str, Any] | None) -> str:
    if note is None:
        return "no manifest of this profile makes it"
    spec = note["spec"]
    files = "".join(f", {_text(f['name'])} {f['sha256'][:SHORT]}" for f in note["files"])
    return f"{_text(note['name'])}, {_text(spec['model_id'])}@{_text(spec['revision'])}{files}"


def _list(uris: list[str]) -> str:
    return ", ".join(_text(uri) for uri in uris)


def _text(text: str) -> str:
    return escape(printable(text))
