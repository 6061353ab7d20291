"""Which assets a tenant finds does not hang on who else is in the store."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ecm.contracts.search import SearchRequest
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.store import EvidenceStore
from ecm.search.config import SearchConfig
from ecm.search.engine import SearchEngine
from ecm.search.profile import RankingProfile
from tests.search_corpora import IDS, VOCABULARY, Oracle, drawn_assets, snapshot_of
from tests.search_model_words import Asset

RANKING = Path(__file__).parents[2] / "conf" / "ranking" / "default.yaml"
QUESTIONS = 60


def noise(like: Asset) -> list[Asset]:
    """A neighbour whose words are all those one letter away from "tiger" and "lemon"."""
    words = [
        f"{word[:at]}{letter}{word[at + 1 :]}"
        for word in ("tiger", "lemon")
        for at in range(5)
        for letter in string.ascii_lowercase
        if letter != word[at]
    ]
    texts = dict.fromkeys(like.texts, " ".join(words))
    return [replace(like, tenant="bob", asset_id=one, texts=texts) for one in IDS[:5]]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SearchEngine, ...]]:
    """The same tenant alone, beside two others, and beside one whose words are like its own."""
    every = drawn_assets(5, 60)
    own = [one for one in every if one.tenant == "ann"]
    profile = RankingProfile.model_validate(yaml.safe_load(RANKING.read_text()))
    config = SearchConfig(time_ceiling_ms=60_000, rerank_ceiling_ms=60_000)
    with ExitStack() as opened:
        made = []
        for assets in (own, every, [*own, *noise(own[0])]):
            folder = tmp_path_factory.mktemp("neighbours") / "store"
            ref = snapshot_of(folder, assets)
            reader = SnapshotReader.open(EvidenceStore.open(EvidenceConfig(uri=str(folder))), ref)
            engine = SearchEngine(reader, Oracle(), profile, config)
            made.append(opened.enter_context(engine))
        yield tuple(made)


def test_the_same_assets_are_found_whoever_is_near(engines: tuple[SearchEngine, ...]) -> None:
    rnd = random.Random(2)
    misspelt = ("xiger", "tigex", "lemox", "tigers", "lemon")
    for number in range(QUESTIONS):
        words = rnd.choices(VOCABULARY, k=rnd.randint(1, 3))
        text = rnd.choice(misspelt) if number % 3 == 0 else " ".join(words)
        axes = rnd.choice((("fts",), ("vv", "fts"), ("vv", "mv")))
        request = SearchRequest.model_validate(
            {"tenant_id": "ann", "text": text, "axes": axes, "limit": 200}
        )
        answers = [engine.search(request) for engine in engines]
        found = [{hit.asset_id for hit in answer.hits} for answer in answers]
        assert found[0] == found[1] == found[2], text
        if "fts" not in axes:
            assert answers[0].hits == answers[1].hits == answers[2].hits
