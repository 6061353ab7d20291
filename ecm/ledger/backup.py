"""A copy of a ledger while others write to it: consistent, verified, never over an older one.

Knows how each database makes one; a ledger behind a service is copied where it lies.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from ecm.errors import BackendMissing, ConfigError, LedgerUnavailable
from ecm.ledger.config import LedgerConfig
from ecm.ledger.sqlite import SCHEME, known_version, quick_check, translated

_DUMP = "pg_dump"


@dataclass(frozen=True)
class Backup:
    """A finished copy: its file, its bytes, why it can be trusted, and how it is put back."""

    path: Path
    size: int
    proof: str
    restore: str


def backup(config: LedgerConfig, dest: Path) -> Backup:
    """Copy the ledger a URL names to the file `dest`, which appears when all is written.

    Raises ConfigError when `dest` exists or its folder does not, or the ledger is behind a service;
    BackendMissing without pg_dump; LedgerUnavailable, StoreCorrupt, ResourceExhausted.
    """
    dest = dest.absolute()
    if dest.exists():
        raise ConfigError(f"{dest} exists", "backup.exists", "name a file that does not")
    if not dest.parent.is_dir():
        raise ConfigError(f"{dest.parent} is not a folder", "backup.folder")
    scheme = config.url.partition("://")[0]
    if scheme in ("http", "https"):
        raise ConfigError(
            "this ledger is behind a service", "backup.remote", "make the backup on its server"
        )
    part = dest.with_name(f".{dest.name}.{uuid.uuid4().hex}.part")
    try:
        if scheme == "sqlite":
            _copy_sqlite(Path(config.url.removeprefix(SCHEME)), part, config.busy_timeout)
            proof = "passed quick_check"
            # A log that a killed process left would be played over the copy.
            restore = (
                f"stop ecm, copy {dest.name} to the path in ledger.url, "
                "delete the files -wal and -shm beside it"
            )
        else:
            _dump_postgres(config, part)
            proof = "pg_dump finished without an error"
            restore = f"pg_restore --clean --if-exists --no-owner -d DATABASE {dest.name}"
        _put_in_place(part, dest)
    finally:
        part.unlink(missing_ok=True)
    then = "then ecm ledger rebuild --into-existing"
    return Backup(dest, dest.stat().st_size, proof, f"{restore}; {then}")


def _copy_sqlite(source: Path, part: Path, busy_timeout: float) -> None:
    """SQLite's online backup in one step: one view of the file, which blocks no writer."""
    with (
        translated(source),
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=busy_timeout)) as old,
    ):
        known_version(old, source)
        with closing(sqlite3.connect(part)) as new:
            old.backup(new, pages=-1)
            new.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file without a log
            quick_check(new, part)


def _dump_postgres(config: LedgerConfig, part: Path) -> None:
    """A dump in pg_dump's own format, which pg_restore reads, of one snapshot."""
    program = shutil.which(_DUMP)
    if program is None:
        raise BackendMissing(
            "a backup of a ledger on PostgreSQL needs pg_dump",
            hint="install the client of the server's version: apt-get install postgresql-client",
        )
    from ecm.ledger.postgres import address_of

    address = address_of(config)
    command = [program, "--format=custom", f"--schema={address.schema}", f"--file={part}"]
    ran = subprocess.run(
        command, env=os.environ | _libpq(address.conninfo), capture_output=True, text=True
    )
    if ran.returncode:
        said = " ".join(ran.stderr.split())[:500]
        raise LedgerUnavailable(f"pg_dump failed: {said}", "backup.pg_dump")


def _libpq(conninfo: Mapping[str, object]) -> dict[str, str]:
    """Connection parameters as variables: a password on a command line is for all to read."""
    names = {"dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
    names |= {name: f"PG{name.upper()}" for name in ("host", "port", "user", "password")}
    return {names[key]: str(value) for key, value in conninfo.items() if key in names}


def _put_in_place(part: Path, dest: Path) -> None:
    """Give the finished file its name, unless another has taken it meanwhile."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(part, dest)
    except FileExistsError as error:
        raise ConfigError(f"{dest} exists", "backup.exists") from error
    except OSError:  # a file system without hard links
        part.rename(dest)
    with suppress(OSError):  # some file systems cannot sync a folder
        folder = os.open(dest.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
