"""The service against a model of it: on random corpora, random questions have the same answers.

Scores of fusion by places are the same within 1e-9. Where features enter they are within 1e-5: BM25
of the index, and the cosines whose mean and spread similarities are held against, are float32,
those of the model float64. Fusion by scores divides by how far these are apart: 1e-4. Two
candidates may change places only where the model has them closer than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecm.contracts.search import SearchResponse
from ecm.errors import AxisUnavailable, QueryError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.store import EvidenceStore
from ecm.search.config import SearchConfig
from ecm.search.engine import SearchEngine
from ecm.search.profile import RankingProfile
from tests.search_corpora import Oracle, drawn_assets, snapshot_of
from tests.search_model import Answer, Model
from tests.search_model_words import Asset
from tests.search_questions import Drawn, asked_of, drawn_questions

CORPORA = 12
EXACT, BY_FLOAT32, BY_SCORES = 1e-9, 1e-5, 1e-4
PROFILE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "conf" / "ranking" / "default.yaml").read_text()
)
EVERYTHING = {
    "rrf": 2.0, "sim.vv": 0.5, "sim.x": 0.7, "sim.mv": 0.3, "sim.fts": 0.4, "bm25.caption": 0.2,
    "bm25.tags": 0.3, "bm25.classification": 0.1, "bm25.ocr": 0.2, "bm25.name": 0.1,
    "bm25.path": 0.15, "bm25.user": 0.25, "ocr_hit": 0.1, "tag_overlap": 0.6, "label_match": 0.5,
    "class_match": 0.4, "style_match": 0.3, "confidence": 0.2, "run_freshness": 0.1,
    "evidence_consistency": 0.2,
}  # fmt: skip
"""Every feature but `name_match`, for which there are tests of names."""
DEEP = {
    **PROFILE,
    "version": "everything",
    "weights": {kind: {"vv": 1.0, "x": 0.5, "mv": 0.0, "fts": 1.5} for kind in PROFILE["weights"]},
    "rerank": {
        **PROFILE["rerank"],
        "depth": {"least": 3, "most": 9},
        "weights": dict.fromkeys(PROFILE["rerank"]["weights"], EVERYTHING),
        "penalties": {"conflict": 0.5, "low_confidence": 0.4, "spam": 0.3, "unwanted": 0.9},
    },
}
WIDE = {"low": -1e6, "high": 1e6}
PREDICTED = {
    **DEEP,
    "version": "predicted",
    "per_query": {
        "most": 3.0,
        "features": {
            "words": {"mean": 1.5, "scale": 0.5, "low": 0.0, "high": 2.0},  # four words are many
            "shown": {"mean": 0.5, "scale": 0.5, **WIDE},
            "top.vv": {"mean": 0.6, "scale": 0.2, **WIDE},
            "found.fts": {"mean": 0.2, "scale": 0.1, **WIDE},
            "overlap.vv.mv": {"mean": 0.3, "scale": 0.2, **WIDE},
            "confidence": {"mean": 0.6, "scale": 0.2, **WIDE},
        },
        "factors": {
            "vv": {"bias": 0.1, "of": {"words": -0.4, "top.vv": 0.8, "shown": 0.3}},
            "fts": {"bias": -0.2, "of": {"found.fts": 0.7, "confidence": 0.2}},
            "sim.mv": {"bias": 0.0, "of": {"overlap.vv.mv": -0.5}},
            "tag_overlap": {"bias": 0.0, "of": {"words": 2.0}},
        },
    },
}
PROFILES = (PROFILE, DEEP, {**DEEP, "version": "by-scores", "fusion": "dbsf"}, PREDICTED)


@dataclass(frozen=True)
class Corpus:
    """A snapshot, an engine on it per ranking profile, and the model of each."""

    assets: list[Asset]
    encoder: Oracle
    engines: list[SearchEngine]
    models: list[Model]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Corpus]]:
    made, config = [], SearchConfig(time_ceiling_ms=60_000, rerank_ceiling_ms=60_000)
    with ExitStack() as opened:
        for seed in range(CORPORA):
            folder = tmp_path_factory.mktemp("corpus") / "store"
            assets, encoder = drawn_assets(seed), Oracle(centred=seed % 2 == 1)
            ref = snapshot_of(folder, assets)
            reader = SnapshotReader.open(EvidenceStore.open(EvidenceConfig(uri=str(folder))), ref)
            engines = [
                opened.enter_context(
                    SearchEngine(reader, encoder, RankingProfile.model_validate(profile), config)
                )
                for profile in PROFILES
            ]
            models = [Model(assets, profile) for profile in PROFILES]
            made.append(Corpus(assets, encoder, engines, models))
        yield made


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(data=st.data(), number=st.integers(0, CORPORA - 1), profile=st.sampled_from(range(4)))
def test_the_service_answers_as_the_model_does(
    corpora: list[Corpus], data: st.DataObject, number: int, profile: int
) -> None:
    corpus = corpora[number]
    drawn = data.draw(drawn_questions(corpus.assets))
    engine = corpus.engines[profile]
    try:
        told = engine.search(drawn.request(limit=200))
    except (AxisUnavailable, QueryError):  # its examples are nowhere, or cancel each other out
        plain = Drawn(drawn.tenant, ["dog"], None, [], None, [], {})
        asked = asked_of(drawn, corpus.assets, corpus.encoder, engine.search(plain.request()))
        assert asked.axes == ()
        return
    asked = asked_of(drawn, corpus.assets, corpus.encoder, told)
    assert {axis.value for axis in told.understood.axes} - {
        one.axis.value for one in told.degraded if one.axis is not None
    } == set(asked.axes)
    assert told.understood.wanted == drawn.wanted
    _same(told, corpus.models[profile].answer(asked))


def _same(told: SearchResponse, model: Answer) -> None:
    scores = {asset_id: score for asset_id, score, _ in model.hits}
    parts = {asset_id: summands for asset_id, _, summands in model.hits}
    assert told.ranking.weights == pytest.approx(model.weights, abs=BY_FLOAT32)
    assert told.ranking.reranked == model.reranked
    assert told.ranking.cut == model.cut
    assert told.matched == len(told.hits) == len(model.hits)
    by_places = BY_FLOAT32 if model.reranked or told.ranking.weights_by == "query" else EXACT
    near = by_places if told.ranking.fusion == "rrf" else BY_SCORES
    for hit, (_, score, _) in zip(told.hits, model.hits, strict=True):
        assert math.isclose(hit.score, scores[hit.asset_id], rel_tol=0, abs_tol=near)
        assert math.isclose(scores[hit.asset_id], score, rel_tol=0, abs_tol=near)
        mine, theirs = parts[hit.asset_id], {one.feature: one.value for one in hit.contributions}
        for name in mine.keys() | theirs.keys():
            assert math.isclose(
                mine.get(name, 0.0), theirs.get(name, 0.0), rel_tol=0, abs_tol=near
            ), name
        assert math.isclose(hit.relevance or 0.0, model.relevance[hit.asset_id], abs_tol=1e-4)
