"""Searchers switch while clients ask and snapshots are collected: nothing fails, nothing mixes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ecm.contracts.search import Axis, SearchRequest, SearchResponse
from ecm.errors import SnapshotNotFound, StoreCorrupt, TransientError
from ecm.evidence.collection import collect
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.pins import PinKeeper
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.publication import publish, rollback
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import (
    Publication,
    Published,
    SnapshotRef,
    published_ref,
    remove_ref,
    write_published,
    write_ref,
)
from ecm.evidence.retention import Retention
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import check_sizes
from ecm.evidence.store import EvidenceStore
from ecm.opening import search_parts
from ecm.search.encoders import EncodedQuery, EncodingRequest
from ecm.search.engine import SearchEngine
from ecm.search.following import Following
from ecm.search.opening import open_ranking
from tests.evidence_envelopes import MV, OCR, VISION, VV, X, content_of, embedded, everything
from tests.factories import fake_profile

ASSETS = 12
POLLS = 0.02
SWITCHED_WITHIN = 2.0
TIGHT = Retention(newest=1, rollbacks=1, grace=0.0)


class _Unasked:
    """Queries by asset and by words of the full text need no model."""

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        raise TransientError("nothing is to be encoded")


class Service:
    """A searcher that follows, clients that ask without a pause, and what they were answered."""

    def __init__(self, home: Path) -> None:
        profile = fake_profile(home)
        self.store = EvidenceStore.create(profile.evidence, time.time())
        self.answers: list[SearchResponse] = []
        self.failures: list[Exception] = []
        self.troubles: list[Exception] = []
        parts = search_parts(profile)
        ranking = open_ranking(parts)

        def opened(ref: SnapshotRef) -> SearchEngine:
            check_sizes(self.store, ref)
            reader = SnapshotReader.open(self.store, ref)
            return SearchEngine(reader, _Unasked(), ranking, parts.search)

        keeper = PinKeeper(lambda: self.store, "a searcher", 60.0)
        self.following = Following(lambda: published_ref(self.store), opened, keeper)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Two clients, and a loop that follows; all have ended when the block has."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._repeat, args=(over, work))
            for work in (self._follow, self._ask, self._page)
        ]
        self.following.refresh(time.time())
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def wait_for(self, snapshot_id: str) -> float:
        """Seconds until an answer comes from the snapshot."""
        began, seen = time.monotonic(), len(self.answers)
        while time.monotonic() - began < 30:
            fresh = self.answers[seen:]
            if any(answer.snapshot_id == snapshot_id for answer in fresh) or self.failures:
                return time.monotonic() - began
            time.sleep(POLLS / 4)
        raise AssertionError(f"{snapshot_id} never answered")

    def _repeat(self, over: threading.Event, work: Callable[[], None]) -> None:
        while not over.is_set():
            work()

    def _follow(self) -> None:
        time.sleep(POLLS)
        try:
            self.following.refresh(time.time())
        except (StoreCorrupt, SnapshotNotFound) as error:
            self.troubles.append(error)

    def _ask(self) -> None:
        self._answered(SearchRequest(tenant_id="t", asset_id=content_of(0), limit=5))

    def _page(self) -> None:
        """Three pages by cursor, which stay on the snapshot of the first."""
        cursor, pages = None, set()
        for _ in range(3):
            request = SearchRequest(
                tenant_id="t", text="dog", axes=(Axis.FTS,), limit=3, cursor=cursor
            )
            answer = self._answered(request)
            if answer is None:
                return
            cursor = answer.cursor
            pages.add(answer.snapshot_id)
        if len(pages) > 1:
            self.failures.append(AssertionError(f"pages of {pages}"))

    def _answered(self, request: SearchRequest) -> SearchResponse | None:
        try:
            answer = self.following.engine_for(request).search(request)
        except Exception as error:  # noqa: BLE001 - any failure whatever is what is looked for
            self.failures.append(error)
            return None
        self.answers.append(answer)
        return answer


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Two models on the vv axis, every asset seen by both."""
    made = Service(tmp_path)
    batch = [each for seed in range(ASSETS) for each in everything(seed, "dog", f"word{seed}")]
    batch += [embedded(seed, transform=X) for seed in range(ASSETS)]
    EvidenceCommitter(made.store).append("b1", batch)
    return made


def _built(store: EvidenceStore, vv: str) -> SnapshotRef:
    policy = SnapshotPolicy(
        transforms={Axis.FTS: (VISION, OCR), Axis.VV: (vv,), Axis.X: (X,), Axis.MV: (MV,)}
    )
    return SnapshotStore(store).build(policy, time.time())


def _collected(store: EvidenceStore) -> list[str]:
    return collect(store, TIGHT, time.time(), unquestioned, lambda _: None).snapshots


def test_back_and_forth_between_two_models_while_clients_ask(service: Service) -> None:
    store = service.store
    first, second = _built(store, VV), _built(store, X)
    publish(store, first.snapshot_id, time.time())
    slowest = 0.0
    with service.running():
        for turn in range(8):
            switch = rollback(store, time.time()) if turn % 2 else None
            ref = switch or publish(store, second.snapshot_id, time.time())
            slowest = max(slowest, service.wait_for(ref.snapshot_id))
    assert service.failures == service.troubles == []
    assert slowest < SWITCHED_WITHIN
    seen = {(a.snapshot_id, a.fingerprints.get(Axis.VV)) for a in service.answers}
    seen = {(snapshot_id, vv) for snapshot_id, vv in seen if vv is not None}
    assert seen == {(first.snapshot_id, VV), (second.snapshot_id, X)}


def test_every_snapshot_is_superseded_and_collected_while_clients_ask(service: Service) -> None:
    store = service.store
    collected: list[str] = []
    refs = [_built(store, VV)]
    publish(store, refs[0].snapshot_id, time.time())
    with service.running():
        for number in range(ASSETS, ASSETS + 8):
            EvidenceCommitter(store).append(f"b{number}", everything(number, "dog"))
            refs.append(_built(store, VV))
            publish(store, refs[-1].snapshot_id, time.time())
            collected += _collected(store)
            service.wait_for(refs[-1].snapshot_id)
    assert service.failures == []
    assert {a.snapshot_id for a in service.answers} >= {ref.snapshot_id for ref in refs[1:]}
    made = {ref.snapshot_id: ref.transforms[Axis.VV] for ref in refs}
    for answer in service.answers:
        assert answer.fingerprints.get(Axis.VV, VV) == made[answer.snapshot_id][0]
    # What the searcher has open or had open a moment ago is pinned; a second service pins nothing.
    assert _collected(store) == []
    for held in store.storage.children("pins"):
        store.storage.remove(f"pins/{held}")
    collected += _collected(store)
    assert set(collected) == {ref.snapshot_id for ref in refs[:-2]}


def test_what_vanished_or_is_damaged_is_not_switched_to(service: Service) -> None:
    store = service.store
    first, second = _built(store, VV), _built(store, X)
    publish(store, first.snapshot_id, time.time())
    named = Published(current=Publication(snapshot_id=second.snapshot_id, at=time.time()))
    with service.running():
        for damage in (_without_reference, _cut_short):
            with damage(store, second):
                service.troubles.clear()
                write_published(store, named)
                _until(lambda: len(service.troubles) > 1)
                service.wait_for(first.snapshot_id)
                rollback_to = Published(current=Publication(snapshot_id=first.snapshot_id, at=0))
                write_published(store, rollback_to)
        write_published(store, named)
        service.wait_for(second.snapshot_id)
    assert service.failures == []


@contextmanager
def _without_reference(store: EvidenceStore, ref: SnapshotRef) -> Iterator[None]:
    remove_ref(store, ref.snapshot_id)
    yield
    write_ref(store, ref)


@contextmanager
def _cut_short(store: EvidenceStore, ref: SnapshotRef) -> Iterator[None]:
    """The last byte of a data file is missing; the table opens all the same."""
    data = f"{ref.table}/data"
    name = f"{data}/{store.storage.children(data)[0]}"
    whole = store.storage.read(name)
    assert whole is not None
    store.storage.put(name, whole[:-1])
    yield
    store.storage.put(name, whole)


def _until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline
        time.sleep(POLLS / 4)
