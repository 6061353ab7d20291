"""The queue and the ledger over HTTP with real keys, in a real service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ecm.access.scopes import Scope
from ecm.errors import ContractError, Forbidden, LeaseLost, LedgerUnavailable
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import Failure, Redrive
from ecm.ledger.states import TaskState
from tests.ledger_tasks import (
    START,
    TTL,
    VISION,
    chunk,
    claim,
    failure,
    list_names,
    open_job,
)
from tests.serving import OPERATOR_KEY, SCOPED, Service, service

MTIME = 1_790_000_000_000_000_000


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


@pytest.fixture
def operator(running: Service) -> Iterator[httpx.Client]:
    with running.client(OPERATOR_KEY) as opened:
        yield opened


@pytest.fixture
def manager(running: Service) -> Iterator[httpx.Client]:
    """Of tenant t, for everything that is t's."""
    with running.client(SCOPED[Scope.ADMIN].text) as opened:
        yield opened


def ledger_of(running: Service, key: str, **settings: Any) -> Ledger:
    return open_ledger(LedgerConfig(url=running.address, api_key=key, **settings))


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json", response.text
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    return body


def images(*names: str) -> list[dict[str, Any]]:
    return [{"uri": f"file:///photos/{n}.jpg", "size": 10, "mtime_ns": MTIME} for n in names]


def fresh(number: int = 1) -> list[str]:
    """Names that no other test of the session has submitted."""
    return [f"{uuid.uuid4().hex}" for _ in range(number)]


def test_a_producer_submits_looks_and_cancels(client: httpx.Client) -> None:
    names = fresh(2)
    made = client.post("/v1/jobs", json={"source": "camera 7"})
    assert made.status_code == 201
    job_id = made.json()["job_id"]
    asked = {"job_id": job_id, "resources": images(*names), "priority": 3}
    sent = client.post("/v1/tasks", json=asked)
    assert sent.status_code == 202, sent.text
    said = sent.json()
    assert (said["queued"], said["reused"], said["repeated"], said["dead"]) == (2, 0, 0, 0)
    assert {task["uri"] for task in said["tasks"]} == {f"file:///photos/{n}.jpg" for n in names}
    assert {task["task_type"] for task in said["tasks"]} == {
        "vision",
        "vv_embed",
        "x_embed",
        "mv_embed",
    }
    assert client.post("/v1/tasks", json=asked).json() == said
    assert client.get(f"/v1/jobs/{job_id}").json()["counts"] is None
    job = client.get(f"/v1/jobs/{job_id}", params={"counts": True}).json()
    assert (job["state"], job["source"], job["open_tasks"]) == ("listing", "camera 7", 8)
    assert (job["counts"]["listed"], job["counts"]["pending"]) == (2, 2)
    assert job["counts"]["balanced"]
    assert client.post(f"/v1/jobs/{job_id}/close").json()["state"] == "listed"
    late = client.post("/v1/tasks", json={"job_id": job_id, "resources": images(*fresh())})
    refused(late, 409, "ledger.listing_closed")
    task_id = said["tasks"][0]["task_id"]
    history = client.get(f"/v1/tasks/{task_id}").json()
    assert (history["state"], history["tenant_id"]) == ("queued", "t")
    queue = client.get("/v1/queue").json()
    assert queue["queue"]["queued"] >= 8
    assert {part["tenant_id"] for part in queue["depth"]} == {"t"}
    assert client.post(f"/v1/jobs/{job_id}/cancel").json() == {"cancelled": 8}
    assert client.get(f"/v1/tasks/{task_id}").json()["entries"][-1]["state"] == "cancelled"


def test_the_same_work_is_never_doubled_whatever_job_asks_for_it(client: httpx.Client) -> None:
    name = fresh()
    first = client.post("/v1/tasks", json={"resources": images(*name)}).json()
    assert client.post("/v1/tasks", json={"resources": images(*name)}).json() == first
    second = client.post("/v1/tasks", json={"resources": images(*name), "priority": 1}).json()
    assert first["job_id"] != second["job_id"]
    assert first["tasks"] == second["tasks"]
    books = client.get(f"/v1/jobs/{second['job_id']}", params={"counts": True}).json()
    assert (books["state"], books["counts"]["listed"]) == ("listed", 1)


def test_task_types_and_named_transforms_are_chosen_by_the_job(client: httpx.Client) -> None:
    chosen = {"task_types": ["vision"], "resources": images(*fresh())}
    assert [t["task_type"] for t in client.post("/v1/tasks", json=chosen).json()["tasks"]] == [
        "vision"
    ]
    ocr = {"task_types": ["ocr"], "resources": images(*fresh())}
    refused(client.post("/v1/tasks", json=ocr), 422, "ledger.transform")
    own = {"task_type": "ocr", "transform": "0" * 64}
    own |= {"model_spec": {"backend": "b", "model_id": "m", "revision": "1"}}
    job = client.post("/v1/jobs", json={"transforms": [own]}).json()
    unnamed = {"job_id": job["job_id"], "resources": images(*fresh())}
    refused(client.post("/v1/tasks", json=unnamed), 422, "ledger.transform")
    named = client.post("/v1/tasks", json={**unnamed, "transforms": [own]}).json()
    assert [task["task_type"] for task in named["tasks"]] == ["ocr"]


@pytest.mark.parametrize(
    ("resource", "status", "code"),
    [
        ({"uri": "file:///etc/passwd"}, 403, "source.root"),
        ({"uri": "file:///photos/../etc/a.jpg"}, 403, "source.root"),
        ({"uri": "file:///photos/%2e%2e/etc/a.jpg"}, 403, "source.root"),
        ({"uri": "file:///photos2/a.jpg"}, 403, "source.root"),
        ({"uri": "file:///photos"}, 403, "source.root"),
        ({"uri": "s3://others/a.jpg"}, 403, "source.root"),
        ({"uri": "s3://pictures/../others/a.jpg"}, 403, "source.root"),
        ({"uri": "http://169.254.169.254/a.jpg"}, 422, "source.scheme"),
        ({"uri": "a.jpg"}, 422, "source.scheme"),
        ({"uri": "file:///photos/a%00.jpg"}, 422, "source.scheme"),
        ({"uri": "file:///photos/a\u0000.jpg"}, 422, "source.scheme"),
        ({"size": -1}, 422, "request.invalid"),
        ({"size": 2**63}, 422, "request.invalid"),
        ({"mtime_ns": None}, 422, "request.invalid"),
        ({"surprise": 1}, 422, "request.invalid"),
    ],
)
def test_a_resource_outside_the_roots_or_out_of_shape_is_refused(
    client: httpx.Client, resource: dict[str, Any], status: int, code: str
) -> None:
    (good,) = images(*fresh())
    body = {"resources": [{**good, **resource}]}
    refused(client.post("/v1/tasks", json=body), status, code)


def test_too_much_at_once_is_refused_before_it_is_read(client: httpx.Client) -> None:
    (one,) = images("a")
    refused(client.post("/v1/tasks", json={"resources": [one] * 1001}), 422, "request.invalid")
    refused(client.post("/v1/tasks", content=b"x" * (5 * 2**20)), 413, "input.too_large")
    refused(client.post("/v1/ledger/claim", content=b"x" * (9 * 2**20)), 413, "input.too_large")


def test_a_deep_queue_asks_to_wait_and_refuses_low_priority(running: Service) -> None:
    with running.client("key-of-narrow") as client:
        first = client.post("/v1/tasks", json={"resources": images(*fresh(2))})
        assert (first.json()["throttle_seconds"], "retry-after" in first.headers) == (0.0, False)
        second = client.post("/v1/tasks", json={"resources": images(*fresh(2))})
        assert second.headers["retry-after"] == "5"
        low = {"resources": images(*fresh()), "priority": -1}
        problem = client.post("/v1/tasks", json=low)
        refused(problem, 429, "ledger.queue_full")
        assert int(problem.headers["retry-after"]) >= 1
        assert client.get("/v1/queue").json()["queue"]["queued"] == 16


def test_dead_letters_are_listed_by_cause_and_redriven(
    running: Service, client: httpx.Client, manager: httpx.Client
) -> None:
    said = client.post("/v1/tasks", json={"resources": images(*fresh()), "priority": 100}).json()
    with ledger_of(running, OPERATOR_KEY) as ledger:
        history = ledger.task_history(said["tasks"][0]["task_id"])
        lease = ledger.acquire_lease("w", ledger.now(), TTL)
        claimed = ledger.claim(lease, [history.transform], "t", said["job_id"], 1, ledger.now())
        (task,) = claimed
        broken = failure(task).error.model_copy(update={"error_class": "input"})
        failed = ledger.fail([Failure(task.task_id, task.fence, broken)], ledger.now())
        assert failed.dead == {task.task_id}
    chosen = {"job": said["job_id"], "class": "input", "code": "read.gone"}
    (letter,) = client.get("/v1/dead-letters", params=chosen).json()["items"]
    assert (letter["task_id"], letter["stage"], letter["class"]) == (task.task_id, "read", "input")
    assert letter["resource"] == task.identity.uri
    other = client.get("/v1/dead-letters", params={**chosen, "code": "other"})
    assert other.json() == {"items": []}
    body = {"job_id": said["job_id"], "class": "input"}
    refused(client.post("/v1/dead-letters/redrive", json=body), 403, "access.scope")
    assert manager.post("/v1/dead-letters/redrive", json=body).json() == {"redriven": 1}
    assert client.get(f"/v1/tasks/{task.task_id}").json()["state"] == "retry_queued"
    refused(client.get("/v1/dead-letters", params={"limit": 0}), 422, "request.invalid")
    client.post(f"/v1/jobs/{said['job_id']}/cancel")


ROUTES = [
    ("POST", "/v1/jobs", {}),
    ("POST", "/v1/tasks", {"resources": images("a")}),
    ("GET", "/v1/jobs/job", None),
    ("POST", "/v1/jobs/job/close", None),
    ("POST", "/v1/jobs/job/cancel", None),
    ("GET", f"/v1/tasks/{'0' * 64}", None),
    ("GET", "/v1/queue", None),
    ("GET", "/v1/queue/metrics", None),
    ("GET", "/v1/dead-letters", None),
    ("POST", "/v1/dead-letters/redrive", {}),
    ("POST", "/v1/ledger/status", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_every_door_asks_for_a_key_and_for_the_callers_own_tenant(
    running: Service, method: str, path: str, body: dict[str, Any] | None
) -> None:
    for key in (None, "guess"):
        with running.client(key) as nobody:
            refused(nobody.request(method, path, json=body), 401, "access.key")
    with running.client() as client:
        named = client.request(method, path, json=body, headers={"X-Tenant": "other"})
        refused(named, 403, "access.tenant")


def test_nothing_of_another_tenant_is_in_any_answer(
    client: httpx.Client, stranger: httpx.Client
) -> None:
    name = fresh()
    said = client.post("/v1/tasks", json={"resources": images(*name)}).json()
    job_id, task_id = said["job_id"], said["tasks"][0]["task_id"]
    theirs = stranger.post("/v1/tasks", json={"resources": images(*name)}).json()
    assert not {t["task_id"] for t in theirs["tasks"]} & {t["task_id"] for t in said["tasks"]}
    for method, path, body in (
        ("GET", f"/v1/jobs/{job_id}", None),
        ("POST", f"/v1/jobs/{job_id}/close", None),
        ("POST", f"/v1/jobs/{job_id}/cancel", None),
        ("POST", "/v1/tasks", {"job_id": job_id, "resources": images(*fresh())}),
        ("POST", "/v1/jobs", {"job_id": job_id}),
        ("GET", f"/v1/dead-letters?job={job_id}", None),
    ):
        refused(stranger.request(method, path, json=body), 404, "ledger.job_unknown")
    refused(stranger.get(f"/v1/tasks/{task_id}"), 404, "ledger.task_unknown")
    seen = stranger.get("/v1/queue").text
    assert '"tenant_id":"t"' not in seen
    metrics = stranger.get("/v1/queue/metrics")
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert 'tenant="other"' in metrics.text
    assert 'tenant="t"' not in metrics.text
    assert client.get(f"/v1/jobs/{job_id}").json()["open_tasks"] == 4


def test_a_worker_holds_the_ledger_of_its_tenant_over_http(running: Service) -> None:
    with ledger_of(running, "key-of-t") as mine, ledger_of(running, "key-of-other") as theirs:
        job_id = fresh()[0]
        list_names(mine, job_id, fresh(3), tenant_id="t", now=START, transforms=(VISION,))
        lease = mine.acquire_lease("w", 0.0, TTL)
        assert lease.expires_at == pytest.approx(mine.now() + TTL, abs=5)
        with pytest.raises(LeaseLost):
            claim(theirs, lease, transforms=(VISION,))
        tasks = claim(mine, lease, 2, transforms=(VISION,), job_id=job_id, now=0.0)
        assert {task.tenant_id for task in tasks} == {"t"}
        assert mine.heartbeat(lease, 0.0, TTL)
        assert not theirs.heartbeat(lease, 0.0, TTL)
        assert theirs.fail([failure(tasks[0])], 0.0).stale == {tasks[0].task_id}
        assert mine.release_lease(lease, 0.0) == 2
        assert mine.cancel_job(job_id, 0.0) == 3
        assert list(mine.evidence_keys(job_id)) == []
        with pytest.raises(ContractError, match="no job"):
            list(theirs.evidence_keys(job_id))
        with pytest.raises(Forbidden):
            mine.scoped("other").status(0.0)
        with pytest.raises(Forbidden):
            mine.rescue_expired(0.0)
        with pytest.raises(Forbidden):
            mine.report("batch", [], 0.0)


def test_long_answers_come_whole_and_may_be_left_off(running: Service) -> None:
    with ledger_of(running, "key-of-t") as ledger:
        (job_id,) = fresh()
        names = [f"file:///photos/{number:04}.txt" for number in range(2500)]
        open_job(ledger, job_id, "t")
        ledger.record_listing(job_id, chunk([], skipped=names), 0.0)
        assert [skipped.uri for skipped in ledger.skipped(job_id)] == names
        for _ in range(40):  # more than the client has connections
            some = ledger.skipped(job_id)
            assert next(some).uri == names[0]
            some.close()  # type: ignore[attr-defined]
        assert ledger.job_counts(job_id).filtered == 2500


def test_what_a_worker_says_of_the_time_counts_for_nothing(running: Service) -> None:
    """A lease is neither longer nor over because somebody's clock is years away."""
    with ledger_of(running, "key-of-t") as ledger:
        lease = ledger.acquire_lease("skewed", START + 10**9, TTL)
        assert lease.expires_at < ledger.now() + TTL + 5
        assert "skewed" in {holder.holder for holder in ledger.live_holders(START + 10**9)}
        assert ledger.release_lease(lease, 0.0) == 0


def test_the_document_of_the_interface_has_an_example_of_every_question(
    manager: httpx.Client,
) -> None:
    paths = manager.get("/v1/openapi.json").json()["paths"]
    for path in ("/v1/jobs", "/v1/tasks", "/v1/dead-letters/redrive"):
        question = paths[path]["post"]["requestBody"]["content"]["application/json"]
        for example in question["examples"].values():
            sent = manager.post(path, json=example["value"])
            assert sent.status_code != 422, sent.text
    for path in ("/v1/jobs/{job_id}", "/v1/queue", "/v1/ledger/{operation}"):
        (described,) = paths[path].values()
        assert "application/problem+json" in described["responses"]["401"]["content"]


def test_an_operator_sees_all_and_may_act_as_one_tenant(
    running: Service, operator: httpx.Client, client: httpx.Client, stranger: httpx.Client
) -> None:
    sent = client.post("/v1/tasks", json={"resources": images(*fresh())}).json()
    stranger.post("/v1/tasks", json={"resources": images(*fresh())})
    assert {part["tenant_id"] for part in operator.get("/v1/queue").json()["depth"]} >= {
        "t",
        "other",
    }
    as_other = {"X-Tenant": "other"}
    refused(operator.get(f"/v1/jobs/{sent['job_id']}", headers=as_other), 404, "ledger.job_unknown")
    assert operator.get(f"/v1/jobs/{sent['job_id']}").json()["tenant_id"] == "t"
    refused(operator.get("/v1/queue", headers={"X-Tenant": "no tenant"}), 422, "access.tenant")
    with ledger_of(running, OPERATOR_KEY) as ledger:
        ledger.verify()
        assert ledger.scoped("t").redrive(Redrive(code="nothing.such"), 0.0) == 0
        with pytest.raises(Forbidden):
            ledger.scoped("t").verify()
        assert ledger.status(0.0).states[TaskState.QUEUED] > 0


@pytest.mark.parametrize(
    ("operation", "body", "code"),
    [
        *((name, {}, "ledger.operation") for name in ("drop_all", "__init__", "_rescue", "close")),
        ("open_tasks", {"job_id": 1}, "request.invalid"),
        ("open_tasks", {"job_id": "j", "surprise": 1}, "request.invalid"),
        ("open_tasks", {}, "request.invalid"),
        ("dead_letters", {"limit": 10_001}, "request.invalid"),
        ("open_tasks", {"job_id": "a\u0000"}, "request.invalid"),
        ("open_tasks", {"job_id": "x" * 70_000}, "request.invalid"),
        ("done_evidence", {"evidence_keys": ["not hex"]}, "request.invalid"),
        ("release", {"claims": [{"task_id": "t", "fence": 2**63}]}, "request.invalid"),
        ("release", {"claims": [{"task_id": "t", "fence": 1}] * 10_001}, "request.invalid"),
    ],
)
def test_an_operation_takes_its_arguments_and_nothing_else(
    client: httpx.Client, operation: str, body: dict[str, Any], code: str
) -> None:
    refused(client.post(f"/v1/ledger/{operation}", json=body), 422, code)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
def test_numbers_without_end_are_no_times(client: httpx.Client, number: str) -> None:
    text = f'{{"holder": "w", "now": 0, "ttl": {number}}}'
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/ledger/acquire_lease", content=text, headers=headers)
    refused(answer, 422, "request.invalid")


def test_a_form_of_another_site_cannot_speak_for_a_caller(client: httpx.Client) -> None:
    """A page elsewhere may send forms and plain text without being asked, JSON only if allowed."""
    plain = {"Content-Type": "text/plain"}
    body = json.dumps({"resources": images("a")})
    refused(client.post("/v1/tasks", content=body, headers=plain), 422, "request.invalid")
    refused(client.post("/v1/ledger/status", content="{}", headers=plain), 415, "request.type")


def test_a_url_or_key_that_is_wrong_says_so_at_once(running: Service) -> None:
    with pytest.raises(Forbidden):
        ledger_of(running, "guess")
    with pytest.raises(LedgerUnavailable):
        open_ledger(LedgerConfig(url="http://127.0.0.1:9", busy_timeout=0.2))
