"""Every route of the interface, walked with one tenant's key and another tenant's ids.

The routes and their bodies are read off the OpenAPI document, so that a new door is walked too.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from ecm.access.key_file import change_keys
from ecm.access.keys import new_key, revoked
from ecm.access.scopes import Scope
from ecm.ledger.wire import OPERATIONS
from ecm.whole_files import write_whole
from tests.factories import asset_id
from tests.serving import FOREIGN, OPERATOR_KEY, SCOPED, Service, service

SECRETS = ("secret-red", "run-other", "of-other")
OPEN_TO_ALL = {
    "/v1/health/live",
    "/v1/health/ready",
}
ADMIN_ONLY = (
    "/v1/admin-log",
    "/v1/dead-letters/redrive",
    "/v1/rollouts",
    "/v1/snapshots",
)
INGEST = (
    "/v1/jobs",
    "/v1/tasks",
    "/v1/queue",
    "/v1/dead-letters",
    "/v1/runs",
    "/v1/work",
    "/v1/ledger",
)
SEARCH = ("/v1/search", "/v1/assets", "/v1/snapshot", "/v1/feedback")
WORK: dict[str, Any] = {
    "/v1/ledger/{operation}": {"job_id": "job"},
    "/v1/work/admit": {
        "wanted": [
            {
                "tenant_id": "other",
                "content_hash": "2" * 64,
                "tasks": [{"task_id": "3" * 64, "task_type": "vision", "transform": "4" * 64}],
            }
        ]
    },
    "/v1/work/quarantines": {
        "tenant_id": "other",
        "manifest": "m",
        "transforms": [],
        "run_id": "run",
        "worker_id": "w",
        "drift": {"probe": "waves", "measured": 0.5, "needed": 0.9, "said": "no"},
        "since": 1.0,
        "until": 2.0,
        "keys": [],
    },
}
"""Bodies of programs' routes, which have no examples; all are of the other tenant."""


@dataclass(frozen=True)
class Theirs:
    """What the other tenant has: one of each thing that has an id."""

    asset: str
    job: str
    task: str

    def ids(self) -> Mapping[str, str]:
        return {"asset_id": self.asset, "job_id": self.job, "task_id": self.task}


UNKNOWN = Theirs("0" * 64, "job-that-never-was", "1" * 64)


@dataclass(frozen=True)
class Route:
    """A method and path of the document; `body` is an example of its JSON body, if it has one."""

    method: str
    path: str
    body: Any
    takes_json: bool
    parameters: frozenset[str]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture(scope="module")
def theirs(running: Service) -> Theirs:
    with running.client("key-of-other") as client:
        resources = [{"uri": "file:///photos/of-other.jpg", "size": 1, "mtime_ns": 1}]
        job = f"job-of-other-{uuid.uuid4().hex[:8]}"
        assert client.post("/v1/jobs", json={"job_id": job}).status_code == 201
        said = client.post("/v1/tasks", json={"job_id": job, "resources": resources}).json()
    (data,) = FOREIGN.values()
    return Theirs(asset_id(data), job, said["tasks"][0]["task_id"])


@pytest.fixture(scope="module")
def mine(running: Service) -> Iterator[httpx.Client]:
    """Who may do everything in a tenant, so that nothing hides behind a missing scope."""
    with running.client(SCOPED[Scope.ADMIN].text) as client:
        client.headers["X-Request-Id"] = "walk"  # or no two answers would be the same
        yield client


@pytest.fixture(scope="module")
def routes(mine: httpx.Client) -> list[Route]:
    document = mine.get("/v1/openapi.json").json()
    found = []
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            content = described.get("requestBody", {}).get("content", {})
            examples = content.get("application/json", {}).get("examples", {})
            example = next((each["value"] for each in examples.values()), {})
            body = WORK.get(path, example)
            parameters = frozenset(each["name"] for each in described.get("parameters", ()))
            takes_json = "application/json" in content
            found.append(Route(method.upper(), path, body, takes_json, parameters))
    assert len(found) > 20
    return found


def scopes_of(path: str) -> set[Scope]:
    """The scopes that a route is for; a new one has to be given its place here."""
    if path.startswith(ADMIN_ONLY):
        return {Scope.ADMIN}
    if path.startswith(INGEST):
        return {Scope.ADMIN, Scope.INGEST}
    if path == "/v1/access":
        return set(Scope)
    assert path.startswith(SEARCH), f"who may ask {path}?"
    return {Scope.ADMIN, Scope.SEARCH}


def asked(client: httpx.Client, route: Route, whose: Theirs, **headers: str) -> httpx.Response:
    """The route with everything in it that can be named named as `whose`."""
    path = route.path.format(**whose.ids(), operation="job", snapshot_id="none-such")
    if route.path == "/v1/search/image" and route.method == "POST":
        upload = {"image": ("x.png", next(iter(FOREIGN.values())))}
        return client.post(path, files=upload, data={"limit": "200"}, headers=headers)
    if route.method == "GET":
        params = {"q": "secret red", "job": whose.job, "text": "of-other"}
        known = {name: value for name, value in params.items() if name in route.parameters}
        return client.get(path, params=known, headers=headers)
    if not route.takes_json:
        kind = {"Content-Type": "application/json"}
        return client.request(
            route.method, path, json={"job_id": whose.job}, headers=kind | headers
        )
    return client.request(route.method, path, json=named(route.body, whose), headers=headers)


def named(body: Any, whose: Theirs) -> Any:
    """An example with the ids of somebody in place of those it has, however deep."""
    ids: dict[str, Any] = {**whose.ids(), "task_ids": [whose.task], "asset_ids": [whose.asset]}
    if isinstance(body, dict):
        return {key: ids.get(key, named(value, whose)) for key, value in body.items()}
    return [named(each, whose) for each in body] if isinstance(body, list) else body


def masked(answer: httpx.Response, whose: Theirs) -> tuple[int, str, str]:
    text = answer.text
    for each in whose.ids().values():
        text = text.replace(each, "ID")
    return answer.status_code, answer.headers.get("content-type", ""), text


def test_no_route_shows_or_changes_anything_of_another_tenant(
    running: Service, mine: httpx.Client, routes: list[Route], theirs: Theirs
) -> None:
    for route in routes:
        answer = asked(mine, route, theirs)
        assert answer.status_code < 500 or answer.status_code == 503, f"{route}: {answer.text}"
        told = answer.text + json.dumps(dict(answer.headers))
        for secret in SECRETS:
            assert secret not in told.replace(theirs.job, ""), f"{route}: {answer.text}"
        if any(f"{{{name}}}" in route.path for name in theirs.ids()):
            unknown = asked(mine, route, UNKNOWN)
            assert answer.status_code == 404, f"{route}: {answer.text}"
            assert masked(answer, theirs) == masked(unknown, UNKNOWN), str(route)
    with running.client("key-of-other") as other:
        job = other.get(f"/v1/jobs/{theirs.job}").json()
        assert job["open_tasks"] > 0
        assert other.get(f"/v1/tasks/{theirs.task}").json()["state"] == "queued"


def test_no_route_takes_another_tenants_name(
    mine: httpx.Client, routes: list[Route], theirs: Theirs
) -> None:
    for route in routes:
        if route.path in OPEN_TO_ALL:
            continue
        answer = asked(mine, route, theirs, **{"X-Tenant": "other"})
        assert answer.status_code in (403, 422), f"{route}: {answer.text}"
        if answer.status_code == 403:
            assert answer.json()["code"] == "access.tenant", str(route)


def test_every_route_asks_for_a_key_of_its_scope(
    running: Service, routes: list[Route], theirs: Theirs
) -> None:
    may: dict[tuple[str, Scope | None], httpx.Response] = {}
    for scope in (None, *Scope):
        with running.client(SCOPED[scope].text if scope else None) as client:
            for route in routes:
                may[str(route), scope] = asked(client, route, theirs)
    undecided: list[str] = []
    for route in routes:
        name = str(route)
        nobody = may[name, None]
        if route.path in OPEN_TO_ALL:
            assert nobody.status_code in (200, 503)
            continue
        assert nobody.status_code == 401, f"{name}: {nobody.text}"
        if may[name, Scope.ADMIN].status_code == 422:  # a body that is told to be none before that
            undecided.append(name)
            continue
        told = {scope for scope in Scope if not _refused(may[name, scope])}
        assert Scope.ADMIN in told, name
        assert told == scopes_of(route.path), name
    assert undecided == ["POST /v1/work/results", "POST /v1/work/runs"]


def test_operations_of_operators_are_no_tenants_and_are_written_down(
    running: Service, mine: httpx.Client, theirs: Theirs
) -> None:
    values = {"job_id": theirs.job, "tenant_id": "other", "limit": 5, "task_id": theirs.task}
    for name, operation in OPERATIONS.items():
        wanted = operation.arguments.model_fields
        body = {key: values[key] for key in wanted if key in values}
        answer = mine.post(f"/v1/ledger/{name}", json=body)
        assert answer.status_code in (200, 403, 404, 409, 422), f"{name}: {answer.text}"
        for secret in SECRETS:
            assert secret not in answer.text.replace(theirs.job, ""), f"{name}: {answer.text}"
        if operation.who.value == "operator" and answer.status_code != 422:
            assert answer.status_code == 403, name
    log = mine.get("/v1/admin-log", params={"limit": 1000}).json()["items"]
    assert {entry["tenant_id"] for entry in log} == {"t"}
    assert ("dead_letters.redrive", "done") in {(e["action"], e["outcome"]) for e in log}
    assert "refused" in {entry["outcome"] for entry in log}
    with running.client(OPERATOR_KEY) as operator:
        everything = operator.get("/v1/admin-log", params={"limit": 1000}).text
    for key in (*SCOPED.values(),):
        assert key.text not in everything
        assert key.record.digest not in everything
    assert SCOPED[Scope.ADMIN].record.key_id in everything


def test_a_snapshot_of_several_tenants_is_switched_by_operators_only(
    running: Service, mine: httpx.Client
) -> None:
    listed = mine.get("/v1/snapshots").json()
    now = listed["published"]
    assert listed["may_switch"] is False
    refused = mine.post(f"/v1/snapshots/{now}/publish")
    assert (refused.status_code, refused.json()["code"]) == (403, "access.operator")
    with running.client(OPERATOR_KEY) as operator:
        everything = operator.get("/v1/snapshots").json()
        assert everything["may_switch"] is True
        assert everything["items"][0]["assets"] > listed["items"][0]["assets"]
        assert operator.post(f"/v1/snapshots/{now}/publish").json() == {"published": now}
        unknown = operator.post("/v1/snapshots/none-such/publish")
        assert unknown.status_code == 404
        log = operator.get("/v1/admin-log", params={"limit": 4}).json()["items"]
    assert [(e["action"], e["target"], e["outcome"]) for e in log] == [
        ("snapshots.publish", "none-such", "failed"),
        ("snapshots.publish", "none-such", "begun"),
        ("snapshots.publish", now, "done"),
        ("snapshots.publish", now, "begun"),
    ]


def test_a_caller_is_told_what_its_key_is_good_for(running: Service, mine: httpx.Client) -> None:
    told = mine.get("/v1/access").json()
    assert (told["tenant_id"], told["all_tenants"], told["open"]) == ("t", False, False)
    assert told["scopes"] == ["admin", "ingest", "search"]
    assert told["key_id"] == SCOPED[Scope.ADMIN].record.key_id
    with running.client(OPERATOR_KEY) as operator:
        assert operator.get("/v1/access").json()["all_tenants"] is True


def _refused(answer: httpx.Response) -> bool:
    problem = answer.headers.get("content-type", "") == "application/problem+json"
    return problem and answer.json()["code"] == "access.scope"


def test_the_document_says_how_keys_are_sent_and_what_needs_none(running: Service) -> None:
    with running.client(None) as client:
        document = client.get("/v1/openapi.json").json()
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert set(document["components"]["securitySchemes"]) == {"key", "bearer"}
    for path, methods in document["paths"].items():
        for described in methods.values():
            assert (described.get("security") == []) == (path in OPEN_TO_ALL), path


def test_a_running_service_learns_of_new_and_revoked_keys(running: Service) -> None:
    made = new_key("t", [Scope.SEARCH], time.time())
    path = running.indexer.profile.keys_file

    def settles(status: int) -> None:
        deadline = time.monotonic() + 10
        with running.client(made.text) as client:
            while client.get("/v1/snapshot").status_code != status:
                assert time.monotonic() < deadline, f"no {status} within 10 s"

    change_keys(path, lambda keys: ((*keys, made.record), None))
    settles(200)
    change_keys(path, lambda keys: (revoked(keys, made.record.key_id, time.time()), None))
    settles(401)


def test_a_broken_file_of_keys_is_told_by_readiness_and_keys_go_on(running: Service) -> None:
    path = running.indexer.profile.keys_file
    good = path.read_bytes()

    def trouble() -> str:
        with running.client(None) as client:
            return str(client.get("/v1/health/ready").json()["trouble"])

    def settles(told: bool) -> None:
        deadline = time.monotonic() + 10
        while ("access.keys_file" in trouble()) != told:
            assert time.monotonic() < deadline, trouble()

    path.write_bytes(b"{")
    try:
        settles(True)
        assert str(path) not in trouble()
        with running.client(SCOPED[Scope.SEARCH].text) as client:
            assert client.get("/v1/snapshot").status_code == 200
    finally:
        write_whole(path, good, 0o600)
    settles(False)
