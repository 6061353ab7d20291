"""Searches within an experiment as an ingress replica answers them: who is dealt what, what is
stored and counted of it, and who gets control instead.
"""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ecm.contracts.experiment import Arm, Definition, Method, UnitKind
from ecm.contracts.feedback import StoredEvent
from ecm.contracts.search import SearchRequest, SearchResponse
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import begin
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import open_storage
from ecm.opening import search_parts
from ecm.search.opening import open_engine
from tests.experiments import SOMEBODY, terms_of
from tests.factories import Indexer, fake_profile, gallery

with warnings.catch_warnings():  # Ray Serve's own schemas use what pydantic has given up
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.access import Caller
    from serve.api import Failed, SearchBody
    from serve.counting import Counting
    from serve.experimenting import Experimenting
    from serve.experiments import ArmAnswer, Drawn
    from serve.feedback_writing import FeedbackWriter
    from serve.problem import Problem
    from serve.request_id import Named
    from serve.search_api import Searching

NOW = 1_790_000_100.0
NOBODY: Any = SimpleNamespace()


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> SearchResponse:
    indexer = Indexer(fake_profile(tmp_path_factory.mktemp("asked")))
    indexer.add(gallery(1))
    indexer.publish()
    with open_engine(search_parts(indexer.profile)) as engine:
        return engine.search(SearchRequest(tenant_id="t", text="red"))


class Holder:
    """Stands for the deployment that answers, and for the way to it."""

    def __init__(self, answer: SearchResponse) -> None:
        self.seconds = 10.0
        self.answer = answer
        self.drawn: list[Drawn | None] = []
        self.refusal: Problem | None = None
        self.teams: str | None = None
        self.trouble = ""
        self.search = SimpleNamespace(remote=self._search)

    def _search(self, _: object, now: float, name: str, drawn: Drawn | None = None) -> Any:
        self.drawn.append(drawn)
        if self.refusal is not None:
            raise Failed(self.refusal)
        if drawn is None:
            return self.answer.model_dump_json().encode()
        exposed = None if self.trouble else drawn.assigned()
        told = self.answer.model_copy(update={"experiment": exposed})
        return ArmAnswer.of(told, told.model_dump_json().encode(), self.teams, self.trouble)

    async def ask(self, call: Any) -> Any:
        return call()


class Service:
    """One ingress replica of a store on which an experiment runs."""

    def __init__(self, home: Path, answer: SearchResponse, **said: Any) -> None:
        indexer = Indexer(fake_profile(home))
        indexer.add(gallery(1))
        self.storage = open_storage(indexer.profile.evidence)
        value = {"id": "one", "treatment": "new", "method": Method.SPLIT, "stages": (50,), **said}
        self.definition = Definition.model_validate(value)
        begin(self.storage, terms_of(self.definition), NOW - 60, SOMEBODY)
        self.holder = Holder(answer)
        self.counting = Counting("r", lambda: self.storage, 0.5, CollectorRegistry(), lambda: NOW)
        self.counting.experiments.refresh()
        self.feedback = FeedbackStore(self.storage)
        self.writer = FeedbackWriter(lambda: self.feedback, 30, lambda: NOW, linger=3600.0)
        holder: Any = self.holder
        plain = Searching(NOBODY, holder, holder, 4, lambda: NOW)
        self.searching = Experimenting(
            NOBODY, holder, holder, 4, plain, self.counting, self.writer, False, lambda: NOW
        )

    def ask(self, caller: Caller | None = None, **headers: str) -> tuple[SearchResponse, str]:
        """The answer to a question with these headers, and what the header of it says."""
        request: Any = SimpleNamespace(headers=headers, scope={"state": {}})
        found: list[bytes] = []

        async def search(scope: Any, receive: Any, send: Any) -> None:
            heard = self.searching.heard(request)
            found.append(await heard.answer(caller or Caller("t", "t"), SearchBody(text="red")))

        async def ask() -> None:
            scope = {"type": "http", "headers": [(b"x-request-id", b"asked-1")]}
            await Named(search)(scope, NOBODY, NOBODY)
            await asyncio.to_thread(self.writer.close)

        asyncio.run(ask())
        left = request.scope["state"].get("answer_headers", {})
        return SearchResponse.model_validate_json(found[0]), left.get("X-Ecm-Experiment", "")

    def stored(self) -> list[StoredEvent]:
        return [one for one in self.feedback.events("t") if isinstance(one, StoredEvent)]

    def counted(self) -> dict[str, tuple[int, int]]:
        book = self.counting._books.get("one")
        arms = book.arms.items() if book is not None else ()
        return {arm.value: (one.requests, one.errors) for (_, arm), one in arms}


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        (UnitKind.SESSION, {"X-Ecm-Session": "visit"}),
        (UnitKind.UNIT, {"X-Ecm-Unit": "mary", "X-Ecm-Session": "visit"}),
        (UnitKind.KEY, {}),
    ],
)
def test_a_unit_of_any_kind_gets_the_arm_of_its_mark_and_is_stored_as_one(
    tmp_path: Path, answer: SearchResponse, kind: UnitKind, headers: dict[str, str]
) -> None:
    service = Service(tmp_path, answer, unit=kind)
    caller = Caller("t", "t", key_id="key-7")
    name = {"session": "visit", "unit": "mary", "key": "key-7"}[kind.value]
    mark = service.feedback.mark("t", kind.value, name)
    arm = arm_of(service.definition, 0, mark)
    found, header = service.ask(caller, **headers)
    assert service.holder.drawn == [Drawn("one", arm, 0, mark)]
    assert found.experiment is not None
    assert header == f"one; arm={arm.value}; stage=0"
    (event,) = service.stored()
    assert event.experiment is not None
    assert (event.experiment.unit, event.experiment.arm, event.query_id) == (mark, arm, "asked-1")
    assert (event.query, len(event.shown)) == (None, len(answer.hits))
    assert (event.session is None) is (kind is UnitKind.KEY)
    assert service.counted() == {arm.value: (1, 0)}
    text = event.model_dump_json()
    assert not any(said in text for said in (*headers.values(), "key-7"))


@pytest.mark.parametrize("headers", [{}, {"X-Ecm-Session": "  "}, {"X-Ecm-Session": "x" * 257}])
def test_without_a_unit_it_is_control_and_nobodys(
    tmp_path: Path, answer: SearchResponse, headers: dict[str, str]
) -> None:
    service = Service(tmp_path, answer)
    found, header = service.ask(**headers)
    assert (found.experiment, header, service.stored()) == (None, "", [])
    assert service.holder.drawn == [None]
    assert service.counting._books["one"].unassigned == 1


def test_another_tenant_has_no_part_in_it(tmp_path: Path, answer: SearchResponse) -> None:
    service = Service(tmp_path, answer, tenant_id="t")
    service.ask(Caller("other", "other"), **{"X-Ecm-Session": "visit"})
    assert service.holder.drawn == [None]
    assert service.counted() == {}


def test_an_answer_without_hits_is_stored_all_the_same(
    tmp_path: Path, answer: SearchResponse
) -> None:
    service = Service(tmp_path, answer.model_copy(update={"hits": ()}))
    service.ask(**{"X-Ecm-Session": "visit"})
    (event,) = service.stored()
    assert event.shown == ()


def test_letters_of_an_answer_in_turns_are_stored_and_not_told(
    tmp_path: Path, answer: SearchResponse
) -> None:
    service = Service(tmp_path, answer, method=Method.INTERLEAVING, interleaved_pct=100)
    service.holder.teams = "-ct"[: len(answer.hits)].ljust(len(answer.hits), "t")
    found, _ = service.ask(**{"X-Ecm-Session": "visit"})
    (event,) = service.stored()
    assert event.experiment is not None
    assert (event.experiment.arm, event.experiment.teams) == (Arm.INTERLEAVED, service.holder.teams)
    assert "teams" not in found.model_dump_json()


def test_control_in_place_of_an_arm_is_counted_as_neither(
    tmp_path: Path, answer: SearchResponse
) -> None:
    service = Service(tmp_path, answer)
    service.holder.trouble = "not the control"
    found, header = service.ask(**{"X-Ecm-Session": "visit"})
    assert (found.experiment, header, service.stored()) == (None, "", [])
    assert service.counted() == {}
    book = service.counting._books["one"]
    assert (book.untried, book.trouble) == (1, "not the control")


@pytest.mark.parametrize(("status", "errors"), [(503, 1), (504, 1), (422, 0), (409, 0)])
def test_what_the_service_fails_counts_against_the_arm_what_a_caller_does_wrong_does_not(
    tmp_path: Path, answer: SearchResponse, status: int, errors: int
) -> None:
    service = Service(tmp_path, answer)
    service.holder.refusal = Problem(status, "c", "d")
    with pytest.raises(Failed):
        service.ask(**{"X-Ecm-Session": "visit"})
    assert sum(count for _, count in service.counted().values()) == errors
    assert service.stored() == []
