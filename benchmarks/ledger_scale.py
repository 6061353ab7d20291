"""Does a ledger get slower the more is finished, and what does listing a million tasks take?

    python -m benchmarks.ledger_scale [--finished 10000000] [--enqueue 1000000] [--postgres]

The loop is that of a pipeline (claim, start, report, persist, complete; fences and syncs on) over
blocks of 128 resources with four tasks each. It runs by turns on an empty ledger and on one that
was filled with finished tasks by SQL; the ratio is between the medians of the rounds. Listing
streams its chunks; its peak memory is that of this process.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import sqlite3
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.ledger import BLOCK, KINDS, chunks, result
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import JobRecord

NO_LIMIT = 10**9
FIRST = 1_000_000_000_000
"""Ids of rows that were filled in lie above this, and above all ids of listed ones."""
BATCH = 800
TENANT = "bench"

Answer = TypeVar("Answer")


@dataclass
class Round:
    """Tasks a second of one run of the loop, and the seconds of each of its claims."""

    rate: float
    claims: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return sorted(self.claims)[int(len(self.claims) * 0.99)] * 1000


def opened(url: str) -> Ledger:
    return open_ledger(
        LedgerConfig(url=url, throttle_at=NO_LIMIT, refuse_at=NO_LIMIT, full_at=NO_LIMIT)
    )


def listed(ledger: Ledger, job_id: str, resources: int) -> None:
    """A job with four new tasks on each of so many resources; the listing streams."""
    now = ledger.now()
    ledger.open_job(
        JobRecord(
            job_id=job_id,
            tenant_id=TENANT,
            source=f"file:///{job_id}",
            transforms=tuple(KINDS),
            created_at=now,
        ),
        now,
    )
    for chunk in chunks(job_id, resources, job_id):
        ledger.record_listing(job_id, chunk, now)
    ledger.close_listing(job_id, now)


def worked(ledger: Ledger, job_id: str) -> Round:
    """The loop over everything that is queued, and the end of its job."""
    spent: dict[str, list[float]] = defaultdict(list)

    def timed(step: str, call: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        answer = call()
        spent[step].append(time.perf_counter() - started)
        return answer

    tasks = 0
    lease = timed("lease", lambda: ledger.acquire_lease("bench", ledger.now(), 1e6))
    while claimed := timed(
        "claim", lambda: ledger.claim(lease, tuple(KINDS), TENANT, None, BLOCK, ledger.now())
    ):
        batch = f"{job_id}-{len(spent['claim'])}"
        results = [result(task) for task in claimed]
        timed("start", lambda: ledger.start(lease, ledger.now()))
        timed("report", lambda b=batch, r=results: ledger.report(b, r, ledger.now()))
        timed("persist", lambda b=batch: ledger.persist(b, {"assets": 1}, ledger.now()))
        tasks += len(claimed)
    timed("complete", lambda: ledger.complete_job(job_id, ledger.now()))
    ledger.release_lease(lease, ledger.now())
    return Round(tasks / sum(map(sum, spent.values())), spent["claim"][:-1])


@dataclass(frozen=True)
class Dialect:
    """How a database counts up to {}, hashes {}, shortens the key {}, and takes ids as they are."""

    numbers: str
    sha: str
    prefix: str
    as_is: str = ""


SQLITE = Dialect(
    numbers="WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {} - 1)",
    sha="sha({})",
    prefix="substr({}, 1, 16)",
)
# What anybody gives a server of this size; the defaults are those of a small one.
MEMORY = {"shared_buffers": "2GB", "max_wal_size": "8GB"}
POSTGRES = Dialect(
    numbers="WITH n (i) AS (SELECT * FROM generate_series(0, {} - 1))",
    sha="encode(sha256(({})::bytea), 'hex')",
    prefix="('x' || substr({}, 1, 16))::bit(64)::bigint",
    as_is="OVERRIDING SYSTEM VALUE",
)


def filling(dialect: Dialect, streams: list[int], finished: int) -> Iterator[str]:
    """Statements that leave finished tasks, four a resource, as the loop would have left them."""
    said = {
        "first": FIRST,
        "batch": BATCH,
        "tenant": TENANT,
        "as_is": dialect.as_is,
        "resources": dialect.numbers.format(finished // 4),
        "batches": dialect.numbers.format(finished // BATCH + 1),
        "tasks": dialect.numbers.format(finished),
        "resource_key": dialect.sha.format("'r' || i"),
        "task_id": dialect.sha.format("'t' || i"),
        "asset": dialect.sha.format("'a' || (i / 4)"),
        "evidence": dialect.sha.format("'e' || i"),
        "prefix": dialect.prefix.format(dialect.sha.format("'e' || i")),
        "stream": " ".join(f"WHEN {number} THEN {seq}" for number, seq in enumerate(streams)),
        "finished": finished,
    }
    for text in (
        "INSERT INTO resources (resource_id, tenant_id, identity_key, uri, size, mtime_ns)"
        " {resources} SELECT {first} + i, '{tenant}', {resource_key}, 'file:///old/' || i, i, i"
        " FROM n",
        "INSERT INTO batches (batch_seq, batch_id, state, tasks, reported_at, persisted_at) {as_is}"
        " {batches} SELECT {first} + i, 'old-' || i, 'persisted', {batch}, 2.0, 3.0 FROM n",
        "INSERT INTO tasks (seq, task_id, resource_id, stream_id, priority, deadline_at, turn,"
        " state, attempt, fence, batch_seq, asset_id, evidence_key, created_at, leased_at,"
        " started_at, reported_at, persisted_at, done_at) {as_is}"
        " {tasks} SELECT {first} + i, {task_id},"
        " {first} + i / 4, CASE i % 4 {stream} END, 0, 1e308, 0, 'done', 1, 1,"
        " {first} + i / {batch}, {asset}, {evidence}, 1, 1, 1, 2, 3, 4 FROM n",
        "INSERT INTO evidence (prefix, seq) {tasks} SELECT {prefix}, {first} + i FROM n ORDER BY 1",
        "INSERT INTO tallies (tenant_id, what, tasks) VALUES ('{tenant}', 'persisted', {finished})"
        " ON CONFLICT (tenant_id, what) DO UPDATE SET tasks = tallies.tasks + excluded.tasks",
    ):
        yield text.format(**said)


def fill_sqlite(path: Path, finished: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.create_function(
            "sha", 1, lambda text: hashlib.sha256(text.encode()).hexdigest(), deterministic=True
        )
        for setting in ("synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
            database.execute(f"PRAGMA {setting}")
        streams = [row[0] for row in database.execute("SELECT stream_id FROM streams ORDER BY 1")]
        database.execute("BEGIN")
        for statement in filling(SQLITE, streams, finished):
            database.execute(statement)
        database.execute("COMMIT")
        database.execute("ANALYZE")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def fill_postgres(conninfo: str, schema: str, finished: int) -> None:
    import psycopg

    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(f'SET search_path TO "{schema}"')
        streams = [r[0] for r in connection.execute("SELECT stream_id FROM streams ORDER BY 1")]
        for statement in filling(POSTGRES, streams, finished):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO task_ids (task_id, seq) SELECT task_id, seq FROM tasks ORDER BY task_id"
            " ON CONFLICT DO NOTHING"
        )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


@contextmanager
def places(postgres: bool, finished: int) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """URLs of an empty ledger and of one to be filled, and what fills it."""
    with tempfile.TemporaryDirectory() as folder:
        if not postgres:
            full = Path(folder) / "full.db"
            empty = f"sqlite://{Path(folder) / 'empty.db'}"
            yield empty, f"sqlite://{full}", lambda: fill_sqlite(full, finished)
            return
        from tests.postgres_server import DATABASE, USER, PostgresServer

        with PostgresServer(durable=True, **MEMORY) as server:
            yield (
                server.url("empty"),
                server.url("filled"),
                lambda: fill_postgres(
                    f"host={server.folder} user={USER} dbname={DATABASE}", "filled", finished
                ),
            )


def scale(postgres: bool, finished: int, resources: int, rounds: int) -> None:
    with places(postgres, finished) as (empty_url, full_url, fill):
        with opened(full_url) as ledger:
            listed(ledger, "first", 10)
            worked(ledger, "first")
        started = time.perf_counter()
        fill()
        print(f"{finished:,} finished tasks filled in within {time.perf_counter() - started:.0f} s")
        seen: dict[str, list[Round]] = defaultdict(list)
        for number in range(rounds + 1):
            for name, url in (("empty", empty_url), ("full", full_url)):
                with opened(url) as ledger:
                    listed(ledger, f"round-{number}", resources)
                    outcome = worked(ledger, f"round-{number}")
                if number:  # the first round is warm-up
                    seen[name].append(outcome)
    rates = {name: statistics.median(r.rate for r in each) for name, each in seen.items()}
    for name, each in seen.items():
        p99 = statistics.median(r.p99_ms for r in each)
        print(f"{name:6} {rates[name]:10,.0f} tasks/s   p99 of a claim {p99:6.1f} ms")
    print(f"empty / full {rates['empty'] / rates['full']:.2f}   ({rounds} rounds by turns)")


def enqueue(postgres: bool, tasks: int) -> None:
    with places(postgres, 0) as (url, _, _), opened(url) as ledger:
        before = _peak_mib()
        started = time.perf_counter()
        listed(ledger, "million", tasks // len(KINDS))
        seconds = time.perf_counter() - started
    print(
        f"{tasks:,} tasks listed in {seconds:.0f} s ({tasks / seconds:,.0f} tasks/s), peak memory"
        f" {_peak_mib():.0f} MiB, of which {before:.0f} before the first"
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", action="store_true", help="a server of our own; else SQLite")
    parser.add_argument("--finished", type=int, default=10_000_000)
    parser.add_argument("--enqueue", type=int, default=1_000_000)
    parser.add_argument("--resources", type=int, default=8_000, help="of each round of the loop")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    print("PostgreSQL" if chosen.postgres else "SQLite")
    if chosen.enqueue:
        enqueue(chosen.postgres, chosen.enqueue)
    if chosen.finished:
        scale(chosen.postgres, chosen.finished, chosen.resources, chosen.rounds)


if __name__ == "__main__":
    main()
