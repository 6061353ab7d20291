"""qdrant-edge is given what our own engine has: list by list it finds what exact search finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.errors import BackendMissing
from ecm.evaluation.engines.config import OpenSourceConfig, parse_spec
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.patient import Patient
from ecm.evaluation.engines.qdrant import QdrantEngine
from ecm.evaluation.engines.qdrant_index import open_index, package_version
from ecm.evaluation.engines.vectors import Corpus, VectorField
from ecm.opening import search_parts
from jobs.engine_in_process import Bench, SameVectors
from jobs.engines import engines_folder, tenant_corpus
from tests.engine_park import ONCE, TENANT, Park, asked, facts_of

pytestmark = pytest.mark.needs("qdrant")


def test_where_the_package_is_missing_the_extra_is_named() -> None:
    with pytest.raises(BackendMissing, match=r"pip install 'ecm\[evaluate\]'"):
        package_version("no-such-package")


@pytest.fixture(scope="module")
def corpus(park: Park) -> Corpus:
    return tenant_corpus(park.profile)


@pytest.fixture(scope="module")
def vectors(park: Park) -> SameVectors:
    return SameVectors(Bench(search_parts(park.profile)), TENANT)


def only(name: str) -> OpenSourceConfig:
    """The shipped settings with one list alone."""
    config = parse_spec("open_source", engines_folder({})).config
    assert isinstance(config, OpenSourceConfig)
    weights = {one: float(one == name) for one in ("text", "vv", "mv")}
    return config.model_validate({**config.model_dump(), "weights": weights})


def ranked(corpus: Corpus, vectors: SameVectors, name: str, folder: Path, shown: str) -> list[str]:
    config = only(name)
    shard = open_index(corpus, config, folder)
    engine = Patient(QdrantEngine(facts_of("q"), shard, corpus, vectors, config), ONCE)
    answer = engine.answer(asked(None, shown), len(corpus.ids))
    engine.close()
    assert answer.error is None, answer.reason
    return [one.asset_id for one in answer.ranked]


@pytest.mark.parametrize("field", [VectorField.VV, VectorField.MV])
def test_the_nearest_are_those_of_exact_search(
    corpus: Corpus, vectors: SameVectors, tmp_path: Path, field: VectorField
) -> None:
    exact = ExactIndex(corpus)
    for shown in corpus.ids[:2]:
        query = vectors(asked(None, shown))[field]
        nearest = exact.by_vector(field, query, len(corpus.ids))
        score = {corpus.ids[place]: cosine for place, cosine in nearest}
        found = ranked(corpus, vectors, field.value, tmp_path, shown)
        assert set(found) == set(score) - {shown}
        scores = [score[asset_id] for asset_id in found]
        assert scores == pytest.approx(sorted(scores, reverse=True), abs=2e-6)


def test_words_are_found_where_exact_search_finds_them(
    corpus: Corpus, vectors: SameVectors, tmp_path: Path
) -> None:
    config = only("text")
    shard = open_index(corpus, config, tmp_path)
    engine = Patient(QdrantEngine(facts_of("q"), shard, corpus, vectors, config), ONCE)
    exact = ExactIndex(corpus)
    for text in ("red", "blue", "picture"):
        found = {one.asset_id for one in engine.answer(asked(text), len(corpus.ids)).ranked}
        wanted = {corpus.ids[place] for place, _ in exact.by_words(text, len(corpus.ids))}
        assert found >= wanted, "stems find more, never less"
    engine.close()
