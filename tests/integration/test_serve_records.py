"""What was done, over HTTP: runs, rollouts, and the jobs opened last, each to whom it concerns."""

from __future__ import annotations

import time

import pytest

from ecm.contracts.identity import digest
from ecm.evidence.runs import RunRecord, record_run
from tests.serving import OPERATOR_KEY, Service, service


@pytest.fixture(scope="module")
def running() -> Service:
    made = service()
    for tenant in ("t", "other"):
        begun = RunRecord(
            run_id=f"run-of-{tenant}",
            tenant_id=tenant,
            job_id="job-1",
            config_digest=digest("config"),
            code_version="1",
            started_at=time.time(),
        )
        record_run(made.indexer.store, begun)
    return made


def test_a_tenant_sees_its_own_runs_and_an_operator_all(running: Service) -> None:
    with running.client() as client:
        items = client.get("/v1/runs").json()["items"]
        assert {run["tenant_id"] for run in items} == {"t"}
        (mine,) = (run for run in items if run["run_id"] == "run-of-t")
        assert mine["state"] == "running"
        assert len(client.get("/v1/runs", params={"limit": 1}).json()["items"]) == 1
        assert client.get("/v1/runs", params={"limit": 0}).status_code == 422
    with running.client(OPERATOR_KEY) as operator:
        seen = {run["tenant_id"] for run in operator.get("/v1/runs").json()["items"]}
        assert {"t", "other"} <= seen


def test_jobs_are_listed_newest_first(running: Service) -> None:
    with running.client() as client:
        names = [client.post("/v1/jobs", json={"source": "here"}).json()["job_id"] for _ in "ab"]
        listed = client.get("/v1/jobs", params={"limit": 2}).json()["items"]
        assert [job["job_id"] for job in listed] == names[::-1]
        assert {job["open_tasks"] for job in listed} == {0}
        for name in names:
            client.post(f"/v1/jobs/{name}/cancel")
    with running.client("key-of-other") as stranger:
        theirs = stranger.get("/v1/jobs").json()["items"]
        assert not {job["job_id"] for job in theirs} & set(names)


def test_rollouts_are_the_operators_business(running: Service) -> None:
    with running.client() as client:
        assert client.get("/v1/rollouts").status_code == 403
    with running.client(OPERATOR_KEY) as operator:
        assert operator.get("/v1/rollouts").json() == {"items": []}
