"""The search service over HTTP, as a real process."""

from __future__ import annotations

import base64
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ecm.contracts.search import MAX_IMAGE_BYTES, Axis, SearchResponse
from ecm.evidence.pins import all_pins
from ecm.evidence.story import AssetHistory
from tests.factories import asset_id, picture
from tests.serving import FOREIGN, PICTURES, REPO, Service, service

RED, YELLOW = (
    {asset_id(data) for name, data in PICTURES.items() if name.startswith(colour)}
    for colour in ("red", "yellow")
)
SWITCH_SECONDS = 2.0
PATIENCE = 3.0
"""How much slower than promised a loaded test machine may be."""


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def client(running: Service) -> Iterator[httpx.Client]:
    with running.client() as opened:
        yield opened


@pytest.fixture
def stranger(running: Service) -> Iterator[httpx.Client]:
    with running.client("key-of-other") as opened:
        yield opened


def answered(response: httpx.Response) -> SearchResponse:
    assert response.status_code == 200, response.text
    return SearchResponse.model_validate_json(response.content)


def refused(response: httpx.Response, status: int, code: str) -> str:
    """The detail of a problem+json answer of this status and code."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    return str(body["detail"])


def test_a_text_finds_explained_hits_by_get_and_post(client: httpx.Client) -> None:
    posted = answered(client.post("/v1/search", json={"text": "red", "limit": 3}))
    got = answered(client.get("/v1/search", params={"q": "red", "limit": 3}))
    assert {hit.asset_id for hit in posted.hits} == RED
    assert posted.hits == got.hits
    best = posted.hits[0]
    assert math.fsum(part.value for part in best.contributions) == pytest.approx(best.score)
    assert best.why
    assert {row.run_id for row in best.evidence} == {"run-1"}
    assert posted.degraded == ()


def test_an_uploaded_image_finds_itself_and_its_like(client: httpx.Client) -> None:
    data = PICTURES["yellow-1.png"]
    answer = answered(client.post("/v1/search/image", files={"image": ("y.png", data)}))
    first = answer.hits[:3]
    assert {hit.asset_id for hit in first} == YELLOW
    assert [hit.asset_id for hit in first if hit.axes[Axis.X].rank == 1] == [asset_id(data)]
    same = answered(client.post("/v1/search", json={"image": base64.b64encode(data).decode()}))
    assert [hit.asset_id for hit in same.hits] == [hit.asset_id for hit in answer.hits]


def test_text_and_image_together_weigh_both(client: httpx.Client) -> None:
    form = {"text": "red", "limit": "200"}
    upload = {"image": ("b.png", picture("blue", 9))}
    answer = answered(client.post("/v1/search/image", files=upload, data=form))
    assert answer.query_type == "mixed"
    assert {"vv", "x", "mv", "fts"} <= set(answer.hits[0].axes)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 422, "decode.empty", id="no-bytes"),
        pytest.param(b"plain text", 415, "decode.unsupported", id="no-image"),
        pytest.param(picture("red")[:300], 422, "decode.truncated", id="cut-off"),
    ],
)
def test_an_upload_that_is_no_whole_image_is_refused(
    client: httpx.Client, data: bytes, status: int, code: str
) -> None:
    refused(client.post("/v1/search/image", files={"image": ("x.png", data)}), status, code)


def test_a_body_above_the_limit_is_refused_before_and_while_it_is_read(
    client: httpx.Client,
) -> None:
    large = b"x" * (MAX_IMAGE_BYTES + 2**20)
    declared = client.post("/v1/search/image", files={"image": ("x.png", large)})
    refused(declared, 413, "input.too_large")

    def pieces() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        for start in range(0, len(large), 2**20):
            yield large[start : start + 2**20]
        yield b"\r\n--b--\r\n"

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    streamed = client.post("/v1/search/image", content=pieces(), headers=kind)
    refused(streamed, 413, "input.too_large")


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({}, 422, "query.empty", "empty query"),
        ({"text": "   "}, 422, "query.empty", "empty query"),
        ({"text": "x" * 2001}, 422, "request.invalid", "2000"),
        ({"text": "red", "limit": 0}, 422, "request.invalid", "limit"),
        ({"text": "red", "colour": 1}, 422, "request.invalid", "colour"),
        ({"text": "red", "cursor": "made-up"}, 400, "query.cursor", "cursor"),
        ({"text": "cat", "require": ["x"]}, 422, "query.axes", "x"),
        ({"asset_id": "0" * 64}, 404, "query.asset_unknown", "no asset"),
        ({"text": "red", "tenant_id": "other"}, 403, "access.tenant", "other"),
    ],
)
def test_a_request_that_cannot_be_answered_says_what_is_wrong(
    client: httpx.Client, body: dict[str, object], status: int, code: str, says: str
) -> None:
    assert says in refused(client.post("/v1/search", json=body), status, code)


def test_an_asset_shows_its_facts_places_and_all_evidence(client: httpx.Client) -> None:
    data = PICTURES["green-2.png"]
    body = client.get(f"/v1/assets/{asset_id(data)}").json()
    assert (body["width"], body["height"], body["size"]) == (320, 240, len(data))
    assert body["uris"] == ["file:///photos/green-2.png"]
    kinds = {row["kind"] for row in body["evidence"]}
    assert {"caption", "tag", "classification", "vector.vv", "vector.x", "vector.mv"} <= kinds
    assert all(row["chosen"] for row in body["evidence"])
    thumbnail = client.get(f"/v1/assets/{asset_id(data)}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/jpeg"
    assert thumbnail.content.startswith(b"\xff\xd8")


def test_an_asset_tells_its_history_by_its_id_or_the_start_of_it(client: httpx.Client) -> None:
    asset = asset_id(PICTURES["green-2.png"])
    told = AssetHistory.model_validate_json(client.get(f"/v1/assets/{asset[:12]}/history").content)
    assert (told.asset_id, told.lies_at) == (asset, ("file:///photos/green-2.png",))
    assert [event.what.value for event in told.events] == ["seen"]
    assert {each.task_type for each in told.analyses} >= {"vision", "vv_embed", "mv_embed"}
    assert all(each.model for each in told.analyses)
    published = [shown.published for shown in told.snapshots]
    assert published.count(True) == 1, "others may have published before"
    assert told.dead_letters == ()
    assert "/v1/assets/{asset_id}/history" in client.get("/v1/openapi.json").json()["paths"]


@pytest.mark.parametrize("path", ["", "/thumbnail", "/history"])
@pytest.mark.parametrize("name", ["0" * 64, "not-a-digest", asset_id(FOREIGN["secret-red.png"])])
def test_an_unknown_or_foreign_asset_is_not_found(
    client: httpx.Client, name: str, path: str
) -> None:
    refused(client.get(f"/v1/assets/{name}{path}"), 404, "query.asset_unknown")


def test_a_key_decides_whose_images_are_searched(
    running: Service, client: httpx.Client, stranger: httpx.Client
) -> None:
    own = answered(client.post("/v1/search", json={"text": "red", "limit": 200}))
    theirs = answered(stranger.post("/v1/search", json={"text": "red", "limit": 200}))
    assert {uri for hit in theirs.hits for uri in hit.uris} == {"file:///photos/secret-red.png"}
    assert not {hit.asset_id for hit in own.hits} & {hit.asset_id for hit in theirs.hits}
    assert stranger.get("/v1/snapshot").json()["assets"] == len(FOREIGN)
    refused(stranger.get("/v1/snapshot", headers={"X-Tenant": "t"}), 403, "access.tenant")
    for key in (None, "", "guess"):
        with running.client(key) as nobody:
            denied = nobody.get("/v1/search", params={"q": "red"})
            refused(denied, 401, "access.key")
            assert denied.headers["www-authenticate"].startswith("Bearer")


def test_bearer_tokens_are_keys_too(running: Service) -> None:
    with running.client(None) as client:
        headers = {"Authorization": "Bearer key-of-t"}
        assert answered(client.get("/v1/search", params={"q": "red"}, headers=headers)).hits


def test_health_page_metrics_and_openapi_need_no_key(running: Service) -> None:
    with running.client(None) as client:
        assert client.get("/v1/health/live").json() == {"status": "live"}
        ready = client.get("/v1/health/ready").json()
        assert (ready["status"], ready["degraded"]) == ("ready", {})
        page = client.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert client.get("/ui/page.js").headers["content-type"].startswith("text/javascript")
        refused(client.get("/ui/../app.py"), 404, "http.not_found")
        refused(client.get("/v1/nowhere"), 401, "access.key")
        key = {"X-API-Key": "key-of-t"}
        refused(client.get("/v1/nowhere", headers=key), 404, "http.not_found")
        refused(client.put("/v1/search", headers=key), 405, "http.method")
        described = client.get("/v1/openapi.json").json()
        search = described["paths"]["/v1/search"]["post"]
        assert search["requestBody"]["content"]["application/json"]["examples"]
        assert "application/problem+json" in search["responses"]["422"]["content"]
        told = client.get("/metrics").text
        (live,) = (
            line for line in told.splitlines() if "/v1/health/live" in line and "requests_t" in line
        )
        assert live.startswith('ecm_http_requests_total{replica="Ingress#')


def test_many_at_once_are_answered_or_told_to_come_again(running: Service) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with running.client() as client:
            for colour in ("red", "green", "blue"):
                answer = client.get("/v1/search", params={"q": colour})
                statuses.append(answer.status_code)
                if answer.status_code != 200:
                    assert int(answer.headers["retry-after"]) >= 1

    workers = [threading.Thread(target=ask) for _ in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(statuses) == 36
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 30


def test_a_new_snapshot_is_served_soon_and_no_request_fails_on_the_way(running: Service) -> None:
    seen: list[tuple[float, int, str]] = []
    done = threading.Event()

    def keep_asking() -> None:
        with running.client() as client:
            while not done.is_set():
                answer = client.get("/v1/search", params={"q": "brown"})
                body = answer.json()
                seen.append((time.monotonic(), answer.status_code, body.get("snapshot_id", "")))

    with running.client() as client:
        before = answered(client.get("/v1/search", params={"q": "red", "limit": 2}))
        worker = threading.Thread(target=keep_asking)
        worker.start()
        running.indexer.add({"brown-new.png": picture("brown", 11)}, run_id="run-2")
        published = running.indexer.publish()
        at = time.monotonic()
        while not any(snapshot == published.snapshot_id for _, _, snapshot in seen):
            assert time.monotonic() - at < SWITCH_SECONDS * PATIENCE
            done.wait(0.05)
        done.set()
        worker.join()
        page = client.get(
            "/v1/search", params={"q": "red", "limit": 2, "cursor": before.cursor or ""}
        )
    assert {status for _, status, _ in seen} == {200}
    order = [snapshot for _, _, snapshot in seen]
    assert order == sorted(order, key=[before.snapshot_id, published.snapshot_id].index)
    assert answered(page).snapshot_id == before.snapshot_id
    assert answered(page).hits[0].rank == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "serve.prot=1"], "serve.prot"),
        (["--profile", "nowhere"], "nowhere"),
        (["--set", "search.ranking=nowhere"], "nowhere"),
        (["--port", "{taken}"], "cannot listen"),
    ],
)
def test_a_service_that_cannot_start_says_why_in_one_line(
    running: Service, arguments: list[str], says: str
) -> None:
    taken = running.address.rpartition(":")[2]
    given = [argument.format(taken=taken) for argument in arguments]
    ended = subprocess.run(
        [sys.executable, "-m", "serve.app", "--home", str(running.home), *given],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("ecm: ")]
    assert ended.returncode == 2
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in ended.stderr


def test_it_ends_cleanly_when_asked_to(running: Service) -> None:
    """Last of this file: the next test that needs a service gets a new one."""
    assert all_pins(running.indexer.store)
    assert running.stop() == 0
    assert all_pins(running.indexer.store) == ()
