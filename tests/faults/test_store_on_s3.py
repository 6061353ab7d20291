"""A run whose store lies on S3 and that is killed there, while requests fail: nothing is lost.

The chain's store is reached through a proxy that makes trouble; the run it is compared with is left
alone and has its store on a disk.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest

from tests.fault_harness import FINISHED, STRUCK, Chain, Fault
from tests.faults.conftest import MakeChain
from tests.object_server import ObjectServer
from tests.object_trouble import Request, Trouble, TroubledServer

POINTS = ("table.fragments", "snapshot.built")
KINDS = (
    Trouble.SLOW_DOWN,
    Trouble.CUT,
    Trouble.LOST_ANSWER,
    Trouble.SERVER_ERROR,
    Trouble.HALF_ANSWER,
)


@pytest.fixture
def trouble(object_server: ObjectServer) -> Iterator[TroubledServer]:
    with TroubledServer(object_server.endpoint) as server:
        yield server


def _chain(make_chain: MakeChain, server: ObjectServer, trouble: TroubledServer) -> Chain:
    config = server.config(endpoint=trouble.endpoint)
    options = {name: value.get_secret_value() for name, value in config.storage_options.items()}
    return make_chain(
        "sqlite",
        f"evidence.uri={config.uri}",
        f"evidence.storage_options={json.dumps(options)}",
        "evidence.commit_backoff_seconds=0.01",
    )


def test_killed_on_a_storage_in_trouble_nothing_is_lost_or_doubled(
    make_chain: MakeChain, object_server: ObjectServer, trouble: TroubledServer
) -> None:
    chain = _chain(make_chain, object_server, trouble)
    kinds = itertools.cycle(KINDS)
    trouble.plan = lambda request: next(kinds) if request.number % 29 == 0 else None
    for point in POINTS:
        assert chain.strike(Fault(point)) == STRUCK
    verdict = chain.verdict()
    assert verdict.clean, verdict
    assert all(trouble.met[kind] for kind in KINDS)


def test_a_storage_that_goes_away_in_the_middle_is_waited_for(
    make_chain: MakeChain, object_server: ObjectServer, trouble: TroubledServer
) -> None:
    """The commit loop holds its batch and goes on; nothing is analysed a second time."""
    chain = _chain(make_chain, object_server, trouble)
    chain.grow()
    chain.finish()
    modelled = chain.images_modelled()
    away = itertools.count()

    def plan(request: Request) -> Trouble | None:
        begun = away if request.method == "PUT" and "/data/" in request.path else None
        if begun is not None or trouble.met:
            return Trouble.SLOW_DOWN if next(away) < 20 else None
        return None

    trouble.plan = plan
    chain.grow()
    assert chain.run() == FINISHED
    assert trouble.met[Trouble.SLOW_DOWN] == 20
    assert chain.images_modelled() - modelled <= 4
    verdict = chain.verdict()
    assert verdict.clean, verdict
