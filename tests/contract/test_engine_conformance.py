"""What every engine of an evaluation must do, whoever made it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ecm.contracts.measured import EngineKind, EngineProblem
from ecm.errors import ContractError
from ecm.evaluation.engines.patient import Patient
from tests.engine_park import Park, asked

ENGINES = [
    "fake",
    "internal",
    "internal over HTTP",
    pytest.param("open_source", marks=pytest.mark.needs("qdrant")),
    "commercial",
]
OURS = [name for name in ENGINES if name != "fake"]
STRANGE = [
    "zzxqy wvvq",
    "日本語 の 犬 🐕",
    "a\u0301 cafe\u0301 naïve Ünïcödé",
    "\"unclosed (quote -minus +plus *star ~tilde /slash\\ '); DROP TABLE assets; --",
    "{vector} $text $limit {{jinja}} %s",
    "the of and",
    "   red   ",
    "\u202ered\u202c\u0007",
    "red " * 400,
]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, park: Park) -> Patient:
    return park.engine(request.param)


def test_ranks_are_in_order_and_assets_are_the_tenants_own(engine: Patient, park: Park) -> None:
    answer = engine.answer(asked("red"), 10)
    assert answer.error is None
    assert answer.attempts == 1
    assert answer.latency_ms is not None
    assert [one.rank for one in answer.ranked] == list(range(1, len(answer.ranked) + 1))
    found = [one.asset_id for one in answer.ranked]
    assert 0 < len(found) == len(set(found))
    assert set(found) <= set(park.ids)


def test_a_smaller_depth_gives_the_first_of_a_greater_one(engine: Patient) -> None:
    whole = [one.asset_id for one in engine.answer(asked("blue picture"), 50).ranked]
    for depth in (1, 2, 5):
        part = engine.answer(asked("blue picture"), depth)
        assert [one.asset_id for one in part.ranked] == whole[:depth]


def test_a_depth_out_of_bounds_is_the_askers_fault(engine: Patient) -> None:
    for depth in (0, 1001):
        with pytest.raises(ContractError, match="depth"):
            engine.answer(asked("red"), depth)


def test_the_same_question_has_the_same_answer(engine: Patient) -> None:
    first, again = (engine.answer(asked("green"), 20).ranked for _ in range(2))
    assert first == again


def test_a_shown_asset_is_no_answer_to_itself(engine: Patient, park: Park) -> None:
    shown = park.ids[3]
    for query in (asked(None, shown), asked("red", shown)):
        answer = engine.answer(query, len(park.ids))
        assert answer.error is None, answer.reason
        assert answer.ranked
        assert shown not in [one.asset_id for one in answer.ranked]


def test_an_asset_that_nobody_has_is_refused_once(engine: Patient) -> None:
    answer = engine.answer(asked(None, "0" * 64), 10)
    assert (answer.error, answer.attempts, answer.ranked) == (EngineProblem.REFUSED, 1, ())
    assert answer.reason
    assert engine.answer(asked("red"), 3).error is None


@pytest.mark.parametrize("text", STRANGE)
def test_whatever_is_written_is_a_question(engine: Patient, park: Park, text: str) -> None:
    answer = engine.answer(asked(text), 10)
    assert answer.error is None, answer.reason
    assert {one.asset_id for one in answer.ranked} <= set(park.ids)


def test_threads_get_what_one_gets_alone(engine: Patient, park: Park) -> None:
    queries = [asked(text) for text in ("red", "blue", "green", "a yellow picture")]
    queries += [asked(None, shown) for shown in park.ids[:4]]
    alone = [engine.answer(query, 10).ranked for query in queries]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda query: engine.answer(query, 10).ranked, queries * 4))
    assert together == alone * 4


@pytest.mark.parametrize("name", OURS)
def test_facts_say_what_answers(park: Park, name: str) -> None:
    facts = park.engine(name).facts
    published = park.service.engine.reader.ref
    assert facts.snapshot_id == published.snapshot_id
    assert facts.assets == published.tenants["ann"]
    assert set(facts.fingerprints) >= {"vv", "mv"}
    assert (facts.stands_for is not None) == (facts.kind is EngineKind.COMMERCIAL)
    assert (facts.ranking_digest is not None) == (facts.kind is EngineKind.INTERNAL)
    assert facts.cost_per_1k_usd == 0 or facts.cost_basis


@pytest.mark.parametrize("name", ENGINES)
def test_it_may_be_closed_again(park: Park, name: str) -> None:
    engine = park.new(name)
    engine.answer(asked("red"), 1)
    engine.close()
    engine.close()


def test_our_engine_answers_alike_in_this_process_and_over_http(park: Park) -> None:
    for query in (asked("red"), asked(None, park.ids[0]), asked("blue", park.ids[5])):
        here = park.engine("internal").answer(query, 20)
        there = park.engine("internal over HTTP").answer(query, 20)
        assert [one.asset_id for one in here.ranked] == [one.asset_id for one in there.ranked]
    assert park.engine("internal").facts.ranking_digest == (
        park.engine("internal over HTTP").facts.ranking_digest
    )
