"""SQLite behind the ledger's seam: connections, transactions, schema versions, damage.

Knows pragmas and error codes; knows no task and no state. Readers use connections of their own, so
that the write-ahead log lets them neither block nor be blocked; all writes of a process share one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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

SCHEME = "sqlite://"
APPLICATION_ID = 0x45434D4C  # "ECML", so that another program's file is never taken for a ledger
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"})
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteSession:
    """Named statements on one connection, inside a transaction its connector has begun."""

    def __init__(self, connection: sqlite3.Connection, statements: dict[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    def all(self, name: str, params: Params) -> Sequence[Row]:
        return self._connection.execute(self._statements[name], params).fetchall()

    def one(self, name: str, params: Params) -> Row | None:
        rows: list[Row] = self._connection.execute(self._statements[name], params).fetchall()
        return rows[0] if rows else None

    def run(self, name: str, params: Params) -> int:
        return self._connection.execute(self._statements[name], params).rowcount

    def many(self, name: str, rows: Iterable[Params]) -> None:
        self._connection.executemany(self._statements[name], rows)

    def stream(self, name: str, params: Params) -> Iterator[Row]:
        return iter(self._connection.execute(self._statements[name], params))


class SqliteConnector:
    """One SQLite file. See the Connector protocol for what each method promises."""

    def __init__(self, path: Path, config: LedgerConfig) -> None:
        self._path = path
        self._config = config
        self._statements = load_statements("sqlite")
        self._lock = threading.Lock()
        with translated(path):
            self._writer = self._connect()
        try:
            with translated(path):
                self._prepare()
        except EcmError:
            self._writer.close()
            raise

    @contextmanager
    def write(self, operation: str) -> Iterator[Session]:
        with self._lock, translated(self._path):
            with _transaction(self._writer):
                yield SqliteSession(self._writer, self._statements)
                crash_point(f"ledger.{operation}.uncommitted")
            crash_point(f"ledger.{operation}.committed")

    @contextmanager
    def read(self) -> Iterator[Session]:
        with translated(self._path):
            connection = self._connect()
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")
                yield SqliteSession(connection, self._statements)
            finally:
                connection.close()

    def clock(self) -> float:
        """All who open the file share its machine, and so the machine's clock."""
        return time.time()

    def tune(self) -> None:
        with self._lock, translated(self._path):
            self._tidy("PASSIVE")

    def verify(self) -> None:
        with translated(self._path):
            connection = self._connect()
            try:
                quick_check(connection, self._path)
            finally:
                connection.close()

    def close(self) -> None:
        """Leave statistics and a short log behind; whoever has the file open keeps working."""
        with self._lock, translated(self._path):
            try:
                self._tidy("TRUNCATE")
            finally:
                self._writer.close()

    def _tidy(self, checkpoint: str) -> None:
        """Refresh statistics and shorten the log, unless somebody is writing: then they will."""
        self._writer.execute("PRAGMA busy_timeout = 0")
        try:
            self._writer.execute("PRAGMA analysis_limit = 1000")
            self._writer.execute("PRAGMA optimize")
            self._writer.execute(f"PRAGMA wal_checkpoint({checkpoint})")
        except sqlite3.OperationalError as error:
            if _primary_code(error) not in _BUSY:
                raise
        finally:
            milliseconds = int(self._config.busy_timeout * 1000)
            self._writer.execute(f"PRAGMA busy_timeout = {milliseconds}")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=self._config.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -65536")
        return connection

    def _prepare(self) -> None:
        version = known_version(self._writer, self._path)
        if version and self._path.stat().st_size <= self._config.check_at_open_bytes:
            quick_check(self._writer, self._path)
        self._enter_wal()
        # FULL: a report lost in a power cut would have its evidence written twice.
        self._writer.execute("PRAGMA synchronous = FULL")
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {self._config.wal_checkpoint_pages}")
        self._writer.execute("PRAGMA journal_size_limit = 67108864")
        self._migrate()

    def _enter_wal(self) -> None:
        """Switch to write-ahead logging, refused at once while another process opens the file."""
        give_up = time.monotonic() + self._config.busy_timeout
        while True:
            try:
                mode = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if _primary_code(error) not in _BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.02)
        if mode != "wal":
            raise ConfigError(
                f"{self._path}: its file system cannot hold a ledger (no write-ahead log)",
                "ledger.file_system",
                "put the ledger on a local disk",
            )

    def _migrate(self) -> None:
        migrations = load_migrations("sqlite")
        with _transaction(self._writer):
            version = known_version(self._writer, self._path)
            for target in range(version + 1, max(migrations) + 1):
                for statement in _split(migrations[target]):
                    self._writer.execute(statement)
            if version < max(migrations):
                self._writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._writer.execute(f"PRAGMA user_version = {max(migrations)}")


def open_sqlite(config: LedgerConfig) -> SqliteConnector:
    """The connector for `sqlite:///absolute/path`; a missing file is created, with its folder.

    Raises ConfigError for a path that is relative, a folder or on a network file system,
    StoreCorrupt for a damaged, foreign or newer file, LedgerUnavailable when it cannot be opened.
    """
    path = Path(config.url.removeprefix(SCHEME))
    if not path.is_absolute():
        raise ConfigError(
            f"{config.url}: not an absolute path", "ledger.url", "write sqlite:///absolute/path"
        )
    if path.is_dir():
        raise ConfigError(f"{path} is a folder, not a ledger file", "ledger.url")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnavailable(f"{path.parent}: {error.strerror}", "ledger.folder") from error
    _refuse_network_file_system(path)
    return SqliteConnector(path, config)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The one place where SQLite's errors become ours."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise ContractError(f"{path}: {error}", "ledger.constraint") from error
    except sqlite3.Error as error:
        raise _translation(path, error) from error


def _translation(path: Path, error: sqlite3.Error) -> EcmError:
    code = _primary_code(error)
    if code in _BUSY:
        return LedgerUnavailable(
            f"{path}: another process keeps the ledger locked", "ledger.locked", "try again"
        )
    if code in _DAMAGED:
        return _damaged(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return ResourceExhausted(f"{path}: the disk is full", "ledger.disk_full", "free some space")
    if code == sqlite3.SQLITE_ERROR:  # a table or column that every ledger has is not there
        return _damaged(path, str(error))
    return LedgerUnavailable(f"{path}: {error}", "ledger.io")


def _primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its extension, or 0 for errors of Python's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _damaged(path: Path, what: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{path} is damaged: {what}", "ledger.corrupt", "restore it from a backup, or move it away"
    )


def quick_check(connection: sqlite3.Connection, path: Path) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _damaged(path, " ".join(found.split()))


def known_version(connection: sqlite3.Connection, path: Path) -> int:
    """Schema version of the file, 0 for an empty one. Raises StoreCorrupt for a foreign one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    newest = max(load_migrations("sqlite"))
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreCorrupt(
            f"{path} is a database of another program", "ledger.foreign", "name another file"
        )
    if version > newest:
        raise StoreCorrupt(
            f"{path} has schema version {version}, this ecm knows up to {newest}",
            "ledger.version",
            "use the ecm that wrote it, or a newer one",
        )
    return version


def _split(script: str) -> Iterator[str]:
    """The statements of a script, to run inside our transaction (executescript would commit)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _refuse_network_file_system(path: Path) -> None:
    """Write-ahead logs need shared memory, which network file systems do not give: refuse early."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():  # not Linux: SQLite's own check in _enter_wal has to do
        return
    folder = path.parent.resolve()
    best, kind = 0, ""
    for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
        _, point, file_system, *_ = line.split(" ")
        point = point.replace("\\040", " ")
        if folder.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), file_system
    if kind in _NETWORK_FILE_SYSTEMS:
        raise ConfigError(
            f"{path} lies on a network file system ({kind}), where SQLite loses data",
            "ledger.file_system",
            "put the ledger on a local disk",
        )
