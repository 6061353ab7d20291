"""What the next committer makes of batches that others left behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from ecm.config import Profile
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.recovery import recover
from ecm.delivery.reporting import report_batch
from ecm.evidence.codec import key_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.records import Granted, Right
from ecm.ledger.states import TaskState
from tests.factories import START, fake_profile, gallery, picture
from tests.workers import TASKS, analysed, claimed, put, queued, rows

RIGHT = "committer:here"


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    made = fake_profile(tmp_path / "home")
    made.home.mkdir()
    return made


@pytest.fixture
def ledger(profile: Profile) -> Iterator[Ledger]:
    with open_ledger(profile.ledger) as opened:
        yield opened


@pytest.fixture
def store(profile: Profile) -> EvidenceStore:
    return EvidenceStore.create(profile.evidence, START)


@pytest.fixture
def right(ledger: Ledger) -> Right:
    granted = ledger.acquire_right(RIGHT, "next", 600.0, ledger.now())
    assert isinstance(granted, Granted)
    return Right(RIGHT, granted.fence)


def appended(
    ledger: Ledger, store: EvidenceStore, batch_id: str, results: list[ResultEnvelope]
) -> dict[str, int]:
    """Report and append as a committer does that dies before it tells the ledger."""
    report_batch(ledger, batch_id, results, None)
    return EvidenceCommitter(store).append(batch_id, results)


def test_a_spooled_batch_keeps_its_evidence_though_a_lost_one_said_the_same(
    profile: Profile, ledger: Ledger, store: EvidenceStore, right: Right, tmp_path: Path
) -> None:
    """Two machines, each with its spool: the other one's died with it."""
    queued(ledger, profile, put(tmp_path / "p", {n: picture("red") for n in ("a.png", "b.png")}))
    ours, theirs = (analysed(profile, claimed(ledger, profile, 1)) for _ in range(2))
    assert {key_of(e) for e in ours} == {key_of(e) for e in theirs}
    spool = Spool(profile.spool)
    spool.write("ours-000001", ours, START)
    appended(ledger, store, "theirs-000001", theirs)

    told = recover(ledger, EvidenceCommitter(store), spool, right)

    assert (told.from_spool, told.given_back) == (1, 1)
    states = ledger.status(ledger.now()).states
    assert (states[TaskState.PERSISTED], states[TaskState.RETRY_QUEUED]) == (TASKS, TASKS)
    keys = {key_of(e) for e in ours}
    assert store.evidence_keys_present(keys) == keys


def test_a_torn_batch_that_was_reported_is_given_back(
    profile: Profile, ledger: Ledger, store: EvidenceStore, right: Right, tmp_path: Path
) -> None:
    queued(ledger, profile, put(tmp_path / "p", {"a.png": picture("red")}))
    results = analysed(profile, claimed(ledger, profile, 1))
    spool = Spool(profile.spool)
    file = spool.write("b-000001", results, START)
    appended(ledger, store, "b-000001", results)
    file.write_bytes(file.read_bytes()[:-1])

    assert recover(ledger, EvidenceCommitter(store), spool, right).given_back == 1
    assert ledger.status(ledger.now()).states[TaskState.RETRY_QUEUED] == TASKS
    assert store.evidence_keys_present({key_of(e) for e in results}) == frozenset()
    assert spool.list() == ()


def test_the_price_of_recovery_grows_with_the_batches_and_not_with_their_square(
    profile: Profile, ledger: Ledger, store: EvidenceStore, right: Right, tmp_path: Path
) -> None:
    """Batches that are safe already, as a killed run leaves them in its spool."""
    queued(ledger, profile, put(tmp_path / "p", gallery(2)))
    spool, batches = Spool(profile.spool), len(gallery(2))
    committer = EvidenceCommitter(store)
    for number in range(batches):
        results = analysed(profile, claimed(ledger, profile, 1))
        batch_id = f"killed-{number:06d}"
        spool.write(batch_id, results, START)
        report_batch(ledger, batch_id, results, None)
        ledger.persist(batch_id, committer.append(batch_id, results), ledger.now())
    before, read = rows(profile), 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal read
        read += event == "call" and frame.f_code.co_name == "read_transaction"

    sys.setprofile(count)
    try:
        recover(ledger, EvidenceCommitter(store), spool, right)
    finally:
        sys.setprofile(None)
    assert read <= batches
    assert rows(profile) == before
    assert ledger.status(ledger.now()).states[TaskState.PERSISTED] == batches * TASKS
