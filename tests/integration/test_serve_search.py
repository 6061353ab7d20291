"""Searches over HTTP: every way to ask the same, many at once, and while snapshots are switched."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ecm.contracts.search import SearchResponse
from tests.factories import asset_id, picture
from tests.serving import FOREIGN, PICTURES, Service, service

RED = {asset_id(data) for name, data in PICTURES.items() if name.startswith("red")}
FILTER = {"must": [{"field": "tags", "any": ["red", "blue"]}]}
PUBLISHES = 5
CLIENTS = 4
QUESTIONS = 1000


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def client(running: Service) -> Iterator[httpx.Client]:
    with running.client() as opened:
        yield opened


def answered(response: httpx.Response) -> SearchResponse:
    assert response.status_code == 200, response.text
    return SearchResponse.model_validate_json(response.content)


def refused(response: httpx.Response, status: int, code: str) -> None:
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), body


def test_what_is_said_in_parameters_in_json_and_beside_an_upload_is_the_same(
    client: httpx.Client,
) -> None:
    rest = {"filter": FILTER, "facets": ["tags"], "min_relevance": 0.0, "sort": "name", "limit": 4}
    posted = answered(client.post("/v1/search", json={"text": "red", **rest}))
    said = {**rest, "filter": json.dumps(FILTER), "q": "red"}
    got = answered(client.get("/v1/search", params=said))
    assert (got.hits, got.facets) == (posted.hits, posted.facets)
    assert posted.facets
    data = PICTURES["red-1.png"]
    image = {"image": base64.b64encode(data).decode(), "text": "red", **rest}
    shown = answered(client.post("/v1/search", json=image))
    form = {"text": "red", "request": json.dumps(rest)}
    sent = answered(client.post("/v1/search/image", files={"image": ("r", data)}, data=form))
    assert sent.hits == shown.hits


def test_tags_and_a_filter_in_parameters_narrow_together(client: httpx.Client) -> None:
    only = answered(client.get("/v1/search", params={"q": "picture", "tag": "red"}))
    assert only.hits
    assert all("red" in hit.tags for hit in only.hits)
    assert {hit.asset_id for hit in only.hits} >= RED
    one = min(RED)
    named = json.dumps({"must": [{"field": "asset", "any": [one]}]})
    both = client.get("/v1/search", params={"q": "picture", "tag": "red", "filter": named})
    assert [hit.asset_id for hit in answered(both).hits] == [one]


def test_without_explanation_and_with_a_profile(client: httpx.Client) -> None:
    plain = answered(client.get("/v1/search", params={"q": "red", "explain": "false"}))
    assert plain.profile is None
    assert {(hit.contributions, hit.why) for hit in plain.hits} == {((), "")}
    timed = answered(client.get("/v1/search", params={"q": "red car", "profile": "true"}))
    assert timed.profile is not None
    assert {"encode", "axes", "rerank", "hits"} <= set(timed.profile)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"q": "red", "filter": "{"}, "filter"),
        ({"q": "red", "filter": '{"must": [{"field": "tags"}]}'}, "filter"),
        ({"q": "red", "filter": "tags = 'red' OR 1=1"}, "filter"),
        ({"q": "red", "min_relevance": "2"}, "min_relevance"),
        ({"q": "red", "sort": "prettiest"}, "sort"),
        ({"q": "red", "timeout_ms": "0"}, "timeout_ms"),
        ({"q": "red", "colour": "blue"}, "colour"),
    ],
)
def test_a_parameter_that_means_nothing_is_refused(
    client: httpx.Client, parameters: dict[str, str], says: str
) -> None:
    answer = client.get("/v1/search", params=parameters)
    refused(answer, 422, "request.invalid")
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"request": "{"}, "request.invalid"),
        ({"request": "[]"}, "request.invalid"),
        ({"request": '{"limit": 3}', "limit": "4"}, "request.invalid"),
        ({"request": '{"image": ""}'}, "request.invalid"),
        ({"request": '{"tenant_id": "other"}'}, "access.tenant"),
        ({"request": "[" * 20_000}, "request.invalid"),
    ],
)
def test_an_upload_with_a_doubtful_rest_is_refused(
    client: httpx.Client, form: dict[str, str], code: str
) -> None:
    files = {"image": ("r.png", PICTURES["red-1.png"])}
    answer = client.post("/v1/search/image", files=files, data=form)
    refused(answer, 403 if code == "access.tenant" else 422, code)


def test_each_question_of_a_batch_is_answered_or_refused_on_its_own(client: httpx.Client) -> None:
    questions: list[Any] = [
        {"text": "red", "limit": 3},
        {"text": "red", "cursor": "made-up"},
        {},
        "no question",
        {"asset_id": "0" * 64},
        {"text": "red", "tenant_id": "other"},
        {"asset_id": asset_id(FOREIGN["secret-red.png"])},
        {"image": base64.b64encode(PICTURES["blue-1.png"]).decode()},
    ]
    answer = client.post("/v1/search/batch", json={"questions": questions})
    assert answer.status_code == 200
    outcomes = answer.json()["answers"]
    assert [(each["problem"] or {}).get("code") for each in outcomes] == [
        None, "query.cursor", "query.empty", "request.invalid", "query.asset_unknown",
        "access.tenant", "query.asset_unknown", None,
    ]  # fmt: skip
    alone = answered(client.post("/v1/search", json=questions[0]))
    together = SearchResponse.model_validate(outcomes[0]["response"])
    assert together.hits == alone.hits
    assert {each["problem"]["request_id"] for each in outcomes if each["problem"]} == {
        answer.headers["x-request-id"]
    }


def test_a_batch_has_bounds(client: httpx.Client) -> None:
    for count in (0, 33):
        many = client.post("/v1/search/batch", json={"questions": [{"text": "red"}] * count})
        refused(many, 422, "request.invalid")
    most = client.post("/v1/search/batch", json={"questions": [{"text": "red"}] * 32})
    assert most.status_code == 200
    assert all(each["response"] for each in most.json()["answers"])


def test_no_request_fails_and_no_page_tears_while_snapshots_are_switched(running: Service) -> None:
    """1,000 searches from four clients, and walks over pages, during five publications."""
    with running.client() as client:
        first = answered(client.get("/v1/search", params={"q": "red", "limit": 5}))
    done, statuses, snapshots = threading.Event(), list[int](), set[str]()

    def ask(number: int) -> None:
        with running.client() as client:
            while not done.is_set() or len(statuses) < QUESTIONS:
                text = f"{('red', 'blue', 'grey')[number % 3]} {len(statuses) % 50}"
                answer = client.get("/v1/search", params={"q": text, "limit": 3})
                statuses.append(answer.status_code)
                snapshots.add(answer.json().get("snapshot_id", ""))

    with ThreadPoolExecutor(CLIENTS) as threads:
        asking = [threads.submit(ask, number) for number in range(CLIENTS)]
        try:
            for number in range(PUBLISHES):
                name = f"brown-{number}.png"
                running.indexer.add({name: picture("brown", 20 + number)}, run_id="run-s")
                published = running.indexer.publish().snapshot_id
                while published not in snapshots:
                    assert not any(task.done() and task.exception() for task in asking)
                    done.wait(0.05)
        finally:
            done.set()
        for task in asking:
            task.result()
    assert len(statuses) >= QUESTIONS
    assert set(statuses) == {200}
    assert len(snapshots) >= PUBLISHES
    with running.client() as client:
        gone = client.get("/v1/search", params={"q": "red", "limit": 5, "cursor": first.cursor})
        refused(gone, 409, "query.cursor_stale")  # its snapshot is four publications old


def test_pages_belong_to_one_snapshot_though_another_is_published_between_them(
    running: Service,
) -> None:
    with running.client() as client:
        page = answered(client.get("/v1/search", params={"q": "red", "limit": 7}))
        seen = [hit.asset_id for hit in page.hits]
        running.indexer.add({"red-late.png": picture("red", 30)}, run_id="run-late")
        published = running.indexer.publish().snapshot_id
        while page.cursor is not None:
            parameters = {"q": "red", "limit": 7, "cursor": page.cursor}
            page = answered(client.get("/v1/search", params=parameters))
            seen += [hit.asset_id for hit in page.hits]
        assert page.snapshot_id != published
        assert len(seen) == len(set(seen)) == page.matched
        assert asset_id(picture("red", 30)) not in seen
