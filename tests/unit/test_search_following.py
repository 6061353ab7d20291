"""Following the published snapshot: switching, old pages, and what a failure leaves in place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecm.contracts.search import SearchRequest
from ecm.errors import QueryError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.snapshot import SnapshotStore
from ecm.opening import search_parts
from ecm.search.engine import SearchEngine
from ecm.search.following import KEPT, Following
from ecm.search.opening import open_encoder, open_ranking
from tests.factories import Indexer, fake_profile, picture


class Desk:
    """A store, its following, and a switch that makes opening fail."""

    def __init__(self, home: Path) -> None:
        self.indexer = Indexer(fake_profile(home))
        parts = search_parts(self.indexer.profile)
        encoder, ranking = open_encoder(parts), open_ranking(parts)
        self.broken = False

        def opened(ref: SnapshotRef) -> SearchEngine:
            if self.broken:
                raise StoreCorrupt("this snapshot cannot be opened")
            reader = SnapshotReader.open(self.indexer.store, ref)
            return SearchEngine(reader, encoder, ranking, parts.search, exact_rows=1000)

        self.following = Following(lambda: published_ref(self.indexer.store), opened)

    def grow(self, mark: int) -> SnapshotRef:
        self.indexer.add({f"red-{mark}.png": picture("red", mark)})
        return self.indexer.publish()

    def ask(self, cursor: str | None = None) -> tuple[str, int, str | None]:
        request = SearchRequest(tenant_id="t", text="red", limit=1, cursor=cursor)
        answer = self.following.engine_for(request).search(request)
        return answer.snapshot_id, answer.hits[0].rank, answer.cursor


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_before_anything_is_published_it_says_so(desk: Desk) -> None:
    assert desk.following.refresh() is False
    with pytest.raises(SnapshotNotFound, match="published"):
        desk.following.current()


def test_it_switches_once_and_old_pages_stay_on_their_snapshot(desk: Desk) -> None:
    desk.grow(0)
    first = desk.grow(1)
    assert desk.following.refresh() is True
    assert desk.following.refresh() is False
    snapshot_id, rank, cursor = desk.ask()
    assert (snapshot_id, rank) == (first.snapshot_id, 1)
    second = desk.grow(2)
    assert desk.following.refresh() is True
    assert desk.ask()[0] == second.snapshot_id
    assert desk.ask(cursor)[:2] == (first.snapshot_id, 2)


def test_a_cursor_outlives_a_few_snapshots_and_then_is_refused(desk: Desk) -> None:
    desk.grow(0)
    desk.grow(1)
    desk.following.refresh()
    cursor = desk.ask()[2]
    for mark in range(2, 2 + KEPT):
        desk.grow(mark)
        desk.following.refresh()
    with pytest.raises(QueryError) as caught:
        desk.ask(cursor)
    assert caught.value.code == "query.cursor_stale"


def test_a_snapshot_that_cannot_be_opened_leaves_the_present_one_serving(desk: Desk) -> None:
    first = desk.grow(0)
    desk.following.refresh()
    second = desk.grow(1)
    desk.broken = True
    with pytest.raises(StoreCorrupt):
        desk.following.refresh()
    assert desk.ask()[0] == first.snapshot_id
    desk.broken = False
    desk.following.refresh()
    assert desk.ask()[0] == second.snapshot_id


def test_rolling_back_is_followed_too(desk: Desk) -> None:
    first = desk.grow(0)
    desk.following.refresh()
    desk.grow(1)
    desk.following.refresh()
    SnapshotStore(desk.indexer.store).rollback(desk.indexer.now + 1)
    assert desk.following.refresh() is True
    assert desk.ask()[0] == first.snapshot_id
