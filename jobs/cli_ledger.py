"""Commands about tasks: enqueue, status, dead-letters, tasks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.errors import ConfigError
from jobs.edge import (
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    emit,
    open_profile,
    table_of,
)

Sources = Annotated[list[str], typer.Argument(help="Folders, files, file:// or s3:// URIs.")]
dead_letters = typer.Typer(no_args_is_help=True, help="Tasks given up: list them, try them again.")
tasks = typer.Typer(no_args_is_help=True, help="Single tasks.")


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(enqueue)
    app.command()(status)
    app.add_typer(dead_letters, name="dead-letters")
    app.add_typer(tasks, name="tasks")


@contextmanager
def existing_ledger(profile: Profile) -> Iterator[Any]:
    """The ledger of a home that has one; reading must not create an empty one."""
    from ecm.ledger.ledger import open_ledger

    path = profile.ledger.url.removeprefix("sqlite://")
    if profile.ledger.url.startswith("sqlite://") and not _is_file(path):
        raise ConfigError(f"no ledger at {path}", hint="index something first: ecm index FOLDER")
    with open_ledger(profile.ledger) as ledger:
        yield ledger


def _is_file(path: str) -> bool:
    from pathlib import Path

    return Path(path).is_file()


def enqueue(
    sources: Sources,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    priority: Annotated[int, typer.Option(help="-100 to 100; higher goes first.")] = 0,
) -> None:
    """List images and queue their tasks; any `ecm index` of this tenant works them off."""
    from ecm.ledger.ledger import open_ledger
    from ecm.opening import plan_of
    from jobs.enqueue import EnqueueRequest, ListingProgress
    from jobs.enqueue import enqueue as enqueue_all

    settings = open_profile(profile, home, overrides, tenant)
    request = EnqueueRequest(
        tenant_id=settings.tenant,
        sources=tuple(sources),
        plan=plan_of(settings),
        roots=settings.roots,
        priority=priority,
    )
    progress = ListingProgress()
    with open_ledger(settings.ledger) as ledger:
        enqueue_all(ledger, request, progress, threading.Event())
    counts = {
        "job_id": request.job_id,
        "listed": progress.listed,
        "queued": progress.queued,
        "reused": progress.reused,
        "filtered": progress.filtered,
        "dead": progress.dead,
    }
    line = ", ".join(f"{key} {value}" for key, value in counts.items())
    emit(counts, as_json, lambda console: console.print(line))


def status(
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Queue depth, oldest lease, latency, throughput, failures and dead letters."""
    settings = open_profile(profile, home, overrides)
    with existing_ledger(settings) as ledger:
        now = ledger.status(ledger.now())
    latency = now.latency_ms
    value = {
        "queue": {state.value: count for state, count in now.states.items()},
        "oldest_lease_seconds": now.oldest_lease_seconds,
        "latency_ms": {"p50": latency.p50, "p95": latency.p95, "p99": latency.p99},
        "throughput_per_s": now.throughput_per_s,
        "failure_rate": now.failure_rate,
        "dead_letters": {kind.value: count for kind, count in now.dead_letters.items()},
    }
    emit(value, as_json, lambda console: _show_status(value, console))


def _show_status(value: dict[str, Any], console: Console) -> None:
    rows: list[list[object]] = [[state, count] for state, count in value["queue"].items() if count]
    console.print(table_of("tasks", ["state", "count"], rows or [["none", 0]]))
    oldest = value["oldest_lease_seconds"]
    console.print(f"oldest lease: {'none' if oldest is None else f'{oldest:.0f} s'}")
    times = ", ".join(
        f"{name} {'-' if ms is None else f'{ms:.0f} ms'}"
        for name, ms in value["latency_ms"].items()
    )
    console.print(f"latency: {times}; {value['throughput_per_s']:.1f} tasks/s")
    dead = ", ".join(f"{kind} {n}" for kind, n in value["dead_letters"].items() if n)
    console.print(f"failure rate {value['failure_rate']:.1%}; dead letters: {dead or 'none'}")


@dead_letters.command("list")
def dead_letters_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 1000,
) -> None:
    """What was given up, where, why, and after how many attempts."""
    settings = open_profile(profile, home, overrides, tenant)
    with existing_ledger(settings) as ledger:
        letters = ledger.dead_letters(limit=limit, tenant_id=settings.tenant)
    items = [
        {
            "task_id": letter.task_id,
            "resource": letter.uri,
            "task_type": letter.task_type,
            "stage": letter.error.stage,
            "class": letter.error.error_class.value,
            "code": letter.error.code,
            "message": letter.error.message,
            "attempts": letter.attempts,
            "at": letter.at,
        }
        for letter in letters
    ]
    columns = ["resource", "task_type", "stage", "class", "code", "attempts"]
    rows: list[list[object]] = [[item[column] for column in columns] for item in items]
    emit({"items": items}, as_json, lambda console: console.print(table_of("dead", columns, rows)))


@dead_letters.command("redrive")
def dead_letters_redrive(
    task_ids: Annotated[list[str] | None, typer.Argument(help="Tasks; none: by options.")] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    error_class: Annotated[str | None, typer.Option("--class", help="Of this error class.")] = None,
    code: Annotated[str | None, typer.Option(help="With this error code.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the tenant.")] = False,
) -> None:
    """Queue dead letters again, by id, class, code, or all of the tenant."""
    from ecm.contracts.result import ErrorClass
    from ecm.ledger.records import Redrive

    settings = open_profile(profile, home, overrides, tenant)
    if not (task_ids or error_class or code or everything):
        raise ConfigError("say which: task ids, --class, --code or --all", code="redrive.which")
    if error_class is not None and error_class not in list(ErrorClass):
        raise ConfigError(f"no error class {error_class}", hint="one of " + ", ".join(ErrorClass))
    which = Redrive(
        tenant_id=settings.tenant,
        error_class=ErrorClass(error_class) if error_class else None,
        code=code,
        task_ids=tuple(task_ids or ()),
    )
    with existing_ledger(settings) as ledger:
        count = ledger.redrive(which, ledger.now())
    emit({"redriven": count}, as_json, lambda console: console.print(f"{count} tasks queued again"))


@tasks.command("show")
def tasks_show(
    task_id: Annotated[str, typer.Argument(help="A task id (64 hex characters).")],
    profile: ProfileOption = None,
    home: HomeOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything the ledger remembers of one task."""
    settings = open_profile(profile, home, overrides)
    with existing_ledger(settings) as ledger:
        history = ledger.task_history(task_id)
    if history is None:
        raise ConfigError(f"no task {task_id}", code="task.unknown")
    entries = [
        {"at": e.at, "state": e.state.value, "attempt": e.attempt, "cause": e.cause}
        for e in history.entries
    ]
    value = {"task_id": task_id, "state": history.state.value, "history": entries}
    rows: list[list[object]] = [[e["at"], e["state"], e["attempt"], e["cause"]] for e in entries]
    columns = ["at", "state", "attempt", "cause"]
    emit(value, as_json, lambda console: console.print(table_of(task_id, columns, rows)))
