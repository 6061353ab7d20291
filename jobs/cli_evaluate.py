"""`ecm evaluate`: queries, labels, runs, gates, reports. Puts the commands of the group together.

Knows which module has which commands, and nothing of what they do.
"""

from __future__ import annotations

import typer

from jobs import (
    cli_evaluate_engines,
    cli_evaluate_labels,
    cli_evaluate_learn,
    cli_evaluate_queries,
    cli_evaluate_report,
    cli_evaluate_run,
    cli_evaluate_runs,
    cli_evaluate_smoke,
)

evaluate = typer.Typer(
    no_args_is_help=True,
    help="Is the new one better, and may it ship? Queries, labels, runs, gates, reports.",
)
PARTS = (
    cli_evaluate_engines,
    cli_evaluate_labels,
    cli_evaluate_learn,
    cli_evaluate_queries,
    cli_evaluate_report,
    cli_evaluate_run,
    cli_evaluate_runs,
    cli_evaluate_smoke,
)
"""Each adds its commands by `register(group)`."""


def register(app: typer.Typer) -> None:
    """Add the group to the `ecm` command."""
    for part in PARTS:
        part.register(evaluate)
    app.add_typer(evaluate, name="evaluate")
