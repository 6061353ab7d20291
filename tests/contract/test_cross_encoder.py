"""What a reader of queries and texts promises, over a tiny checkpoint and the shipped fake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecm.contracts.search import Axis, SearchRequest
from ecm.errors import ContractError, ManifestError, ManifestMismatch
from ecm.models.base import PairScorer
from ecm.models.manifest import load_manifest
from ecm.models.registry import open_pair_scorer
from ecm.opening import search_parts
from ecm.search.opening import open_engine
from ecm.search.reading import READ, ReadingReranker
from ecm.search.rerank import FeatureReranker
from tests.factories import Indexer, fake_profile, gallery
from tests.pools import PROFILE, pool_of, question_of, signals_for
from tests.tiny_checkpoints import make_cross_encoder, write_manifest

NAME = "tiny-cross-encoder"
QUERY = "a red car"
TEXTS = ("a photo of a cat", "", "a red car on the left", "x" * 5000, "café ☕ 日本 \udcff")
MODELS = Path(__file__).parents[2] / "conf" / "models"


@pytest.fixture(scope="module", params=[NAME, "fake-cross"])
def scorer(tiny_models: Path, request: pytest.FixtureRequest) -> PairScorer:
    return open_pair_scorer(load_manifest(request.param, [tiny_models, MODELS]), threads=1)


def test_scores_are_shares_that_do_not_depend_on_the_company(scorer: PairScorer) -> None:
    whole = scorer.score_pairs(QUERY, TEXTS)
    assert whole.shape == (len(TEXTS),)
    assert whole.dtype == np.float64
    assert ((whole >= 0) & (whole <= 1)).all()
    assert len(set(whole.tolist())) > 1
    for place, text in enumerate(TEXTS):
        assert scorer.score_pairs(QUERY, [text])[0] == pytest.approx(whole[place], abs=1e-5)
    many = (*TEXTS, *reversed(TEXTS), *TEXTS)
    assert scorer.score_pairs(QUERY, many) == pytest.approx(
        np.concatenate([whole, whole[::-1], whole]), abs=1e-5
    )
    assert (scorer.score_pairs(QUERY, many) == scorer.score_pairs(QUERY, many)).all()
    assert scorer.score_pairs(QUERY, []).shape == (0,)


def test_a_query_longer_than_the_model_reads_is_cut(scorer: PairScorer) -> None:
    assert np.isfinite(scorer.score_pairs("a red car " * 500, ["a cat", "a dog"])).all()


def test_scores_are_those_of_transformers_own_pipeline(tiny_models: Path) -> None:
    import torch
    import transformers

    folder = tiny_models.parent / "checkpoints" / NAME
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ours = open_pair_scorer(load_manifest(NAME, [tiny_models]), threads=1)
    with torch.inference_mode():
        for text in TEXTS[:3]:
            inputs = tokenizer(QUERY, text, return_tensors="pt")
            theirs = torch.sigmoid(model(**inputs).logits)[0, 0].item()
            assert ours.score_pairs(QUERY, [text])[0] == pytest.approx(theirs, abs=1e-5)


def changed(
    tiny_models: Path, tmp_path: Path, change: Callable[[Path], None], **manifest: Any
) -> PairScorer:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_models.parent / "checkpoints" / NAME, folder)
    change(folder)
    written = write_manifest(NAME, folder, tmp_path / "models", **manifest)
    return open_pair_scorer(load_manifest(written), threads=1)


def with_outputs(count: int) -> Callable[[Path], None]:
    def make_again(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        make_cross_encoder(folder, count)

    return make_again


def test_of_two_outputs_the_second_is_how_well_it_fits(tiny_models: Path, tmp_path: Path) -> None:
    scores = changed(tiny_models, tmp_path, with_outputs(2)).score_pairs(QUERY, TEXTS)
    assert ((scores > 0) & (scores < 1)).all()


def encoder_only(folder: Path) -> None:
    import transformers

    transformers.AutoModel.from_pretrained(folder).save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "manifest", "says"),
    [
        (with_outputs(3), {}, "3 outputs"),
        (encoder_only, {}, "missing keys classifier"),
        (lambda folder: None, {"params": {"max_tokens": 4096}}, "reads 128"),
    ],
)
def test_a_checkpoint_that_is_no_reader_or_not_the_declared_one_is_refused(
    tiny_models: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    manifest: dict[str, Any],
    says: str,
) -> None:
    with pytest.raises(ManifestMismatch, match=says):
        changed(tiny_models, tmp_path, change, **manifest)


def test_an_opinion_adds_to_the_features_and_sums(scorer: PairScorer) -> None:
    pool = pool_of({Axis.VV: {"00": 3.0, "01": 2.0, "02": 1.0}})
    plain = question_of(pool, signals_for(pool, ()), 3)
    question = replace(plain, text=QUERY, documents=("a cat", "", "a red car"))
    told = ReadingReranker(scorer, PROFILE).rerank(question)
    alone = FeatureReranker(PROFILE).rerank(question)
    assert told.names == (*alone.names, READ)
    assert (told.contributions[:, :-1] == alone.contributions).all()
    assert told.contributions[1, -1] == 0.0  # there is nothing to read
    both = scorer.score_pairs(QUERY, ["a cat", "a red car"])
    assert told.raw[:, -1] == pytest.approx([both[0], 0.0, both[1]], abs=1e-5)
    with pytest.raises(ContractError, match="documents"):
        ReadingReranker(scorer, PROFILE).rerank(replace(question, documents=("one",)))
    shown = replace(question, text="", documents=())
    assert ReadingReranker(scorer, PROFILE).rerank(shown).names == alone.names


def test_a_search_reads_its_candidates_where_the_profile_names_a_reader(tmp_path: Path) -> None:
    made = Indexer(
        fake_profile(tmp_path, "search.reranker=fake-cross", "search.rerank_ceiling_ms=60000")
    )
    made.add(gallery(3))
    made.publish()
    with open_engine(search_parts(made.profile)) as engine:
        answer = engine.search(SearchRequest(tenant_id="t", text="a mostly green picture"))
    assert 0 < answer.ranking.reranked <= 40
    best = answer.hits[0]
    assert "green" in best.tags[:1]
    assert any(part.feature == READ and part.value > 0 for part in best.contributions)
    assert best.why.endswith(".")


def test_a_reader_that_is_not_there_stops_the_service_from_opening(tmp_path: Path) -> None:
    made = Indexer(fake_profile(tmp_path, "search.reranker=no-such-model"))
    made.add(gallery(1))
    made.publish()
    with pytest.raises(ManifestError, match="no-such-model"):
        open_engine(search_parts(made.profile))
