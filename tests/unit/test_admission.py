"""Equal bytes are analysed once, however many workers hold them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecm.config import Profile
from ecm.contracts.identity import evidence_key
from ecm.contracts.task import TaskType
from ecm.delivery.admission import Admission
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.records import ClaimedTask, TaskFence
from ecm.stages.prepare import AdmitRequest
from tests.factories import asset_id, fake_profile, picture
from tests.workers import claimed, put, queued

BYTES = picture("red")
CONTENT = asset_id(BYTES)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    return fake_profile(tmp_path / "home")


@pytest.fixture
def ledger(profile: Profile, tmp_path: Path) -> Iterator[Ledger]:
    """Two files of equal bytes are queued."""
    profile.home.mkdir()
    with open_ledger(profile.ledger) as opened:
        queued(opened, profile, put(tmp_path / "photos", {"a.png": BYTES, "b.png": BYTES}))
        yield opened


@pytest.fixture
def admission(ledger: Ledger, profile: Profile) -> Admission:
    return Admission(ledger, profile.evidence)


def linked(admission: Admission, tasks: tuple[ClaimedTask, ...]) -> set[str]:
    """Task types that are linked when a worker has read BYTES for these tasks."""
    wanted = tuple((task.task_id, task.task_type, task.transform) for task in tasks)
    (decision,) = admission.admit([AdmitRequest("t", CONTENT, wanted)], None)
    return {task.task_type.value for task in tasks if task.task_id in decision.linked}


def ended(task: ClaimedTask) -> tuple[str, str]:
    return evidence_key("t", CONTENT, task.task_type.value, task.transform), task.task_id


ALL = {kind.value for kind in TaskType} - {TaskType.OCR.value}


def test_the_second_of_equal_bytes_is_linked_while_the_first_is_under_way(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1), claimed(ledger, profile, 1)
    assert linked(admission, first) == set()
    assert linked(admission, second) == ALL
    assert linked(admission, first) == set(), "asked again, the first is still the first"


def test_when_the_first_is_given_back_the_second_is_analysed(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1), claimed(ledger, profile, 1)
    linked(admission, first)
    ledger.release([TaskFence(task.task_id, task.fence) for task in first], ledger.now())
    assert linked(admission, second) == set()
    again = claimed(ledger, profile, 1)
    assert linked(admission, again) == ALL


def test_when_the_worker_of_the_first_is_dead_the_second_is_analysed(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1, ttl=1.0), claimed(ledger, profile, 1)
    linked(admission, first)
    assert linked(admission, second) == ALL
    ledger.rescue_expired(ledger.now() + 2.0)
    assert admission.in_flight([ended(first[0])[0]]) == frozenset()
    assert linked(admission, second) == set()


def test_only_the_end_of_the_first_frees_the_bytes(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1), claimed(ledger, profile, 1)
    linked(admission, first)
    admission.settled(ended(task) for task in second)
    assert linked(admission, second) == ALL
    admission.settled(ended(task) for task in first)
    assert linked(admission, second) == set()


def test_bytes_of_another_tenant_are_other_bytes(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1), claimed(ledger, profile, 1)
    linked(admission, first)
    wanted = tuple((task.task_id, task.task_type, task.transform) for task in second)
    (decision,) = admission.admit([AdmitRequest("u", CONTENT, wanted)], None)
    assert decision.linked == frozenset()


def test_sweeping_forgets_the_gone_and_keeps_the_others(
    ledger: Ledger, profile: Profile, admission: Admission
) -> None:
    first, second = claimed(ledger, profile, 1), claimed(ledger, profile, 1)
    linked(admission, first)
    admission.sweep()
    assert linked(admission, second) == ALL
    ledger.release([TaskFence(task.task_id, task.fence) for task in first], ledger.now())
    admission.sweep()
    assert admission.in_flight([ended(task)[0] for task in first]) == frozenset()
