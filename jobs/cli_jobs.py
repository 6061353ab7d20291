"""Commands about jobs: enqueue, list, show, cancel; all of the tenant of the invocation."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from ecm.config import Profile
from ecm.errors import ConfigError
from ecm.ledger.records import Job, JobCounts
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
    table_of,
    utc,
)

jobs = typer.Typer(no_args_is_help=True, help="Listings and what became of them.")

Sources = Annotated[list[str], typer.Argument(help="Folders, files, file:// or s3:// URIs.")]
POLL_SECONDS = 0.2
JobArgument = Annotated[str, typer.Argument(help="A job id; see: ecm jobs list")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `ecm` command."""
    app.command()(enqueue)
    app.add_typer(jobs, name="jobs")


def enqueue(
    sources: Sources,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    priority: Annotated[
        int, typer.Option(help="-100 to 100; higher goes first.", min=-100, max=100)
    ] = 0,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds from now after which nothing is tried again.", min=0),
    ] = None,
    accept_gone: Annotated[
        bool, typer.Option("--accept-gone", help="Mark as gone whatever of a source is missing.")
    ] = False,
) -> None:
    """List images and queue their tasks; any `ecm index` or worker of this tenant works them off.

    Earlier deadlines go first within a priority. A full queue makes the
    listing wait, and it says so on stderr. What was known below a source and
    is not there any more is marked as gone, when nobody else is committing to
    the store; a source that lost too much at once is named instead (see: ecm
    index --help), and the exit code is 1.
    """
    from ecm.delivery.rescan import Look, Rescanned
    from ecm.opening import plan_of
    from jobs.comparing import compare, kept_listing
    from jobs.enqueue import EnqueueRequest, Listing
    from jobs.progress import LiveListing, stderr_console
    from jobs.watching import Watch

    settings = open_profile(profile, home, overrides, tenant)
    request = EnqueueRequest(
        tenant_id=settings.tenant,
        sources=tuple(sources),
        plan=plan_of(settings),
        roots=settings.roots,
        priority=priority,
        deadline_at=None if deadline is None else _in_seconds(settings, deadline),
    )
    look = Look(settings.tenant, request.job_id, time.time())
    with kept_listing(request.sources) as listed:
        listing = Listing(settings.ledger, request, Watch(listed))
        listing.start()
        try:
            with LiveListing(stderr_console()) as live:
                while listing.is_alive():
                    seen = listing.progress
                    live.show_listing(seen.listed, seen.queued, seen.waiting)
                    listing.join(POLL_SECONDS)
        finally:
            listing.stop()
        listing.check()
        share = 1.0 if accept_gone else settings.pipeline.max_gone_share
        found = compare(settings, listed, look, share) or Rescanned()
    done = listing.progress
    counts: dict[str, Any] = {
        "job_id": request.job_id,
        "listed": done.listed,
        "queued": done.queued,
        "reused": done.reused,
        "filtered": done.filtered,
        "dead": done.dead,
        "throttled_seconds": round(done.throttled_seconds, 3),
        "gone": found.gone,
        "returned": found.returned,
    }
    line = ", ".join(f"{key} {value}" for key, value in counts.items())
    emit({**counts, "problems": list(found.problems)}, as_json, lambda c: c.print(line))
    for problem in found.problems:
        note(problem)
    if found.problems:
        raise typer.Exit(FAILED)


def _in_seconds(profile: Profile, seconds: float) -> float:
    """A moment by the ledger's clock."""
    from ecm.ledger.ledger import open_ledger

    with open_ledger(profile.ledger) as ledger:
        return ledger.now() + seconds


@jobs.command("list")
def jobs_list(
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
) -> None:
    """The tenant's jobs, newest first. Counts are images; see `show` for what became of them."""
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        items = [_job(job) for job in ledger.jobs(limit)]
    columns = ["job_id", "state", "listed", "reused", "filtered", "created", "source"]
    rows: list[list[object]] = [
        [*(item[column] for column in columns[:5]), utc(item["created_at"]), item["source"]]
        for item in items
    ]
    emit({"items": items}, as_json, lambda console: console.print(table_of("jobs", columns, rows)))


@jobs.command("show")
def jobs_show(
    job_id: JobArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """A job and its books: how many images were listed and what became of them."""
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        job, counts = ledger.job(job_id), ledger.job_counts(job_id)
    value = _job(job) | _books(counts)
    rows: list[list[object]] = [
        [key, utc(item) if key.endswith("_at") and item else item] for key, item in value.items()
    ]
    emit(value, as_json, lambda console: console.print(table_of("", ["", ""], rows)))


@jobs.command("cancel")
def jobs_cancel(
    job_id: JobArgument,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop a job: its waiting and running tasks are cancelled, unless another job wants them too.

    What is reported already is still committed. Safe to repeat.
    """
    settings = open_profile(profile, home, overrides, tenant)
    with tenant_ledger(settings) as ledger:
        cancelled = ledger.cancel_job(job_id, ledger.now())
        left = ledger.open_tasks(job_id)
    value = {"job_id": job_id, "cancelled": cancelled, "left": left}
    line = f"{cancelled} tasks cancelled"
    if left:
        line += f", {left} left: another job wants them, or they are about to be committed"
    emit(value, as_json, lambda console: console.print(line))


def _job(job: Job | None) -> dict[str, Any]:
    if job is None:
        raise ConfigError("no such job", "ledger.job_unknown")
    return {
        "job_id": job.record.job_id,
        "tenant": job.record.tenant_id,
        "state": job.state.value,
        "source": job.record.source,
        "transforms": list(job.record.transforms),
        "created_at": job.record.created_at,
        "listed_at": job.listed_at,
        "finished_at": job.finished_at,
        "listed": job.listed,
        "reused": job.reused,
        "filtered": job.filtered,
    }


def _books(counts: JobCounts) -> dict[str, Any]:
    numbers = ("committed", "filtered", "dead", "pending", "open_tasks")
    books = {name: getattr(counts, name) for name in numbers}
    return books | {"balanced": counts.balanced, "key_digest": str(counts.key_digest)}
