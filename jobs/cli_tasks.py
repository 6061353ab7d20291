"""Commands about tasks: dead letters and single ones, all of the tenant of the invocation."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from ecm.config import Profile
from ecm.contracts.result import ErrorClass
from ecm.errors import ConfigError
from ecm.ledger.records import Redrive
from ecm.ledger.reports import DeadLetter, TaskHistory
from ecm.ledger.states import COMMITTED, TRANSIENT, TaskState
from jobs.cli_ledger import tenant_ledger
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

dead_letters = typer.Typer(no_args_is_help=True, help="Tasks given up: list them, try them again.")
tasks = typer.Typer(no_args_is_help=True, help="Single tasks.")

TaskArgument = Annotated[str, typer.Argument(help="A task id (64 hex characters).")]
JobOption = Annotated[
    str | None, typer.Option("--job", "--run", help="Of this job, or of the job of this run.")
]
ClassOption = Annotated[
    str | None,
    typer.Option("--class", help="Of this error class: " + ", ".join(ErrorClass) + "."),
]
CodeOption = Annotated[str | None, typer.Option(help="With this error code.")]
QueryOption = Annotated[
    str | None, typer.Option(help="Whose URI or message contains this, in any case.")
]
LimitOption = Annotated[int, typer.Option(min=1, help="At most this many.")]
_OPEN = [state for state in TaskState if state not in COMMITTED | TRANSIENT]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.add_typer(dead_letters, name="dead-letters")
    app.add_typer(tasks, name="tasks")


@dead_letters.command("list")
def dead_letters_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    job: JobOption = None,
    error_class: ClassOption = None,
    code: CodeOption = None,
    query: QueryOption = None,
    limit: LimitOption = 1000,
) -> None:
    """What was given up, newest first: where, why, and after how many attempts.

    Tasks blocked because a worker's model is not the declared one are no dead letters: see them
    with `ecm tasks list --state model_mismatch`, try them with `ecm dead-letters redrive
    --mismatch`.
    """
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        letters = ledger.dead_letters(
            limit,
            job_id=_job_of(settings, job),
            error_class=_class(error_class),
            code=code,
            text=query,
        )
        states = ledger.status(ledger.now()).states
    items = [_letter(letter) for letter in letters]
    value = {
        "items": items,
        "dead_letters": states[TaskState.DEAD_LETTER],
        "model_mismatch": states[TaskState.MODEL_MISMATCH],
    }

    def show(console: Console) -> None:
        columns = ["task_id", "resource", "task_type", "stage", "class", "code", "attempts"]
        rows: list[list[object]] = [[item[column] for column in columns] for item in items]
        console.print(table_of("dead", columns, rows))
        if value["model_mismatch"]:
            console.print(f"{value['model_mismatch']} more tasks are blocked: {_MISMATCH}")

    emit(value, as_json, show)


_MISMATCH = "no worker has the declared model (ecm tasks list --state model_mismatch)"


@dead_letters.command("show")
def dead_letters_show(
    task_id: TaskArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole story of one dead letter: every attempt, its worker and its error."""
    tasks_show(task_id, profile, home, tenant, overrides, as_json)


@dead_letters.command("redrive")
def dead_letters_redrive(
    task_ids: Annotated[list[str] | None, typer.Argument(help="Tasks; none: by options.")] = None,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    error_class: ClassOption = None,
    code: CodeOption = None,
    job: JobOption = None,
    query: QueryOption = None,
    mismatch: Annotated[
        bool, typer.Option("--mismatch", help="Tasks blocked by a model that was not the declared.")
    ] = False,
    transform: Annotated[str | None, typer.Option(help="Of this transform (fingerprint).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the tenant.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
) -> None:
    """Queue dead letters and blocked tasks again: those that match every option given.

    The next `ecm index` or worker tries them. An error of class `input` will come again unless the
    file was mended, which makes it another resource anyway.
    """
    settings = open_profile(profile, home, overrides, tenant)
    narrow = (task_ids, error_class, code, job, query, mismatch, transform)
    if not any(narrow) and not everything:
        raise ConfigError(
            "say which: task ids, --class, --code, --job, --query, --mismatch or --all",
            code="redrive.which",
        )
    which = Redrive(
        job_id=_job_of(settings, job),
        transform=transform,
        error_class=_class(error_class),
        code=code,
        task_ids=tuple(task_ids or ()),
        state=TaskState.MODEL_MISMATCH if mismatch else None,
        text=query,
    )
    with tenant_ledger(settings) as ledger:
        count = ledger.redrivable(which) if dry_run else ledger.redrive(which, ledger.now())
    said = f"{count} tasks would be queued again" if dry_run else f"{count} tasks queued again"
    value = {"redriven": 0 if dry_run else count, "matching": count, "dry_run": dry_run}
    emit(value, as_json, lambda console: console.print(said))


@tasks.command("show")
def tasks_show(
    task_id: TaskArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything the ledger remembers of one task."""
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        history: TaskHistory = ledger.task_history(task_id)
    value = {
        "task_id": history.task_id,
        "tenant": history.tenant_id,
        "job_id": history.job_id,
        "resource": history.uri,
        "task_type": history.task_type,
        "transform": history.transform,
        "model": history.model.model_dump(mode="json"),
        "state": history.state.value,
        "attempt": history.attempt,
        "asset_id": history.asset_id,
        "history": [_entry(entry) for entry in history.entries],
    }
    emit(value, as_json, lambda console: _show_history(value, console))


@tasks.command("list")
def tasks_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    state: Annotated[
        str | None,
        typer.Option(help="Only this state: " + ", ".join(_OPEN) + "."),
    ] = None,
    limit: LimitOption = 100,
) -> None:
    """Tasks that are not committed: waiting, held, reported or blocked."""
    if state is not None and state not in _OPEN:
        raise ConfigError(f"cannot list tasks {state}", hint="one of " + ", ".join(_OPEN))
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        found = ledger.open_tasks_in(limit, state=TaskState(state) if state else None)
    items: list[dict[str, Any]] = [
        {
            "task_id": task.task_id,
            "job_id": task.job_id,
            "resource": task.uri,
            "task_type": task.task_type,
            "transform": task.transform,
            "state": task.state.value,
            "attempt": task.attempt,
            "priority": task.priority,
            "run_after": task.run_after,
            "cause": task.cause,
        }
        for task in found
    ]
    columns = ["task_id", "resource", "task_type", "state", "attempt", "cause"]
    rows: list[list[object]] = [[item[column] for column in columns] for item in items]
    emit({"items": items}, as_json, lambda console: console.print(table_of("tasks", columns, rows)))


def _job_of(profile: Profile, name: str | None) -> str | None:
    """The job meant by its own id, or by that of a run of the tenant."""
    if name is None or not name.startswith("run-"):
        return name
    from ecm.evidence.runs import runs_of
    from ecm.evidence.store import EvidenceStore

    for run in runs_of(EvidenceStore.open(profile.evidence)):
        if run.run_id == name and run.tenant_id == profile.tenant:
            return run.job_id
    raise ConfigError(f"tenant {profile.tenant} has no run {name}", "run.unknown")


def _class(name: str | None) -> ErrorClass | None:
    if name is not None and name not in list(ErrorClass):
        raise ConfigError(f"no error class {name}", hint="one of " + ", ".join(ErrorClass))
    return ErrorClass(name) if name else None


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "task_id": letter.task_id,
        "job_id": letter.job_id,
        "resource": letter.uri,
        "task_type": letter.task_type,
        "transform": letter.transform,
        "stage": letter.error.stage,
        "class": letter.error.error_class.value,
        "code": letter.error.code,
        "message": letter.error.message,
        "attempts": letter.attempts,
        "at": letter.at,
    }


def _entry(entry: Any) -> dict[str, Any]:
    error = entry.error
    return {
        "at": entry.at,
        "state": entry.state.value,
        "attempt": entry.attempt,
        "cause": entry.cause,
        "worker": entry.worker,
        "error": error and {
            "class": error.error_class.value,
            "code": error.code,
            "stage": error.stage,
            "message": error.message,
        },
    }  # fmt: skip


def _show_history(value: dict[str, Any], console: Console) -> None:
    model = value["model"]
    for line in (
        f"task {value['task_id']}: {value['task_type']}, {value['state']}",
        f"resource {value['resource']}",
        f"asset {value['asset_id'] or 'not read yet'}",
        f"model {model['model_id']} {model['revision']} ({model['backend']}), "
        f"transform {value['transform'][:16]}",
        f"tenant {value['tenant']}, job {value['job_id']}",
    ):
        console.print(printable(line), markup=False)
    rows: list[list[object]] = []
    for entry in value["history"]:
        why = entry["error"]["message"] if entry["error"] else ""
        at = utc(entry["at"])
        rows.append([at, entry["state"], entry["attempt"], entry["cause"], why, entry["worker"]])
    columns = ["at (UTC)", "state", "attempt", "cause", "message", "worker"]
    console.print(table_of("history", columns, rows))
