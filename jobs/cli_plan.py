"""`ecm plan`: what a run would compute, reuse, take and cost, before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

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
    printable,
    table_of,
)

if TYPE_CHECKING:
    from ecm.delivery.planning import PlannedTask
    from jobs.planning import Forecast

PROGRESS_EVERY = 100_000
UNKNOWN = "unknown"


def register(app: typer.Typer) -> None:
    """Add this command to the `ecm` command."""
    app.command()(plan)


def plan(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Folders, files, file:// or s3:// URIs; all that is known by default."),
    ] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    transform: Annotated[
        list[str] | None,
        typer.Option(
            "--transform", metavar="NEW", help="A manifest for every role it can take over."
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="ROLE=NEW", help="A manifest for one role: vision=NEW."),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate", metavar="ROLE=N", help="Images per second, where none was measured: vision=12"
        ),
    ] = None,
    gpu_price: Annotated[
        float | None,
        typer.Option(help="Of one GPU-hour; pipeline.gpu_hour_price by default.", min=0),
    ] = None,
    list_file: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE.jsonl", help="Write every task and its course."),
    ] = None,
) -> None:
    """What a run would compute and reuse, how long it takes, and what it costs. Writes nothing.

    Without sources it plans for every image that is known to lie somewhere
    now; sources are listed as ecm index does, and no image is read. What is
    new or changed there is counted at most: copies of known images are linked
    when they are read.

    A task is one image and one task type. compute: its image is known, its
    evidence is not there. read: its content is not known yet. reuse: nothing
    to do. fail: tried, though it could not be decoded before. dead and
    blocked: left alone (see: ecm dead-letters list).

    Time comes from the last runs of the same models (median), as measured;
    where there are none it is unknown, until --rate says it. Room is measured
    on the tables of the store, without snapshots.

    Try: ecm plan; ecm plan --transform my-captioner --gpu-price 2.5; ecm plan
    photos --role vision=my-captioner --list tasks.jsonl
    """
    from jobs.planning import PlanRequest, Pricing, forecast

    settings = open_profile(profile, home, overrides, tenant)
    request = PlanRequest(tuple(sources or ()), tuple(transform or ()), tuple(role or ()))
    pricing = Pricing(tuple(rate or ()), gpu_price)
    with _listed(list_file) as each:
        told = forecast(settings, request, pricing, each)
    value = told.to_json()
    emit(value, as_json, lambda console: _show(console, told, value))


@contextmanager
def _listed(file: Path | None) -> Iterator[Callable[[PlannedTask], None]]:
    """Writes tasks into a file, if there is one, and says now and then how many were compared."""
    seen = 0

    def tell() -> None:
        nonlocal seen
        seen += 1
        if seen % PROGRESS_EVERY == 0:
            note(f"{seen:,} tasks compared")

    if file is None:
        yield lambda _: tell()
        return
    try:
        stream = file.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}", code="plan.list") from error
    with stream:

        def write(task: PlannedTask) -> None:
            stream.write(json.dumps(_line(task), ensure_ascii=False) + "\n")
            tell()

        yield write


def _line(task: PlannedTask) -> dict[str, Any]:
    return {
        "course": task.course.value,
        "task_type": task.task_type.value,
        "transform": task.transform,
        "asset_id": task.asset_id,
        "uri": task.uri,
    }


def _show(console: Console, told: Forecast, value: dict[str, Any]) -> None:
    for each in value["replaced"]:
        before = each["from"] or "no model"
        console.print(f"{each['role']}: {escape(each['to'])} instead of {escape(before)}")
    places = ", ".join(f"{count:,} {name}" for name, count in value["places"].items() if count)
    console.print(f"images: {places or 'none'}" + _skipped(value["skipped"]))
    columns = ["task", "model", *value["courses"], "images/s", "hours", "storage"]
    rows: list[list[object]] = [
        [
            each["task_type"],
            each["model"],
            *(f"{each[course]:,}" for course in value["courses"]),
            _number(each["images_per_second"]),
            _number(each["hours"]),
            _bytes(each["storage_bytes"]),
        ]
        for each in value["transforms"]
    ]
    console.print(table_of("tasks", columns, rows))
    console.print(f"reading and decoding: {_number(value['reading_images_per_second'])} images/s")
    console.print(f"time: {_hours(value['hours'])}")
    console.print(f"GPUs: {value['gpus']:g}, GPU-hours {_number(value['gpu_hours'])}")
    if value["gpu_hour_price"] is not None:
        console.print(f"cost: {_number(value['cost'])} at {value['gpu_hour_price']:g} a GPU-hour")
    console.print(f"storage: {_bytes(value['storage_bytes'])} more, without snapshots")
    for line in told.notes:
        console.print(printable(line), markup=False)


def _skipped(count: int) -> str:
    return f"; {count:,} files are no images" if count else ""


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _hours(value: float | None) -> str:
    if value is None:
        return f"{UNKNOWN}: no run has measured a model (--rate ROLE=IMAGES_PER_SECOND says it)"
    return f"{value * 60:.1f} minutes" if value < 1 else f"{value:,.1f} hours"


def _bytes(value: int | None) -> str:
    if value is None:
        return UNKNOWN
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"
