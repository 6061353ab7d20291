"""Keep the evidence tables in order: merge, index, clean up, sweep. Safe to repeat, safe to kill.

python -m jobs.maintain --profile conf/L1.yaml --every 3600
ray job submit --working-dir . -- python -m jobs.maintain --profile conf/C1.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ecm.config import Profile
from ecm.delivery.maintaining import (
    Maintained,
    check_resolved,
    maintain,
    plan_maintenance,
)
from ecm.delivery.maintaining import Progress as Reading
from ecm.delivery.tenure import commit_tenure
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import open_ledger


def run_maintenance(profile: Profile, console: Console, stopping: Callable[[], bool]) -> Maintained:
    """One maintenance under the right to commit.

    Raises LeaseLost (`committer.held`) while another commits to the store, TransientError
    (`maintain.unresolved`) while batches of an interrupted run are unresolved.
    """
    store = EvidenceStore.open(profile.evidence)
    with commit_tenure(profile.ledger, store) as tenure, open_ledger(profile.ledger) as ledger:
        check_resolved(ledger)
        with _shown(console) as report:
            return maintain(store, profile.spool, tenure.confirm, ledger.now(), report, stopping)


def plan(profile: Profile) -> Maintained:
    """What a maintenance would do now; takes no right."""
    store = EvidenceStore.open(profile.evidence)
    with open_ledger(profile.ledger) as ledger:
        return plan_maintenance(store, profile.spool, ledger.now())


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Reading], None]]:
    """A bar over the tables in a terminal, a line per table elsewhere."""
    if not console.is_terminal:
        yield lambda reading: _line(console, reading)
        return
    bar = Progress(
        TextColumn("[bold]maintaining"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        console=console,
    )
    task = bar.add_task("", total=None, detail="")
    with bar:
        yield lambda reading: bar.update(
            task,
            completed=reading.done,
            total=reading.of,
            detail=f"{reading.act} {reading.table or 'the rest'}",
        )


def _line(console: Console, reading: Reading) -> None:
    if reading.act == "indexing":
        console.print(f"table {reading.done + 1} of {reading.of}: {reading.table}", highlight=False)


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["maintain", *sys.argv[1:]]))
