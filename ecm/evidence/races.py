"""A trial of what commits rely on, on the installed Lance: who lost the right adds no row twice.

Races with a barrier between a committer that sleeps before its commit and the one that takes over
from it; without the barrier the dangerous order hardly ever comes up. Uses a store of its own and
knows no ledger: the right is played.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lance
import pyarrow as pa

from ecm.contracts.identity import digest
from ecm.errors import LeaseLost
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig, MaintenanceConfig
from ecm.evidence.maintenance import TableUpkeep
from ecm.evidence.schema import ASSET_VERSIONS, fixed_schema, key_column
from ecm.evidence.store import EvidenceStore

ROWS: Final = 4
PATIENCE: Final = 30.0
_AT_ONCE: Final = MaintenanceConfig(versions_seconds=0)


@dataclass(frozen=True)
class Trial:
    """What came of so many races. `refused` late commits, `left_out` takers that found the rows
    there; `doubled` rows and `passed` late deletions are what must not be.
    """

    rounds: int
    refused: int
    left_out: int
    doubled: int
    passed: int

    @property
    def holds(self) -> bool:
        return not self.doubled and not self.passed


def trial(folder: Path, rounds: int) -> Trial:
    """Race so often in a store made at `folder`: tens of milliseconds a round.

    Raises EcmError when the store cannot be made or written.
    """
    config = EvidenceConfig(
        uri=str(folder), maintenance=_AT_ONCE, commit_attempts=8, commit_backoff_seconds=0.001
    )
    store = EvidenceStore.create(config, 0.0)
    EvidenceCommitter(store).append_rows(ASSET_VERSIONS, _rows(-1), "first")
    refused = sum(_race(store, number) for number in range(rounds))
    table = store.dataset(ASSET_VERSIONS).to_table(columns=[key_column(ASSET_VERSIONS)])
    keys = table.column(0).to_pylist()
    return Trial(
        rounds=rounds,
        refused=refused,
        left_out=rounds - refused,
        doubled=len(keys) - len(set(keys)),
        passed=_late_deletion(store),
    )


def _race(store: EvidenceStore, number: int) -> bool:
    """One committer is about to commit when another takes over; whether the first was refused.

    Every third time the sleeper is let go first, every third time last, else both at once.
    """
    asleep, awake = threading.Barrier(2, timeout=PATIENCE), threading.Event()
    calls = iter([asleep.wait])

    def still_mine() -> None:
        wait = next(calls, None)
        if wait is None:
            raise LeaseLost("another has taken the right")
        wait()
        if number % 3 == 1:
            awake.wait(PATIENCE)

    def sleeper() -> bool:
        try:
            append(f"sleeper-{number}", still_mine)
        except LeaseLost:
            return True
        return False

    def append(batch_id: str, mine: Any) -> None:
        EvidenceCommitter(store).append_rows(ASSET_VERSIONS, _rows(number), batch_id, mine)

    with ThreadPoolExecutor(1) as pool:
        sleeping = pool.submit(sleeper)
        asleep.wait()
        if number % 3 == 2:
            sleeping.result(PATIENCE)
        EvidenceCommitter(store).fence()
        append(f"taker-{number}", unquestioned)
        awake.set()
        return sleeping.result(PATIENCE)


def _late_deletion(store: EvidenceStore) -> int:
    """Rows that go when somebody deletes on top of a version that has been cleaned away."""
    sleeper = store.dataset(ASSET_VERSIONS)
    rows = int(sleeper.count_rows())
    EvidenceCommitter(store).append_rows(ASSET_VERSIONS, _rows(-2), "last")
    TableUpkeep(store, ASSET_VERSIONS, unquestioned).clean()
    EvidenceCommitter(store).append_rows(ASSET_VERSIONS, _rows(-3), "after")
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # it is to be refused
        sleeper.delete("true", conflict_retries=0)
    return rows + 2 * ROWS - int(store.dataset(ASSET_VERSIONS).count_rows())


def _rows(number: int) -> pa.Table:
    """Rows with the same keys whoever makes them."""
    made = [
        {
            "version_id": digest([number, place]),
            "tenant_id": "trial",
            "asset_id": digest(number),
            "run_id": "trial",
            "transform": digest("trial"),
            "batch_id": "trial",
            "observed_at": 0.0,
            "uri": f"file:///trial/{number}/{place}",
            "size": 1,
            "mtime_ns": 1,
            "etag": None,
        }
        for place in range(ROWS)
    ]
    return pa.Table.from_pylist(made, schema=fixed_schema(ASSET_VERSIONS))


def installed() -> str:
    """The version of Lance that was tried."""
    return str(lance.__version__)
