"""The PostgreSQL connector: what it must refuse, what it survives, what its statements cost."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.errors import (
    BackendMissing,
    ConfigError,
    ContractError,
    EcmError,
    LedgerUnavailable,
    StoreCorrupt,
)
from ecm.ledger import Ledger, LedgerConfig, open_ledger, postgres
from ecm.ledger.connector import load_statements
from ecm.ledger.postgres import PostgresConnector
from ecm.ledger.records import Failure
from tests.ledger_tasks import (
    START,
    TTL,
    VISION,
    chunk,
    claim,
    commit,
    ids,
    list_names,
    open_job,
    resource,
)
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.needs("postgres")

STATEMENTS = load_statements("postgres")
CHECKS = load_statements("postgres/checks")

# Tables of which a ledger has a handful of rows, or whose rows are all wanted.
SMALL = re.compile(r"Seq Scan on (attempts|counters|leases|tallies)\b")


@pytest.fixture
def url(postgres_server: PostgresServer, request: pytest.FixtureRequest) -> str:
    return postgres_server.url(postgres_server.schema_of(request.node.nodeid))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with open_ledger(LedgerConfig(url=url)) as opened:
        yield opened


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server to stop and to kill, which keeps what it has promised."""
    with PostgresServer(durable=True) as server:
        yield server


def _connect(url: str) -> psycopg.Connection:
    """A session of somebody else, who sees the ledger's schema."""
    server, _, schema = url.partition("&schema=")
    return psycopg.connect(server, options=f"-c search_path={schema}", autocommit=True)


def _refused(url: str, **settings: float) -> EcmError:
    with pytest.raises(EcmError) as refused:
        open_ledger(LedgerConfig.model_validate({"url": url, **settings}))
    assert "\n" not in str(refused.value)
    return refused.value


def test_a_schema_of_another_program_is_refused_and_left_alone(url: str) -> None:
    schema = url.rpartition("=")[2]
    with closing(_connect(url)) as other:
        other.execute(f"CREATE SCHEMA {schema}")
        other.execute("CREATE TABLE jobs (name TEXT)")
        error = _refused(url)
        assert (type(error), error.code) == (StoreCorrupt, "ledger.foreign")
        assert schema in error.message
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = %s"
        assert other.execute(tables, [schema]).fetchone() == (1,)


def test_a_ledger_of_a_newer_version_is_refused(url: str) -> None:
    open_ledger(LedgerConfig(url=url)).close()
    with closing(_connect(url)) as newer:
        newer.execute("UPDATE ecm_ledger SET version = 999")
    error = _refused(url)
    assert (type(error), error.code) == (StoreCorrupt, "ledger.version")
    assert "999" in error.message


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OLDEST_SERVER", 99)
    error = _refused(url)
    assert isinstance(error, ConfigError)
    assert "too old" in error.message


def test_without_the_driver_it_is_said_what_to_install(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ecm.ledger.postgres")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = _refused(url)
    assert isinstance(error, BackendMissing)
    assert "ecm[cloud]" in error.hint


def test_a_damaged_ledger_is_named_as_such(url: str) -> None:
    with open_ledger(LedgerConfig(url=url)) as ledger, closing(_connect(url)) as vandal:
        list_names(ledger, "job", ["a", "b"])
        ledger.verify()
        vandal.execute("DELETE FROM resources WHERE uri LIKE '%a.jpg'")
        with pytest.raises(StoreCorrupt, match="not there"):
            ledger.verify()
        vandal.execute("DROP TABLE rights CASCADE")
        with pytest.raises(StoreCorrupt, match="rights"):
            ledger.acquire_right("commit", "w", TTL, START)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ecm@/db?schema=Not%20One", "name of a schema"),
        ("postgresql://ecm@/db?schema=pg_catalog", "name of a schema"),
        ("postgresql://ecm:secret@host:port/db", "not one of PostgreSQL"),
        ("postgresql://ecm:secret@host/db?no_such_option=1", "not one of PostgreSQL"),
    ],
)
def test_a_wrong_url_is_a_configuration_error_and_keeps_its_secret(url: str, said: str) -> None:
    error = _refused(url)
    assert isinstance(error, ConfigError)
    assert said in error.message
    assert "secret" not in str(error)


def test_a_server_or_database_that_is_not_there_is_named(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    nowhere = _refused(f"postgresql://ecm:secret@/db?host={tmp_path}")
    assert isinstance(nowhere, LedgerUnavailable)
    assert str(tmp_path) in nowhere.message
    assert "secret" not in nowhere.message
    missing = _refused(postgres_server.url().replace("/postgres?", "/no_such_database?"))
    assert (type(missing), missing.code) == (ConfigError, "ledger.database")


def test_a_restarted_server_costs_no_more_than_the_calls_made_meanwhile(
    own_server: PostgresServer,
) -> None:
    with open_ledger(LedgerConfig(url=own_server.url(), busy_timeout=5.0)) as ledger:
        open_job(ledger, "job")
        own_server.restart()
        assert ledger.job("job") is not None
        own_server.stop()
        with pytest.raises(LedgerUnavailable):
            ledger.acquire_lease("w", START, TTL)
        own_server.start()
        assert ledger.acquire_lease("w", START, TTL).holder == "w"


def test_a_transaction_cut_off_by_a_restart_leaves_nothing(own_server: PostgresServer) -> None:
    with open_ledger(LedgerConfig(url=own_server.url())) as ledger:
        open_job(ledger, "job")

        def cut_off() -> None:
            with _connector(ledger).write("end_job") as session:
                session.run("end_job", {"job_seq": 1, "state": "cancelled", "now": START})
                own_server.restart()
                session.run("end_job", {"job_seq": 1, "state": "cancelled", "now": START})

        with pytest.raises(LedgerUnavailable):
            cut_off()
        job = ledger.job("job")
        assert job is not None
        assert job.state == "listing"


def test_what_was_promised_survives_a_killed_server(own_server: PostgresServer) -> None:
    with open_ledger(LedgerConfig(url=own_server.url())) as ledger:
        list_names(ledger, "job", [f"r{n}" for n in range(8)])
        lease = ledger.acquire_lease("w", START, TTL)
        for number in range(4):
            assert commit(ledger, f"batch-{number}", claim(ledger, lease, 2)) == 4
            own_server.kill()
            own_server.start()
            assert ledger.job_counts("job").committed == 2 * (number + 1)
        ledger.verify()


def test_somebody_who_keeps_a_row_locked_makes_the_ledger_unavailable(url: str) -> None:
    with (
        open_ledger(LedgerConfig(url=url, busy_timeout=0.1)) as ledger,
        closing(_connect(url)) as blocker,
    ):
        open_job(ledger, "job")
        blocker.execute("BEGIN")
        blocker.execute("SELECT 1 FROM jobs FOR UPDATE")
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.close_listing("job", START)
        assert ledger.job("job") is not None  # readers are not blocked
        assert ledger.acquire_lease("w", START, TTL).holder == "w"  # nor are other rows
        blocker.execute("ROLLBACK")
        ledger.close_listing("job", START)


def test_a_process_that_sleeps_in_a_transaction_is_thrown_out_of_it(url: str) -> None:
    """Its locks would keep everybody waiting. When it wakes up, nothing is as it left it."""
    with (
        open_ledger(LedgerConfig(url=url, busy_timeout=0.2)) as sleeper,
        open_ledger(LedgerConfig(url=url)) as other,
    ):
        open_job(sleeper, "job")

        def sleep() -> None:
            with _connector(sleeper).write("cancel_job") as session:
                session.run("end_job", {"job_seq": 1, "state": "cancelled", "now": START})
                other.close_listing("job", START)  # waits until the server has had enough
                session.one("lock_job", {"job_id": "job"})

        with pytest.raises(LedgerUnavailable):
            sleep()
        job = sleeper.job("job")
        assert job is not None
        assert job.state == "listed"


def test_a_transaction_that_fails_in_the_middle_leaves_nothing(ledger: Ledger) -> None:
    open_job(ledger, "job")
    twice = resource("job", "b", transforms=(VISION, VISION))
    with pytest.raises(ContractError):
        ledger.record_listing("job", chunk([resource("job", "a"), twice]), START)
    assert ledger.job_counts("job").listed == 0
    assert sum(ledger.status(START).states.values()) == 0


def test_a_message_with_a_zero_byte_does_not_stop_a_failure(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"], transforms=(VISION,))
    (task,) = claim(ledger, ledger.acquire_lease("w", START, TTL))
    error = EnvelopeError.model_validate(
        {"class": ErrorClass.INPUT, "code": "decode", "stage": "read", "message": "tag \0 \\u0000"}
    )
    assert ledger.fail([Failure(task.task_id, task.fence, error)], START).dead == ids([task])
    (dead,) = ledger.dead_letters(1)
    assert dead.error.message == "tag \ufffd \\u0000"


def test_a_stream_left_halfway_does_not_disturb_the_next_reader(ledger: Ledger) -> None:
    list_names(ledger, "job", [f"r{n}" for n in range(6000)], transforms=(VISION,))
    lease = ledger.acquire_lease("w", START, TTL)
    commit(ledger, "batch", claim(ledger, lease, 6000))
    keys = ledger.evidence_keys("job")
    first = next(keys)
    assert ledger.job_counts("job").committed == 6000  # on another connection
    keys.close()
    again = ledger.evidence_keys("job")
    assert next(again) == first
    assert len(list(again)) == 5999


def test_the_clock_is_that_of_the_server(url: str, ledger: Ledger) -> None:
    with closing(_connect(url)) as server:
        told = "SELECT extract(EPOCH FROM clock_timestamp())::float8"
        before = server.execute(told).fetchone()
        now = ledger.now()
        after = server.execute(told).fetchone()
    assert before is not None
    assert after is not None
    assert before[0] - 0.05 <= now <= after[0] + 0.05


def test_more_threads_than_connections_share_them(ledger: Ledger) -> None:
    threads = 3 * postgres.CONNECTIONS
    barrier = threading.Barrier(threads)
    held: list[str] = []

    def work(number: int) -> None:
        barrier.wait()
        held.append(ledger.acquire_lease(f"w{number}", START, TTL).holder)

    running = [threading.Thread(target=work, args=[number]) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert len(set(held)) == threads


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_compiles_and_finds_its_rows_by_an_index(ledger: Ledger, name: str) -> None:
    text = STATEMENTS[name]
    assert text.endswith(";\n")
    assert re.sub(r"--.*", "", text).count(";") == 1
    params = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    with _connector(ledger)._connection() as connection:
        rows = connection.execute(f"EXPLAIN {text}", params, prepare=False).fetchall()
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    walked = [line for line in plan.splitlines() if "Seq Scan" in line and not SMALL.search(line)]
    assert walked == []


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_check_of_an_empty_ledger_finds_nothing(ledger: Ledger, name: str) -> None:
    with _connector(ledger)._connection() as connection:
        assert connection.execute(CHECKS[name]).fetchall() == []


def _connector(ledger: Ledger) -> PostgresConnector:
    connector = ledger._db
    assert isinstance(connector, PostgresConnector)
    return connector
