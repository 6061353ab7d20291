"""What the commands about tasks say and do on a real ledger of two tenants, each behind a wall."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ecm.config import load_profile
from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.contracts.task import ClassPolicy, RetryPolicy
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.exposition import exposition
from ecm.ledger.records import ClaimedTask, Failure
from ecm.ledger.states import TaskState
from jobs.cli import run as ecm
from tests.ledger_tasks import BOTH, VV, claim, commit, identity, list_names

HOLDER = "boot/1/2/holder"
ONCE = RetryPolicy(network=ClassPolicy(max_attempts=1))
Said = Callable[..., Any]


def failed(task: ClaimedTask, kind: ErrorClass, code: str) -> Failure:
    error = EnvelopeError.model_validate(
        {"class": kind, "code": code, "stage": code.split(".")[0], "message": f"Refused [b]{code}"}
    )
    return Failure(task.task_id, task.fence, error, worker="worker-7")


def named(tasks: tuple[ClaimedTask, ...], name: str) -> list[ClaimedTask]:
    return [task for task in tasks if task.identity.uri == identity(name).uri]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def ledger(home: Path) -> Iterator[Ledger]:
    """Of tenant a one image is done, one dead by its bytes, one by the network, one held, and one
    waits, half of it blocked by a wrong model. Of tenant b one is dead.
    """
    profile = load_profile(None, home=home, environ={})
    with open_ledger(profile.ledger) as opened:
        now = opened.now()
        list_names(
            opened, "job-a", ["done", "bad", "gone", "held"], now, tenant_id="a", retry_policy=ONCE
        )
        list_names(opened, "job-b", ["bad-b"], now, tenant_id="b")
        lease = opened.acquire_lease(HOLDER, now, 600)
        tasks = claim(opened, lease, now=now)
        opened.heartbeat(lease, now, 600, progress=5)
        commit(opened, "batch", named(tasks, "done"), now)
        input_error, network = ErrorClass.INPUT, ErrorClass.NETWORK
        for name in ("bad", "bad-b"):
            opened.fail([failed(t, input_error, "decode.cut") for t in named(tasks, name)], now)
        opened.fail([failed(t, network, "read.refused") for t in named(tasks, "gone")], now)
        list_names(opened, "job-c", ["waiting"], now, tenant_id="a", priority=7)
        assert opened.mark_mismatch(VV, "weights differ", now) == 2
        yield opened


@pytest.fixture
def said(ledger: Ledger, home: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run a command of tenant a (or another) on the ledger; the JSON it prints."""

    def run(*words: str, tenant: str = "a", code: int = 0) -> Any:
        capsys.readouterr()
        assert ecm([*words, "--home", str(home), "--tenant", tenant, "--json"]) == code
        captured = capsys.readouterr()
        return json.loads(captured.out) if code == 0 else captured.err

    return run


def test_status_says_depth_rates_holders_and_only_of_its_tenant(said: Said) -> None:
    mine = said("status")
    assert mine["queue"]["dead_letter"] == 4
    assert mine["queue"]["persisted"] == 2
    assert mine["dead_letters"] == {"input": 2, "network": 2}
    assert mine["failed"] == {"input": 2, "network": 2}
    assert {(d["state"], d["priority"], d["tasks"]) for d in mine["depth"]} >= {
        ("queued", 7, 1), ("leased", 0, 1),
    }  # fmt: skip
    assert {d["tenant"] for d in mine["depth"]} == {"a"}
    (worker,) = [w for w in mine["workers"] if w["worker"] == "worker-7"]
    assert (worker["failed"], worker["failure_rate"]) == ({"input": 2, "network": 2}, 1.0)
    (holder,) = mine["holders"]
    assert (holder["holder"], holder["tasks"], holder["progress"]) == (HOLDER, 1, 5)
    assert mine["latency_ms"]["p50"] is not None
    assert mine["committer"] is None
    other = said("status", tenant="b")
    assert {d["tenant"] for d in other["depth"]} == {"b"}
    assert other["holders"] == []
    whole = said("status", "--all-tenants")
    assert whole["dead_letters"]["input"] == 4
    assert {d["tenant"] for d in whole["depth"]} == {"a", "b"}


def test_status_for_a_person_has_the_same_numbers(
    ledger: Ledger, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(["status", "--home", str(home), "--tenant", "a"]) == 0
    text = capsys.readouterr().out
    for part in ("dead letters: input 2, network 2", "worker-7", HOLDER, "stale results refused"):
        assert part in text


def test_prometheus_text_is_what_a_scraper_reads(
    ledger: Ledger, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ecm(["status", "--home", str(home), "--tenant", "a", "--prometheus"]) == 0
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(capsys.readouterr().out)
        for sample in family.samples
    }
    queued = (("priority", "7"), ("state", "queued"), ("tenant", "a"))
    assert samples["ecm_queue_depth", queued] == 1
    assert samples["ecm_dead_letters", (("class", "network"),)] == 2
    failures = (("class", "input"), ("worker", "worker-7"))
    assert samples["ecm_attempts_failed", failures] == 2
    assert samples["ecm_failure_rate", (("worker", "worker-7"),)] == 1.0
    assert samples["ecm_held_tasks", (("holder", HOLDER),)] == 1
    assert samples["ecm_stale_results_total", ()] == 0
    assert samples["ecm_committed_tasks", (("state", "persisted"),)] == 2
    assert 0 <= samples["ecm_task_latency_seconds", (("quantile", "0.99"),)] < 60
    assert samples["ecm_oldest_lease_seconds", ()] >= 0


def test_an_empty_ledger_has_metrics_without_values_it_does_not_know(tmp_path: Path) -> None:
    profile = load_profile(None, home=tmp_path, environ={})
    with open_ledger(profile.ledger) as ledger:
        now = ledger.now()
        text = exposition(ledger.status(now), ledger.live_holders(now))
    names = {s.name for f in text_string_to_metric_families(text) for s in f.samples}
    assert "ecm_task_throughput" in names
    assert not names & {"ecm_oldest_lease_seconds", "ecm_task_latency_seconds"}


def test_dead_letters_are_listed_by_job_class_code_and_text(said: Said) -> None:
    everything = said("dead-letters", "list")
    assert len(everything["items"]) == everything["dead_letters"] == 4
    assert everything["model_mismatch"] == 2
    assert {item["job_id"] for item in everything["items"]} == {"job-a"}
    for narrowing, resources in (
        (("--class", "input"), {"bad"}),
        (("--code", "read.refused"), {"gone"}),
        (("--query", "/GONE.j"), {"gone"}),
        (("--query", "decode.CUT"), {"bad"}),
        (("--query", "%"), set()),
        (("--query", "' OR 1=1 --"), set()),
        (("--job", "job-c"), set()),
    ):
        items = said("dead-letters", "list", *narrowing)["items"]
        assert {i["resource"] for i in items} == {identity(r).uri for r in resources}, narrowing
    assert len(said("dead-letters", "list", "--limit", "1")["items"]) == 1
    assert "no error class nonsense" in said("dead-letters", "list", "--class", "nonsense", code=2)


def test_the_whole_story_of_a_dead_letter(said: Said) -> None:
    (item, _) = said("dead-letters", "list", "--class", "network")["items"]
    story = said("dead-letters", "show", item["task_id"])
    assert story == said("tasks", "show", item["task_id"])
    assert (story["state"], story["resource"]) == ("dead_letter", identity("gone").uri)
    assert story["model"] == {
        "backend": "fake", "model_id": "fake", "revision": "1",
        "dtype": "float32", "quantization": "none",
    }  # fmt: skip
    assert [e["state"] for e in story["history"]] == ["queued", "leased", "failed", "dead_letter"]
    last = story["history"][-1]
    assert (last["worker"], last["error"]["code"]) == ("worker-7", "read.refused")


@pytest.mark.parametrize(
    ("narrowing", "redriven"),
    [
        (("--class", "input"), 2),
        (("--code", "read.refused"), 2),
        (("--query", "bad"), 2),
        (("--job", "job-a", "--class", "network"), 2),
        (("--run", "job-c"), 1),
        (("--mismatch",), 2),
        (("--transform", VV), 4),
        (("--query", "weights DIFFER"), 2),
        (("--query", "no such text"), 0),
        (("--all",), 6),
    ],
)
def test_redrive_does_what_its_dry_run_said(
    said: Said, narrowing: tuple[str, ...], redriven: int
) -> None:
    redrive = ("dead-letters", "redrive", *narrowing)
    dry = said(*redrive, "--dry-run")
    assert (dry["matching"], dry["redriven"]) == (redriven, 0)
    assert said(*redrive)["redriven"] == redriven
    assert said(*redrive)["redriven"] == 0
    assert said("status")["queue"]["retry_queued"] == redriven


def test_redrive_by_ids_and_never_by_accident(said: Said) -> None:
    (item, _) = said("dead-letters", "list", "--class", "input")["items"]
    assert said("dead-letters", "redrive", item["task_id"])["redriven"] == 1
    assert "say which" in said("dead-letters", "redrive", code=2)


def test_a_run_stands_for_its_job(said: Said, home: Path) -> None:
    store = EvidenceStore.create(load_profile(None, home=home, environ={}).evidence, 1.0)
    run = RunRecord(
        run_id="run-20261125T000000-0123abcd",
        tenant_id="a",
        job_id="job-a",
        config_digest=VV,
        code_version="1",
        started_at=1.0,
    )
    record_run(store, run)
    assert len(said("dead-letters", "list", "--run", run.run_id)["items"]) == 4
    redrive = ("dead-letters", "redrive", "--run", run.run_id)
    assert said(*redrive, "--class", "input", "--dry-run")["matching"] == 2
    error = said("dead-letters", "list", "--run", run.run_id, tenant="b", code=2)
    assert "tenant b has no run" in error


def test_open_tasks_are_listed_by_state(said: Said) -> None:
    (blocked, held) = said("tasks", "list", "--state", "model_mismatch")["items"]
    assert {blocked["cause"], held["cause"]} == {"weights differ"}
    (waiting,) = said("tasks", "list", "--state", "queued")["items"]
    assert (waiting["resource"], waiting["priority"]) == (identity("waiting").uri, 7)
    assert len(said("tasks", "list", "--state", "leased")["items"]) == 1
    assert len(said("tasks", "list")["items"]) == 8
    assert "cannot list tasks done" in said("tasks", "list", "--state", "done", code=2)


def test_jobs_are_listed_shown_and_cancelled(said: Said, ledger: Ledger) -> None:
    assert [job["job_id"] for job in said("jobs", "list")["items"]] == ["job-c", "job-a"]
    shown = said("jobs", "show", "job-a")
    assert (shown["listed"], shown["committed"], shown["dead"], shown["pending"]) == (4, 1, 2, 1)
    assert shown["balanced"] is True
    list_names(ledger, "job-d", ["waiting", "mine"], ledger.now(), tenant_id="a")
    assert said("jobs", "cancel", "job-d") == {"job_id": "job-d", "cancelled": 2, "left": 2}
    assert said("jobs", "cancel", "job-d")["cancelled"] == 0
    assert said("jobs", "cancel", "job-c") == {"job_id": "job-c", "cancelled": 2, "left": 0}


def test_nothing_of_another_tenant_is_seen_redriven_or_cancelled(
    said: Said, ledger: Ledger
) -> None:
    before = ledger.status(ledger.now()).states
    (item, _) = said("dead-letters", "list", "--class", "network")["items"]
    foreign = {"tenant": "b", "code": 1}
    for words in (
        ("tasks", "show", item["task_id"]),
        ("dead-letters", "show", item["task_id"]),
        ("jobs", "show", "job-a"),
        ("jobs", "cancel", "job-a"),
        ("dead-letters", "list", "--job", "job-a"),
        ("dead-letters", "redrive", "--job", "job-a"),
    ):
        error = said(*words, **foreign)
        assert "in this ledger" in error, words
        assert "photos" not in error
    seen = {i["resource"] for i in said("dead-letters", "list", tenant="b")["items"]}
    assert seen == {identity("bad-b").uri}
    assert [j["job_id"] for j in said("jobs", "list", tenant="b")["items"]] == ["job-b"]
    assert said("tasks", "list", "--state", "queued", tenant="b")["items"] == []
    for narrowing in (
        (item["task_id"],),
        ("--mismatch",),
        ("--transform", BOTH[0], "--query", "gone"),
    ):
        assert said("dead-letters", "redrive", *narrowing, tenant="b")["redriven"] == 0
    assert ledger.status(ledger.now()).states == before
    assert before[TaskState.DEAD_LETTER] == 6


def test_texts_from_files_and_workers_are_printed_without_markup_or_escapes(
    ledger: Ledger, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = ledger.now()
    list_names(ledger, "evil", ["\x1b]0;title\x07[red]"], now, tenant_id="a", priority=99)
    lease = ledger.acquire_lease("w", now, 60)
    tasks = claim(ledger, lease, 1, now=now)
    ledger.fail([failed(t, ErrorClass.INPUT, "decode.\x1b[2J") for t in tasks], now)
    words = ["--home", str(home), "--tenant", "a"]
    assert ecm(["dead-letters", "list", *words]) == 0
    assert ecm(["tasks", "show", tasks[0].task_id, *words]) == 0
    text = capsys.readouterr().out
    assert "[red]" in text
    assert "Refused [b]decode" in text
    assert "\x1b" not in text
