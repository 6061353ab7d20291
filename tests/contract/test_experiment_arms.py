"""The arms of an experiment on a real snapshot: each answers as its own ranking does, and answers
of both in turns keep every hit's own score, page after page.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ecm.contracts.experiment import Arm, Definition, ExperimentTerms
from ecm.contracts.search import LostReason, SearchRequest, SearchResponse
from ecm.errors import AxisUnavailable, QueryError
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import Experiment, begin
from ecm.evidence.storage import open_storage
from ecm.opening import search_parts
from ecm.search.encoders import EncodedQuery
from ecm.search.engine import SearchEngine
from ecm.search.opening import open_encoder, open_engine
from ecm.search.ordered import Gathered, NotReranked
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from ecm.search.rerank import FeatureReranker, Reranked
from tests.experiments import changed, on_record
from tests.factories import Indexer, fake_profile, gallery

with warnings.catch_warnings():  # Ray Serve's own schemas use what pydantic has given up
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.experiments import ArmAnswer, Drawn, FollowedExperiments
    from serve.trying import Trying

NOW = 1_790_000_000.0
UNITS = [f"{number:032x}" for number in range(60)]


class Local:
    """The stages of a search in this process. `broken` is a ranking that cannot be reranked by."""

    def __init__(self, engine: SearchEngine, encoder: Any) -> None:
        self.engine = engine
        self._encoder = encoder
        self.broken = ""
        self.encoded_for: list[Plan] = []

    async def in_thread(self, work: Callable[..., Any], *given: object) -> Any:
        return work(*given)

    async def encoded(self, engine: SearchEngine, plan: Plan) -> list[EncodedQuery]:
        if not plan.encodings:
            return []
        self.encoded_for.append(plan)
        return self._encoder.encode(plan.encodings)  # type: ignore[no-any-return]

    async def reranked(
        self, plan: Plan, gathered: Gathered, ranking: RankingProfile | None = None
    ) -> Reranked | NotReranked | None:
        asked = ranking or self.engine.ranking
        if asked.version == self.broken:
            return NotReranked(LostReason.CEILING, "too slow")
        return FeatureReranker(asked).rerank(gathered.rerank) if gathered.rerank else None

    async def found(
        self, engine: SearchEngine, request: SearchRequest, ranking: RankingProfile | None = None
    ) -> tuple[SearchResponse, Gathered]:
        plan = engine.plan(request)
        gathered = engine.gather(plan, await self.encoded(engine, plan))
        return engine.answer(plan, gathered, await self.reranked(plan, gathered, ranking)), gathered


class Setting:
    """A snapshot, an experiment on it, and both rankings alone."""

    def __init__(self, engine: SearchEngine, encoder: Any, indexer: Indexer, stage: str) -> None:
        self.engine = engine
        self.stages = Local(engine, encoder)
        storage = open_storage(indexer.profile.evidence)
        storage.remove("experiments")
        definition = Definition.model_validate(
            {
                "id": f"on-{stage}",
                "treatment": "new",
                "method": stage,
                "stages": (50,),
                "interleaved_pct": 50,
            }
        )
        ranking = self.tried(engine.ranking)
        terms = ExperimentTerms(
            definition=definition, control=on_record(engine.ranking), treatment=on_record(ranking)
        )
        self.experiment: Experiment = begin(storage, terms, NOW, "somebody")
        self.followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: NOW)
        self.followed.refresh()
        self.other = engine.ranked_by(ranking)
        self.trying = Trying(self.followed, self.stages)

    def tried(self, ranking: RankingProfile) -> RankingProfile:
        return changed(ranking)

    def drawn(self, unit: str) -> Drawn:
        arm = arm_of(self.experiment.definition, 0, unit)
        return Drawn(self.experiment.id, arm, 0, unit)

    def ask(self, unit: str, **asked: Any) -> tuple[SearchResponse, ArmAnswer]:
        request = SearchRequest.model_validate({"tenant_id": "t", "text": "red car", **asked})
        drawn = self.drawn(unit)
        found, _, counted = asyncio.run(self.trying.answer(self.engine, request, drawn))
        return found, counted

    def alone(self, engine: SearchEngine, **asked: Any) -> SearchResponse:
        request = SearchRequest.model_validate({"tenant_id": "t", "text": "red car", **asked})
        return asyncio.run(self.stages.found(engine, request, engine.ranking))[0]

    def unit_in(self, arm: Arm) -> str:
        return next(unit for unit in UNITS if self.drawn(unit).arm is arm)


@pytest.fixture(scope="module")
def indexer(tmp_path_factory: pytest.TempPathFactory) -> Indexer:
    made = Indexer(fake_profile(tmp_path_factory.mktemp("arms")))
    made.add(gallery(5))
    made.publish()
    return made


@pytest.fixture(scope="module")
def opened(indexer: Indexer) -> Iterator[tuple[SearchEngine, Any, Indexer]]:
    parts = search_parts(indexer.profile)
    patient = parts.search.model_copy(update={"time_ceiling_ms": 60_000.0})
    parts = replace(parts, search=patient)
    with open_engine(parts) as engine:
        yield engine, open_encoder(parts), indexer


@pytest.fixture
def split(opened: tuple[SearchEngine, Any, Indexer]) -> Setting:
    return Setting(*opened, "split")


@pytest.fixture
def turns(opened: tuple[SearchEngine, Any, Indexer]) -> Setting:
    return Setting(*opened, "interleaving")


def same(one: SearchResponse, other: SearchResponse) -> bool:
    return (one.hits, one.ranking, one.matched) == (other.hits, other.ranking, other.matched)


def test_each_arm_of_a_split_answers_as_its_ranking_does(split: Setting) -> None:
    own, other = split.alone(split.engine), split.alone(split.other)
    assert [hit.asset_id for hit in own.hits] != [hit.asset_id for hit in other.hits]
    for arm, alone in ((Arm.CONTROL, own), (Arm.TREATMENT, other)):
        found, counted = split.ask(split.unit_in(arm))
        assert same(found, alone)
        assert found.experiment == counted.exposed
        assert found.experiment is not None
        assert (found.experiment.arm, found.experiment.stage) == (arm, 0)


def test_hits_of_both_in_turns_keep_the_scores_and_summands_of_their_own(turns: Setting) -> None:
    own = {hit.asset_id: hit for hit in turns.alone(turns.engine, limit=200).hits}
    other = {hit.asset_id: hit for hit in turns.alone(turns.other, limit=200).hits}
    unit = turns.unit_in(Arm.INTERLEAVED)
    found, counted = turns.ask(unit, limit=200)
    assert counted.teams is not None
    assert len(counted.teams) == len(found.hits) == found.matched
    assert {"c", "t"} <= set(counted.teams)
    assert {hit.asset_id for hit in found.hits} == {*own, *other}
    assert [hit.rank for hit in found.hits] == list(range(1, len(found.hits) + 1))
    for hit, team in zip(found.hits, counted.teams, strict=True):
        alone = (other if team == "t" else own)[hit.asset_id]
        assert hit == alone.model_copy(update={"rank": hit.rank})
        assert math.isclose(math.fsum(part.value for part in hit.contributions), hit.score)


class OtherBoosts(Setting):
    """A ranking on trial that asks the words axis with other boosts: it is asked for both."""

    def tried(self, ranking: RankingProfile) -> RankingProfile:
        boosts = ranking.text_boosts.model_copy(update={"name": 5.0, "tags": 0.0})
        return changed(ranking).model_copy(update={"text_boosts": boosts})


def test_rankings_that_ask_words_differently_are_each_asked(
    opened: tuple[SearchEngine, Any, Indexer],
) -> None:
    turns = OtherBoosts(*opened, "interleaving")
    other = {hit.asset_id: hit for hit in turns.alone(turns.other, limit=200).hits}
    turns.other = turns.engine.ranked_by(turns.other.ranking)
    found, counted = turns.ask(turns.unit_in(Arm.INTERLEAVED), limit=200)
    assert counted.teams is not None
    theirs = [h for h, team in zip(found.hits, counted.teams, strict=True) if team == "t"]
    assert theirs
    for hit in theirs:
        assert hit == other[hit.asset_id].model_copy(update={"rank": hit.rank})


def test_a_question_in_turns_is_encoded_once_and_asks_no_axis_twice(turns: Setting) -> None:
    turns.ask(turns.unit_in(Arm.INTERLEAVED))
    assert len(turns.stages.encoded_for) == 1


def test_pages_in_turns_are_cut_from_one_draft_whoever_cuts_them(turns: Setting) -> None:
    unit = turns.unit_in(Arm.INTERLEAVED)
    whole, counted = turns.ask(unit, limit=200)
    seen: list[str] = []
    teams, cursor = "", None
    while True:
        turns.engine._recent = type(turns.engine._recent)(1)  # another replica remembers nothing
        page, told = turns.ask(unit, limit=4, cursor=cursor)
        assert told.exposed is not None
        seen += [hit.asset_id for hit in page.hits]
        teams += told.teams or ""
        cursor = page.cursor
        if cursor is None:
            break
    assert (seen, teams) == ([hit.asset_id for hit in whole.hits], counted.teams)


def test_units_are_shown_different_drafts(turns: Setting) -> None:
    units = [unit for unit in UNITS if turns.drawn(unit).arm is Arm.INTERLEAVED]
    orders = {tuple(hit.asset_id for hit in turns.ask(unit)[0].hits) for unit in units[:12]}
    assert len(orders) > 3


def test_a_search_goes_on_in_the_ranking_that_it_began_in(split: Setting) -> None:
    treated, control = split.unit_in(Arm.TREATMENT), split.unit_in(Arm.CONTROL)
    began = split.ask(treated, limit=3)[0]
    assert began.cursor is not None
    page, counted = split.ask(control, limit=3, cursor=began.cursor)
    assert counted.exposed is None  # of no arm: its unit was dealt another one
    assert page.experiment is None
    whole = split.alone(split.other, limit=6)
    assert [hit.asset_id for hit in page.hits] == [hit.asset_id for hit in whole.hits[3:]]


def test_a_cursor_of_somebody_elses_draft_is_stale(turns: Setting) -> None:
    units = [unit for unit in UNITS if turns.drawn(unit).arm is Arm.INTERLEAVED]
    cursor = turns.ask(units[0], limit=3)[0].cursor
    with pytest.raises(QueryError) as caught:
        turns.ask(units[1], limit=3, cursor=cursor)
    assert caught.value.code == "query.cursor_stale"


def test_a_cursor_in_turns_is_of_one_question(turns: Setting) -> None:
    unit = turns.unit_in(Arm.INTERLEAVED)
    cursor = turns.ask(unit, limit=3)[0].cursor
    with pytest.raises(QueryError) as caught:
        turns.ask(unit, limit=3, text="blue house", cursor=cursor)
    assert caught.value.code == "query.cursor"


@pytest.mark.parametrize("broken", ["default-2", "changed"])
def test_where_one_of_both_cannot_be_reranked_control_answers_and_nobody_counts(
    turns: Setting, broken: str
) -> None:
    unit = turns.unit_in(Arm.INTERLEAVED)
    first = turns.ask(unit, limit=3)[0]
    turns = _again(turns)
    turns.stages.broken = turns.engine.ranking.version if broken == "default-2" else broken
    found, counted = turns.ask(unit)
    assert (counted.exposed, found.experiment) == (None, None)
    assert "not whole" in counted.trouble
    with pytest.raises(AxisUnavailable):
        turns.ask(unit, limit=3, cursor=first.cursor)


def _again(turns: Setting) -> Setting:
    """The same with nothing remembered."""
    turns.engine._recent = type(turns.engine._recent)(256)
    turns.trying = Trying(turns.followed, turns.stages)
    return turns


def test_control_answers_where_the_experiment_is_not_of_this_ranking(split: Setting) -> None:
    """Or not known here, or its ranking cannot be read: always with the cause."""
    own = split.alone(split.engine)
    unit = split.unit_in(Arm.TREATMENT)
    other = split.engine.ranked_by(changed(split.engine.ranking, "in-force-now"))
    request = SearchRequest.model_validate({"tenant_id": "t", "text": "red car"})
    found, _, counted = asyncio.run(split.trying.answer(other, request, split.drawn(unit)))
    assert "not the control" in counted.trouble
    assert found.experiment is None
    body = split.experiment.terms.treatment.model_copy(update={"body": "{}"})
    terms = split.experiment.terms.model_copy(update={"treatment": body})
    damaged = Experiment("e-0001", terms, split.experiment.events)
    split.followed._open = (damaged,)
    found, counted = split.ask(unit)
    assert same(found, own)
    assert "cannot be read" in counted.trouble
    split.followed._open = ()
    found, counted = split.ask(unit)
    assert same(found, own)
    assert "does not run here" in counted.trouble
