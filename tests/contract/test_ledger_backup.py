"""Copies of ledgers that others are writing to: whole, verified, and fit to be put back."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from ecm.errors import BackendMissing, ConfigError, LedgerUnavailable, StoreCorrupt
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.backup import backup
from tests.ledger_tasks import START, TENANT, claim, commit, list_names
from tests.postgres_server import PostgresServer, binaries


def work(ledger: Ledger, number: int) -> None:
    """One job of ten images, listed, claimed and committed."""
    job = f"job-{number}"
    list_names(ledger, job, [f"{number}-{n}" for n in range(10)])
    lease = ledger.acquire_lease(f"worker-{number}", START, 60)
    commit(ledger, f"batch-{number}", claim(ledger, lease, job_id=job))
    ledger.release_lease(lease, START)


@contextmanager
def busy(config: LedgerConfig) -> Iterator[threading.Event]:
    """Another connection that writes without a break; the event is set once it is at work."""
    stop, begun = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        try:
            with open_ledger(config) as ledger:
                number = 0
                while not stop.is_set():
                    number += 1
                    work(ledger, number)
                    begun.set()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(30)
        yield begun
    finally:
        stop.set()
        writer.join()
    assert failures == []


def check(copy: LedgerConfig) -> int:
    """Every job of the copy but the last balances and is committed; how many there are."""
    with open_ledger(copy) as ledger:
        ledger.verify()
        jobs = ledger.jobs(1000, TENANT)
        for number, job in enumerate(jobs):
            books = ledger.job_counts(job.record.job_id)
            assert books.balanced
            assert books.listed_tasks == books.found_tasks
            assert number == 0 or books.committed == 10
        work(ledger, 10_000)  # it goes on
    return len(jobs)


@pytest.fixture
def config(quick_folder: Path) -> LedgerConfig:
    return LedgerConfig(url=f"sqlite://{quick_folder / 'ledger.db'}")


def test_a_copy_made_under_load_is_a_ledger_of_one_moment(
    config: LedgerConfig, quick_folder: Path
) -> None:
    with busy(config):
        copies = [backup(config, quick_folder / f"copy-{n}.db") for n in range(5)]
    sizes = [check(config.model_copy(update={"url": f"sqlite://{made.path}"})) for made in copies]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 1
    left = {file.name for file in quick_folder.iterdir() if "copy" in file.name}
    assert left == {f"copy-{n}.db" for n in range(5)}, "nothing but the copies lies there"


def test_a_copy_never_replaces_a_file_and_leaves_none_when_it_fails(
    config: LedgerConfig, quick_folder: Path
) -> None:
    with open_ledger(config) as ledger:
        work(ledger, 1)
    there = quick_folder / "there.db"
    there.write_text("precious")
    with pytest.raises(ConfigError, match="exists"):
        backup(config, there)
    assert there.read_text() == "precious"
    with pytest.raises(ConfigError, match="not a folder"):
        backup(config, quick_folder / "no" / "copy.db")
    with pytest.raises(ConfigError, match="behind a service"):
        backup(LedgerConfig(url="http://host:1"), quick_folder / "copy.db")
    with pytest.raises(LedgerUnavailable):
        backup(LedgerConfig(url=f"sqlite://{quick_folder / 'none.db'}"), quick_folder / "copy.db")
    with closing(sqlite3.connect(quick_folder / "foreign.db")) as foreign:
        foreign.execute("CREATE TABLE t (x)")
    with pytest.raises(StoreCorrupt, match="another program"):
        backup(
            LedgerConfig(url=f"sqlite://{quick_folder / 'foreign.db'}"), quick_folder / "copy.db"
        )
    assert not [file for file in quick_folder.iterdir() if "copy" in file.name]


def test_a_damaged_ledger_is_not_copied_as_if_it_were_whole(
    config: LedgerConfig, quick_folder: Path
) -> None:
    with open_ledger(config) as ledger:
        for number in range(40):
            work(ledger, number)
    path = quick_folder / "ledger.db"
    data = bytearray(path.read_bytes())
    data[8192:-4096:97] = b"\xa5" * len(data[8192:-4096:97])
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt):
        backup(config, quick_folder / "copy.db")
    assert not (quick_folder / "copy.db").exists()


@pytest.mark.needs("postgres")
def test_postgresql_is_dumped_under_load_and_restored(
    postgres_server: PostgresServer, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = binaries()
    assert folder is not None
    if not (folder / "pg_dump").exists():
        folder = Path(shutil.which("pg_dump") or "/usr/bin/pg_dump").parent
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    config = LedgerConfig(url=postgres_server.url("backed_up"))
    with busy(config):
        made = backup(config, quick_folder / "ledger.dump")
    with psycopg.connect(_plain(config.url), autocommit=True) as connection:
        connection.execute("DROP SCHEMA backed_up CASCADE")
    subprocess.run(
        [folder / "pg_restore", "--no-owner", "--dbname", _plain(config.url), made.path],
        check=True,
    )
    assert check(config) >= 1


@pytest.mark.needs("postgres")
def test_postgresql_without_pg_dump_says_what_to_install(
    postgres_server: PostgresServer, quick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(quick_folder))
    config = LedgerConfig(url=postgres_server.url("never_made"))
    with pytest.raises(BackendMissing, match="apt-get install postgresql-client"):
        backup(config, quick_folder / "ledger.dump")


def _plain(url: str) -> str:
    """The URL without the schema, which only the ledger knows."""
    return url.split("schema=")[0].rstrip("?&")


def test_whoever_puts_a_copy_back_is_told_to_delete_the_log_of_the_old_ledger(
    config: LedgerConfig, quick_folder: Path
) -> None:
    with open_ledger(config) as ledger:
        work(ledger, 1)
    made = backup(config, quick_folder / "copy.db")
    assert "-wal and -shm" in made.restore, "the log of a killed process would be played over it"
