"""Whatever a server says, an engine tells an answer or a problem; and a contract does, asked so."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.config import conf_folder
from ecm.contracts.measured import EngineFacts, EngineKind, EngineProblem
from ecm.evaluation.engines.azure_contract import AzureContract, ContractRequest
from ecm.evaluation.engines.config import CommercialConfig, load_config
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.patient import Patience, Patient
from ecm.evaluation.engines.rest import Place, RestEngine, retry_seconds
from ecm.evaluation.engines.vectors import Corpus, VectorColumn, VectorField
from tests.engine_queries import asked

KEY = "0123456789abcdef"
FOLDER = conf_folder({}) / "engines"
IDS = tuple(f"{number:064x}" for number in range(3))
FACTS = EngineFacts(engine_id="c", kind=EngineKind.COMMERCIAL, description="")
CONFIG = load_config(FOLDER / "commercial.yaml", FOLDER)
CONTRACT = AzureContract(
    ExactIndex(
        Corpus(
            "s",
            "t",
            IDS,
            ("a dog", "a cat", ""),
            {VectorField.MV: VectorColumn(np.arange(2), np.eye(2, dtype=np.float32))},
            {},
        )
    ),
    "i",
    KEY,
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(IDS)
)
NAMES = st.one_of(st.sampled_from(["value", "@search.score", "asset_id", "error"]), st.text())
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
)
HITS = st.lists(
    st.fixed_dictionaries({"@search.score": SCALARS, "asset_id": st.one_of(SCALARS)}), max_size=4
)
BODIES = st.one_of(
    st.binary(max_size=60),
    ANYTHING.map(lambda value: json.dumps(value).encode()),
    HITS.map(lambda hits: json.dumps({"value": hits}).encode()),
)
STATUSES = st.sampled_from([200, 204, 206, 301, 400, 401, 403, 404, 418, 429, 500, 503, 599])


def engine(status: int, body: bytes, headers: dict[bytes, bytes]) -> Patient:
    assert isinstance(CONFIG, CommercialConfig)
    transport = httpx.MockTransport(
        lambda _: httpx.Response(
            status, stream=httpx.ByteStream(body), headers=list(headers.items())
        )
    )
    place = Place("https://example.com", KEY, {"index": "i"})
    backend = RestEngine(FACTS, CONFIG, place, lambda _: {}, transport=transport)
    return Patient(backend, Patience(retries=0, gives_up_after=100))


@given(STATUSES, BODIES, st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
def test_whatever_a_server_says(status: int, body: bytes, wait: str) -> None:
    made = engine(status, body, {b"retry-after": wait.strip().encode("latin-1")})
    answer = made.answer(asked("red"), 3)
    assert answer.error is None or not answer.ranked
    assert status in (200, 206) or answer.error not in (None, EngineProblem.GARBLED)
    assert answer.error is not EngineProblem.BUDGET
    made.close()


@given(BODIES, st.sampled_from([400, 500]))
def test_a_key_that_is_sent_back_is_not_shown(body: bytes, status: int) -> None:
    said = json.dumps({"error": {"message": f"{body!r} {KEY} {KEY}"}}).encode()
    made = engine(status, said, {})
    answer = made.answer(asked("red"), 3)
    assert KEY not in answer.model_dump_json()
    made.close()


def documented(body: bytes, **headers: str) -> tuple[int, Any]:
    said = {"api-key": KEY, "content-type": "application/json", **headers}
    where = "/indexes('i')/docs/search.post.search"
    version = {"api-version": "2024-07-01"}
    reply = CONTRACT.answer(ContractRequest("POST", where, version, said, body))
    return reply.status, json.loads(reply.body, parse_constant=pytest.fail)


@given(BODIES)
def test_whatever_is_asked_is_answered_or_refused(body: bytes) -> None:
    status, answer = documented(body)
    assert ("value" in answer) == (status == 200)
    assert ("error" in answer) == (status == 400)


VECTORS = st.lists(st.floats() | st.integers(), max_size=3)


@given(
    st.fixed_dictionaries(
        {
            "search": st.text() | st.none(),
            "top": st.integers(-1, 2000),
            "skip": st.integers(-1, 100),
            "vectorQueries": st.lists(
                st.fixed_dictionaries(
                    {
                        "kind": st.just("vector"),
                        "vector": VECTORS,
                        "fields": st.sampled_from(["mv", "vv", "mv,mv", ""]),
                        "k": st.integers(-1, 5),
                    }
                ),
                max_size=3,
            ),
        }
    )
)
def test_searches_of_any_values_are_answered_or_refused(body: dict[str, Any]) -> None:
    status, answer = documented(json.dumps(body).encode())
    assert status in (200, 400)
    if status == 200:
        found = [hit["asset_id"] for hit in answer["value"]]
        assert len(found) == len(set(found)) <= body["top"]


@given(st.text(), st.text())
def test_whatever_is_said_of_waiting(said: str, date: str) -> None:
    seconds = retry_seconds(said, date)
    assert seconds is None or seconds >= 0
