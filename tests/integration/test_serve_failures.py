"""Parts of the running service die or are slow: it says so, or refuses, and recovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ecm.contracts.search import Axis, SearchResponse
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.snapshot import SnapshotStore
from ecm.opening import axis_transforms
from tests.factories import Indexer, fake_profile
from tests.serving import PICTURES, REPO, Service, service

PATIENCE = 90.0
"""Seconds that a replica may take to be replaced on a loaded machine."""


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def client(running: Service) -> Iterator[httpx.Client]:
    with running.client() as opened:
        yield opened
        until(lambda: whole(opened))


def kill(running: Service, deployment: str) -> None:
    """End the process of every replica of a deployment, as the kernel would."""
    family = psutil.Process(running.process.pid).children(recursive=True)
    name = f"ray::ServeReplica:search:{deployment}"
    found = [member for member in family if name in " ".join(member.cmdline()) + member.name()]
    assert found, deployment
    for member in found:
        member.kill()
    psutil.wait_procs(found, timeout=10)


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def ask(client: httpx.Client, **fields: Any) -> httpx.Response:
    """A question that was not asked before, so that nothing is remembered of it."""
    ask.number = getattr(ask, "number", 0) + 1  # type: ignore[attr-defined]
    text = f"{fields.pop('text', 'red')} {ask.number}"  # type: ignore[attr-defined]
    return client.post("/v1/search", json={"text": text, **fields})


def whole(client: httpx.Client) -> bool:
    """Whether a search is answered with nothing amiss."""
    answer = ask(client)
    return answer.status_code == 200 and answer.json()["degraded"] == []


def answered(response: httpx.Response) -> SearchResponse:
    assert response.status_code == 200, response.text
    return SearchResponse.model_validate_json(response.content)


def lost(answer: SearchResponse) -> dict[str, str]:
    """Axes and steps that did not take part, and the codes why."""
    return {(one.axis or one.step or ""): one.code.value for one in answer.degraded}


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["request_id"]
    if status == 503:
        assert int(response.headers["retry-after"]) >= 1


def test_without_its_encoder_words_are_still_found_and_the_axes_flagged(
    running: Service, client: httpx.Client
) -> None:
    assert whole(client)
    kill(running, "Encoder")
    answer = answered(ask(client))
    assert {"vv", "mv"} <= set(lost(answer))
    assert set(lost(answer).values()) == {"unreachable"}
    assert "fts" in answer.hits[0].axes
    assert "vv" not in answer.fingerprints
    refused(ask(client, require=["vv"]), 503, "axis.vv")
    like = {"asset_id": answer.hits[0].asset_id}
    assert answered(client.post("/v1/search", json=like)).degraded == ()  # needs no encoder
    until(lambda: whole(client))


def test_without_its_reranker_hits_are_in_the_merged_order_and_that_is_said(
    running: Service, client: httpx.Client
) -> None:
    before = answered(ask(client, limit=2))
    assert before.ranking.reranked > 0
    kill(running, "Reranker")
    answer = answered(ask(client))
    assert lost(answer) == {"rerank": "unreachable"}
    assert answer.ranking.reranked == 0
    assert answer.hits
    assert answered(ask(client, rerank="off")).degraded == ()


def test_without_the_snapshots_holder_searches_are_refused_until_it_is_back(
    running: Service, client: httpx.Client
) -> None:
    kill(running, "Candidates")
    seen: set[int] = set()

    def recovered() -> bool:
        answer = ask(client)
        seen.add(answer.status_code)
        if answer.status_code != 200:
            refused(answer, 503, "restarting")
        return answer.status_code == 200

    until(recovered)
    assert seen <= {200, 503}


def test_a_search_with_little_time_says_what_it_left_out(client: httpx.Client) -> None:
    answer = answered(ask(client, timeout_ms=0.01))
    assert answer.partial
    assert set(lost(answer).values()) == {"timeout"}
    refused(ask(client, timeout_ms=0.01, require=["fts"]), 503, "axis.fts")
    assert not answered(ask(client, timeout_ms=60_000)).partial


def test_an_axis_that_the_snapshot_lacks_is_flagged_and_refused_where_it_is_required(
    running: Service, client: httpx.Client
) -> None:
    snapshots = SnapshotStore(running.indexer.store)
    marks = axis_transforms(running.indexer.plan)
    kept = {axis: (mark,) for axis, mark in marks.items() if axis is not Axis.MV}
    running.indexer.now += 1.0
    made = snapshots.build(SnapshotPolicy(transforms=kept), running.indexer.now)
    snapshots.publish(made.snapshot_id, running.indexer.now)
    try:
        until(lambda: ask(client).json().get("snapshot_id") == made.snapshot_id)
        answer = answered(ask(client))
        assert lost(answer) == {"mv": "index_missing"}
        assert {"vv", "fts"} <= set(answer.fingerprints)
        refused(ask(client, require=["mv"]), 503, "axis.mv")
    finally:
        running.indexer.publish()


def test_vectors_of_a_model_that_the_service_does_not_have_are_not_compared(
    running: Service, client: httpx.Client, tmp_path: Path
) -> None:
    """The snapshot was made with a newer visual model: its axis is stale, the others answer."""
    recipe = (REPO / "conf" / "models" / "fake-image.yaml").read_text()
    newer = tmp_path / "models" / "fake-image-newer.yaml"
    newer.parent.mkdir()
    newer.write_text(
        recipe.replace("name: fake-image", "name: fake-image-newer").replace('"1"', '"2"')
    )
    store = running.indexer.profile.evidence
    profile = fake_profile(tmp_path, "models.vv=fake-image-newer", f"evidence.uri={store.uri}")
    other = Indexer(profile, now=running.indexer.now + 1.0)
    other.batches = 1000
    for tenant in ("t", "tried"):
        other.add(PICTURES, tenant=tenant, run_id=f"run-newer-{tenant}")
    published = other.publish().snapshot_id
    running.indexer.now = other.now
    try:
        until(lambda: ask(client).json().get("snapshot_id") == published)
        answer = answered(ask(client))
        assert lost(answer) == {"vv": "fingerprint"}
        assert answer.hits
        assert "vv" not in answer.fingerprints
        refused(ask(client, require=["vv"]), 503, "axis.vv")
        assert "vv" in client.get("/v1/health/ready").json()["degraded"]
    finally:
        running.indexer.publish()


def test_what_fails_is_counted(client: httpx.Client) -> None:
    assert answered(ask(client, timeout_ms=0.01)).partial
    ask(client, limit=1, axes=["x"])
    told = client.get("/metrics").text
    kinds = {"ecm_search_degraded_total", "ecm_search_failed_total", "ecm_search_stage_seconds_sum",
             "ecm_search_axis_seconds_sum", "ecm_cache_requests_total", "ecm_encode_batch_sum",
             "ecm_rerank_seconds_sum", "ecm_snapshot", "ecm_http_requests_total"}  # fmt: skip
    lines = [line for line in told.splitlines() if not line.startswith("#")]
    assert kinds <= {line.partition("{")[0] for line in lines}
    for name in ("Candidates", "Encoder", "Reranker", "Ingress"):
        assert f'ecm_replicas{{deployment="{name}"}} 1.0' in lines
        assert any(f'replica="{name}#' in line for line in lines)
