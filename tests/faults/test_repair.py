"""SIGKILL while committed tasks are opened again, and while a store is repaired: it goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecm.crashpoints import VARIABLE
from ecm.ledger import LedgerConfig, open_ledger
from ecm.ledger.states import TaskState
from tests.ledger_tasks import START, TENANT, TTL, claim, commit, list_names, result

REPO = Path(__file__).resolve().parents[2]
REOPENER = """
import os, sys
from ecm.crashpoints import arm
from ecm.ledger import LedgerConfig, open_ledger
arm(os.environ)
with open_ledger(LedgerConfig(url=sys.argv[1], slice_tasks=2)) as ledger:
    ledger.reopen_evidence("studio", sys.argv[2:], "damaged", ledger.now())
"""


@pytest.mark.parametrize(
    ("kind", "point"),
    [("sqlite", "ledger.reopen.uncommitted"), ("sqlite", "ledger.reopen.committed")],
)
def test_a_reopening_killed_here_goes_on(kind: str, point: str, tmp_path: Path) -> None:
    url = f"{kind}://{tmp_path / 'ledger.db'}"
    with open_ledger(LedgerConfig(url=url)) as ledger:
        list_names(ledger, "job", ["a", "b", "c"])
        tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
        commit(ledger, "batch", tasks)
        keys = [result(task).evidence_key for task in tasks]
        killed = subprocess.run(
            [sys.executable, "-c", REOPENER, url, *keys],
            cwd=REPO,
            env={"PYTHONPATH": str(REPO), VARIABLE: f"{point}:2"},
        )
        assert killed.returncode == -signal.SIGKILL
        left = ledger.status(START).states[TaskState.PERSISTED]
        assert left == (4 if point.endswith("uncommitted") else 2)
        assert ledger.reopen_evidence(TENANT, keys, "damaged", START) == left
        assert ledger.status(START).states[TaskState.QUEUED] == len(tasks)
        assert not ledger.done_evidence(keys)
        assert ledger.job_counts("job").balanced
