"""`ecm worker` outside the cluster: real processes, a real service, killed in the middle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from ecm.config import Profile
from ecm.contracts.quarantine import MAX_KEYS, Drift, QuarantineNotice
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.audit import audit_job
from ecm.delivery.receipts import Receipt
from ecm.delivery.remote import QUARANTINES_PATH, RemoteWorkplace, open_client
from ecm.delivery.tenure import commit_right
from ecm.delivery.workplace import Terms
from ecm.errors import EcmError
from ecm.evidence.quarantine import quarantines
from ecm.evidence.runs import runs_of
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.records import Granted
from ecm.ledger.states import TaskState
from tests.factories import Indexer, fake_profile
from tests.serving import REPO, Service, launch
from tests.workers import TASKS, analysed, claimed, put, queued

LEASE = 4.0
PATIENCE = 120.0
FAKE = ["models.vision=fake-image", "models.vv=fake-image", "models.mv=fake-text"]
KEYS = {"key-of-t": "t", "key-of-other": "other"}
MARKS = {hashlib.sha256(key.encode()).hexdigest(): tenant for key, tenant in KEYS.items()}
QUICK = [f"ledger.lease_seconds={LEASE}", "pipeline.commit_seconds=0.1"]


def settings(*values: str) -> list[str]:
    return [part for value in (*FAKE, *QUICK, *values) for part in ("--set", value)]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return fake_profile(tmp_path_factory.mktemp("home"), *QUICK)


@pytest.fixture(scope="module")
def service(profile: Profile) -> Iterator[Service]:
    own = ["tenant=t", "serve.desk_idle_seconds=0.5", f"serve.api_keys={json.dumps(MARKS)}"]
    running = launch(Indexer(profile), settings(*own))
    yield running
    assert running.stop() == 0


@pytest.fixture
def ledger(profile: Profile) -> Iterator[Ledger]:
    with open_ledger(profile.ledger) as opened:
        yield opened


@contextmanager
def worker(
    service: Service, home: Path, *arguments: str, key: str = "key-of-t", block: int = 4
) -> Iterator[subprocess.Popen[str]]:
    """A worker that lives no longer than the test."""
    command = [sys.executable, "-m", "jobs.cli", "worker", "--server", service.address]
    command += ["--home", str(home), "--block", str(block), "--poll", "0.1", "--json"]
    process = subprocess.Popen(
        [*command, *settings(), *arguments],
        cwd=REPO,
        env={**os.environ, "ECM_API_KEY": key},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Ask a worker to end; its summary."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    summary: dict[str, Any] = json.loads(out)
    return summary


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


def holds_tasks(ledger: Ledger, process: subprocess.Popen[str]) -> bool:
    holders = ledger.live_holders(ledger.now())
    return any(h.tasks and h.holder.split("/")[1] == str(process.pid) for h in holders)


def committed(ledger: Ledger, job_id: str) -> int:
    return ledger.job_counts(job_id).committed


def distinct(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (number % 256, number // 256, 77)).save(out, "PNG")
    return out.getvalue()


def pictures(folder: Path, number: int, first: int = 0) -> Path:
    """Distinct pictures, and a copy of every fourth under another name."""
    made = {f"{n:03d}.png": distinct(n + first) for n in range(number)}
    copies = {f"copy-{name}": data for name, data in list(made.items())[::4]}
    return put(folder, made | copies)


def assert_once(profile: Profile, ledger: Ledger, job_id: str) -> None:
    """Everything of the job is committed, and no statement is stored twice."""
    store = EvidenceStore.open(profile.evidence)
    audit = audit_job(ledger, store, job_id)
    assert audit.balanced, audit.problems
    assert (audit.dead, audit.pending) == (0, 0)
    for table in store.tables():
        if "evidence_id" in store.dataset(table).schema.names:
            marks = store.read(table, ["evidence_id"]).column(0).to_pylist()
            assert len(marks) == len(set(marks)), table


def test_two_workers_share_the_work_and_one_that_is_killed_costs_nothing(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    job = queued(ledger, profile, pictures(tmp_path / "photos", 80))
    with worker(service, tmp_path / "a") as victim, worker(service, tmp_path / "b") as other:
        until(lambda: committed(ledger, job) > 0, "first commits")
        while True:
            until(lambda: holds_tasks(ledger, victim), "a claim of the victim")
            victim.send_signal(signal.SIGSTOP)
            if holds_tasks(ledger, victim):
                break
            victim.send_signal(signal.SIGCONT)
        victim.kill()
        victim.wait()
        until(lambda: committed(ledger, job) == 100, "everything is committed")
        summary = ended(other)
    assert summary["dead"] == summary["stale"] == 0
    assert_once(profile, ledger, job)
    states = {run.run_id: run.state for run in runs_of(EvidenceStore.open(profile.evidence))}
    assert states.pop(summary["run_id"]) == "finished"
    assert list(states.values()) == ["running"], "the victim had no time to say that it ends"


def test_a_worker_that_slept_past_its_lease_has_nothing_to_say_any_more(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    """It is not dead, so that only the end of its lease frees its tasks."""
    job = queued(ledger, profile, pictures(tmp_path / "photos", 40, first=100))
    with worker(service, tmp_path / "a") as sleeper:
        until(lambda: holds_tasks(ledger, sleeper), "a claim")
        sleeper.send_signal(signal.SIGSTOP)
        with worker(service, tmp_path / "b") as other:
            until(lambda: committed(ledger, job) == 50, "the other takes over")
            sleeper.send_signal(signal.SIGCONT)
            late, early = ended(sleeper), ended(other)
    assert early["committed"] + early["linked"] + late["committed"] + late["linked"] == 50 * TASKS
    assert_once(profile, ledger, job)


def test_a_killed_desk_loses_nothing(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    job = queued(ledger, profile, pictures(tmp_path / "photos", 80, first=200))
    with worker(service, tmp_path / "a") as working:
        until(lambda: committed(ledger, job) > 0, "first commits")
        desks = [p for p in psutil.process_iter() if is_desk_of(p, service)]
        assert len(desks) == 1
        desks[0].kill()
        until(lambda: committed(ledger, job) == 100, "everything is committed")
        summary = ended(working)
    assert summary["images_through_models"] == 80
    assert (summary["dead"], summary["stale"], summary["dropped"]) == (0, 0, 0)
    assert_once(profile, ledger, job)


def is_desk_of(process: psutil.Process, service: Service) -> bool:
    try:
        family = {parent.pid for parent in process.parents()}
        return service.process.pid in family and ":Desk" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def test_a_worker_gets_the_tasks_of_its_key_s_tenant_and_no_others(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    mine = queued(ledger, profile, pictures(tmp_path / "mine", 4, first=300))
    theirs = queued(ledger, profile, pictures(tmp_path / "theirs", 4, first=400), tenant="other")
    with worker(service, tmp_path / "a", "--once", key="key-of-other") as foreign:
        summary = json.loads(foreign.communicate(timeout=PATIENCE)[0])
    assert summary["images"] == 5
    assert committed(ledger, theirs) == 5
    assert committed(ledger, mine) == 0
    with worker(service, tmp_path / "b", "--once") as own:
        assert json.loads(own.communicate(timeout=PATIENCE)[0])["images"] == 5
    assert committed(ledger, mine) == 5


@pytest.mark.parametrize(
    ("key", "arguments", "said"),
    [
        pytest.param(
            "nobody", [], "(set ECM_API_KEY or give --api-key-file) [access.key]", id="unknown-key"
        ),
        pytest.param("key-of-t", ["--tenant", "other"], "[access.tenant]", id="another-tenant"),
    ],
)
def test_a_worker_that_may_not_work_here_says_so_in_one_line(
    service: Service, tmp_path: Path, key: str, arguments: list[str], said: str
) -> None:
    with worker(service, tmp_path, "--once", *arguments, key=key) as refused:
        out, err = refused.communicate(timeout=PATIENCE)
    assert (refused.returncode, out) == (1, "")
    assert err.strip().splitlines()[-1].startswith("ecm: ")
    assert said in err
    assert key not in err


def body_of(envelopes: list[ResultEnvelope]) -> bytes:
    return b"\n".join(e.model_dump_json(by_alias=True).encode() for e in envelopes)


LINES = {"Content-Type": "application/x-ndjson"}


def test_results_wait_while_another_run_commits_to_the_store(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    queued(ledger, profile, pictures(tmp_path / "photos", 4, first=500))
    results = analysed(profile, claimed(ledger.scoped("t"), profile, 5))
    right = commit_right(EvidenceStore.open(profile.evidence))
    granted: list[Granted] = []

    def taken() -> bool:
        answer = ledger.acquire_right(right, "another", 60.0, ledger.now())
        granted.extend([answer] if isinstance(answer, Granted) else [])
        return bool(granted)

    until(taken, "the idle desk gives the right back")
    with service.client() as client:
        held = client.post("/v1/work/results", content=body_of(results), headers=LINES)
        assert (held.status_code, held.json()["code"]) == (503, "committer.held")
        assert int(held.headers["Retry-After"]) >= 1
        ledger.release_right(right, granted[0].fence)
        done = client.post("/v1/work/results", content=body_of(results), headers=LINES)
        assert done.status_code == 200, done.text
    receipt = Receipt.model_validate_json(done.content)
    assert set(receipt.committed) | set(receipt.linked) == {e.task_id for e in results}
    assert ledger.status(ledger.now()).states[TaskState.RUNNING] == 0


def test_the_doors_of_workers_refuse_what_does_not_belong_there(
    service: Service, profile: Profile, ledger: Ledger, tmp_path: Path
) -> None:
    queued(ledger, profile, pictures(tmp_path / "photos", 1, first=600))
    results = analysed(profile, claimed(ledger.scoped("t"), profile, 2))
    body = body_of(results)

    def refused(client: httpx.Client, content: bytes, kind: str = LINES["Content-Type"]) -> Any:
        answer = client.post("/v1/work/results", content=content, headers={"Content-Type": kind})
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        return answer.status_code, answer.json()["code"]

    with service.client() as mine, service.client("key-of-other") as foreign:
        assert refused(foreign, body) == (403, "access.tenant")
        assert refused(mine, body.replace(b'"linked":false', b'"linked":true')) == (
            422,
            "results.invalid",
        )
        assert refused(mine, body, "text/plain") == (415, "request.type")
        assert refused(mine, b" " * (64 * 2**20 + 1)) == (413, "input.too_large")
        question = {"wanted": [{"tenant_id": "other", "content_hash": "0" * 64, "tasks": []}]}
        assert mine.post("/v1/work/admit", json=question).status_code == 422
        question["wanted"][0]["tasks"] = [  # type: ignore[index]
            {"task_id": "1" * 64, "task_type": "vision", "transform": "2" * 64}
        ]
        assert mine.post("/v1/work/admit", json=question).status_code == 403
        assert foreign.post("/v1/work/admit", json=question).status_code == 200
    with service.client(None) as nobody:
        assert refused(nobody, body) == (401, "access.key")


def test_a_notice_is_taken_of_its_tenant_alone_and_once(service: Service, profile: Profile) -> None:
    notice = QuarantineNotice(
        tenant_id="t",
        manifest="fake-image",
        transforms=("a" * 64,),
        run_id="run-far",
        worker_id="far",
        drift=Drift(probe="waves", measured=0.5, needed=0.999, said="probe waves: cosine 0.5"),
        since=1.0,
        until=2.0,
        keys=("b" * 64,),
    )
    terms = Terms(None, ("a" * 64,), None, LEASE)
    with open_ledger(profile.ledger) as near:
        for _ in range(2):
            with open_client(service.address, "key-of-t") as client:
                RemoteWorkplace(near, client, terms).quarantine(notice)
        with open_client(service.address, "key-of-other") as client:
            other = RemoteWorkplace(near, client, terms)
            with pytest.raises(EcmError, match="may not ask tenant 't'"):
                other.quarantine(notice)
    (one,) = quarantines(EvidenceStore.open(profile.evidence))
    assert one.notice == notice
    body = notice.model_dump(mode="json") | {"keys": ["b" * 64] * (MAX_KEYS + 1)}
    with service.client() as client:
        assert client.post(QUARANTINES_PATH, json=body).status_code in (413, 422)
