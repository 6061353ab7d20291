"""What a caller meets at the door: scopes, rates, and a trail of what administrators did."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Scope_

from ecm.access.keys import digest_of
from ecm.access.limits import Limiter, RateLimit
from ecm.access.scopes import Scope
from ecm.access.trail import DamagedLine, Trail, TrailEntry
from ecm.ledger.config import LedgerConfig

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Access
    from serve.api import new_api
    from serve.confine import Roots
    from serve.door import Door, Guards
    from serve.keyed import Keyed


class Entrance:
    """A door with three routes, one of each scope, by a clock of the test."""

    def __init__(self, folder: Path, access: Access) -> None:
        self.now = 0.0
        self.trail = Trail(folder / "admin.jsonl")
        limits = {Scope.SEARCH: RateLimit(rate=0.5, burst=2)}
        guards = Guards(Limiter(limits), self.trail, lambda: 100.0, lambda: self.now)
        config = LedgerConfig(url=f"sqlite://{folder}/ledger.db")
        roots = Roots([], lambda: access.open)
        self.door = Door(config, access, roots, guards=guards)
        api = new_api()

        @api.get("/v1/{scope}")
        async def ask(request: Request, scope: Scope, tenant: str | None = None) -> Response:
            caller = self.door.caller(request, scope, tenant)
            if scope is not Scope.ADMIN:
                return Response(caller.tenant)
            return Response(
                self.door.recorded(request, caller, "test.act", "thing", lambda: caller.tenant)
            )

        self.client = TestClient(api, base_url="http://localhost")

    def told(self) -> list[tuple[str, str | None, str, str, str]]:
        entries = list(self.trail.entries())
        assert not [each for each in entries if isinstance(each, DamagedLine)]
        return [
            (e.who, e.tenant_id, e.action, e.outcome.value, e.detail)
            for e in entries
            if isinstance(e, TrailEntry)
        ]

    def get(self, scope: str, key: str = "", **params: str) -> tuple[int, str]:
        headers = {"x-api-key": key} if key else {}
        answer = self.client.get(f"/v1/{scope}", headers=headers, params=params)
        return answer.status_code, answer.text if answer.is_success else answer.json()["code"]


@pytest.fixture
def entrance(tmp_path: Path) -> Iterator[Entrance]:
    access = Access({digest_of("mine"): "mine"}, "default", [digest_of("boss")])
    made = Entrance(tmp_path, access)
    with made.client:
        yield made


def test_a_key_does_what_its_scopes_say(entrance: Entrance) -> None:
    assert entrance.get("search", "mine") == (200, "mine")
    assert entrance.get("ingest", "mine") == (200, "mine")
    assert entrance.get("admin", "mine") == (403, "access.scope")
    assert entrance.get("admin", "boss") == (200, "default")
    refused = entrance.client.get("/v1/admin", headers={"x-api-key": "mine"})
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


def test_administrators_are_written_down_and_so_is_what_was_refused(entrance: Entrance) -> None:
    assert entrance.get("admin", "boss", tenant="theirs") == (200, "theirs")
    assert entrance.get("admin", "mine") == (403, "access.scope")
    assert entrance.get("admin", "guess") == (401, "access.key")
    assert entrance.get("admin", "mine", tenant="theirs") == (403, "access.tenant")
    boss, mine = (
        next(e for e in entrance.told() if e[3] == outcome)[0] for outcome in ("done", "refused")
    )
    assert entrance.told() == [
        (boss, "theirs", "test.act", "begun", ""),
        (boss, "theirs", "test.act", "done", ""),
        (mine, "mine", "refused", "refused", "access.scope"),
        (mine, None, "refused", "refused", "access.tenant"),
    ]
    assert boss.startswith("profile-")
    written = "".join(map(str, entrance.told()))
    for key in ("boss", "mine", "guess"):
        assert digest_of(key) not in written
        assert digest_of(key)[:10] not in written


def test_nobody_fills_the_disk_by_being_refused(entrance: Entrance) -> None:
    for _ in range(130):
        assert entrance.get("admin", "mine") == (403, "access.scope")
    assert len(entrance.told()) == 100
    assert entrance.get("admin", "boss") == (200, "default")
    assert len(entrance.told()) == 102


def test_what_cannot_be_written_down_is_not_answered(entrance: Entrance, tmp_path: Path) -> None:
    (tmp_path / "admin.jsonl").mkdir()
    answers = [entrance.client.get("/v1/admin", headers={"x-api-key": "mine"})]
    assert answers[0].status_code == 503
    assert answers[0].json()["code"] == "access.trail"
    assert str(tmp_path) not in answers[0].json()["detail"]


def test_a_key_is_slowed_down_and_told_how_long(entrance: Entrance) -> None:
    asked = {"x-api-key": "mine"}
    first, second, third = (entrance.client.get("/v1/search", headers=asked) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["ratelimit-policy"] == '"search";q=2;w=4'
    assert [a.headers["ratelimit"] for a in (first, second, third)] == [
        '"search";r=1;t=2',
        '"search";r=0;t=4',
        '"search";r=0;t=4',
    ]
    assert third.headers["retry-after"] == "2"
    assert third.json()["code"] == "access.rate"
    assert third.headers["content-type"] == "application/problem+json"
    assert entrance.get("search", "boss") == (200, "default"), "another key has its own bucket"
    assert entrance.get("ingest", "mine") == (200, "mine"), "and another scope"
    entrance.now = 2.0
    assert entrance.get("search", "mine") == (200, "mine")


def test_without_keys_the_one_at_the_machine_may_do_all_but_no_page_of_elsewhere(
    tmp_path: Path,
) -> None:
    entrance = Entrance(tmp_path, Access({}, "own"))
    with entrance.client as client:
        for scope in Scope:
            assert entrance.get(scope.value) == (200, "own")
        for site in ("cross-site", "same-site"):
            answer = client.get("/v1/search", headers={"sec-fetch-site": site})
            assert (answer.status_code, answer.json()["code"]) == (403, "access.origin")
        for origin in ("http://evil.example", "null", "http://localhost:3000"):
            answer = client.get("/v1/admin", headers={"origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "access.origin")
        assert client.get("/v1/admin", headers={"origin": "http://localhost"}).status_code == 200
    assert [each[2:] for each in entrance.told() if each[2] == "refused"] == [
        ("refused", "refused", "access.origin")
    ] * 3


def test_every_answer_has_the_headers_that_keep_browsers_safe(entrance: Entrance) -> None:
    for path in ("/v1/search", "/v1/openapi.json", "/v1/nowhere", "/", "/ui/x"):
        told = entrance.client.get(path, headers={"x-api-key": "mine"}).headers
        assert told["x-content-type-options"] == "nosniff"
        assert told["cross-origin-opener-policy"] == "same-origin"
        assert told["cross-origin-resource-policy"] == "same-origin"
        assert told["referrer-policy"] == "no-referrer"
        assert told["x-frame-options"] == "DENY"
        assert "camera=()" in told["permissions-policy"]
        policy = told["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src" in policy) == (path in ("/", "/ui/x"))
    assert entrance.client.get("/v1/ingest").headers["cache-control"] == "no-store"


def test_who_has_no_key_is_refused_before_a_byte_of_the_body_is_read() -> None:
    access = Access({digest_of("mine"): "mine"}, "default")
    asked: list[str] = []

    async def app(scope: Scope_, receive: Receive, send: Send) -> None:
        asked.append(scope["path"])
        await Response()(scope, receive, send)

    async def never() -> Message:
        raise AssertionError("the body was read")

    async def ask(path: str, key: bytes) -> int:
        told: list[Message] = []

        async def send(message: Message) -> None:
            told.append(message)

        headers = [(b"x-api-key", key), (b"content-length", b"40000000")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        await Keyed(app, lambda: access)(scope, never, send)
        return int(told[0]["status"])

    async def scene() -> list[int]:
        paths = ["/v1/search", "/v1/nowhere", "/v1/health/live", "/v1/openapi.json", "/", "/ui/x"]
        return [await ask(path, b"guess") for path in paths] + [await ask("/v1/search", b"mine")]

    assert asyncio.run(scene()) == [401, 401, 200, 200, 200, 200, 200]
    assert asked == ["/v1/health/live", "/v1/openapi.json", "/", "/ui/x", "/v1/search"]
