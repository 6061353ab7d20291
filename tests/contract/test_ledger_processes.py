"""Several processes on one ledger, over every back end: claiming, opening, dying at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import pytest

from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import Lease
from ecm.ledger.states import TaskState
from tests.ledger_tasks import START, TTL, claim, commit, list_names

REPO = Path(__file__).resolve().parents[2]
Configure = Callable[..., LedgerConfig]

CLAIMANT = """
import sys
from ecm.ledger import LedgerConfig, open_ledger
from tests.ledger_tasks import START, TTL, claim
with open_ledger(LedgerConfig.model_validate_json(sys.argv[1])) as ledger:
    lease = ledger.acquire_lease(sys.argv[2], START, TTL)
    print("ready", flush=True)
    sys.stdin.readline()
    tasks = claim(ledger, lease, 3)
    print("begun", flush=True)
    sys.stdin.readline()
    while tasks:
        for task in tasks:
            print(task.task_id, task.fence, flush=True)
        tasks = claim(ledger, lease, 3)
"""

COMMITTER = """
import sys
from ecm.ledger import LedgerConfig, open_ledger
from tests.ledger_tasks import START, TTL, claim, report
ledger = open_ledger(LedgerConfig.model_validate_json(sys.argv[1]))
lease = ledger.acquire_lease(sys.argv[2], START, TTL)
number = 0
while tasks := claim(ledger, lease, 1):
    ledger.start(lease, START)
    ledger.heartbeat(lease, START, TTL, number)
    batch_id = f"{sys.argv[2]}-{number}"
    report(ledger, batch_id, tasks)
    ledger.persist(batch_id, {"assets": number}, START)
    print(batch_id, flush=True)
    number += 1
"""

LISTER = """
import sys
from ecm.ledger import LedgerConfig, open_ledger
from tests.ledger_tasks import list_names
sys.stdin.readline()
with open_ledger(LedgerConfig.model_validate_json(sys.argv[1])) as ledger:
    print(list_names(ledger, sys.argv[2], [f"r{n}" for n in range(20)]).queued, flush=True)
"""


def _spawn(program: str, config: LedgerConfig, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, config.model_dump_json(), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def test_two_claimants_at_once_never_get_the_same_task(ledger_config: Configure) -> None:
    config = ledger_config()
    with open_ledger(config) as ledger:
        list_names(ledger, "job", [f"r{n}" for n in range(120)])
        workers = [_spawn(CLAIMANT, config, name) for name in ("one", "two")]
        # Both have their first claim before either goes on: neither can take everything alone.
        for word in ("ready\n", "begun\n"):
            for worker in workers:
                assert _pipe(worker.stdout).readline() == word
            for worker in workers:
                _pipe(worker.stdin).write("go\n")
                _pipe(worker.stdin).flush()
        told = [worker.communicate(timeout=60)[0].split() for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0]
        claimed = [set(words[::2]) for words in told]
        fences = [set(words[1::2]) for words in told]
        assert len(claimed[0]) + len(claimed[1]) == len(claimed[0] | claimed[1]) == 240
        assert not fences[0] & fences[1]
        assert all(claimed)


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    list_names(ledger, "job", [f"r{n}" for n in range(60)])
    leases = [ledger.acquire_lease(f"thread {n}", START, TTL) for n in range(4)]

    def work(lease: Lease) -> list[str]:
        done = []
        while tasks := claim(ledger, lease, 2):
            assert commit(ledger, tasks[0].task_id, tasks) == len(tasks)
            assert ledger.job_counts("job").balanced
            done.extend(task.task_id for task in tasks)
        return done

    with ThreadPoolExecutor(len(leases)) as threads:
        done = [task_id for ids in threads.map(work, leases) for task_id in ids]
    assert len(done) == len(set(done)) == 120
    assert ledger.job_counts("job").committed == 60


def test_processes_that_open_a_new_ledger_at_once_all_succeed(ledger_config: Configure) -> None:
    config = ledger_config()
    listers = [_spawn(LISTER, config, f"job {n}") for n in range(3)]
    for lister in listers:
        _pipe(lister.stdin).write("go\n")
        _pipe(lister.stdin).flush()
    told = [lister.communicate(timeout=60)[0].strip() for lister in listers]
    assert told == ["20", "20", "20"]
    with open_ledger(config) as ledger:
        assert sum(ledger.status(START).states.values()) == 40  # the later jobs joined the first
        assert all(ledger.job_counts(f"job {n}").balanced for n in range(3))


@pytest.mark.parametrize("acknowledged", [1, 4, 11])
def test_a_process_killed_between_any_two_steps_loses_nothing_it_was_promised(
    ledger_config: Configure, acknowledged: int
) -> None:
    config = ledger_config()
    with open_ledger(config) as ledger:
        list_names(ledger, "job", [f"r{n}" for n in range(40)])
        promised: set[str] = set()
        for name in ("first", "second"):
            worker = _spawn(COMMITTER, config, name)
            heard = [_pipe(worker.stdout).readline() for _ in range(acknowledged)]
            worker.send_signal(signal.SIGKILL)
            rest = worker.communicate(timeout=60)[0]
            promised.update("".join([*heard, rest]).split())
            _recover(ledger, name, len(promised))
        lease = ledger.acquire_lease("last", START, TTL)
        while tasks := claim(ledger, lease, 10):
            commit(ledger, f"last-{tasks[0].task_id}", tasks)
        ledger.verify()
        books = ledger.job_counts("job")
        assert (books.committed, books.open_tasks, books.balanced) == (40, 0, True)
        assert books.key_digest.count == len(set(ledger.evidence_keys("job"))) == 80
        assert len(promised) >= 2 * acknowledged


def _recover(ledger: Ledger, holder: str, promised: int) -> None:
    """What a driver does at its start: resolve what was reported, free what the dead one held."""
    before = ledger.job_counts("job")
    assert before.committed >= promised
    unresolved = ledger.unresolved_batches()
    assert len(unresolved) <= 1
    for batch in unresolved:
        assert ledger.requeue_batch(batch.batch_id, START) == len(batch.task_ids) == 2
    ledger.expire_holder(holder, START)
    after = ledger.job_counts("job")
    assert (after.committed, after.balanced) == (before.committed, True)
    states = ledger.status(START).states
    assert states[TaskState.LEASED] == states[TaskState.RUNNING] == states[TaskState.REPORTED] == 0
