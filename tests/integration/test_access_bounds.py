"""Every bound at every door: what is too much is refused as such, and costs nearly nothing.

And no text that anybody sends is an address that the service goes to.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ecm.access.scopes import Scope
from ecm.contracts.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES
from ecm.contracts.search import MAX_EXAMPLES, MAX_IMAGE_BYTES, MAX_QUERY_CHARS
from serve.submission import MAX_RESOURCES, MAX_TASK_IDS
from tests.factories import picture
from tests.serving import SCOPED, Service, service

JSON = {"Content-Type": "application/json"}
HAS = {"field": "has", "value": "text"}


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture(scope="module")
def client(running: Service) -> Iterator[httpx.Client]:
    with running.client(SCOPED[Scope.ADMIN].text) as opened:
        yield opened


def bomb(side: int) -> bytes:
    """A PNG of a few hundred bytes that says it is a square of `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def nested(groups: int) -> dict[str, Any]:
    """A filter so many groups deep."""
    made: dict[str, Any] = {"must": [HAS]}
    for _ in range(groups - 1):
        made = {"must": [made]}
    return made


TOO_MUCH: dict[str, dict[str, Any]] = {
    "text": {"text": "x" * (MAX_QUERY_CHARS + 1)},
    "limit": {"text": "red", "limit": 201},
    "candidates": {"text": "red", "candidates": 501},
    "cursor": {"text": "red", "cursor": "x" * 513},
    "axes": {"text": "red", "axes": ["fts"] * 9},
    "require": {"text": "red", "require": ["fts"] * 9},
    "facets": {"text": "red", "facets": ["tags"] * 9},
    "examples": {"examples": [{"asset_id": "0" * 64}] * (MAX_EXAMPLES + 1)},
    "timeout": {"text": "red", "timeout_ms": 60_001},
    "depth": {"text": "red", "filter": nested(MAX_DEPTH + 1)},
    "conditions": {"text": "red", "filter": {"must": [HAS] * (MAX_CONDITIONS + 1)}},
    "groups": {"text": "red", "filter": {"must": [{}] * 5000}},
    "labels": {
        "text": "red",
        "filter": {"must": [{"field": "tags", "any": ["a"] * (MAX_VALUES + 1)}]},
    },
    "prefix": {"text": "red", "filter": {"must": [{"field": "path", "prefix": "x" * 4097}]}},
}


def refused(answer: httpx.Response, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.text[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 2000, "what was sent is not sent back"


@pytest.mark.parametrize("question", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_a_question_is_bounded_at_every_door_that_takes_one(
    client: httpx.Client, question: dict[str, Any]
) -> None:
    refused(client.post("/v1/search", json=question), 422)
    (outcome,) = client.post("/v1/search/batch", json={"questions": [question]}).json()["answers"]
    assert outcome["response"] is None
    assert outcome["problem"]["status"] == 422
    form = {"request": json.dumps(question)}
    refused(client.post("/v1/search/image", files={"image": picture("red")}, data=form), 422)
    names = {"text": "q"}
    params = {
        names.get(key, key): json.dumps(value) if isinstance(value, dict) else value
        for key, value in question.items()
    }
    refused(client.get("/v1/search", params=params), 422)


def test_an_image_is_bounded_by_its_pixels_at_every_door(client: httpx.Client) -> None:
    data = bomb(20_000)
    text = base64.b64encode(data).decode()
    refused(client.post("/v1/search/image", files={"image": data}), 422)
    refused(client.post("/v1/search", json={"image": text}), 422)
    refused(client.post("/v1/search", json={"text": "red", "examples": [{"image": text}]}), 422)
    answers = client.post("/v1/search/batch", json={"questions": [{"image": text}]}).json()
    assert answers["answers"][0]["problem"]["code"] == "decode.too_many_pixels"


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/search", MAX_IMAGE_BYTES * 4 // 3),
        ("/v1/search/batch", MAX_IMAGE_BYTES * 4 // 3),
        ("/v1/search/image", MAX_IMAGE_BYTES),
        ("/v1/tasks", 4 * 2**20),
        ("/v1/dead-letters/redrive", 2**20),
        ("/v1/ledger/status", 8 * 2**20),
        ("/v1/jobs", 0),
        ("/v1/snapshots/rollback", 0),
        ("/v1/work/runs", 0),
        ("/v1/nowhere", 0),
    ],
)
def test_a_body_is_bounded_at_every_door(client: httpx.Client, path: str, limit: int) -> None:
    """Told by its length, and refused before it is read: hence the length alone is sent."""
    headers = {**JSON, "Content-Length": str(limit + 2**17)}

    def nothing() -> Iterator[bytes]:
        yield b"{"

    request = client.build_request("POST", path, content=nothing(), headers=headers)
    address = (request.url.host, request.url.port or 80)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + b"{")
        said = connection.recv(4096)
    assert said.split(b" ", 2)[1] == b"413", said


@pytest.mark.parametrize("deep", [500, 5000, 500_000])
@pytest.mark.parametrize(
    "path", ["/v1/search", "/v1/search/batch", "/v1/tasks", "/v1/jobs", "/v1/ledger/status"]
)
def test_what_is_nested_without_end_breaks_nothing(
    client: httpx.Client, path: str, deep: int
) -> None:
    name = {"/v1/search/batch": "questions", "/v1/tasks": "resources"}.get(path, "filter")
    for opening, closing in ((b"[", b"]"), (b'{"must":[', b"]}")):
        body = b'{"' + name.encode() + b'":' + opening * deep + closing * deep + b"}"
        answer = client.post(path, content=body, headers=JSON)
        if answer.status_code == 200:  # a batch tells of each of its questions
            assert {each["problem"]["status"] for each in answer.json()["answers"]} == {422}
        else:
            refused(answer, 400, 413, 422)


def test_lists_of_producers_are_bounded(client: httpx.Client) -> None:
    resource = {"uri": "file:///photos/a.jpg", "size": 1, "mtime_ns": 1}
    refused(client.post("/v1/tasks", json={"resources": [resource] * (MAX_RESOURCES + 1)}), 422)
    many = {"task_ids": [f"{number:064x}" for number in range(MAX_TASK_IDS + 1)]}
    refused(client.post("/v1/dead-letters/redrive", json=many), 422)
    refused(client.get("/v1/dead-letters", params={"limit": 1001}), 422)
    refused(client.get("/v1/admin-log", params={"limit": 1001}), 422)
    refused(client.post("/v1/search/batch", json={"questions": [{"text": "a"}] * 33}), 422)
    fields = {f"f{number}": "x" for number in range(1500)}
    upload = {"image": picture("red")}
    refused(client.post("/v1/search/image", files=upload, data=fields), 400)


def test_no_text_that_is_sent_is_an_address_the_service_goes_to(client: httpx.Client) -> None:
    """Every string of every body, parameter and form, and headers, are the address of a listener
    that must never be reached."""
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        port = trap.getsockname()[1]
        document = client.get("/v1/openapi.json").json()
        schemas = document["components"]["schemas"]
        headers = {"Referer": f"http://127.0.0.1:{port}/", "X-Forwarded-Host": f"127.0.0.1:{port}"}
        sent = 0
        for address in (f"http://127.0.0.1:{port}/x.png", f"file://127.0.0.1:{port}/x.png"):
            for path, methods in document["paths"].items():
                for method, described in methods.items():
                    place = path.format_map(_Always("0" * 64))
                    parameters = described.get("parameters", ())
                    params = {p["name"]: address for p in parameters if p["in"] == "query"}
                    content = described.get("requestBody", {}).get("content", {})
                    bodies = [{}]
                    if "application/json" in content:
                        bodies = list(_bodies(content["application/json"], schemas, address))
                    for body in bodies:
                        answer = client.request(
                            method, place, params=params, json=body or None, headers=headers
                        )
                        assert answer.status_code < 500, f"{method} {path}: {answer.text}"
                        sent += 1
            form = {"text": address, "request": json.dumps({"cursor": address})}
            client.post("/v1/search/image", files={"image": address.encode()}, data=form)
            client.post("/v1/search/image", files={"image": picture("red")}, data=form)
            client.get("/v1/search", params={"q": address})
        assert sent > 60
        with pytest.raises(BlockingIOError):
            trap.accept()


class _Always(dict[str, str]):
    """The same value for every name."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __missing__(self, name: str) -> str:
        return self._value


def _bodies(described: dict[str, Any], schemas: dict[str, Any], address: str) -> Iterator[Any]:
    """The examples with an address in place of each of their strings, one at a time; and a body
    in which every member of the schema is the address.
    """
    for example in described.get("examples", {}).values():
        yield from _each_string(example["value"], address)
    name = described.get("schema", {}).get("$ref", "").rpartition("/")[2]
    members = schemas.get(name, {}).get("properties", {})
    for member in members:
        yield {"text": "red", member: address} if name == "SearchBody" else {member: address}
    for listed in ("resources", "examples", "questions"):
        if listed in members:
            yield {listed: [{"uri": address, "size": 1, "mtime_ns": 1}]}
            yield {listed: [{"image": base64.b64encode(address.encode()).decode()}]}


def _each_string(value: Any, address: str) -> Iterator[Any]:
    match value:
        case str():
            yield address
        case dict():
            for key, member in value.items():
                yield from ({**value, key: each} for each in _each_string(member, address))
        case list():
            for place, member in enumerate(value):
                for each in _each_string(member, address):
                    yield [*value[:place], each, *value[place + 1 :]]
        case _:
            return
