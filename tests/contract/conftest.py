"""The back ends over which every conformance suite runs, one fixture per seam."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecm.evidence.config import EvidenceConfig
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from tests.ledger_server import KEY, server
from tests.postgres_server import PostgresServer

MEMORY_DISK = Path("/dev/shm")


@pytest.fixture(scope="session")
def park(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Every engine of an evaluation on one small store: a `tests.engine_park.Park`."""
    from tests.engine_park import Park  # it imports the service's routes

    made = Park(tmp_path_factory.mktemp("park"))
    yield made
    made.close()


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of small commits then cost no disk syncs."""
    if not MEMORY_DISK.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="ecm-test-", dir=MEMORY_DISK))
    yield folder
    shutil.rmtree(folder)


def _sqlite(request: pytest.FixtureRequest, name: str) -> str:
    folder: Path = request.getfixturevalue("quick_folder")
    return f"sqlite://{folder / name}.db"


def _postgres(request: pytest.FixtureRequest, name: str) -> str:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.url(f"{server.schema_of(request.node.nodeid)}_{name.replace('-', '_')}")


LEDGERS: dict[str, Callable[[pytest.FixtureRequest, str], str]] = {
    "sqlite": _sqlite,
    "rest": _sqlite,
    "postgres": _postgres,
}
SERVED = frozenset({"rest"})
"""Back ends that are reached through a server, which has the ledger of that URL."""

STORAGES = ["disk", "s3"]

BACK_ENDS = [
    "sqlite",
    "rest",
    pytest.param("postgres", marks=pytest.mark.needs("postgres")),
]


@pytest.fixture(params=BACK_ENDS)
def ledger_config(
    request: pytest.FixtureRequest, quick_folder: Path
) -> Iterator[Callable[..., LedgerConfig]]:
    """Settings for a ledger of each back end, fresh and empty for every test and name."""
    served: set[str] = set()

    def config(name: str = "ledger", **settings: Any) -> LedgerConfig:
        made = LedgerConfig(url=LEDGERS[request.param](request, name), **settings)
        if request.param not in SERVED:
            return made
        address = server().address(made)
        served.add(address)
        return made.model_copy(update={"url": address, "api_key": KEY})

    yield config
    for address in served:  # before the folder goes
        server().forget(address)


@pytest.fixture
def ledger(ledger_config: Callable[..., LedgerConfig]) -> Iterator[Ledger]:
    with open_ledger(ledger_config()) as opened:
        yield opened


@pytest.fixture(params=STORAGES)
def evidence_config(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., EvidenceConfig]:
    """Settings for an evidence store on each storage, by name; another bucket for every name.

    Tests that damage files ask for the disk: `parametrize("evidence_config", ["disk"], …)`.
    """
    places: dict[str, str] = {}

    def config(name: str = "store", **settings: Any) -> EvidenceConfig:
        if request.param == "disk":
            return EvidenceConfig(uri=str(tmp_path / f"{name} #1 é"), **settings)
        server = request.getfixturevalue("object_server")
        uri = places.setdefault(name, f"s3://{server.bucket()}/a/{name} é")
        made: EvidenceConfig = server.config(uri, **settings)
        return made

    return config
