"""The back ends over which every conformance suite runs, one fixture per seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ecm.ledger import Ledger, LedgerConfig, open_ledger


def _sqlite(folder: Path) -> str:
    return f"sqlite://{folder / 'ledger.db'}"


LEDGERS: dict[str, Callable[[Path], str]] = {"sqlite": _sqlite}


@pytest.fixture(params=list(LEDGERS))
def ledger_config(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., LedgerConfig]:
    """Settings for a fresh, empty ledger of each back end; one ledger per test."""
    url = LEDGERS[request.param](tmp_path)

    def config(**settings: Any) -> LedgerConfig:
        return LedgerConfig(url=url, **settings)

    return config


@pytest.fixture
def ledger(ledger_config: Callable[..., LedgerConfig]) -> Iterator[Ledger]:
    with open_ledger(ledger_config()) as opened:
        yield opened
