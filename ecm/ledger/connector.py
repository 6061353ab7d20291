"""The seam between the ledger's logic and a database.

The logic speaks to a Session in names of statements; what a name means in one dialect lies in
`sql/<dialect>/<name>.sql`, one statement a file, with the dialect's own parameter style. A new
database is a connector file and a folder with the same names. Knows no task and no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, Protocol

from ecm.errors import ConfigError

Value = str | int | float | None
Params = Mapping[str, Value]


class Row(Protocol):
    """A result row, by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class Session(Protocol):
    """Named statements inside one transaction."""

    def all(self, name: str, params: Params) -> Sequence[Row]: ...

    def one(self, name: str, params: Params) -> Row | None: ...

    def run(self, name: str, params: Params) -> int:
        """Execute and return the number of rows changed (a bare INSERT, UPDATE or DELETE)."""
        ...

    def many(self, name: str, rows: Iterable[Params]) -> None:
        """Execute for every row; where the database allows, all rows in one statement."""
        ...

    def stream(self, name: str, params: Params) -> Iterator[Row]:
        """Rows one by one, without holding them all in memory."""
        ...


class Connector(Protocol):
    """One database. Safe to share among threads; each process opens its own."""

    def write(self, operation: str) -> AbstractContextManager[Session]:
        """One short transaction, all or nothing, named for crash points (`ecm.crashpoints`).

        What a `lock_…` or `list_…` statement returned stays as it is until the end: either nobody
        else writes meanwhile, or those rows are locked. Raises LedgerUnavailable when the database
        stays locked or broke off (nothing was written, or all: the operation can be repeated),
        StoreCorrupt when it is damaged.
        """
        ...

    def read(self) -> AbstractContextManager[Session]:
        """A consistent view that neither blocks writers nor is blocked by them."""
        ...

    def clock(self) -> float:
        """Unix seconds by the database's clock, on which all who share it agree."""
        ...

    def tune(self) -> None:
        """Refresh planner statistics and shorten logs, unless others are writing."""
        ...

    def verify(self) -> None:
        """Read the whole database and raise StoreCorrupt when it is damaged."""
        ...

    def close(self) -> None: ...


def load_statements(dialect: str) -> dict[str, str]:
    """Statement texts of a dialect by name. Raises ConfigError when the folder has none."""
    folder = resources.files("ecm.ledger").joinpath("sql", dialect)
    found = {
        entry.name.removesuffix(".sql"): entry.read_text("utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    }
    if not found:
        raise ConfigError(f"no SQL statements for {dialect}", "ledger.dialect")
    return found


def load_migrations(dialect: str) -> dict[int, str]:
    """Schema scripts of a dialect, by the version each leads to: `schema/<version>_<what>.sql`."""
    folder = resources.files("ecm.ledger").joinpath("sql", dialect, "schema")
    return {
        int(entry.name.split("_", 1)[0]): entry.read_text("utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".sql")
    }
