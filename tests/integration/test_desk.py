"""Results that workers deliver: committed once, by whoever holds the fence, whatever is sent."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecm.config import Profile
from ecm.contracts.result import Outputs, ResultEnvelope, Space, VectorStatement
from ecm.contracts.task import TaskType
from ecm.delivery.audit import audit_job
from ecm.delivery.desk import Desk
from ecm.delivery.receipts import Receipt
from ecm.delivery.scrutiny import parse_results
from ecm.delivery.tenure import commit_right
from ecm.errors import ContractError, Forbidden, TransientError
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.records import Granted, TaskFence
from ecm.ledger.states import JobState, TaskState
from ecm.opening import desk_settings
from tests.factories import fake_profile, gallery, picture
from tests.workers import TASKS, analysed, claimed, put, queued, rows

IDLE = 0.3
PATIENCE = 30.0


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    quick = [f"serve.desk_idle_seconds={IDLE}", "pipeline.commit_seconds=0.05"]
    return fake_profile(tmp_path / "home", "pipeline.commit_envelopes=16", *quick)


@pytest.fixture
def ledger(profile: Profile) -> Iterator[Ledger]:
    profile.home.mkdir()
    with open_ledger(profile.ledger) as opened:
        yield opened


@pytest.fixture
def desk(profile: Profile, ledger: Ledger) -> Iterator[Desk]:
    with Desk(desk_settings(profile), "desk", ledger) as opened:
        yield opened


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return put(tmp_path / "photos", gallery(1))


def receipt(desk: Desk, envelopes: list[ResultEnvelope]) -> Receipt:
    return desk.deliver(envelopes).result(PATIENCE)


def ids(envelopes: list[ResultEnvelope]) -> set[str]:
    return {envelope.task_id for envelope in envelopes}


def eventually(condition: Callable[[], bool]) -> None:
    """Wait, within bounds, for what another thread does in its own time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_results_are_answered_when_they_are_committed_and_may_be_sent_again(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    job = queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 8))
    assert set(receipt(desk, results).committed) == ids(results)
    assert ledger.status(ledger.now()).states[TaskState.PERSISTED] == len(results) == 8 * TASKS
    stored = rows(profile)
    assert set(receipt(desk, results).committed) == ids(results), "an answer was lost: again"
    assert rows(profile) == stored
    assert ledger.status(ledger.now()).stale == 0
    eventually(lambda: ledger.job(job).state is JobState.FINISHED)  # type: ignore[union-attr]
    assert Spool(profile.spool).list() == ()
    assert audit_job(ledger, EvidenceStore.open(profile.evidence), job).balanced


def test_two_deliveries_of_the_same_results_at_once_get_the_same_answer(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 2))
    first, second = desk.deliver(results), desk.deliver(results)
    assert first.result(PATIENCE) == second.result(PATIENCE)


def test_a_link_waits_for_the_evidence_that_another_worker_makes(
    profile: Profile, ledger: Ledger, desk: Desk, tmp_path: Path
) -> None:
    same = put(tmp_path / "same", {"a.png": picture("red"), "b.png": picture("red")})
    queued(ledger, profile, same)

    def admit(requests: Any) -> Any:
        return desk.admit(requests, None)

    first = analysed(profile, claimed(ledger, profile, 1), admit)
    second = analysed(profile, claimed(ledger, profile, 1), admit)
    assert not any(e.linked for e in first)
    assert all(e.linked for e in second)
    assert set(receipt(desk, second).waiting) == ids(second)
    assert set(receipt(desk, first).committed) == ids(first)
    assert set(receipt(desk, second).linked) == ids(second)


def test_a_link_to_the_work_of_a_dead_worker_is_queued_again(
    profile: Profile, ledger: Ledger, desk: Desk, tmp_path: Path
) -> None:
    same = put(tmp_path / "same", {"a.png": picture("red"), "b.png": picture("red")})
    queued(ledger, profile, same)

    def admit(requests: Any) -> Any:
        return desk.admit(requests, None)

    analysed(profile, claimed(ledger, profile, 1, ttl=0.5), admit)
    second = analysed(profile, claimed(ledger, profile, 1), admit)
    ledger.rescue_expired(ledger.now() + 1.0)
    assert set(receipt(desk, second).released) == ids(second)
    again = analysed(profile, claimed(ledger, profile, 2), admit)
    assert set(receipt(desk, again).committed) | set(receipt(desk, again).linked) == ids(again)
    assert sum(not e.linked for e in again) == TASKS


def test_a_link_is_never_committed_without_the_evidence_it_promises(
    profile: Profile, ledger: Ledger, desk: Desk, tmp_path: Path
) -> None:
    """The first of equal bytes comes too late, in the very batch of its link."""
    same = put(tmp_path / "same", {"a.png": picture("red"), "b.png": picture("red")})
    queued(ledger, profile, same)

    def admit(requests: Any) -> Any:
        return desk.admit(requests, None)

    tasks = claimed(ledger, profile, 1)
    first = analysed(profile, tasks, admit)
    second = analysed(profile, claimed(ledger, profile, 1), admit)
    ledger.release([TaskFence(task.task_id, task.fence) for task in tasks], ledger.now())
    answer = receipt(desk, [*first, *second])
    assert set(answer.stale) == ids(first)
    assert set(answer.released) == ids(second)
    assert ledger.status(ledger.now()).states[TaskState.PERSISTED] == 0


def test_results_of_a_lost_lease_are_refused_and_counted(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    queued(ledger, profile, photos)
    late = analysed(profile, claimed(ledger, profile, 2, ttl=0.5))
    ledger.rescue_expired(ledger.now() + 1.0)
    assert set(receipt(desk, late).stale) == ids(late)
    assert ledger.status(ledger.now()).stale == len(late)
    assert rows(profile) == {}


def test_bytes_that_cannot_be_read_become_dead_letters(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    put(photos, {"broken.png": picture("red")[:200]})
    queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 9))
    answer = receipt(desk, results)
    assert len(answer.committed) == 8 * TASKS
    assert len(answer.dead) == TASKS
    assert {letter.error.error_class for letter in ledger.dead_letters(10)} == {"input"}


def test_while_another_run_commits_results_are_kept_by_their_worker(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 2))
    right = commit_right(EvidenceStore.create(profile.evidence, ledger.now()))
    other = ledger.acquire_right(right, "another", 60.0, ledger.now())
    assert isinstance(other, Granted)
    with pytest.raises(TransientError) as held:
        desk.deliver(results)
    assert held.value.code == "committer.held"
    ledger.release_right(right, other.fence)
    assert set(receipt(desk, results).committed) == ids(results)


def test_an_idle_desk_lets_another_run_commit(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    queued(ledger, profile, photos)
    receipt(desk, analysed(profile, claimed(ledger, profile, 2)))
    right = commit_right(EvidenceStore.create(profile.evidence, ledger.now()))

    def free() -> bool:
        return isinstance(ledger.acquire_right(right, "index", 60.0, ledger.now()), Granted)

    eventually(free)


def test_a_desk_that_is_never_idle_ends_jobs_all_the_same(
    profile: Profile, ledger: Ledger, photos: Path
) -> None:
    job = queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 8))
    settings = replace(desk_settings(profile), idle_seconds=3600.0, busy_seconds=0.5)
    published: list[EvidenceStore] = []
    with Desk(settings, "desk", ledger, published.append) as desk:

        def ended() -> bool:
            assert set(receipt(desk, results).committed) == ids(results)
            return bool(published)

        eventually(ended)
        stands = ledger.job(job)
        assert stands is not None
        assert stands.state is JobState.FINISHED
        assert Spool(profile.spool).list() == ()
        assert set(receipt(desk, results).committed) == ids(results)


def test_a_task_of_another_tenant_is_nobodys_even_with_its_fence(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path
) -> None:
    queued(ledger, profile, photos, tenant="victim")
    results = analysed(profile, claimed(ledger, profile, 2))
    forged = [resealed(envelope, tenant_id="t") for envelope in results]
    assert set(receipt(desk, forged).stale) == ids(forged)
    assert rows(profile) == {}
    assert set(receipt(desk, results).committed) == ids(results)


def resealed(envelope: ResultEnvelope, **changes: Any) -> ResultEnvelope:
    """The envelope with other fields and a checksum that fits, as a hostile worker would send."""
    fields = {name: getattr(envelope, name) for name in ResultEnvelope.model_fields}
    del fields["result_checksum"]
    return ResultEnvelope.seal(**{**fields, **changes})


def _with_vector(space: Space, dim: int) -> Outputs:
    values = np.zeros(dim, dtype=np.float32)
    values[0] = 1.0
    return Outputs(vectors=(VectorStatement.of(space, values),))


HOSTILE: dict[str, Callable[[ResultEnvelope], dict[str, Any]]] = {
    "a vector of another dimension": lambda e: {"outputs": _with_vector(Space.VV, 5)},
    "a vector of another space": lambda e: {"outputs": _with_vector(Space.MV, 64)},
    "another transform": lambda e: {"transform": "0" * 64},
    "a transform that shares a table's name": lambda e: {"transform": e.transform[:12] + "0" * 52},
    "another task type": lambda e: {"task_type": "x_embed"},
    "a size of more than 64 bits": lambda e: {
        "resource_fingerprint": e.resource_fingerprint.model_copy(update={"size": 2**64})
    },
    "a fence of more than 64 bits": lambda e: {"fence": 2**64},
    "a width that no column holds": lambda e: {
        "image": e.image.model_copy(update={"width": 2**40}) if e.image else None
    },
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_results_are_refused_and_the_desk_goes_on(
    profile: Profile, ledger: Ledger, desk: Desk, photos: Path, what: str
) -> None:
    queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 2))
    vv = next(e for e in results if e.task_type == TaskType.VV_EMBED)
    hostile = resealed(vv, **HOSTILE[what](vv))
    line = hostile.model_dump_json(by_alias=True).encode()
    with pytest.raises(ContractError):
        desk.deliver(parse_results(line, "t"))
    assert set(receipt(desk, results).committed) == ids(results)


def test_a_body_is_lines_or_a_list_of_sealed_envelopes_of_the_key_s_tenant(
    profile: Profile, ledger: Ledger, photos: Path
) -> None:
    queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 1))
    lines = [e.model_dump_json(by_alias=True) for e in results]
    assert parse_results("\n".join(lines).encode(), "t") == tuple(results)
    assert parse_results(f"[{','.join(lines)}]".encode(), None) == tuple(results)
    assert parse_results(b"", "t") == ()
    with pytest.raises(Forbidden):
        parse_results(lines[0].encode(), "other")
    tampered = json.loads(lines[0]) | {"linked": True}
    for body in (json.dumps(tampered).encode(), b"{}", b"[1]", b"\xff\xfe", b'{"a":' * 99):
        with pytest.raises(ContractError):
            parse_results(body, "t")


def test_what_a_killed_desk_had_spooled_is_finished_by_the_next(
    profile: Profile, ledger: Ledger, photos: Path
) -> None:
    """Nobody delivers again, and nothing is analysed again."""
    job = queued(ledger, profile, photos)
    results = analysed(profile, claimed(ledger, profile, 8))
    Spool(profile.spool).write("desk-dead-000001", results, ledger.now())
    with Desk(desk_settings(profile), "desk-2", ledger):
        eventually(lambda: ledger.job(job).state is JobState.FINISHED)  # type: ignore[union-attr]
    assert ledger.status(ledger.now()).states[TaskState.DONE] == 8 * TASKS
    assert Spool(profile.spool).list() == ()
