"""What goes wrong with an engine is told as what it is, and never as an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from ecm.config import conf_folder
from ecm.contracts.measured import EngineAnswer, EngineProblem
from ecm.errors import ConfigError
from ecm.evaluation.engines.azure_contract import AzureContract
from ecm.evaluation.engines.config import CommercialConfig, load_config
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.faults import Fault, FaultyContract
from ecm.evaluation.engines.internal import HttpService
from ecm.evaluation.engines.patient import Patience, Patient
from ecm.evaluation.engines.rest import Place, RestEngine
from ecm.evaluation.engines.vectors import Corpus, read_corpus
from jobs.engines import open_engines
from jobs.loopback import Loopback
from tests.engine_park import ONCE, TENANT, Park, Through, asked, facts_of

KEY = "the-key-of-this-run"
QUICK = Patience(retries=0, timeout_seconds=0.3, gives_up_after=100)
Answering = Callable[[httpx.Request], httpx.Response]


@pytest.fixture(scope="module")
def corpus(park: Park) -> Corpus:
    return read_corpus(park.service.engine.reader, TENANT)


@pytest.fixture(scope="module")
def mapped() -> CommercialConfig:
    folder = conf_folder({}) / "engines"
    found = load_config(folder / "commercial.yaml", folder)
    assert isinstance(found, CommercialConfig)
    return found.model_copy(update={"most_bytes": 100_000})


def of_words(_: object) -> dict[object, object]:
    """No vectors: words alone are asked for."""
    return {}


def commercial(
    corpus: Corpus, mapped: CommercialConfig, fault: Fault | None, patience: Patience = ONCE
) -> EngineAnswer:
    """What an engine makes of one fault of the product."""
    contract = AzureContract(ExactIndex(corpus), "ecm-assets", KEY)
    with Loopback(FaultyContract(contract, [fault])) as server:
        place = Place(server.url, KEY, {"index": "ecm-assets"})
        engine = Patient(RestEngine(facts_of("c"), mapped, place, of_words), patience)
        try:
            return engine.answer(asked("red"), 3)
        finally:
            engine.close()


FAULTS = {
    Fault.LIMITED: EngineProblem.LIMITED,
    Fault.BUSY: EngineProblem.LIMITED,
    Fault.FAILED: EngineProblem.FAILED,
    Fault.SLOW: EngineProblem.TIMEOUT,
    Fault.GARBAGE: EngineProblem.GARBLED,
    Fault.NO_HITS: EngineProblem.GARBLED,
    Fault.NO_NUMBER: EngineProblem.GARBLED,
    Fault.TWICE: EngineProblem.GARBLED,
    Fault.STRANGER: EngineProblem.GARBLED,
    Fault.CUT: EngineProblem.UNREACHABLE,
    Fault.HUGE: EngineProblem.GARBLED,
    Fault.PACKED: EngineProblem.GARBLED,
    Fault.ELSEWHERE: EngineProblem.REFUSED,
}


def test_every_fault_has_its_problem() -> None:
    assert set(FAULTS) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_of_a_product_is_told(
    corpus: Corpus, mapped: CommercialConfig, fault: Fault
) -> None:
    patience = QUICK if fault is Fault.SLOW else ONCE
    answer = commercial(corpus, mapped, fault, patience)
    assert (answer.error, answer.ranked) == (FAULTS[fault], ())
    assert answer.reason
    assert KEY not in answer.reason


def test_without_a_fault_there_is_an_answer(corpus: Corpus, mapped: CommercialConfig) -> None:
    assert commercial(corpus, mapped, None).ranked


def test_a_product_that_is_not_there_is_unreachable(mapped: CommercialConfig) -> None:
    place = Place("http://127.0.0.1:1", KEY, {"index": "i"})
    engine = Patient(RestEngine(facts_of("c"), mapped, place, of_words), ONCE)
    assert engine.answer(asked("red"), 3).error is EngineProblem.UNREACHABLE
    engine.close()


def test_a_product_is_asked_for_more_pages(corpus: Corpus, mapped: CommercialConfig) -> None:
    pages = mapped.model_copy(update={"request": mapped.request.model_copy(update={"page": 2})})
    contract = AzureContract(ExactIndex(corpus), "ecm-assets", KEY)
    with Loopback(contract) as server:
        found = []
        for config in (mapped, pages):
            place = Place(server.url, KEY, {"index": "ecm-assets"})
            engine = Patient(RestEngine(facts_of("c"), config, place, of_words), ONCE)
            found.append([one.asset_id for one in engine.answer(asked("red blue"), 7).ranked])
            engine.close()
    assert len(found[0]) == 7
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://search.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost@example.com",
        "https://name:word@example.com",
        "https://example.com/?key=1",
        "https://example.com/#f",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "https://",
        "//example.com",
        "https://exa\nmple.com",
        "http://[::1",
        "",
    ],
)
def test_no_key_is_sent_where_it_might_be_read(endpoint: str) -> None:
    with pytest.raises(ConfigError):
        Place(endpoint, KEY, {})


def test_a_key_is_not_shown() -> None:
    assert KEY not in repr(Place("https://example.com", KEY, {}))
    with pytest.raises(ConfigError) as raised:
        Place("https://example.com", "a\nb-secret", {})
    assert "secret" not in str(raised.value)


def answering(park: Park, answer: Answering) -> Patient:
    """Our engine over HTTP: opened on the local service, then answered by something else."""
    through = Through(park.service.client(TENANT))
    calls = {"n": 0}

    def handle(request: httpx.Request) -> httpx.Response:
        calls["n"] += 1
        return through.handle_request(request) if calls["n"] <= 2 else answer(request)

    return Patient(
        HttpService(facts_of("internal"), park.client(httpx.MockTransport(handle))), ONCE
    )


def problem(status: int, **headers: str) -> Answering:
    said = json.dumps({"status": status, "code": "x", "detail": "so it is", "title": "no"})
    kind = {"content-type": "application/problem+json"}
    return lambda _: httpx.Response(status, headers={**kind, **headers}, content=said)


def raises(error: type[httpx.HTTPError]) -> Answering:
    def handle(request: httpx.Request) -> httpx.Response:
        raise error("so it is")  # type: ignore[call-arg]

    return handle


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (problem(429, **{"retry-after": "3"}), EngineProblem.LIMITED),
        (problem(503), EngineProblem.LIMITED),
        (problem(401), EngineProblem.REFUSED),
        (problem(403), EngineProblem.REFUSED),
        (problem(422), EngineProblem.REFUSED),
        (problem(500), EngineProblem.FAILED),
        (lambda _: httpx.Response(200, content=b"<html>"), EngineProblem.GARBLED),
        (lambda _: httpx.Response(200, json={"hits": []}), EngineProblem.GARBLED),
        (lambda _: httpx.Response(302, headers={"location": "/x"}), EngineProblem.FAILED),
        (raises(httpx.ConnectError), EngineProblem.UNREACHABLE),
        (raises(httpx.ReadTimeout), EngineProblem.TIMEOUT),
        (raises(httpx.RemoteProtocolError), EngineProblem.UNREACHABLE),
    ],
)
def test_what_our_service_says_is_told(
    park: Park, answer: Answering, expected: EngineProblem
) -> None:
    engine = answering(park, answer)
    found = engine.answer(asked("red"), 3)
    assert (found.error, found.ranked) == (expected, ())
    engine.close()


def test_another_snapshot_in_the_middle_of_a_run_is_no_answer(park: Park) -> None:
    through = Through(park.service.client(TENANT))

    def moved(request: httpx.Request) -> httpx.Response:
        said = json.loads(through.handle_request(request).content)
        return httpx.Response(200, json={**said, "snapshot_id": "s-20990101T000000Z-00000000"})

    engine = answering(park, moved)
    answer = engine.answer(asked("red"), 3)
    assert answer.error is EngineProblem.GARBLED
    assert "s-2099" in answer.reason
    engine.close()


def test_a_service_that_is_not_there_is_given_up_and_the_others_are_asked(park: Park) -> None:
    gone, here = open_engines(
        ["gone=internal@http://127.0.0.1:1", "internal"], park.profile, environ={}
    )
    assert gone.facts.engine_id == "gone"
    answer = gone.answer(asked("red"), 3)
    assert (answer.error, answer.attempts) == (EngineProblem.UNREACHABLE, 0)
    assert gone.given_up
    assert not here.given_up
    assert here.answer(asked("red"), 3).ranked
    for engine in (gone, here):
        engine.close()


@pytest.mark.parametrize(
    ("specs", "environ"),
    [
        (["nosuch"], {}),
        (["internal", "internal"], {}),
        ([], {}),
        (["commercial"], {"AZURE_SEARCH_ENDPOINT": "https://x.search.windows.net"}),
        (["commercial"], {"AZURE_SEARCH_API_KEY": KEY}),
        (
            ["commercial"],
            {"AZURE_SEARCH_ENDPOINT": "http://x.com", "AZURE_SEARCH_API_KEY": KEY},
        ),
        (["internal@/no/such/ranking.yaml"], {}),
        (["commercial@http://127.0.0.1"], {}),
    ],
)
def test_what_is_configured_wrongly_is_an_error(
    park: Park, specs: list[str], environ: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        open_engines(specs, park.profile, environ=environ)
    assert KEY not in str(raised.value)


@pytest.mark.needs("qdrant")
def test_an_index_is_built_once_and_again_when_it_is_damaged(park: Park, tmp_path: Path) -> None:
    profile = park.profile.model_copy(update={"cache": tmp_path})
    told: list[str] = []

    def found() -> list[str]:
        engine = open_engines(["open_source"], profile, environ={}, on_build=told.append)[0]
        answer = engine.answer(asked("red"), 5)
        engine.close()
        return [one.asset_id for one in answer.ranked]

    first = found()
    assert found() == first
    assert told == ["there is none yet"]
    index = next((tmp_path / "evaluation").iterdir())
    largest = max(index.rglob("*.*"), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as file:
        file.truncate(10)
    assert found() == first
    (index / "whole.json").write_text("{")
    assert found() == first
    assert told[1:] == ["its files are damaged", "its list of files is damaged"]
    assert [one.name for one in (tmp_path / "evaluation").iterdir()] == [index.name]
