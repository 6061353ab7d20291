"""The recorded contract takes and refuses what the product documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from ecm.evaluation.engines.azure_contract import AzureContract, ContractRequest
from ecm.evaluation.engines.exact import ExactIndex, fused
from ecm.evaluation.engines.vectors import Corpus, VectorColumn, VectorField

KEY = "k" * 32
IDS = tuple(f"{number:064x}" for number in range(4))
TEXTS = ("a dog on a beach", "a dog, a dog", "the beach", "a red house")
VECTORS = np.eye(4, 3, dtype=np.float32)
WHERE = "/indexes('ecm-assets')/docs/search.post.search"
HEADERS = {"api-key": KEY, "content-type": "application/json"}


@pytest.fixture(scope="module")
def contract() -> AzureContract:
    rows = np.arange(3)
    columns = {VectorField.MV: VectorColumn(rows, VECTORS[:3])}
    corpus = Corpus("s", "t", IDS, TEXTS, columns, {})
    return AzureContract(ExactIndex(corpus), "ecm-assets", KEY)


def ask(
    contract: AzureContract,
    body: object,
    *,
    method: str = "POST",
    path: str = WHERE,
    headers: Mapping[str, str] = HEADERS,
    version: str | None = "2024-07-01",
) -> tuple[int, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    params = {} if version is None else {"api-version": version}
    reply = contract.answer(ContractRequest(method, path, params, headers, raw))
    return reply.status, json.loads(reply.body)


def near(vector: list[float], **more: object) -> dict[str, object]:
    return {"kind": "vector", "vector": vector, "fields": "mv", "k": 3, **more}


def found(answer: dict[str, Any]) -> list[int]:
    return [int(hit["asset_id"], 16) for hit in answer["value"]]


def test_words_are_ranked_by_bm25(contract: AzureContract) -> None:
    status, answer = ask(contract, {"search": "dog", "select": "asset_id", "top": 10})
    assert status == 200
    assert found(answer) == [1, 0], "twice in a shorter text before once in a longer one"
    assert set(answer["value"][0]) == {"@search.score", "asset_id"}


def test_one_vector_alone_is_ranked_by_cosine(contract: AzureContract) -> None:
    _, answer = ask(contract, {"vectorQueries": [near([0.0, 1.0, 0.0])]})
    assert found(answer)[0] == 1
    assert answer["value"][0]["@search.score"] == pytest.approx(1.0)


def test_several_lists_are_fused_by_reciprocal_ranks(contract: AzureContract) -> None:
    _, answer = ask(contract, {"search": "house", "vectorQueries": [near([1.0, 0.0, 0.0], k=1)]})
    assert found(answer) == [0, 3]
    assert [hit["@search.score"] for hit in answer["value"]] == [1 / 61, 1 / 61]
    assert fused([[(1, 9.0), (2, 8.0)], [(2, 1.0)]]) == [(2, 1 / 62 + 1 / 61), (1, 1 / 61)]


def test_pages_and_counts(contract: AzureContract) -> None:
    whole = found(ask(contract, {"search": "*"})[1])
    assert whole == [0, 1, 2, 3]
    _, answer = ask(contract, {"search": "*", "top": 2, "skip": 1, "count": True})
    assert (found(answer), answer["@odata.count"]) == ([1, 2], 4)
    assert found(ask(contract, {"search": "dog", "skip": 9})[1]) == []
    assert found(ask(contract, {"search": "zebra"})[1]) == []


REFUSED: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
    (400, {"search": "dog"}, {"version": None}),
    (400, {"search": "dog"}, {"version": "2019-05-06"}),
    (401, {"search": "dog"}, {"headers": {"content-type": "application/json"}}),
    (403, {"search": "dog"}, {"headers": {**HEADERS, "api-key": "other"}}),
    (404, {"search": "dog"}, {"path": "/indexes('other')/docs/search.post.search"}),
    (404, {"search": "dog"}, {"path": "/indexes"}),
    (405, {"search": "dog"}, {"method": "GET"}),
    (415, {"search": "dog"}, {"headers": {**HEADERS, "content-type": "text/plain"}}),
    (400, {"query": "dog"}, {}),
    (400, {"search": 1}, {}),
    (400, {"search": "dog", "top": "10"}, {}),
    (400, {"search": "dog", "top": -1}, {}),
    (400, {"search": "dog", "skip": 100_001}, {}),
    (400, {"search": "dog", "queryType": "strange"}, {}),
    (400, {"search": "dog", "queryType": "semantic"}, {}),
    (400, {"search": "dog", "select": "caption"}, {}),
    (400, {"search": "dog", "filter": "rating gt 4"}, {}),
    (400, {"vectorQueries": [near([1.0, 0.0])]}, {}),
    (400, {"vectorQueries": [near([1.0, 0.0, 0.0], fields="vv")]}, {}),
    (400, {"vectorQueries": [near([1.0, 0.0, 0.0], strange=1)]}, {}),
    (400, {"vectorQueries": [{"kind": "vector", "fields": "mv"}]}, {}),
    (400, {"vectorQueries": [{"kind": "text", "text": "dog", "fields": "mv"}]}, {}),
    (400, {"vectorQueries": [near([1.0, 0.0, 0.0], kind="other")]}, {}),
]


@pytest.mark.parametrize(("status", "body", "how"), REFUSED)
def test_what_is_documented_as_wrong_is_refused(
    contract: AzureContract, status: int, body: dict[str, Any], how: dict[str, Any]
) -> None:
    code, answer = ask(contract, body, **how)
    assert code == status
    assert answer["error"]["message"]
    assert KEY not in json.dumps(answer)


def test_a_body_that_is_no_json_is_refused(contract: AzureContract) -> None:
    for body in (b"", b"{", b"[]", b"null", b"\xff\xfe"):
        assert ask(contract, body)[0] == 400


def test_the_documented_short_path_is_the_same(contract: AzureContract) -> None:
    body = {"search": "dog"}
    short = ask(contract, body, path="/indexes/ecm-assets/docs/search")
    assert short == ask(contract, body)
