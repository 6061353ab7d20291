"""The durable task ledger: one object, its duties in one file each.

    jobs        a job's life                         listing   what is listed becomes tasks, once
    claims      leases, claims, heartbeats, rescue   outcomes  reported, failed, given back
    batches     the committer's words                rights    one holder at a time
    operations  mismatch, redrive                    books     conservation, by number and key
    views       status, dead letters, history        lookahead what is left to claim
    existing    which evidence exists                 inventory what an audit names
    restoring   the done set, told by the store   reopening committed tasks, once more

Knows which database serves which URL. Time is an argument of every method that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from ecm.contracts.identity import TenantId
from ecm.errors import BackendMissing, ConfigError
from ecm.ledger.batches import Batches
from ecm.ledger.books import Books
from ecm.ledger.claims import Claims
from ecm.ledger.config import LedgerConfig
from ecm.ledger.connector import Connector
from ecm.ledger.inventory import Inventory
from ecm.ledger.jobs import Jobs
from ecm.ledger.listing import Listing
from ecm.ledger.lookahead import Lookahead
from ecm.ledger.operations import Operations
from ecm.ledger.outcomes import Outcomes
from ecm.ledger.pressure import Depths
from ecm.ledger.recent import Recent
from ecm.ledger.reopening import Reopening
from ecm.ledger.restoring import Restoring
from ecm.ledger.rights import Rights
from ecm.ledger.sqlite import open_sqlite
from ecm.ledger.views import Views


def _open_postgres(config: LedgerConfig) -> Connector:
    try:
        from ecm.ledger.postgres import open_postgres
    except ImportError as error:
        raise BackendMissing(
            f"a ledger on PostgreSQL needs psycopg: {error}", hint="pip install 'ecm[cloud]'"
        ) from error
    return open_postgres(config)


CONNECTORS: dict[str, Callable[[LedgerConfig], Connector]] = {
    "sqlite": open_sqlite,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}


class Ledger(
    Jobs,
    Listing,
    Claims,
    Outcomes,
    Batches,
    Operations,
    Rights,
    Books,
    Views,
    Lookahead,
    Inventory,
    Restoring,
    Reopening,
):
    """All duties over one connector. Safe to share among threads; each process opens its own.

    Every method may raise LedgerUnavailable (locked or gone: try again) and StoreCorrupt.
    """

    def scoped(self, tenant_id: TenantId) -> Ledger:
        """The same ledger as one tenant may use it, over the same connection.

        Jobs, tasks and leases of others do not exist there; what is an operator's business raises
        Forbidden.
        """
        return Ledger(self._db, self._config, self._recent, self._depths, self._tenant(tenant_id))

    def tune(self) -> None:
        """Refresh planner statistics and bound the write-ahead log; for quiet moments."""
        self._operator("tune")
        self._db.tune()

    def verify(self) -> None:
        """Read the whole database. Raises StoreCorrupt when it is damaged."""
        self._operator("verify")
        self._db.verify()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_ledger(config: LedgerConfig) -> Ledger:
    """Open, and create or migrate if need be, the ledger a URL names.

    Raises ConfigError for a URL no connector knows; see each connector for what else.
    """
    scheme = config.url.partition("://")[0]
    if scheme in ("http", "https"):
        from ecm.ledger.http import open_http  # it is made from the methods above

        return open_http(config)
    connect = CONNECTORS.get(scheme)
    if connect is None:
        known = ", ".join(f"{name}://" for name in (*CONNECTORS, "http", "https"))
        raise ConfigError(f"no ledger for {scheme}://", "ledger.url", f"known are {known}")
    return Ledger(connect(config), config, Recent(), Depths())
