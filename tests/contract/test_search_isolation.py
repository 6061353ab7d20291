"""No tenant finds, or learns of, what is another's: at any door, whatever it asks with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.hostile_queries import sent
from tests.local_service import LocalService
from tests.siege import JSON, Siege

NOBODY = "0" * 64
VOLATILE = ("took_ms", "request_id", "profile")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    made = LocalService(tmp_path_factory.mktemp("home"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(service: LocalService) -> Iterator[TestClient]:
    with service.client("ann") as opened:
        yield opened


def test_thousands_of_hostile_questions_bring_nothing_of_others(service: LocalService) -> None:
    tally = Siege(service, 1).run(1200, http=0.2)
    assert tally.given_away == []
    assert tally.broken == []
    assert tally.hits > 1500
    assert set(tally.answered) >= {"engine", "POST search", "GET search", "image", "batch"}


def told(client: TestClient, method: str, path: str, name: str, **how: Any) -> tuple[int, str]:
    """Status and body of an answer about an id, in which every id reads the same."""
    got = client.request(method, path, **how)
    text = got.text
    if got.headers["content-type"].endswith("json"):
        body = got.json()
        for key in VOLATILE:
            body.pop(key, None)
        text = json.dumps(body, sort_keys=True)
    return got.status_code, text.replace(name, NOBODY)


@pytest.mark.parametrize("route", ["", "/history", "/thumbnail", "/original"])
def test_an_asset_of_others_is_as_one_of_nobody(
    service: LocalService, client: TestClient, route: str
) -> None:
    (foreign,) = sorted(service.owns["bob"].ids - service.owns["ann"].ids)[:1]
    path = "/v1/assets/{}" + route
    assert told(client, "GET", path.format(foreign), foreign) == told(
        client, "GET", path.format(NOBODY), NOBODY
    )


@pytest.mark.parametrize(
    "question",
    [
        {"asset_id": "ID"},
        {"text": "red", "examples": [{"asset_id": "ID", "weight": -1}]},
        {"filter": {"must": [{"field": "asset", "any": ["ID"]}]}},
        {"text": "red", "filter": {"must_not": [{"field": "asset", "any": ["ID"]}]}},
        {"text": "red", "filter": {"must": [{"field": "run", "any": ["ID"]}]}, "facets": ["tags"]},
        {"text": "red", "filter": {"must_not": [{"field": "path", "prefix": "ID"}]}},
        {"text": "red", "cursor": "ID"},
        {"text": "red", "tenant_id": "ID"},
    ],
)
def test_names_of_others_are_as_names_of_nobody(
    service: LocalService, client: TestClient, question: dict[str, Any]
) -> None:
    """Ids, runs, places, tenants and cursors of bob say no more to ann than made-up ones."""
    bob = service.owns["bob"]
    foreign: list[tuple[str, str]] = [(sorted(bob.ids - service.owns["ann"].ids)[0], NOBODY)]
    text = json.dumps(question)
    if '"run"' in text:
        foreign = [("run-of-bob", "run-of-nil")]
    if '"path"' in text:
        foreign = [("file:///photos/of-bob/", "file:///photos/of-nil/")]
    if '"tenant_id"' in text:
        foreign = [("bob", "nil")]
    if '"cursor"' in text:
        with service.client("bob") as other:
            mine = client.post(
                "/v1/search", content=sent({"text": "blue", "limit": 1}), headers=JSON
            )
            theirs = other.post(
                "/v1/search", content=sent({"text": "red", "limit": 1}), headers=JSON
            )
        foreign = [(theirs.json()["cursor"], mine.json()["cursor"])]
    for theirs_, made_up in foreign:
        answers = {
            told(client, "POST", "/v1/search", name, content=sent(json.loads(filled)), headers=JSON)
            for name in (theirs_, made_up)
            for filled in (text.replace("ID", name),)
        }
        assert len(answers) == 1


def test_the_service_tells_a_tenant_of_its_own_assets_and_runs_only(
    service: LocalService, client: TestClient
) -> None:
    for path in ("/v1/snapshot", "/v1/runs", "/v1/health/live"):
        got = client.get(path)
        assert got.status_code == 200, got.text
        assert "bob" not in got.text
        assert "ann-b" not in got.text
    assert client.get("/v1/snapshot").json()["assets"] == len(service.owns["ann"].ids)
