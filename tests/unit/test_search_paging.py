"""Pages of a search, one after the other, while snapshots are published: no repeats and no gaps.

Random walks over the pages of random questions, of random lengths, on a service that follows what
is published. A walk stays on the snapshot of its first page; all its pages together are the answer
that one large page had there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ecm.contracts.search import Hit, SearchRequest
from ecm.errors import QueryError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.pins import PinKeeper
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.store import EvidenceStore
from ecm.search.config import SearchConfig
from ecm.search.engine import SearchEngine
from ecm.search.following import KEPT, Following
from ecm.search.profile import RankingProfile
from tests.search_corpora import VOCABULARY, Oracle, drawn_assets, snapshot_of

WALKS = 1000
PUBLISHES = 12
PAGES = 60
"""More than any walk can have here."""
YAML = Path(__file__).parents[2] / "conf" / "ranking" / "default.yaml"
FILTERS: tuple[dict[str, Any] | None, ...] = (
    None,
    None,
    {"must": [{"field": "width", "gte": 200}]},
    {"must_not": [{"field": "tags", "any": ["dog"]}]},
)


def shallow() -> RankingProfile:
    """The default ranking, but few are reranked, so that pages cross the end of those."""
    raw = yaml.safe_load(YAML.read_text())
    raw["rerank"]["depth"] = {"least": 4, "most": 9}
    return RankingProfile.model_validate(raw)


class Service:
    """A store whose snapshots follow each other, and the engines that follow them.

    What was asked last is remembered for few questions only, so that most later pages are made
    again and not cut from a list in memory.
    """

    def __init__(self, folder: Path, rnd: random.Random) -> None:
        self._folder, self._rnd, self._number, self.now = folder, rnd, 0, 0.0
        self.config = SearchConfig(
            time_ceiling_ms=60_000, rerank_ceiling_ms=60_000, remembered_rankings=2
        )
        self.opened: list[SearchEngine] = []
        self.publish()
        store = EvidenceStore.open(EvidenceConfig(uri=str(folder)))
        keeper = PinKeeper(lambda: store, "a searcher", 100.0)

        def engine(ref: SnapshotRef) -> SearchEngine:
            reader = SnapshotReader.open(store, ref)
            self.opened.append(SearchEngine(reader, Oracle(), shallow(), self.config))
            return self.opened[-1]

        self.following = Following(lambda: published_ref(store), engine, keeper)
        self.following.refresh(self.now)

    def publish(self) -> None:
        """Other assets than before, most of them the same."""
        assets = [one for one in drawn_assets(7, 60) if self._rnd.random() < 0.9]
        snapshot_of(self._folder, assets, self._number)
        self._number += 1

    def switch(self) -> None:
        self.publish()
        self.now += 1.0
        assert self.following.refresh(self.now)

    def page(self, fields: dict[str, Any], limit: int, cursor: str | None) -> Any:
        request = SearchRequest.model_validate({**fields, "limit": limit, "cursor": cursor})
        return self.following.engine_for(request).search(request)


@dataclass
class Walk:
    """A question whose pages are being read."""

    fields: dict[str, Any]
    whole: tuple[Hit, ...]
    snapshot: str
    seen: list[Hit]
    cursor: str | None


def question(rnd: random.Random) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "tenant_id": rnd.choice(("ann", "ann-b")),
        "explain": rnd.random() < 0.1,
        "text": " ".join(rnd.choices(VOCABULARY, k=rnd.randint(1, 3))),
        "candidates": rnd.choice((2, 9, 200)),
        "rerank": rnd.choice(("auto", "auto", "off")),
        "sort": rnd.choice(("relevance", "relevance", "relevance", "largest", "name")),
        "min_relevance": rnd.choice((None, None, "auto", 0.1)),
        "filter": rnd.choice(FILTERS),
    }
    if rnd.random() < 0.2:
        fields["text"] += f" -{rnd.choice(VOCABULARY)}"
    if rnd.random() < 0.1:
        fields |= {"text": None, "filter": FILTERS[2]}
    return fields


@pytest.fixture
def rnd() -> random.Random:
    return random.Random(6)


@pytest.fixture
def service(tmp_path: Path, rnd: random.Random) -> Iterator[Service]:
    made = Service(tmp_path / "store", rnd)
    yield made
    for engine in made.opened:
        engine.__exit__()


def test_a_thousand_walks_while_snapshots_are_published(
    service: Service, rnd: random.Random
) -> None:
    walks: list[Walk] = []
    begun = done = pages = 0
    refused: list[str] = []
    while done + len(refused) < WALKS:
        if begun < WALKS and (len(walks) < 20 or rnd.random() < 0.2):
            fields = question(rnd)
            large = service.page(fields, 200, None)
            walks.append(Walk(fields, large.hits, large.snapshot_id, [], None))
            begun += 1
            if begun % (WALKS // PUBLISHES) == 0:
                service.switch()
        walk = rnd.choice(walks)
        try:
            answer = service.page(walk.fields, rnd.choice((1, 2, 3, 5, 20)), walk.cursor)
        except QueryError as error:  # its snapshot is closed: that is said, and no page is wrong
            refused.append(error.code)
            walks.remove(walk)
            continue
        pages += 1
        if walk.cursor is None and answer.snapshot_id != walk.snapshot:
            walk.snapshot = answer.snapshot_id
            walk.whole = service.page(walk.fields, 200, None).hits
        assert answer.snapshot_id == walk.snapshot
        walk.seen += answer.hits
        walk.cursor = answer.cursor
        if answer.cursor is None:
            assert walk.seen == list(walk.whole)
            walks.remove(walk)
            done += 1
        assert len(walk.seen) <= len(walk.whole) < PAGES
    assert set(refused) <= {"query.cursor_stale"}
    assert len(service.opened) == PUBLISHES + 1 > KEPT
    assert done > WALKS * 0.9
    assert pages > 1.5 * WALKS
