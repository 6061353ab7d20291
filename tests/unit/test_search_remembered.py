"""Rankings that are remembered: a page is cut only from one that was made as its first page was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecm.contracts.search import LostReason, SearchRequest, SearchResponse
from ecm.opening import search_parts
from ecm.search.config import SearchConfig
from ecm.search.encoders import QueryEncoder
from ecm.search.engine import SearchEngine
from ecm.search.opening import open_encoder, open_ranking, open_snapshot
from ecm.search.ordered import NotReranked
from tests.factories import Indexer, fake_profile, gallery

LIMIT = 5


@dataclass(frozen=True)
class Service:
    engine: SearchEngine
    encoder: QueryEncoder

    def search(self, cursor: str | None = None) -> SearchResponse:
        return self.engine.search(asked(cursor))

    def hurried(self) -> SearchResponse:
        """The first page, when the second stage does not answer in time."""
        plan = self.engine.plan(asked())
        gathered = self.engine.gather(plan, self.encoder.encode(plan.encodings))
        late = NotReranked(LostReason.CEILING, "it took too long")
        return self.engine.answer(plan, gathered, late)

    def walked(self, first: SearchResponse) -> list[str]:
        """The assets of a first page and of all that follow it."""
        found, page = [hit.asset_id for hit in first.hits], first
        while page.cursor is not None:
            page = self.search(page.cursor)
            found += [hit.asset_id for hit in page.hits]
        return found


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Indexer(fake_profile(tmp_path, "search.time_ceiling_ms=60000"))
    made.add(gallery(3))
    made.publish()
    parts = search_parts(made.profile)
    config = SearchConfig(time_ceiling_ms=60_000, rerank_ceiling_ms=60_000)
    encoder = open_encoder(parts)
    with SearchEngine(open_snapshot(parts), encoder, open_ranking(parts), config) as opened:
        yield Service(opened, encoder)


def asked(cursor: str | None = None) -> SearchRequest:
    return SearchRequest(tenant_id="t", text="green", limit=LIMIT, cursor=cursor)


def test_a_poor_first_page_goes_on_poorly_and_leaves_nothing_behind(service: Service) -> None:
    first = service.hurried()
    assert first.ranking.reranked == 0
    assert len(set(service.walked(first))) == first.matched
    fresh = service.search()
    assert fresh.degraded == ()
    assert fresh.ranking.reranked == fresh.matched


def test_what_was_ranked_better_meanwhile_does_not_change_later_pages(service: Service) -> None:
    first = service.hurried()
    alone = service.walked(first)
    assert service.search().ranking.reranked == first.matched
    assert service.walked(first) == alone
