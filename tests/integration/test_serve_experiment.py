"""An experiment over HTTP: dealt as the pure function says, told in every answer, seen by `status`,
and ended without a restart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ecm.client import Client
from ecm.contracts.experiment import Arm, Definition
from ecm.contracts.feedback import StoredEvent
from ecm.contracts.search import SearchResponse
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import (
    ExperimentEvent,
    ExperimentState,
    all_experiments,
    append,
    named,
)
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import Storage, open_storage
from ecm.search.profile import load_ranking_profile
from jobs.cli import run
from tests.experiments import SOMEBODY, changed
from tests.serving import REPO, Service, service

TENANT = "tried"
UNITS = 60
PATIENCE_SECONDS = 60.0


@pytest.fixture(scope="module")
def running() -> Service:
    return service()


@pytest.fixture
def storage(running: Service) -> Iterator[Storage]:
    found = open_storage(running.indexer.profile.evidence)
    yield found
    for one in all_experiments(found):
        if one.open:  # a test that failed leaves none behind
            append(found, one, stopped(one.stage))


@pytest.fixture
def client(running: Service) -> Iterator[httpx.Client]:
    with running.client(f"key-of-{TENANT}") as opened:
        yield opened


def stopped(stage: int) -> ExperimentEvent:
    return ExperimentEvent(
        number=0, state=ExperimentState.STOPPED, stage=stage, at=time.time(), by=SOMEBODY
    )


def ecm(running: Service, *words: str, code: int = 0) -> None:
    home, stands = ["--home", str(running.home)], ("vision=fake-image", "vv=fake-image")
    models = [part for value in stands for part in ("--set", f"models.{value}")]
    assert run(["experiment", *words, *home, *models]) == code


def begun(running: Service, folder: Path, **said: Any) -> Definition:
    """Start an experiment of the ranking in force and one that looks at words more."""
    ranking = changed(load_ranking_profile("default", REPO / "conf/ranking"))
    (folder / "words.yaml").write_text(yaml.safe_dump(ranking.model_dump(mode="json")))
    useful = {"dwell": 1.0, "idle": 0.01}
    value = {"treatment": "words.yaml", "tenant_id": TENANT, "useful": useful, **said}
    definition = Definition.model_validate(value)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(value))
    ecm(running, "start", str(folder / "experiment.yaml"))
    return definition


def ask(client: httpx.Client, session: str, **asked: Any) -> httpx.Response:
    body = {"text": "red car", "limit": 5, **asked}
    answer = client.post("/v1/search", json=body, headers={"X-Ecm-Session": session})
    assert answer.status_code == 200, answer.text
    return answer


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "not within a minute"
        time.sleep(0.1)


def experiment_of(client: httpx.Client) -> Any:
    return ask(client, "somebody who looks").json()["experiment"]


def arm_by_mark(storage: Storage, definition: Definition, stage: int, session: str) -> Arm:
    mark = FeedbackStore(storage).mark(TENANT, "session", session)
    return arm_of(definition, stage, mark)


def test_a_split_is_dealt_told_measured_and_ended(
    running: Service,
    storage: Storage,
    client: httpx.Client,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    definition = begun(running, tmp_path, id="split-1", method="split", stages=[25, 50])
    until(lambda: experiment_of(client) is not None)
    ecm(running, "advance", "--reason", "it holds")
    until(lambda: experiment_of(client)["stage"] == 1)
    capsys.readouterr()
    arms: dict[Arm, set[str]] = {Arm.CONTROL: set(), Arm.TREATMENT: set()}
    events: list[dict[str, Any]] = []
    for number in range(UNITS):
        session = f"visitor-{number}"
        answer = ask(client, session)
        found = SearchResponse.model_validate_json(answer.content)
        assert found.experiment is not None
        assert found.experiment.arm is arm_by_mark(storage, definition, 1, session)
        said = f"split-1; arm={found.experiment.arm.value}; stage=1"
        assert answer.headers["x-ecm-experiment"] == said
        arms[found.experiment.arm].add(found.ranking.version)
        if number % 2:
            events += useful(answer, found, session)
    receipt = client.post("/v1/feedback", json={"events": events})
    assert receipt.json()["stored"] == len(events), receipt.text
    assert arms == {Arm.CONTROL: {"default-2"}, Arm.TREATMENT: {"changed"}}
    none = client.post("/v1/search", json={"text": "red car"})
    assert (none.json()["experiment"], none.headers.get("x-ecm-experiment")) == (None, None)
    with running.client("key-of-t") as other:
        assert ask(other, "visitor-1", text="seen by t alone").json()["experiment"] is None
    until(lambda: is_counted(status(running, capsys)))
    value = status(running, capsys)
    assert (value["id"], value["state"], value["stage"]) == ("split-1", "running", 1)
    stage = value["stages"][1]
    assert stage["misassigned"] == 0
    assert stage["ratio_p"] > 0.01
    shares = {one["metric"]: (one["control"], one["treatment"]) for one in stage["metrics"]}
    assert all(0 < share < 1 for share in shares["session_success"])
    marks = {event.session for event in FeedbackStore(storage).events(TENANT) if is_one(event)}
    assert not any("visitor" in (mark or "") for mark in marks)
    with running.client(None) as scraper:
        metrics = scraper.get("/metrics").text
    assert 'ecm_experiment_requests_total{arm="treatment",experiment="split-1"' in metrics
    ecm(running, "stop", "--reason", "enough", "--by", "the tester")
    until(lambda: experiment_of(client) is None)
    value = status(running, capsys)
    assert (value["state"], value["by"], value["reason"]) == ("stopped", "the tester", "enough")


def test_answers_in_turns_page_alike_and_a_guard_ends_them_without_a_restart(
    running: Service, storage: Storage, client: httpx.Client, tmp_path: Path
) -> None:
    definition = begun(running, tmp_path, id="turns-1", interleaved_pct=100)
    until(lambda: experiment_of(client) is not None)
    whole = ask(client, "visitor", limit=9).json()
    assert whole["experiment"] == {"id": "turns-1", "arm": "interleaved", "stage": 0}
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = ask(client, "visitor", limit=3, cursor=cursor).json()
        seen += [hit["asset_id"] for hit in page["hits"]]
        cursor = page["cursor"]
    assert seen == [hit["asset_id"] for hit in whole["hits"]]
    batch = client.post(
        "/v1/search/batch",
        json={"questions": [{"text": "red"}, {"text": "blue"}]},
        headers={"X-Ecm-Session": "visitor"},
    )
    told = [one["response"]["experiment"]["arm"] for one in batch.json()["answers"]]
    assert told == ["interleaved", "interleaved"]
    assert "x-ecm-experiment" not in batch.headers
    with Client(running.address, f"key-of-{TENANT}") as program:
        found = program.search("red car", limit=3, session="of a program")
        assert found.experiment is not None
        assert found.experiment.arm is arm_by_mark(storage, definition, 0, "of a program")
        program.feedback([found.click(found.hits[0], time.time(), session="of a program")])
    until(lambda: any(has_teams(one) for one in FeedbackStore(storage).events(TENANT)))
    abort = ExperimentEvent(
        number=0,
        state=ExperimentState.ABORTED,
        stage=0,
        at=time.time(),
        by="service",
        reason="slow",
    )
    append(storage, named(storage, "turns-1"), abort)
    ended = time.monotonic()
    until(lambda: experiment_of(client) is None)
    assert time.monotonic() - ended < 30  # a second or two; machines that test are busy


def useful(answer: httpx.Response, found: SearchResponse, session: str) -> list[dict[str, Any]]:
    """A hit was opened and looked at for a while."""
    common = {"query_id": answer.headers["x-request-id"], "session": session, "at": time.time()}
    hit = found.hits[0]
    return [
        {"kind": "click", "asset_id": hit.asset_id, "rank": hit.rank, **common},
        {"kind": "dwell", "asset_id": hit.asset_id, "seconds": 20.0, **common},
    ]


def status(running: Service, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    ecm(running, "status", "--json")
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def is_counted(value: dict[str, Any]) -> bool:
    """Whether every session is stored and every request is counted."""
    arms = value["stages"][-1]["arms"]
    least = min(sum(arm[name] for arm in arms) for name in ("sessions", "requests"))
    return least >= UNITS and value["unassigned"] > 0


def is_one(event: object) -> bool:
    return isinstance(event, StoredEvent)


def has_teams(event: object) -> bool:
    if not isinstance(event, StoredEvent) or event.experiment is None:
        return False
    return bool(event.experiment.teams) and len(event.experiment.teams or "") == len(event.shown)
