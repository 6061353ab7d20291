"""A real PostgreSQL server of our own: started, stopped, killed and restarted by tests.

    with PostgresServer(durable=False) as server:
        open_ledger(LedgerConfig(url=server.url("some_schema")))

Takes the binaries of the package pgserver, or those of the system. The data lies in a new temporary
folder, and nothing listens but a socket in it. PostgreSQL refuses to run as root: then it runs as
`nobody`, who must be able to read the binaries.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import psutil

USER = "ecm"
DATABASE = "postgres"
PATIENCE = 60.0

# What a test of logic can do without: a disk that keeps what it was told.
FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "fatal",
}

INITDB = ("-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")


def _folders() -> Iterator[Path]:
    """Where `postgres` and `initdb` may be, best first."""
    package = importlib.util.find_spec("pgserver")  # importing it would make folders
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(installed, key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _as_nobody() -> dict[str, Any]:
    """Arguments of subprocess that leave root behind; none for everybody else."""
    if os.geteuid() != 0:
        return {}
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


@cache
def binaries() -> Path | None:
    """The folder of a server of version 15 or later that can be run here, or None."""
    for folder in _folders():
        try:
            said = subprocess.run(
                [folder / "postgres", "--version"], capture_output=True, text=True, **_as_nobody()
            )
        except OSError:
            continue
        version = re.search(r"(\d+)\.", said.stdout)
        if said.returncode == 0 and version is not None and int(version[1]) >= 15:
            return folder
    return None


class PostgresServer:
    """One server with its own data. `durable` servers sync to disk as in production."""

    def __init__(self, durable: bool = False, folder: Path | None = None, **settings: str) -> None:
        found = binaries()
        assert found is not None, "pip install pgserver"
        self._bin = found
        self._own_folder = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="ecm-pg-"))
        self.settings = {**SETTINGS, **({} if durable else FAST), **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    def url(self, schema: str = "ecm") -> str:
        """The URL of a ledger in a schema of this server."""
        return f"postgresql://{USER}@/{DATABASE}?host={quote(str(self.folder))}&schema={schema}"

    def schema_of(self, test: str) -> str:
        """A name for a schema that no other test uses."""
        return f"t{hashlib.sha256(test.encode()).hexdigest()[:12]}"

    @property
    def pid(self) -> int:
        """The process id of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, with recovery if it was killed, and wait until it answers."""
        data = self.folder / "data"
        if not data.exists():
            self._make(data)
        options = [f"-c{name}={value}" for name, value in self.settings.items()]
        self._log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            [self._bin / "postgres", "-D", data, "-k", self.folder, *options],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=self.folder,
            **_as_nobody(),
        )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """Stop as an administrator does who is in a hurry: clients are thrown out."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut does, as far as a process can see: nothing is written any more."""
        postmaster = psutil.Process(self.pid)
        family = [postmaster, *postmaster.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._end(signal.SIGKILL)
        psutil.wait_procs(family, PATIENCE)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, and remove all data."""
        if self._process is not None:
            self._end(signal.SIGQUIT)
        if self._own_folder:
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _make(self, data: Path) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        subprocess.run(
            [self._bin / "initdb", "-D", data, "-U", USER, *INITDB],
            check=True,
            capture_output=True,
            cwd=self.folder,
            **_as_nobody(),
        )

    def _wait_until_it_answers(self) -> None:
        import psycopg  # of the extra `cloud`, which tests of other things do without

        assert self._process is not None
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                psycopg.connect(host=str(self.folder), user=USER, dbname=DATABASE).close()
                return
            except psycopg.OperationalError:
                log = (self.folder / "log").read_text("utf-8", "replace")
                assert self._process.poll() is None, log
                assert time.monotonic() < give_up, log
                time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        assert self._log is not None
        self._process.send_signal(how)
        self._process.wait(PATIENCE)
        self._process = None
        self._log.close()
