"""What a caller sees of ranking: sums, demotion, cut-off, what hits would be without, profiles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ecm.contracts.search import Axis, Hit, LostReason, SearchRequest, SearchResponse
from ecm.opening import search_parts
from ecm.search.engine import SearchEngine
from ecm.search.opening import open_engine
from tests.factories import Indexer, asset_id, fake_profile, gallery

PICTURES = gallery(3)
COLOUR_OF = {asset_id(data): name.partition("-")[0] for name, data in PICTURES.items()}
UNHURRIED = ("search.rerank_ceiling_ms=60000", "search.time_ceiling_ms=60000")
RANKING = Path(__file__).parents[2] / "conf" / "ranking" / "default.yaml"


@pytest.fixture(scope="module")
def indexer(tmp_path_factory: pytest.TempPathFactory) -> Indexer:
    made = Indexer(fake_profile(tmp_path_factory.mktemp("home"), *UNHURRIED))
    made.add(PICTURES)
    made.publish()
    return made


@pytest.fixture(scope="module")
def engine(indexer: Indexer) -> Iterator[SearchEngine]:
    with open_engine(search_parts(indexer.profile)) as opened:
        yield opened


def ask(engine: SearchEngine, text: str, **fields: object) -> SearchResponse:
    return engine.search(
        SearchRequest.model_validate({"tenant_id": "t", "text": text, "limit": 24, **fields})
    )


def colours(answer: SearchResponse) -> list[str]:
    return [COLOUR_OF[hit.asset_id] for hit in answer.hits]


def features(hit: Hit) -> set[str]:
    return {part.feature for part in hit.contributions}


def test_hits_are_reranked_and_tell_every_feature(engine: SearchEngine) -> None:
    answer = ask(engine, "green")
    assert answer.ranking.version == "default-2"
    assert answer.ranking.digest == engine.ranking.digest()
    assert answer.ranking.reranked == 24
    assert answer.ranking.fusion == "rrf"
    assert {"style_match", "rrf.vv"} <= features(answer.hits[0])
    for hit in answer.hits:
        assert math.fsum(part.value for part in hit.contributions) == pytest.approx(
            hit.score, abs=1e-9
        )
        assert all(part.raw is not None for part in hit.contributions)
    plain = ask(engine, "green", rerank="off")
    assert plain.ranking.reranked == 0
    assert features(plain.hits[0]) <= {f"rrf.{axis.value}" for axis in Axis}


@pytest.mark.parametrize("rerank", ["auto", "off"])
def test_what_is_not_wanted_falls_with_and_without_reranking(
    engine: SearchEngine, rerank: str
) -> None:
    plain = ask(engine, "a brown picture", rerank=rerank, axes=["vv", "mv"])
    against = ask(engine, "a brown picture without red", rerank=rerank, axes=["vv", "mv"])
    assert against.understood.unwanted == ("red",)
    said = {hit.asset_id for hit in against.hits if "penalty.unwanted" in features(hit)}
    assert said
    before = {hit.asset_id: hit.rank for hit in plain.hits}
    after = {hit.asset_id: hit.rank for hit in against.hits}
    reds = [asset for asset, colour in COLOUR_OF.items() if colour == "red"]
    assert sum(after[a] for a in reds) > sum(before[a] for a in reds)
    for hit in against.hits:
        assert math.fsum(part.value for part in hit.contributions) == pytest.approx(
            hit.score, abs=1e-9
        )


def test_a_number_keeps_what_is_as_relevant_and_auto_returns_nothing_for_nonsense(
    engine: SearchEngine,
) -> None:
    everything = ask(engine, "red")
    relevance = [hit.relevance for hit in everything.hits]
    assert all(share is not None and 0 <= share <= 1 for share in relevance)
    some = ask(engine, "red", min_relevance=0.3)
    assert [hit.asset_id for hit in some.hits] == [
        hit.asset_id for hit in everything.hits if (hit.relevance or 0) >= 0.3
    ]
    assert some.ranking.threshold == 0.3
    assert some.ranking.cut == everything.matched - some.matched
    nothing = ask(engine, "qwxz blorf", min_relevance="auto")
    assert nothing.hits == ()
    assert nothing.ranking.cut > 0


def test_hits_say_where_they_would_be_without(engine: SearchEngine) -> None:
    hit = ask(engine, "a yellow one").hits[0]
    told = {one.without: one.rank for one in hit.counterfactuals}
    assert {"vv", "mv", "fts", "tags"} <= set(told)
    assert all(rank is None or rank >= 1 for rank in told.values())
    only = ask(engine, "yellow", axes=["fts"]).hits[0]
    assert {one.without: one.rank for one in only.counterfactuals}["fts"] is None
    assert ask(engine, "a yellow one", explain=False).hits[0].counterfactuals == ()
    largest = ask(engine, "a yellow one", sort="largest").hits[0]
    assert largest.contributions
    assert largest.counterfactuals == ()


def with_ranking(indexer: Indexer, folder: Path, tree: dict[str, object]) -> SearchEngine:
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(tree))
    profile = indexer.profile
    search = profile.search.model_copy(update={"ranking": str(path)})
    return open_engine(search_parts(profile.model_copy(update={"search": search})))


def test_a_profile_of_the_release_before_ranks_as_it_did(indexer: Indexer, tmp_path: Path) -> None:
    tree = yaml.safe_load(RANKING.read_text())
    old = {name: tree[name] for name in ("k", "weights", "shown", "text_boosts")}
    with with_ranking(indexer, tmp_path, {"version": "default-1", **old}) as engine:
        answer = ask(engine, "green")
    assert answer.ranking.reranked == 0
    assert answer.ranking_profile == "default-1"
    assert answer.degraded == ()
    assert colours(answer)[:3] == ["green"] * 3


def test_fusion_by_scores_is_told_and_explained(indexer: Indexer, tmp_path: Path) -> None:
    tree = yaml.safe_load(RANKING.read_text()) | {"fusion": "dbsf"}
    with with_ranking(indexer, tmp_path, tree) as engine:
        answer = ask(engine, "green")
    assert answer.ranking.fusion == "dbsf"
    assert colours(answer)[:3] == ["green"] * 3
    assert {"dbsf.vv", "dbsf.mv"} <= features(answer.hits[0])
    assert answer.hits[0].why.endswith(".")


def test_at_its_ceiling_the_order_of_fusion_is_shown_and_flagged(
    indexer: Indexer, tmp_path: Path
) -> None:
    profile = indexer.profile
    hurried = profile.search.model_copy(update={"rerank_ceiling_ms": 0.0})
    with open_engine(search_parts(profile.model_copy(update={"search": hurried}))) as engine:
        answer = ask(engine, "green")
    assert [(one.step, one.code) for one in answer.degraded] == [("rerank", LostReason.CEILING)]
    assert answer.ranking.reranked == 0
    assert colours(answer)[:3] == ["green"] * 3
