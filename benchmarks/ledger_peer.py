"""The ledger beside procrastinate, a task queue on PostgreSQL: tasks per second on one server.

    python -m benchmarks.ledger_peer [--tasks 8000] [--rounds 3]

Both have a synced server of our own, and do the same number of tasks by turns. Ours go in blocks as
a pipeline's do: listed by a thousand resources, claimed by 128, reported and persisted with their
fences, completed with their job. Theirs are deferred by a thousand in one call and fetched and
finished one by one, as its worker does, by several of them at once; it has no fences, no batches,
no books.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import time

from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Job, Status

from benchmarks.ledger import CHUNK, KINDS
from benchmarks.ledger_scale import listed, opened, worked
from tests.postgres_server import DATABASE, USER, PostgresServer

WORKERS = 8
"""Concurrent fetchers of the peer: more do not make it faster on two cores."""


async def peer(conninfo: str, tasks: int) -> tuple[float, float]:
    """Tasks a second of deferring, and of fetching and finishing."""
    connector = PsycopgConnector(conninfo=conninfo, min_size=1, max_size=WORKERS)
    async with App(connector=connector).open_async() as app:
        manager = app.job_manager
        started = time.perf_counter()
        for first in range(0, tasks, CHUNK):
            await manager.batch_defer_jobs_async(
                [
                    Job(
                        id=None,
                        queue="bench",
                        lock=None,
                        queueing_lock=None,
                        task_name="embed",
                        task_kwargs={"uri": f"file:///photos/IMG_{number:08d}.jpg"},
                    )
                    for number in range(first, min(tasks, first + CHUNK))
                ]
            )
        deferred = time.perf_counter()
        done = sum(await asyncio.gather(*(_work(app) for _ in range(WORKERS))))
        finished = time.perf_counter()
    assert done == tasks, f"{done} of {tasks}"
    return tasks / (deferred - started), tasks / (finished - deferred)


async def _work(app: App) -> int:
    manager = app.job_manager
    worker = await manager.register_worker()
    done = 0
    while job := await manager.fetch_job(["bench"], worker):
        await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
        done += 1
    return done


def ours(url: str, job_id: str, tasks: int) -> tuple[float, float]:
    """Tasks a second of listing, and of the loop from claim to done."""
    with opened(url) as ledger:
        started = time.perf_counter()
        listed(ledger, job_id, tasks // len(KINDS))
        seconds = time.perf_counter() - started
        return tasks / seconds, worked(ledger, job_id).rate


async def _make_schema(conninfo: str) -> None:
    async with App(connector=PsycopgConnector(conninfo=conninfo)).open_async() as app:
        await app.schema_manager.apply_schema_async()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=8_000, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    # It warns of an app in the main module, which worker processes cannot import. There are none.
    logging.getLogger("procrastinate").setLevel(logging.ERROR)
    mine: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    with PostgresServer(durable=True) as server:
        conninfo = f"host={server.folder} user={USER} dbname={DATABASE}"
        asyncio.run(_make_schema(conninfo))
        for number in range(chosen.rounds):
            mine.append(ours(server.url("ours"), f"round-{number}", chosen.tasks))
            theirs.append(asyncio.run(peer(conninfo, chosen.tasks)))
    for step, place in (("enqueue", 0), ("claim to done", 1)):
        own = statistics.median(rates[place] for rates in mine)
        peer_rate = statistics.median(rates[place] for rates in theirs)
        print(
            f"{step:14} ecm {own:10,.0f}/s   procrastinate {peer_rate:10,.0f}/s"
            f"   ratio {own / peer_rate:6.1f}"
        )
    print(f"medians of {chosen.rounds} rounds of {chosen.tasks:,} tasks, by turns, one server")


if __name__ == "__main__":
    main()
