"""The `ecm` command. Each command opens what it needs and nothing else.

Heavy libraries are imported inside the commands, so that `ecm --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import ecm
from jobs import (
    cli_admin_log,
    cli_audit,
    cli_bundle,
    cli_compare,
    cli_evaluate,
    cli_evidence,
    cli_experiment,
    cli_feedback,
    cli_history,
    cli_jobs,
    cli_keys,
    cli_ledger,
    cli_maintain,
    cli_models,
    cli_plan,
    cli_quarantine,
    cli_repair,
    cli_rollout,
    cli_search,
    cli_snapshots,
    cli_status,
    cli_tasks,
    cli_tiers,
    cli_worker,
)
from jobs.edge import (
    FAILED,
    HomeOption,
    JsonOption,
    ProfileOption,
    SetOption,
    TenantOption,
    flow_help,
    guarded,
    open_profile,
)

app = typer.Typer(
    name="ecm",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Index and search images with evidence. Start with: ecm index FOLDER; ecm search TEXT",
)
cli_status.register(app)
cli_jobs.register(app)
cli_plan.register(app)
cli_tasks.register(app)
cli_ledger.register(app)
cli_audit.register(app)
cli_evidence.register(app)
cli_compare.register(app)
cli_history.register(app)
cli_bundle.register(app)
cli_maintain.register(app)
cli_repair.register(app)
cli_quarantine.register(app)
cli_snapshots.register(app)
cli_rollout.register(app)
cli_models.register(app)
cli_tiers.register(app)
cli_search.register(app)
cli_worker.register(app)
cli_keys.register(app)
cli_admin_log.register(app)
cli_feedback.register(app)
cli_experiment.register(app)
cli_evaluate.register(app)

Sources = Annotated[
    list[str], typer.Argument(help="Folders, files, file:// or s3:// URIs.", show_default=False)
]


@app.command()
def index(
    sources: Sources,
    profile: ProfileOption = None,
    home: HomeOption = None,
    tenant: TenantOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    max_dead: Annotated[
        int | None, typer.Option(help="Dead letters tolerated before the exit code is 1.", min=0)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on listening for changes.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between listings with --follow.")] = 30.0,
    accept_gone: Annotated[
        bool,
        typer.Option(
            "--accept-gone", help="Mark as gone whatever is missing, even a whole source."
        ),
    ] = False,
    verify_content: Annotated[
        bool,
        typer.Option(
            "--verify-content", help="Read unchanged images, too, and compare their sha256."
        ),
    ] = False,
) -> None:
    """Enqueue, analyse, commit, audit and publish. Safe to repeat, safe to kill.

    Unchanged images are not read again; interrupted work goes on where it
    was. What was known below a source and is not there any more is marked as
    gone: it leaves the search, its evidence stays (see: ecm history).

    The exit code is 1 when more than --max-dead images are dead letters (see:
    ecm dead-letters list); when the audit does not balance; when
    --verify-content finds other bytes than are on record, or cannot read some;
    and when a source has lost so much at once (pipeline.max_gone_share) that
    nothing of it was marked as gone: is it mounted?
    """
    from jobs.index import Rereading
    from jobs.indexing import IndexOptions, index_command

    settings = open_profile(profile, home, overrides, tenant)
    limit = settings.pipeline.max_dead if max_dead is None else max_dead
    rereading = Rereading(accept_gone, verify_content)
    options = IndexOptions(limit, follow, every, rereading)
    good = index_command(settings, tuple(sources), options, as_json)
    if not good:
        raise typer.Exit(FAILED)


@app.command()
def version() -> None:
    """Print the version."""
    sys.stdout.write(f"{ecm.__version__}\n")


flow_help(app)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; the exit code. Typer reports wrong usage itself, with exit code 2."""
    code = 0

    def call() -> None:
        nonlocal code
        try:
            app(arguments)
        except SystemExit as leave:
            code = leave.code if isinstance(leave.code, int) else FAILED

    return guarded(call) or code


if __name__ == "__main__":
    main()
