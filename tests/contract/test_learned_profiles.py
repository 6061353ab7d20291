"""Learning from the queries of a set, on a snapshot: what is asked, kept, written and applied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    Label,
    LabelSet,
    LabelSource,
    QueryKind,
    QuerySet,
    QuerySource,
    Split,
)
from ecm.contracts.search import Axis, QueryType, SearchRequest
from ecm.errors import AxisUnavailable, ConfigError
from ecm.evaluation.shelf import Labels, Queries, digest_of
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.store import EvidenceStore
from ecm.search.config import SearchConfig
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.tuning.gathering import gathered
from ecm.tuning.making import Terms, made
from ecm.tuning.training import TrainingSet
from ecm.tuning.writing import yaml_of
from tests.search_corpora import VOCABULARY, Oracle, drawn_assets, snapshot_of

CONFIG = SearchConfig(time_ceiling_ms=60_000, rerank_ceiling_ms=60_000)
PROFILE = load_ranking_profile("default", Path(__file__).parents[2] / "conf" / "ranking")
TENANT = "ann"
TERMS = Terms("learned", "global", 0, 2, "code", "ecm evaluate learn")
WIDE = {"mean": 0.0, "scale": 1.0, "low": -1e6, "high": 1e6}
SECTION: dict[str, Any] = {
    "features": {"words": WIDE | {"high": 3.0}, "top.vv": WIDE},
    "factors": {"vv": {"of": {"top.vv": 1.0}}, "fts": {"of": {"words": -0.5}}},
}


@dataclass
class Listening:
    """An encoder that remembers what it was asked."""

    own: Oracle = field(default_factory=Oracle)
    heard: list[str | None] = field(default_factory=list)

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        self.heard += [one.text for one in requests]
        return self.own.encode(requests)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> SnapshotReader:
    folder = tmp_path_factory.mktemp("learned") / "store"
    assets = [one for one in drawn_assets(3, 60) if one.tenant == TENANT]
    ref = snapshot_of(folder, assets)
    return SnapshotReader.open(EvidenceStore.open(EvidenceConfig(uri=str(folder))), ref)


@pytest.fixture
def encoder() -> Listening:
    return Listening()


@pytest.fixture
def engine(reader: SnapshotReader, encoder: Listening) -> Iterator[SearchEngine]:
    with SearchEngine(reader, encoder, PROFILE, CONFIG) as opened:
        yield opened


def sets(count: int = 24) -> tuple[Queries, Labels]:
    """Queries of two words; every third is held out. What answers is drawn from the tenant."""
    ids = sorted(one.asset_id for one in drawn_assets(3, 60) if one.tenant == TENANT)
    queries = tuple(
        EvaluationQuery(
            query_id=f"q{number}",
            query_text=f"{VOCABULARY[number % 9]} {VOCABULARY[9 + number % 4]}",
            query_type=QueryType.KEYWORD,
            kind=QueryKind.CLASS,
            source=QuerySource.TEMPLATE,
            created_at=0,
            difficulty=Difficulty.EASY,
            split=Split.LEARN if number % 3 else Split.HELD_OUT,
            group=f"g{number}",
        )
        for number in range(count)
    )
    labels = tuple(
        Label(
            query_id=one.query_id,
            asset_id=ids[(7 * number + other) % len(ids)],
            relevance=2 if other else 1,
            label_source=LabelSource.ADJUDICATED,
        )
        for number, one in enumerate(queries)
        for other in range(2)
    )
    head = QuerySet(
        tenant_id=TENANT, name="gold", version=1, created_at=0, digest=digest_of(queries),
        queries=count, seed=0,
    )  # fmt: skip
    told = LabelSet(
        tenant_id=TENANT, name="gold", label_version=1, created_at=0, digest=digest_of(labels),
        labels=len(labels), query_set="gold", query_set_digest=head.digest,
    )  # fmt: skip
    return Queries(head, queries), Labels(told, labels)


class Quiet:
    def step(self, name: str, total: int | None) -> None: ...

    def done(self) -> None: ...


def test_no_held_out_query_is_asked_while_examples_are_gathered(
    engine: SearchEngine, encoder: Listening, tmp_path: Path
) -> None:
    queries, labels = sets()
    training = TrainingSet.of(queries, labels)
    assert all(query.split is Split.LEARN for query in training.queries)
    found = list(gathered(engine, training, tmp_path, "code"))
    assert {one.query_id for one in found} <= {query.query_id for query in training.queries}
    assert len(encoder.heard) == len(training.queries)
    learn = {query.query_text for query in training.queries}
    assert set(encoder.heard) <= learn


def test_a_stopped_run_goes_on_where_it_was(
    engine: SearchEngine, encoder: Listening, tmp_path: Path
) -> None:
    training = TrainingSet.of(*sets())
    stopped = gathered(engine, training, tmp_path, "code")
    first = [next(stopped) for _ in range(5)]
    asked = len(encoder.heard)
    whole = list(gathered(engine, training, tmp_path, "code"))
    assert len(encoder.heard) == len(training.queries)
    for one, again in zip(first, whole, strict=False):
        assert one.query_id == again.query_id
        assert (one.raised == again.raised).all()
    list(gathered(engine, training, tmp_path, "code"))
    assert len(encoder.heard) == len(training.queries)
    list(gathered(engine, training, tmp_path, "other code"))
    assert len(encoder.heard) == 2 * len(training.queries) > asked


def test_what_is_damaged_is_asked_again(
    engine: SearchEngine, encoder: Listening, tmp_path: Path
) -> None:
    training = TrainingSet.of(*sets())
    list(gathered(engine, training, tmp_path, "code"))
    damaged = sorted(tmp_path.rglob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    list(gathered(engine, training, tmp_path, "code"))
    assert len(encoder.heard) == len(training.queries) + 1


def test_nothing_is_learned_without_an_axis(reader: SnapshotReader, tmp_path: Path) -> None:
    deaf = Oracle(changes={Axis.MV: "no model"})
    with (
        SearchEngine(reader, deaf, PROFILE, CONFIG) as opened,
        pytest.raises(AxisUnavailable, match="cannot be learned from: axis mv"),
    ):
        list(gathered(opened, TrainingSet.of(*sets()), tmp_path, "code"))


def test_labels_of_other_queries_are_refused() -> None:
    queries, labels = sets()
    other, _ = sets(30)
    with pytest.raises(ConfigError, match="are not of query set gold"):
        TrainingSet.of(other, labels)
    with pytest.raises(ConfigError, match="too little to learn from"):
        TrainingSet.of(queries, Labels(labels.head, labels.labels[:12]))


def test_the_outcome_replays_byte_for_byte_and_loads(engine: SearchEngine, tmp_path: Path) -> None:
    queries, labels = sets()
    outcomes = [
        made(engine, queries, labels, TERMS, tmp_path / name, Quiet()) for name in ("one", "two")
    ]
    first, again = outcomes
    assert first.learnt.regularisers == again.learnt.regularisers
    candidate = first.candidates["per_type"]
    assert candidate.digest() == again.candidates["per_type"].digest()
    assert first.held_out is not None
    assert {one.split for one in first.held_out.queries} == {Split.HELD_OUT}
    assert first.held_out.scores.keys() >= {"in_force", "global", "per_type"}
    assert engine.ranking.digest() == PROFILE.digest()
    assert first.profile is not None
    assert again.profile is not None
    written = yaml_of(first.profile)
    assert written == yaml_of(again.profile)
    (tmp_path / "learned.yaml").write_bytes(written)
    loaded = load_ranking_profile("learned", tmp_path)
    assert loaded.digest() == first.profile.digest()
    assert loaded.learned is not None
    assert loaded.learned.base_digest == PROFILE.digest()


def predicted() -> RankingProfile:
    tree: dict[str, Any] = yaml.safe_load(yaml_of(PROFILE))
    return RankingProfile.model_validate(tree | {"per_query": SECTION, "version": "predicted"})


def test_a_search_says_which_weights_it_used(engine: SearchEngine) -> None:
    ranked = engine.ranked_by(predicted())
    request = SearchRequest(tenant_id=TENANT, text="dog house", limit=50)
    plain, told = engine.search(request), ranked.search(request)
    assert plain.ranking.weights_by == "type"
    assert told.ranking.weights_by == "query"
    assert told.ranking.weights != plain.ranking.weights
    assert told.ranking.weights[Axis.MV] == plain.ranking.weights[Axis.MV]
    for hit in told.hits:
        parts = math.fsum(one.value for one in hit.contributions)
        assert parts == pytest.approx(hit.score, abs=1e-9)
    unlike = ranked.search(
        SearchRequest(tenant_id=TENANT, text=" ".join(VOCABULARY[number] for number in range(9)))
    )
    assert unlike.ranking.weights_by == "type"


def test_pages_go_on_with_the_weights_of_the_first(reader: SnapshotReader) -> None:
    forgetful = CONFIG.model_copy(update={"remembered_rankings": 1})
    with SearchEngine(reader, Oracle(), predicted(), forgetful) as opened:
        whole = opened.search(SearchRequest(tenant_id=TENANT, text="dog house", limit=200))
        request = SearchRequest(tenant_id=TENANT, text="dog house", limit=3)
        seen: list[str] = []
        while True:
            page = opened.search(request)
            assert page.ranking.weights == whole.ranking.weights
            seen += [hit.asset_id for hit in page.hits]
            if page.cursor is None:
                break
            opened.search(SearchRequest(tenant_id=TENANT, text="bear"))  # what was is forgotten
            request = request.model_copy(update={"cursor": page.cursor})
        assert seen == [hit.asset_id for hit in whole.hits]


def test_without_an_axis_the_weights_are_those_of_the_type(reader: SnapshotReader) -> None:
    deaf = Oracle(changes={Axis.MV: "no model"})
    with SearchEngine(reader, deaf, predicted(), CONFIG) as opened:
        told = opened.search(SearchRequest(tenant_id=TENANT, text="dog house"))
    assert [one.axis for one in told.degraded] == [Axis.MV]
    assert told.ranking.weights_by == "type"
