"""The running service when what is published cannot be opened: it answers, and says what is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ecm.evidence.pins import all_pins
from ecm.evidence.refs import Publication, Published, read_published, write_published
from tests.serving import Service, service

PATIENCE = 60.0


@pytest.fixture
def running() -> Service:
    return service()


def _until(ask: Callable[[], Any], so: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not so(told := ask()):
        assert time.monotonic() < deadline, told
        time.sleep(0.1)
    return told


def test_what_is_published_and_gone_is_told_and_costs_no_answer(running: Service) -> None:
    store = running.indexer.store
    before = read_published(store)
    assert before is not None
    gone = Publication(snapshot_id="s-20200101T000000Z-00000000", at=time.time())

    def ready(client: httpx.Client) -> dict[str, Any]:
        told: dict[str, Any] = client.get("/v1/health/ready").json()
        return told

    with running.client() as client:
        served = _until(lambda: ready(client), lambda told: told["trouble"] == "")["snapshot_id"]
        pinned = {held.snapshot_id for held in all_pins(store) if held.is_live(time.time())}
        assert served in pinned
        write_published(store, Published(current=gone, history=(*before.history, before.current)))
        try:
            told = _until(lambda: ready(client), lambda told: told["trouble"] != "")
            assert (told["status"], told["snapshot_id"]) == ("ready", served)
            assert "snapshot.not_found" in told["trouble"]
            answer = client.get("/v1/search", params={"q": "red"})
            assert (answer.status_code, answer.json()["snapshot_id"]) == (200, served)
        finally:
            write_published(store, before)
        assert _until(lambda: ready(client), lambda told: told["trouble"] == "")["degraded"] == {}
