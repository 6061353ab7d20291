"""Impressions that searches leave by themselves: what is in them, and when there is none."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ecm.contracts.feedback import StoredEvent
from ecm.contracts.search import SearchRequest, SearchResponse
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.opening import search_parts
from ecm.search.cursor import query_digest
from ecm.search.opening import open_engine
from tests.factories import Indexer, fake_profile, gallery

with warnings.catch_warnings():  # Ray Serve's own schemas use what pydantic has given up
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.access import Caller
    from serve.api import SearchBody
    from serve.feedback_api import ImpressionsKept
    from serve.feedback_writing import FeedbackWriter
    from serve.request_id import Named

NOW = 1_790_000_100.0


@pytest.fixture
def indexer(tmp_path: Path) -> Indexer:
    made = Indexer(fake_profile(tmp_path))
    made.add(gallery(1))
    made.publish()
    return made


class Answering:
    """Stands for the way to the snapshot: one answer to whatever is asked."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    async def ask(self, _: object) -> bytes:
        return self.answer


def answered(indexer: Indexer, **asked: object) -> tuple[SearchBody, SearchResponse]:
    question = SearchRequest.model_validate({"tenant_id": "t", **asked})
    with open_engine(search_parts(indexer.profile)) as engine:
        return SearchBody.model_validate(asked), engine.search(question)


def kept(indexer: Indexer, question: SearchBody, answer: SearchResponse) -> list[StoredEvent]:
    """What is stored after a search that was answered so, by a service that ends at once."""
    feedback = FeedbackStore(open_storage(indexer.profile.evidence))
    raw = answer.model_dump_json().encode()
    writer = FeedbackWriter(lambda: feedback, 30, lambda: NOW, linger=3600.0)
    calls: Any = Answering(raw)
    nothing: Any = SimpleNamespace()

    async def search(scope: Any, receive: Any, send: Any) -> None:
        searching = ImpressionsKept(nothing, calls, nothing, 4, writer, lambda: NOW)
        assert await searching.answer(Caller("t", "t"), question) == raw

    async def ask() -> None:
        scope = {"type": "http", "headers": [(b"x-request-id", b"asked-1")]}
        await Named(search)(scope, nothing, nothing)
        await asyncio.to_thread(writer.close)

    asyncio.run(ask())
    return [event for event in feedback.events("t") if isinstance(event, StoredEvent)]


def test_a_search_leaves_what_it_has_shown_under_the_name_of_its_request(indexer: Indexer) -> None:
    question, answer = answered(indexer, text="red", limit=3)
    (event,) = kept(indexer, question, answer)
    assert (event.at, event.query_id, event.query) == (NOW, "asked-1", "red")
    assert (event.snapshot_id, event.ranking) == (answer.snapshot_id, answer.ranking.digest)
    assert [one.asset_id for one in event.shown] == [hit.asset_id for hit in answer.hits]
    assert [one.rank for one in event.shown] == [1, 2, 3]
    asked = SearchRequest(tenant_id="t", text="red", limit=3)
    assert event.query_digest == query_digest(asked)
    assert (event.unit, event.session) == (None, None)


def test_a_search_that_found_nothing_leaves_nothing(indexer: Indexer) -> None:
    nothing = {"must": [{"field": "tags", "any": ["no-such-tag"]}]}
    question, answer = answered(indexer, text="red", filter=nothing)
    assert answer.hits == ()
    assert kept(indexer, question, answer) == []


def test_places_that_feedback_cannot_name_fail_no_search(indexer: Indexer) -> None:
    question, answer = answered(indexer, text="red", limit=2)
    near, far = answer.hits
    deep = (near.model_copy(update={"rank": 10_000}), far.model_copy(update={"rank": 10_001}))
    (event,) = kept(indexer, question, answer.model_copy(update={"hits": deep}))
    assert [one.rank for one in event.shown] == [10_000]
    assert kept(indexer, question, answer.model_copy(update={"hits": deep[1:]})) == [event]
