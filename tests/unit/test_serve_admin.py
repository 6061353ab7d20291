"""Snapshots over HTTP, on a real store: whose they are, how they are switched, who did it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ecm.access.keys import digest_of, new_key
from ecm.access.ring import Absence, KeyRing
from ecm.access.scopes import Scope
from ecm.access.trail import Trail
from tests.factories import Indexer, fake_profile, gallery, picture

with warnings.catch_warnings():  # Ray 2.60 gives pydantic arguments that pydantic deprecates
    warnings.simplefilter("ignore")
    from serve.access import Access
    from serve.admin_api import Shelf, admin_routes
    from serve.api import new_api
    from serve.confine import Roots
    from serve.door import Door, Guards

from ecm.access.key_file import change_keys

ADMIN = new_key("t", [Scope.ADMIN], 0.0)
SEARCH = new_key("t", [Scope.SEARCH], 0.0)


class Office:
    """A store of tenant t with two snapshots, of which the newer one is published."""

    def __init__(self, folder: Path) -> None:
        self.indexer = Indexer(fake_profile(folder))
        self.indexer.add(gallery(1))
        self.first = self.indexer.publish().snapshot_id
        self.indexer.add({"new.png": picture("red", 77)}, run_id="run-2")
        self.second = self.indexer.publish().snapshot_id
        profile = self.indexer.profile
        records = (ADMIN.record, SEARCH.record)
        change_keys(profile.keys_file, lambda _: (records, None))
        access = Access(
            {}, "t", [digest_of("boss")], ring=KeyRing(profile.keys_file, Absence.TROUBLE)
        )
        guards = Guards(trail=Trail(profile.trail_file))
        door = Door(profile.ledger, access, Roots((), lambda: False), guards=guards)
        shelf = Shelf(profile.evidence)
        api = new_api()
        api.include_router(admin_routes(lambda _: door, lambda _: shelf))
        self.client = TestClient(
            api, base_url="http://localhost", headers={"x-api-key": ADMIN.text}
        )

    def published(self) -> str:
        return str(self.client.get("/v1/snapshots").json()["published"])


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    with made.client:
        yield made


def test_who_has_all_of_a_store_switches_what_it_shows(office: Office) -> None:
    listed = office.client.get("/v1/snapshots").json()
    assert listed["may_switch"] is True
    assert [item["snapshot_id"] for item in listed["items"]] == [office.second, office.first]
    assert [item["published"] for item in listed["items"]] == [True, False]
    assert listed["items"][0]["assets"] == listed["items"][1]["assets"] + 1
    back = office.client.post("/v1/snapshots/rollback", json={})
    assert (back.status_code, back.json()) == (200, {"published": office.first})
    assert office.published() == office.first
    none = office.client.post("/v1/snapshots/rollback", json={})
    assert (none.status_code, none.json()["code"]) == (404, "snapshot.not_found")
    again = office.client.post(f"/v1/snapshots/{office.second}/publish")
    assert again.json() == {"published": office.second}
    assert office.published() == office.second
    log = office.client.get("/v1/admin-log").json()["items"]
    assert [(e["action"], e["target"], e["outcome"], e["detail"]) for e in log] == [
        ("snapshots.publish", office.second, "done", ""),
        ("snapshots.publish", office.second, "begun", ""),
        ("snapshots.rollback", "", "failed", "snapshot.not_found"),
        ("snapshots.rollback", "", "begun", ""),
        ("snapshots.rollback", "", "done", ""),
        ("snapshots.rollback", "", "begun", ""),
    ]
    assert {e["who"] for e in log} == {ADMIN.record.key_id}
    assert all(e["request_id"] for e in log)


def test_another_tenant_in_any_snapshot_makes_it_an_operators_business(office: Office) -> None:
    office.indexer.add({"theirs.png": picture("blue", 5)}, tenant="other", run_id="run-3")
    third = office.indexer.publish().snapshot_id
    listed = office.client.get("/v1/snapshots").json()
    assert listed["may_switch"] is False
    for path, body in (
        (f"/v1/snapshots/{office.first}/publish", None),
        ("/v1/snapshots/rollback", {}),
        ("/v1/snapshots/rollback", {"to": office.first}),
    ):
        refused = office.client.post(path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "access.operator")
    assert office.published() == third
    boss = {"x-api-key": "boss"}
    assert office.client.get("/v1/snapshots", headers=boss).json()["may_switch"] is True
    back = office.client.post("/v1/snapshots/rollback", json={}, headers=boss)
    assert back.json() == {"published": office.second}


def test_snapshots_are_administrators_business_and_names_are_names(office: Office) -> None:
    for path in ("/v1/snapshots", "/v1/admin-log"):
        refused = office.client.get(path, headers={"x-api-key": SEARCH.text})
        assert (refused.status_code, refused.json()["code"]) == (403, "access.scope")
    told = office.client.get("/v1/access", headers={"x-api-key": SEARCH.text}).json()
    assert told["scopes"] == ["search"]
    for name, status in (("none-such", 404), ("..%2f..", 404), ("x" * 200, 422), ("a b", 422)):
        answer = office.client.post(f"/v1/snapshots/{name}/publish")
        assert answer.status_code == status, name
        assert answer.headers["content-type"] == "application/problem+json"
    assert office.published() == office.second
    log = office.client.get("/v1/admin-log", params={"limit": 1}).json()
    assert len(log["items"]) == 1
    assert log["damaged_lines"] == 0
