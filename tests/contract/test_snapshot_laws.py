"""Publish, take back, pin, build and collect in whatever order: what is used answers."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ecm.errors import SnapshotNotFound
from ecm.evidence.collection import collect
from ecm.evidence.committer import unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.pins import Pin, all_pins, pin, unpin
from ecm.evidence.publication import publish, rollback
from ecm.evidence.refs import has_ref, read_published
from ecm.evidence.retention import Retention
from ecm.evidence.store import EvidenceStore
from tests.snapshot_stores import (
    FRESH,
    LATER,
    POLICY,
    answers,
    grow,
    grown,
    ids_of,
    orphans,
    served,
)

SNAPSHOTS = 4
DAY = 86_400.0
_PLACES = st.integers(0, 50)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="ecm-laws-")


@functools.cache
def _template() -> Path:
    folder = Path(_folder().name, "store")
    grown(folder, SNAPSHOTS)
    return folder


class Operating(RuleBasedStateMachine):
    """An operator, readers and collections on one store; time goes by in days."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ecm-laws-"))
        shutil.copytree(_template(), self.folder / "store")
        self.store = EvidenceStore.open(EvidenceConfig(uri=str(self.folder / "store")))
        self.now = LATER
        self.number = SNAPSHOTS

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(place=_PLACES)
    def publish(self, place: int) -> None:
        made = ids_of(self.store)
        wanted = made[place % len(made)]
        publish(self.store, wanted, self._later())
        assert served(self.store) == wanted

    @rule()
    def take_back(self) -> None:
        published = read_published(self.store)
        assert published is not None
        left = [p.snapshot_id for p in published.history if has_ref(self.store, p.snapshot_id)]
        try:
            ref = rollback(self.store, self._later())
        except SnapshotNotFound:
            assert left == []
        else:
            assert ref.snapshot_id == left[-1] == served(self.store)

    @rule(place=_PLACES, reader=st.sampled_from(["a", "b"]), days=st.integers(1, 3))
    def read(self, place: int, reader: str, days: int) -> None:
        made = ids_of(self.store)
        said = Pin(expires_at=self._later() + days * DAY, holder=reader)
        pin(self.store, made[place % len(made)], reader, said)

    @precondition(lambda self: all_pins(self.store))
    @rule(place=_PLACES)
    def let_go(self, place: int) -> None:
        pins = all_pins(self.store)
        held = pins[place % len(pins)]
        unpin(self.store, held.snapshot_id, held.reader)

    @precondition(lambda self: self.number < SNAPSHOTS + 2)
    @rule(fresh=st.booleans())
    def build(self, fresh: bool) -> None:
        self.number += 1
        grow(self.store, self.number, FRESH if fresh else POLICY)

    @rule(newest=st.integers(1, 3), rollbacks=st.integers(0, 2))
    def collect(self, newest: int, rollbacks: int) -> None:
        before, published = ids_of(self.store), read_published(self.store)
        assert published is not None
        keep = Retention(newest=newest, rollbacks=rollbacks, grace=0.0)
        done = collect(self.store, keep, self._later(), unquestioned, lambda _: None)
        after = ids_of(self.store)
        assert set(before) - set(after) == set(done.snapshots)
        assert after[-newest:] == before[-newest:]
        back = list(dict.fromkeys(p.snapshot_id for p in reversed(published.history)))
        assert set(back[:rollbacks]) & set(before) <= set(after)
        assert orphans(self.store) == []

    @invariant()
    def what_is_used_answers(self) -> None:
        if hasattr(self, "store"):
            served(self.store)
            live = {held.snapshot_id for held in all_pins(self.store) if held.is_live(self.now)}
            assert all(answers(self.store, snapshot_id) for snapshot_id in live)

    def _later(self) -> float:
        self.now += DAY
        return self.now


Operating.TestCase.settings = settings(max_examples=6, stateful_step_count=12, deadline=None)
test_operating = Operating.TestCase
