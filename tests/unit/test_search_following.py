"""Following the published snapshot: switching, old pages, and what a failure leaves in place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecm.contracts.search import SearchRequest
from ecm.errors import QueryError, SnapshotNotFound, StoreCorrupt
from ecm.evidence.pins import PinKeeper, all_pins, condemn, spare
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, published_ref
from ecm.evidence.snapshot import SnapshotStore
from ecm.opening import search_parts
from ecm.search.engine import SearchEngine
from ecm.search.following import KEPT, KEPT_SECONDS, Following
from ecm.search.opening import open_encoder, open_ranking
from ecm.search.warming import warm
from tests.factories import START, Indexer, fake_profile, picture

SECONDS = 100.0


class Desk:
    """A store, its following, and a switch that makes opening fail."""

    def __init__(self, home: Path) -> None:
        self.indexer = Indexer(fake_profile(home))
        parts = search_parts(self.indexer.profile)
        encoder, ranking = open_encoder(parts), open_ranking(parts)
        self.broken = False
        self.slow = 0
        self.now = START

        def opened(ref: SnapshotRef) -> SearchEngine:
            if self.broken:
                raise StoreCorrupt("this snapshot cannot be opened")
            for _ in range(self.slow):  # fetched from afar, while another task renews
                self.now += SECONDS / 4
                self.following.renew(self.now)
                assert {ref.snapshot_id} <= self.pinned()
            reader = SnapshotReader.open(self.indexer.store, ref)
            return SearchEngine(reader, encoder, ranking, parts.search)

        self.opened = opened
        self.keeper = PinKeeper(lambda: self.indexer.store, "a searcher", SECONDS)
        self.following = Following(lambda: published_ref(self.indexer.store), opened, self.keeper)

    def refresh(self, later: float = 0.0) -> bool:
        self.now += later
        return self.following.refresh(self.now)

    def pinned(self) -> set[str]:
        live = (held for held in all_pins(self.indexer.store) if held.pin.expires_at > self.now)
        return {held.snapshot_id for held in live}

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
    assert desk.refresh() is False
    with pytest.raises(SnapshotNotFound, match="published"):
        desk.following.current()


def test_it_switches_once_and_old_pages_stay_on_their_snapshot(desk: Desk) -> None:
    desk.grow(0)
    first = desk.grow(1)
    assert desk.refresh() is True
    assert desk.refresh() is False
    snapshot_id, rank, cursor = desk.ask()
    assert (snapshot_id, rank) == (first.snapshot_id, 1)
    second = desk.grow(2)
    assert desk.refresh() is True
    assert desk.ask()[0] == second.snapshot_id
    assert desk.ask(cursor)[:2] == (first.snapshot_id, 2)


def test_a_cursor_outlives_a_few_snapshots_and_then_is_refused(desk: Desk) -> None:
    desk.grow(0)
    desk.grow(1)
    desk.refresh()
    cursor = desk.ask()[2]
    for mark in range(2, 2 + KEPT):
        desk.grow(mark)
        desk.refresh()
    with pytest.raises(QueryError) as caught:
        desk.ask(cursor)
    assert caught.value.code == "query.cursor_stale"


def test_what_is_open_stays_pinned_however_long_the_next_takes_to_open(desk: Desk) -> None:
    first = desk.grow(0)
    desk.refresh()
    second = desk.grow(1)
    desk.slow = 12
    assert desk.refresh() is True
    assert desk.pinned() == {first.snapshot_id, second.snapshot_id}


def test_a_searcher_that_ends_lets_go_of_everything_for_good(desk: Desk) -> None:
    desk.grow(0)
    desk.refresh()
    desk.keeper.release()
    assert desk.pinned() == set()
    desk.refresh(SECONDS)  # another thread that has not heard of it yet
    assert desk.pinned() == set()


def test_a_snapshot_that_cannot_be_opened_leaves_the_present_one_serving(desk: Desk) -> None:
    first = desk.grow(0)
    desk.refresh()
    second = desk.grow(1)
    desk.broken = True
    with pytest.raises(StoreCorrupt):
        desk.refresh()
    assert desk.ask()[0] == first.snapshot_id
    desk.broken = False
    desk.refresh()
    assert desk.ask()[0] == second.snapshot_id


def test_rolling_back_is_followed_too(desk: Desk) -> None:
    first = desk.grow(0)
    desk.refresh()
    desk.grow(1)
    desk.refresh()
    SnapshotStore(desk.indexer.store).rollback(desk.indexer.now + 1)
    assert desk.refresh() is True
    assert desk.ask()[0] == first.snapshot_id


def test_what_is_open_is_pinned_and_what_was_closed_a_little_longer(desk: Desk) -> None:
    desk.grow(0)
    first = desk.grow(1)
    assert desk.pinned() == set()
    desk.refresh()
    cursor = desk.ask()[2]
    assert desk.pinned() == {first.snapshot_id}
    second = desk.grow(2)
    desk.refresh()
    for _ in range(40):
        desk.refresh(later=KEPT_SECONDS / 40)
        assert desk.pinned() == {first.snapshot_id, second.snapshot_id}
    assert desk.ask(cursor)[0] == first.snapshot_id
    desk.refresh(later=1.0)
    assert desk.pinned() == {first.snapshot_id, second.snapshot_id}
    with pytest.raises(QueryError):
        desk.ask(cursor)
    desk.refresh(later=SECONDS)
    assert {held.snapshot_id for held in all_pins(desk.indexer.store)} == {second.snapshot_id}


def test_a_snapshot_that_is_being_removed_is_not_switched_to(desk: Desk) -> None:
    first = desk.grow(0)
    desk.refresh()
    second = desk.grow(1)
    condemn(desk.indexer.store, second.snapshot_id)
    with pytest.raises(SnapshotNotFound, match="being removed"):
        desk.refresh()
    assert (desk.ask()[0], desk.pinned()) == (first.snapshot_id, {first.snapshot_id})
    spare(desk.indexer.store, second.snapshot_id)
    assert desk.refresh() is True
    assert desk.ask()[0] == second.snapshot_id


def test_a_store_that_takes_no_pins_is_served_all_the_same(desk: Desk) -> None:
    first = desk.grow(0)
    folder = Path(desk.indexer.store.storage.location("pins"))
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    assert desk.refresh() is True
    assert desk.ask()[0] == first.snapshot_id
    assert "pins" in desk.following.unpinned
    folder.unlink()
    desk.refresh()
    assert (desk.following.unpinned, desk.pinned()) == ("", {first.snapshot_id})


def test_what_was_in_memory_is_in_memory_before_the_switch(desk: Desk) -> None:
    desk.grow(0)
    desk.refresh()
    desk.ask()
    before = desk.following.current().reader
    assert len(before.loaded()) > 1
    desk.grow(1)
    desk.refresh()
    after = desk.following.current().reader
    assert after is not before
    assert set(after.loaded()) == set(before.loaded())


def test_a_service_that_starts_loads_what_fits_and_the_largest_first(desk: Desk) -> None:
    desk.grow(0)
    desk.indexer.add({"blue.png": picture("blue", 9)}, tenant="other")
    desk.grow(1)
    config = desk.indexer.store.config
    engine = desk.opened(published_ref(desk.indexer.store))
    reader = engine.reader
    vectors = 2 * 4 * sum(reader.ref.dims.values())
    warm(engine, config.model_copy(update={"matrix_cache_bytes": vectors}))
    assert {tenant for tenant, _ in reader.loaded()} == {"t"}
    assert {axis for _, axis in reader.loaded()} == set(reader.ref.dims)
    warm(engine, config)
    assert {tenant for tenant, _ in reader.loaded()} == {"t", "other"}
    assert set(engine.facts.loaded()) == {"t", "other"}
    cold = desk.opened(reader.ref)
    warm(cold, config.model_copy(update={"exact_search_rows": 1}))
    assert {tenant for tenant, _ in cold.reader.loaded()} == {"other"}
    assert cold.facts.loaded() == ("other",)
