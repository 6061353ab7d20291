"""PostgreSQL behind the ledger's seam: connections, transactions, schema versions, errors.

Knows sessions, isolation levels and error codes; knows no task and no state. Writers run side by
side under READ COMMITTED: what must not change meanwhile is locked by the statements themselves.
"""

from __future__ import annotations

import json
import math
import re
import select
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.types.numeric import Int8Dumper

from ecm.crashpoints import crash_point
from ecm.errors import (
    ConfigError,
    ContractError,
    EcmError,
    LedgerUnavailable,
    ResourceExhausted,
    StoreCorrupt,
)
from ecm.ledger.config import LedgerConfig
from ecm.ledger.connector import Params, Row, Session, load_migrations, load_statements
from ecm.ledger.pool import Pool

OLDEST_SERVER: Final = 15
DEFAULT_SCHEMA: Final = "ecm"
CONNECTIONS: Final = 10
"""At most this many to the server from one process."""

_CLOCK_SECONDS: Final = 30.0
_READ: Final = (
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
    " SET LOCAL idle_in_transaction_session_timeout = 0"
)
_VERIFYING: Final = (
    "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL work_mem = '256MB'"
)
_Connection = psycopg.Connection[DictRow]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a ledger lies: what libpq is told (with secrets), the schema, and a label without."""

    conninfo: dict[str, Any]
    schema: str
    label: str


class PostgresSession:
    """Named statements on one connection, inside a transaction its connector has begun."""

    def __init__(self, connection: _Connection, statements: dict[str, str]) -> None:
        self._connection = connection
        self._statements = statements
        self._streams: list[psycopg.ServerCursor[DictRow]] = []

    def all(self, name: str, params: Params) -> Sequence[Row]:
        return self._execute(name, params).fetchall()

    def one(self, name: str, params: Params) -> Row | None:
        rows = self._execute(name, params).fetchall()
        return rows[0] if rows else None

    def run(self, name: str, params: Params) -> int:
        return self._execute(name, params).rowcount

    def many(self, name: str, rows: Iterable[Params]) -> None:
        listed = [_storable(row) for row in rows]
        if listed:
            self._execute(name, {"rows": json.dumps(listed)})

    def stream(self, name: str, params: Params) -> Iterator[Row]:
        cursor = self._connection.cursor(f"stream_{len(self._streams)}")
        self._streams.append(cursor)
        cursor.itersize = 5000
        return iter(cursor.execute(self._statements[name], params))

    def close(self) -> None:
        """Close what is still being streamed, before the connection goes to somebody else."""
        for cursor in self._streams:
            cursor.close()

    def _execute(self, name: str, params: Params) -> psycopg.Cursor[DictRow]:
        return self._connection.execute(self._statements[name], params, prepare=True)


class PostgresConnector:
    """One schema of one database. See the Connector protocol for what each method promises."""

    def __init__(self, address: Address, config: LedgerConfig) -> None:
        self._address = address
        self._config = config
        self._statements = load_statements("postgres")
        self._server = load_statements("postgres/server")
        self._clock_lock = threading.Lock()
        self._clock_offset, self._clock_read_at = 0.0, -math.inf
        self._pool = Pool(self._connect, _usable, CONNECTIONS, config.busy_timeout)
        try:
            self._prepare()
            self.clock()
        except EcmError:
            self._pool.close()
            raise

    @contextmanager
    def write(self, operation: str) -> Iterator[Session]:
        with self._connection() as connection:
            with _transaction(connection, "BEGIN"):
                yield PostgresSession(connection, self._statements)
                crash_point(f"ledger.{operation}.uncommitted")
            crash_point(f"ledger.{operation}.committed")

    @contextmanager
    def read(self) -> Iterator[Session]:
        with self._connection() as connection, _transaction(connection, _READ):
            session = PostgresSession(connection, self._statements)
            try:
                yield session
            finally:
                session.close()

    def clock(self) -> float:
        """The server's clock, read now and then; in between this process's monotonic one runs."""
        with self._clock_lock:
            if time.monotonic() - self._clock_read_at > _CLOCK_SECONDS:
                with self._connection() as connection:
                    before = time.monotonic()
                    row = connection.execute(self._server["clock"]).fetchall()[0]
                    after = time.monotonic()
                self._clock_offset = row["now"] - (before + after) / 2
                self._clock_read_at = after
            return time.monotonic() + self._clock_offset

    def tune(self) -> None:
        with self._connection() as connection:
            changed = connection.execute(
                self._server["changed_tables"], {"schema": self._address.schema}
            ).fetchall()
            for row in changed:
                connection.execute(f"ANALYZE (SKIP_LOCKED) {row['relname']}", prepare=False)

    def verify(self) -> None:
        """Read every table and follow every reference; indices as well where amcheck is there."""
        checks = load_statements("postgres/checks")
        with self._connection() as connection, _transaction(connection, _READ):
            connection.execute(_VERIFYING)
            for name in sorted(checks):
                found = connection.execute(checks[name]).fetchone()
                if found is not None:
                    raise self._damaged(found["found"])
            if connection.execute(self._server["has_amcheck"]).fetchone() is not None:
                connection.execute(self._server["check_indices"], {"schema": self._address.schema})

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def _connection(self) -> Iterator[_Connection]:
        with self._translated(), self._pool.connection() as connection:
            yield connection

    def _connect(self) -> _Connection:
        connection = psycopg.connect(
            **self._address.conninfo, autocommit=True, row_factory=dict_row, client_encoding="utf8"
        )
        try:
            version = connection.info.server_version // 10_000
            if version < OLDEST_SERVER:
                raise ConfigError(
                    f"{self._address.label} is PostgreSQL {version}, too old for a ledger",
                    "ledger.server",
                    f"use PostgreSQL {OLDEST_SERVER} or newer",
                )
            # Otherwise the size of each number chose its type, and each type its own plan.
            connection.adapters.register_dumper(int, Int8Dumper)
            connection.prepared_max = 2 * len(self._statements)
            milliseconds = int(self._config.busy_timeout * 1000)
            settings = {
                "schema": self._address.schema,
                "lock_ms": str(milliseconds),
                "statement_ms": str(max(60_000, 10 * milliseconds)),
                "idle_ms": str(max(1_000, milliseconds)),
            }
            connection.execute(self._server["session"], settings, prepare=False)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        """Bring the schema to the newest version, one process at a time."""
        migrations = load_migrations("postgres")
        newest = max(migrations)
        with self._connection() as connection:
            if self._known_version(connection, newest) == newest:
                return
            schema = self._address.schema
            with _transaction(connection, "BEGIN"):
                connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
                connection.execute(self._server["lock_schema"], {"schema": schema})
                version = self._known_version(connection, newest)
                if version == newest:
                    return
                connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
                for target in range(version + 1, newest + 1):
                    connection.execute(migrations[target])
                connection.execute(self._server["set_version"], {"version": newest})

    def _known_version(self, connection: _Connection, newest: int) -> int:
        """Schema version, 0 for an empty schema. Raises StoreCorrupt for a foreign or newer one."""
        schema = self._address.schema
        found = connection.execute(self._server["relations"], {"schema": schema}).fetchall()[0]
        if not found["relations"]:
            return 0
        if not found["ledger"]:
            raise StoreCorrupt(
                f"schema {schema} of {self._address.label} belongs to another program",
                "ledger.foreign",
                "name another one with ?schema=",
            )
        version: int = connection.execute(self._server["read_version"]).fetchall()[0]["version"]
        if version > newest:
            raise StoreCorrupt(
                f"{self._address.label} has schema version {version},"
                f" this ecm knows up to {newest}",
                "ledger.version",
                "use the ecm that wrote it, or a newer one",
            )
        return version

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The one place where PostgreSQL's errors become ours."""
        try:
            yield
        except psycopg.Error as error:
            raise self._translation(error) from error

    def _translation(self, error: psycopg.Error) -> EcmError:
        said = " ".join(str(error).split()) or type(error).__name__
        state = error.sqlstate or _state_of_refusal(said)
        where = self._address.label
        for pattern, kind, code, hint in _TRANSLATIONS:
            if re.match(pattern, state):
                return kind(f"{where}: {said}", code, hint)
        if state[:2] == "XX" or state in _MISSING:
            return self._damaged(said)
        return LedgerUnavailable(f"{where}: {said}", "ledger.unavailable", "try again")

    def _damaged(self, what: str) -> StoreCorrupt:
        return StoreCorrupt(
            f"{self._address.label} is damaged: {what}",
            "ledger.corrupt",
            "restore it from a backup",
        )


_MISSING: Final = frozenset({"42P01", "42703", "42883", "3F000", "58P01"})
"""A table, column, sequence, schema or file that every ledger has is not there."""

_TRANSLATIONS: Final[tuple[tuple[str, type[EcmError], str, str], ...]] = (
    ("40001|40P01", LedgerUnavailable, "ledger.conflict", "try again"),
    ("55P03", LedgerUnavailable, "ledger.locked", "try again"),
    ("57014", LedgerUnavailable, "ledger.slow", "try again, or raise busy_timeout"),
    ("53100", ResourceExhausted, "ledger.disk_full", "free some space on the server"),
    ("53200", ResourceExhausted, "ledger.memory", "the server has no memory left"),
    ("53300", LedgerUnavailable, "ledger.connections", "raise max_connections of the server"),
    ("23", ContractError, "ledger.constraint", ""),
    ("22", ContractError, "ledger.value", ""),
    ("28", ConfigError, "ledger.login", "see PGPASSWORD, PGPASSFILE and pg_hba.conf"),
    ("3D000", ConfigError, "ledger.database", "create it with createdb"),
    ("42501", ConfigError, "ledger.rights", "the role must own the schema or may create it"),
)
"""Error class of a server's code, by pattern; whatever is not here is worth another try."""

_REFUSALS: Final = (
    (r"database \S+ does not exist", "3D000"),
    (r"password|pg_hba\.conf|role \S+ does not exist", "28000"),
    (r"too many clients|remaining connection slots", "53300"),
)


def open_postgres(config: LedgerConfig) -> PostgresConnector:
    """The connector for `postgresql://user@host:port/database?schema=ecm&…`, options as in libpq.

    A missing schema is created. Raises ConfigError for a wrong URL, login or a server that is too
    old, StoreCorrupt for a foreign or newer schema, LedgerUnavailable when it cannot be reached.
    """
    return PostgresConnector(address_of(config), config)


def address_of(config: LedgerConfig) -> Address:
    parts = urlsplit(config.url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    schema = dict(options).get("schema", DEFAULT_SCHEMA)
    if not re.fullmatch(r"(?!pg_)[a-z_][a-z0-9_]{0,62}", schema):
        raise ConfigError(
            f"{schema!r} cannot be the name of a schema",
            "ledger.url",
            "small letters, digits and _",
        )
    query = urlencode([(key, value) for key, value in options if key != "schema"])
    try:
        conninfo = conninfo_to_dict(
            urlunsplit(("postgresql", parts.netloc, parts.path, query, "")),
        )
        port = str(conninfo.get("port", ""))
        if not re.fullmatch(r"[\d,]*", port):
            raise psycopg.ProgrammingError(port)
    except psycopg.ProgrammingError as error:  # its text may hold a password
        raise ConfigError(
            "the ledger's URL is not one of PostgreSQL",
            "ledger.url",
            "write postgresql://user@host:port/database?schema=ecm, other characters as %XX",
        ) from error
    wait = str(max(2, math.ceil(config.busy_timeout)))
    defaults = {"application_name": "ecm", "connect_timeout": wait, "keepalives_idle": "30"}
    where = f"{conninfo.get('host', '')}:{conninfo.get('port', '')}".strip(":")
    label = f"postgresql://{where}/{conninfo.get('dbname', '')}"
    return Address({**defaults, **conninfo}, schema, label)


def _state_of_refusal(said: str) -> str:
    """The server's code behind a refused connection, of which libpq only hands on the words."""
    return next((code for pattern, code in _REFUSALS if re.search(pattern, said)), "")


@contextmanager
def _transaction(connection: _Connection, begin: str) -> Iterator[None]:
    connection.execute(begin, prepare=False)
    try:
        yield
        connection.execute("COMMIT", prepare=False)
    except BaseException:
        with suppress(psycopg.Error):  # what went wrong first is what is told; see _usable
            connection.rollback()
        raise


def _usable(connection: _Connection) -> bool:
    """Whether a connection is between two transactions and has heard nothing from its server.

    A server that stops says so on every connection: what is readable here is its farewell.
    """
    if connection.closed or connection.info.transaction_status != pq.TransactionStatus.IDLE:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _storable(row: Params) -> Params:
    """A row as JSON of PostgreSQL can say it: infinity in words, and no NUL inside a text."""
    values = row.values()
    if math.inf in values or any(isinstance(v, str) and "\0" in v for v in values):
        return {key: _said(value) for key, value in row.items()}
    return row


def _said(value: str | int | float | None) -> str | int | float | None:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    return "Infinity" if value == math.inf else value
