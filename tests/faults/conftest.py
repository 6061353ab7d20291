"""Chains of killed processes over the ledgers that a machine of its own can have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fault_harness import Chain, Server, server
from tests.postgres_server import PostgresServer

LONG = int(os.environ.get("FAULTS") or 0)
"""Faults of the long form (`make test-faults FAULTS=200`); 0: the short form alone."""

BACK_ENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))]
Url = Callable[[str], str]
MakeChain = Callable[..., Chain]


@pytest.fixture(scope="session")
def forks() -> Iterator[Server]:
    """The process that forks victims."""
    with server() as started:
        yield started


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A server of the module's own, since it may be killed; it syncs as in production."""
    with PostgresServer(durable=True) as started:
        yield started


@pytest.fixture(scope="module")
def make_chain(
    request: pytest.FixtureRequest, forks: Server, tmp_path_factory: pytest.TempPathFactory
) -> MakeChain:
    """Chains over a ledger of the given kind, each with photos and homes of its own."""
    numbers = iter(range(1000))

    def make(kind: str = "sqlite", *settings: str) -> Chain:
        folder = tmp_path_factory.mktemp("chain")
        number = next(numbers)

        def url(home: str) -> str:
            if kind == "sqlite":
                return f"sqlite://{folder / home / 'ledger' / 'ledger.sqlite3'}"
            postgres: PostgresServer = request.getfixturevalue("postgres")
            return postgres.url(f"c{number}_{home.replace('-', '_')}")

        return Chain(Path(folder), forks, url, settings)

    return make
