"""What does the ledger cost beside bare SQLite? Tasks per second of every step, and the ratio.

    python benchmarks/ledger.py [RESOURCES] [FOLDER]

Four tasks a resource, listed in chunks of 1,000 resources, claimed and committed in batches of 128
resources. The baseline does the same four writes in the same turns of the same run: executemany on
one plain table with the task id as its key, same journal, same syncs, no leases, fences, books or
other indices. Also: a second listing in which everything is reused, and the books of the job.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecm.contracts.identity import ContentIdentity, digest, evidence_key
from ecm.contracts.task import ModelSpec, TaskSpec, TaskType
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import ClaimedTask, JobRecord, ListingChunk, Reported, ResourceTasks

KINDS = {
    digest(kind): kind
    for kind in (TaskType.VISION, TaskType.VV_EMBED, TaskType.X_EMBED, TaskType.MV_EMBED)
}
MODEL = ModelSpec(backend="fake", model_id="fake", revision="1")
CHUNK, BLOCK = 1000, 128


class Clock:
    """Seconds and tasks per step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.tasks: dict[str, int] = defaultdict(int)

    @contextmanager
    def measure(self, step: str, tasks: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - started
        self.tasks[step] += tasks

    def rate(self, step: str) -> float:
        return self.tasks[step] / self.seconds[step]


class Plain:
    """The baseline: one table, executemany, nothing else."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(
            "CREATE TABLE tasks (task_id TEXT PRIMARY KEY, uri TEXT, transform TEXT, state TEXT,"
            " evidence_key TEXT, at REAL)"
        )

    def write(self, statement: str, rows: list[tuple[str | float, ...]]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany(statement, rows)
        self.db.execute("COMMIT")

    def enqueue(self, chunk: ListingChunk) -> None:
        self.write(
            "INSERT INTO tasks (task_id, uri, transform, state, at) VALUES (?, ?, ?, 'queued', ?)",
            [
                (task.task_id, found.identity.uri, task.transform, 1.0)
                for found in chunk.found
                for task in found.tasks
            ],
        )

    def step(self, state: str, ids: list[str]) -> None:
        rows: list[tuple[str | float, ...]] = [(state, 2.0, task_id) for task_id in ids]
        self.write("UPDATE tasks SET state = ?, at = ? WHERE task_id = ?", rows)

    def report(self, results: list[Reported]) -> None:
        self.write(
            "UPDATE tasks SET state = 'reported', evidence_key = ? WHERE task_id = ?",
            [(result.evidence_key, result.task_id) for result in results],
        )


def chunks(job_id: str, resources: int, folder: str = "photos") -> Iterator[ListingChunk]:
    for first in range(0, resources, CHUNK):
        found = []
        for number in range(first, min(resources, first + CHUNK)):
            identity = ContentIdentity(
                uri=f"file:///{folder}/{number // 500:05d}/IMG_{number:08d}.jpg",
                size=number,
                mtime_ns=number,
            )
            tasks = tuple(
                TaskSpec.create(
                    tenant_id="bench",
                    job_id=job_id,
                    identity=identity,
                    task_type=kind,
                    model=MODEL,
                    transform=transform,
                )
                for transform, kind in KINDS.items()
            )
            found.append(ResourceTasks(identity, tasks))
        yield ListingChunk(tuple(found), (), f"{first:09d}")


def list_job(ledger: Ledger, clock: Clock, step: str, resources: int, plain: Plain | None) -> None:
    ledger.open_job(
        JobRecord(
            job_id=step,
            tenant_id="bench",
            source="file:///photos",
            transforms=tuple(KINDS),
            created_at=0.0,
        ),
        0.0,
    )
    for chunk in chunks(step, resources):
        tasks = len(chunk.found) * len(KINDS)
        with clock.measure(step, tasks):
            ledger.record_listing(step, chunk, 1.0)
        if plain:
            with clock.measure(f"plain {step}", tasks):
                plain.enqueue(chunk)
    ledger.close_listing(step, 1.0)


def work(ledger: Ledger, plain: Plain, clock: Clock) -> None:
    lease = ledger.acquire_lease("bench", 2.0, 1e6)
    number = 0
    while True:
        started = time.perf_counter()
        tasks = ledger.claim(lease, tuple(KINDS), "bench", "enqueue", BLOCK, 2.0)
        clock.seconds["claim"] += time.perf_counter() - started
        clock.tasks["claim"] += len(tasks)
        if not tasks:
            return
        results = [result(task) for task in tasks]
        batch_id, ids = f"batch-{number}", [task.task_id for task in tasks]
        with clock.measure("report", len(tasks)):
            ledger.report(batch_id, results, 3.0)
        with clock.measure("persist", len(tasks)):
            ledger.persist(batch_id, {"assets": number}, 4.0)
        with clock.measure("plain claim", len(tasks)):
            plain.step("leased", ids)
        with clock.measure("plain report", len(tasks)):
            plain.report(results)
        with clock.measure("plain persist", len(tasks)):
            plain.step("persisted", ids)
        number += 1


def result(task: ClaimedTask) -> Reported:
    key = evidence_key(task.tenant_id, task.resource_key, task.task_type, task.transform)
    return Reported(task.task_id, task.fence, task.resource_key, key)


def main(resources: int, folder: Path) -> None:
    clock, plain = Clock(), Plain(folder / "plain.db")
    with open_ledger(LedgerConfig(url=f"sqlite://{folder / 'ledger.db'}")) as ledger:
        list_job(ledger, clock, "enqueue", resources, plain)
        work(ledger, plain, clock)
        with clock.measure("books", resources * len(KINDS)):
            books = ledger.job_counts("enqueue")
        assert books.balanced
        assert books.committed == resources
        with clock.measure("complete", resources * len(KINDS)):
            ledger.complete_job("enqueue", 5.0)
        list_job(ledger, clock, "reuse", resources, None)
        with clock.measure("status", 1):
            ledger.status(6.0)
    plain.db.close()
    print(f"{resources} resources, {resources * len(KINDS)} tasks")
    print(f"{'step':10}{'tasks/s':>12}{'plain':>12}{'ratio':>8}")
    for step in ("enqueue", "claim", "report", "persist"):
        mine, base = clock.rate(step), clock.rate(f"plain {step}")
        print(f"{step:10}{mine:12,.0f}{base:12,.0f}{mine / base:8.2f}")
    for step in ("complete", "books", "reuse"):
        print(f"{step:10}{clock.rate(step):12,.0f}")
    steps = ("enqueue", "claim", "report", "persist")
    mine = sum(clock.seconds[step] for step in steps)
    base = sum(clock.seconds[f"plain {step}"] for step in steps)
    tasks = resources * len(KINDS)
    print(f"{'all four':10}{tasks / mine:12,.0f}{tasks / base:12,.0f}{base / mine:8.2f}")
    print(f"status {clock.seconds['status'] * 1000:.1f} ms")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as home:
        main(count, Path(home))
