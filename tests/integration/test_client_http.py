"""The client and feedback against a running service: what it reads, what it is refused."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from ecm.access.scopes import Scope
from ecm.client import (
    AsyncClient,
    Client,
    Found,
    NotAllowed,
    NotThere,
    OutOfDate,
    Refused,
    asset_example,
    question,
    views,
    where,
)
from ecm.contracts.feedback import MAX_EVENTS, Click, FeedbackEvent, StoredEvent
from ecm.contracts.filters import Colour
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from tests.factories import asset_id, picture
from tests.serving import FOREIGN, OPERATOR_KEY, PICTURES, SCOPED, Service, service

RED = asset_id(PICTURES["red-1.png"])
(THEIRS,) = map(asset_id, FOREIGN.values())


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def client(running: Service) -> Iterator[Client]:
    with Client(running.address, "key-of-t") as opened:
        yield opened


@pytest.fixture
def stored(running: Service) -> FeedbackStore:
    return FeedbackStore(open_storage(running.indexer.profile.evidence))


def events(stored: FeedbackStore, query_id: str, tenant: str = "t") -> list[StoredEvent]:
    return [
        event
        for event in stored.events(tenant)
        if isinstance(event, StoredEvent) and event.query_id == query_id
    ]


def test_a_question_is_answered_however_it_is_asked(client: Client, tmp_path: Path) -> None:
    words = client.search("red", facets=["tags"], limit=5)
    assert words.hits
    assert words.facets
    path = tmp_path / "red.png"
    path.write_bytes(PICTURES["red-1.png"])
    shown, same = client.search(image=path, limit=3), client.search(image=path.read_bytes())
    assert shown.hits[0].asset_id == same.hits[0].asset_id == RED
    assert client.search(like=RED, limit=3).hits
    both = client.search("red", examples=[asset_example(RED, weight=-0.5)], require=["vv"])
    assert both.query_type
    blue = client.search("picture", filter=where.every(where.tags("blue"), where.width(10)))
    assert blue.hits
    assert all("blue" in hit.tags for hit in blue.hits)
    assert client.search("picture", filter=where.colours(Colour.RED)).matched > 0


def test_pages_are_walked_to_the_end(client: Client) -> None:
    pages = list(client.pages("red", limit=7))
    seen = [hit.asset_id for page in pages for hit in page.hits]
    assert len(pages) > 1
    assert len(seen) == len(set(seen)) == pages[0].matched
    assert len({page.snapshot_id for page in pages}) == 1


def test_each_question_of_a_batch_has_its_own_outcome(client: Client) -> None:
    good, bad, foreign = client.batch(
        [question("red"), question("red", cursor="made-up"), question(like=THEIRS)]
    )
    assert isinstance(good, Found)
    assert isinstance(bad, Refused)
    assert bad.code == "query.cursor"
    assert isinstance(foreign, NotThere)


def test_assets_snapshot_and_health(client: Client) -> None:
    found = client.asset(RED)
    assert (found.asset_id, found.tenant_id) == (RED, "t")
    assert found.evidence
    story = client.history(RED[:12])
    assert story.asset_id == RED
    assert story.analyses
    assert client.thumbnail(RED).startswith(b"\xff\xd8")
    assert client.snapshot().assets >= len(PICTURES)
    assert client.health().status == "ready"
    with pytest.raises(NotThere) as gone:  # no such file on this machine
        client.original(RED)
    assert (gone.value.status, gone.value.code) == (410, "original.gone")


def test_refusals_are_errors_with_all_that_the_service_says(running: Service) -> None:
    with Client(running.address, "no-key") as nobody, pytest.raises(NotAllowed) as refused:
        nobody.search("red")
    assert (refused.value.status, refused.value.code) == (401, "access.key")
    assert refused.value.hint
    assert refused.value.request_id
    with Client(running.address, "key-of-t", tenant="other") as client:
        with pytest.raises(NotAllowed) as foreign:
            client.search("red")
        assert foreign.value.code == "access.tenant"
    with Client(running.address, "key-of-t") as client:
        with pytest.raises(NotThere) as unknown:
            client.asset(THEIRS)
        assert unknown.value.code == "query.asset_unknown"
        with pytest.raises(NotThere):
            client.asset("../../etc/passwd")
    with Client(running.address, OPERATOR_KEY, tenant="other") as operator:
        assert operator.asset(THEIRS).tenant_id == "other"


def test_a_cursor_whose_snapshot_is_gone_is_out_of_date(running: Service, client: Client) -> None:
    page = client.search("red", limit=2)
    for number in range(4):
        running.indexer.add({f"grey-{number}.png": picture("grey", 60 + number)}, run_id="run-c")
        published = running.indexer.publish().snapshot_id
        while client.snapshot().snapshot_id != published:
            pass
        assert client.search("grey").snapshot_id == published
    with pytest.raises(OutOfDate):
        client.search("red", limit=2, cursor=page.cursor)


def test_a_job_is_told_to_who_may_ingest(running: Service, client: Client) -> None:
    name = f"job-{uuid.uuid4().hex[:8]}"
    with running.client() as http:
        assert http.post("/v1/jobs", json={"job_id": name}).status_code == 201
    assert client.job(name).state == "listing"
    searcher = Client(running.address, SCOPED[Scope.SEARCH].text)
    with searcher, pytest.raises(NotAllowed):
        searcher.job(name)


def test_the_same_from_asyncio(running: Service) -> None:
    async def ask() -> tuple[list[Found], int]:
        async with AsyncClient(running.address, "key-of-t") as client:
            pages = [page async for page in client.pages("blue", limit=9)]
            several = await asyncio.gather(*(client.search(f"red {n}") for n in range(4)))
            return pages, len(several)

    pages, count = asyncio.run(ask())
    assert len(pages) > 1
    assert count == 4


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (views.Snapshot, "SnapshotView"),
        (views.Health, "Readiness"),
        (views.Asset, "AssetView"),
        (views.Statement, "StoredEvidence"),
        (views.Place, "AssetVersion"),
        (views.History, "AssetHistory"),
        (views.Analysis, "Analysis"),
        (views.GivenUp, "GivenUp"),
        (views.JobProgress, "JobView"),
        (views.ProblemSaid, "ProblemView"),
        (Found, "SearchResponse"),
    ],
)
def test_the_clients_shapes_are_the_services(
    running: Service, own: type[BaseModel], theirs: str
) -> None:
    with running.client() as http:
        schemas = http.get("/v1/openapi.json").json()["components"]["schemas"]
    assert own.model_fields.keys() - {"query_id"} <= schemas[theirs]["properties"].keys()


def test_feedback_is_durable_when_it_is_answered(client: Client, stored: FeedbackStore) -> None:
    found = client.search("red car", limit=5)
    now = time.time()
    hit = found.hits[0]
    told: list[FeedbackEvent] = [
        found.impression(now, query="red car", unit="mary", session="of today"),
        found.click(hit, now + 1, unit="mary"),
        found.dwell(hit, 12.5, now + 2),
    ]
    receipt = client.feedback(told)
    assert (receipt.stored, receipt.repeated, receipt.outside) == (3, 0, 0)
    shown, clicked, looked = events(stored, found.query_id)
    assert shown.snapshot_id == found.snapshot_id
    assert shown.ranking == found.ranking.digest
    assert [one.asset_id for one in shown.shown] == [one.asset_id for one in found.hits]
    assert (clicked.asset_id, clicked.rank, looked.seconds) == (hit.asset_id, 1, 12.5)
    assert shown.unit == clicked.unit != shown.session
    assert events(stored, found.query_id, "other") == []


def test_the_same_told_twice_is_stored_once(running: Service, stored: FeedbackStore) -> None:
    name = f"q-{uuid.uuid4().hex}"
    click = {"kind": "click", "at": time.time(), "query_id": name, "asset_id": RED, "rank": 3}
    named = {**click, "event_id": f"e-{name}"}
    with running.client() as http:
        first = http.post("/v1/feedback", json={"events": [click, named, named]})
        again = http.post("/v1/feedback", json={"events": [named, click]})
    assert first.status_code == again.status_code == 202
    assert (first.json()["stored"], first.json()["repeated"]) == (2, 1)
    assert (again.json()["stored"], again.json()["repeated"]) == (0, 2)
    assert len(events(stored, name)) == 2


def test_what_is_no_feedback_of_this_caller_is_refused(running: Service) -> None:
    good = {"kind": "click", "at": time.time(), "query_id": "q", "asset_id": RED, "rank": 3}
    with running.client() as http:
        for bad in ([], [{**good, "rank": 0}], [{**good, "tenant_id": "other"}], [good] * 501):
            assert http.post("/v1/feedback", json={"events": bad}).status_code == 422
        much = http.post("/v1/feedback", content=b" " * (4 * 2**20 + 1))
        assert much.status_code == 413
        foreign = http.post("/v1/feedback", json={"events": [good]}, headers={"X-Tenant": "other"})
        assert foreign.json()["code"] == "access.tenant"
        old = http.post("/v1/feedback", json={"events": [{**good, "at": 1.0}]})
        assert old.json() == {"schema_version": 1, "stored": 0, "repeated": 0, "outside": 1}
    with running.client(SCOPED[Scope.INGEST].text) as http:
        refused = http.post("/v1/feedback", json={"events": [good]})
        assert refused.json()["code"] == "access.scope"


def test_as_much_as_may_be_told_at_once_is_told(client: Client, stored: FeedbackStore) -> None:
    name = f"q-{uuid.uuid4().hex}"
    now = time.time()
    many = [Click(at=now, query_id=name, asset_id=RED, rank=n) for n in range(1, MAX_EVENTS + 1)]
    assert client.feedback(many).stored == MAX_EVENTS
    assert len(events(stored, name)) == MAX_EVENTS
