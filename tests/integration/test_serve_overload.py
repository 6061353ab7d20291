"""A small service asked for more than it can do: every answer is an answer or says when to come
again, and none is the bare text of what lies around it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.factories import FAKE_MODELS, Indexer, fake_profile, gallery, picture
from tests.serving import Service, launch

CLIENTS = 60
PATIENCE = 60.0
BOUNDS = {
    "serve.max_ongoing_requests": 1,
    "serve.max_queued_requests": 2,
    "serve.ingress.ongoing": 12,
    "serve.request_timeout_seconds": 4.0,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("home")
    indexer = Indexer(fake_profile(home))
    indexer.add(gallery(1))
    indexer.publish()
    values = [*FAKE_MODELS, *(f"{name}={value}" for name, value in BOUNDS.items())]
    made = launch(indexer, [part for value in values for part in ("--set", value)])
    try:
        yield made
    finally:
        made.stop()


async def all_at_once(address: str, bodies: list[dict[str, object]]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(bodies))
    async with httpx.AsyncClient(
        base_url=address, limits=limits, timeout=60.0, trust_env=False
    ) as client:
        return await asyncio.gather(*(client.post("/v1/search", json=body) for body in bodies))


def test_above_its_bounds_it_says_when_to_come_again(small: Service) -> None:
    bodies: list[dict[str, object]] = [{"text": f"red {number}"} for number in range(CLIENTS)]
    answers = asyncio.run(all_at_once(small.address, bodies))
    seen = Counter(answer.status_code for answer in answers)
    assert set(seen) <= {200, 503, 504}
    assert seen[200] >= 1
    assert seen[503] >= CLIENTS // 2
    for answer in answers:
        if answer.status_code == 200:
            continue
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        assert answer.json()["code"] in ("overloaded", "timeout")
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) >= 1


def test_afterwards_it_answers_as_before(small: Service) -> None:
    with small.client(None) as client:
        assert client.post("/v1/search", json={"text": "red"}).status_code == 200
        lines = client.get("/metrics").text.splitlines()
    assert any(line.startswith("ecm_http_refused_total") for line in lines)
    failed = [line for line in lines if line.startswith("ecm_http_running")]
    assert failed
    assert all(float(line.rpartition(" ")[2]) <= 1.0 for line in failed)


def test_callers_that_hang_up_are_not_worked_for(small: Service) -> None:
    """More of them than there is room for: who comes after them is answered."""
    image = base64.b64encode(picture("red", size=(3000, 2000))).decode()
    body = json.dumps({"image": image}).encode()
    place = urlsplit(small.address)
    head = f"POST /v1/search HTTP/1.1\r\nHost: {place.netloc}\r\n" + (
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(12):
        with socket.create_connection((place.hostname, place.port), timeout=30) as hung_up:
            hung_up.sendall(head.encode() + body)
    deadline = time.monotonic() + PATIENCE
    with small.client(None) as client:
        while client.post("/v1/search", json={"text": "blue"}).status_code != 200:
            assert time.monotonic() < deadline
        while 'status="499"' not in client.get("/metrics").text:
            assert time.monotonic() < deadline
