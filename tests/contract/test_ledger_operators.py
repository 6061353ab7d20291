"""What operators see and choose, over every back end: jobs, tasks, holders, redrives by text."""

from __future__ import annotations

import pytest

from ecm.contracts.result import EnvelopeError, ErrorClass
from ecm.errors import ContractError
from ecm.ledger import Ledger
from ecm.ledger.records import ClaimedTask, Failure, Redrive
from ecm.ledger.states import JobState, TaskState
from tests.ledger_tasks import (
    START,
    TENANT,
    TTL,
    VISION,
    VV,
    claim,
    commit,
    identity,
    list_names,
    report,
    result,
)


def dead(task: ClaimedTask, message: str) -> Failure:
    error = EnvelopeError.model_validate(
        {"class": ErrorClass.INPUT, "code": "decode.cut", "stage": "decode", "message": message}
    )
    return Failure(task.task_id, task.fence, error, worker="w")


@pytest.fixture
def blocked(ledger: Ledger) -> Ledger:
    """Two dead images of two messages, one waiting image whose vectors are blocked, one held."""
    list_names(ledger, "job", ["Red cat", "100% blue"])
    lease = ledger.acquire_lease("holder", START, TTL)
    for task in claim(ledger, lease):
        told = "Cannot READ it" if "cat" in task.identity.uri else "o'clock; --"
        ledger.fail([dead(task, told)], START)
    list_names(ledger, "later", ["waiting"], priority=-3)
    ledger.mark_mismatch(VV, "Weights differ", START)
    list_names(ledger, "theirs", ["held"], tenant_id="other")
    claim(ledger, lease, tenant_id="other")
    ledger.heartbeat(lease, START, TTL, progress=9)
    return ledger


@pytest.mark.parametrize(
    ("which", "matching"),
    [
        (Redrive(text="RED CAT"), 2),
        (Redrive(text="cannot read"), 2),
        (Redrive(text="100%"), 2),
        (Redrive(text="_"), 0),
        (Redrive(text="O'CLOCK; --"), 2),
        (Redrive(text="weights DIFF"), 1),
        (Redrive(text="photos"), 5),
        (Redrive(text="photos", transform=VISION), 2),
        (Redrive(state=TaskState.MODEL_MISMATCH), 1),
        (Redrive(state=TaskState.DEAD_LETTER), 4),
        (Redrive(state=TaskState.DEAD_LETTER, text="cat", transform=VV), 1),
        (Redrive(error_class=ErrorClass.INPUT, code="decode.cut", job_id="job"), 4),
        (Redrive(tenant_id="other"), 0),
        (Redrive(), 5),
    ],
)
def test_a_redrive_moves_as_many_as_were_counted_before(
    blocked: Ledger, which: Redrive, matching: int
) -> None:
    assert blocked.redrivable(which) == matching
    assert blocked.redrive(which, START) == matching
    assert blocked.redrivable(which) == 0
    assert blocked.status(START).states[TaskState.RETRY_QUEUED] == matching


def test_dead_letters_are_found_by_text(blocked: Ledger) -> None:
    def uris(text: str) -> set[str]:
        return {letter.uri for letter in blocked.dead_letters(9, TENANT, text=text)}

    assert uris("red CAT") == uris("CANNOT read it") == {identity("Red cat").uri}
    assert uris("100% B") == {identity("100% blue").uri}
    assert uris("nothing like it") == set()


def test_jobs_are_listed_newest_first_with_what_they_listed(blocked: Ledger) -> None:
    jobs = blocked.jobs(2)
    assert [job.record.job_id for job in jobs] == ["theirs", "later"]
    mine = blocked.jobs(9, TENANT)
    assert [(j.record.job_id, j.listed, j.state) for j in mine] == [
        ("later", 1, JobState.LISTED),
        ("job", 2, JobState.LISTED),
    ]
    assert [j.record.job_id for j in blocked.scoped("other").jobs(9)] == ["theirs"]


def test_open_tasks_are_listed_by_state_and_tenant(blocked: Ledger) -> None:
    by_state = {
        state: [(t.uri, t.transform) for t in blocked.open_tasks_in(99, TENANT, state)]
        for state in (TaskState.QUEUED, TaskState.MODEL_MISMATCH, TaskState.LEASED)
    }
    assert by_state == {
        TaskState.QUEUED: [(identity("waiting").uri, VISION)],
        TaskState.MODEL_MISMATCH: [(identity("waiting").uri, VV)],
        TaskState.LEASED: [],
    }
    assert len(blocked.open_tasks_in(99, TENANT)) == 6
    assert len(blocked.open_tasks_in(4, TENANT)) == 4
    (held,) = blocked.scoped("other").open_tasks_in(1, state=TaskState.LEASED)
    assert (held.tenant_id, held.job_id, held.attempt) == ("other", "theirs", 1)


def test_reported_tasks_are_open_until_they_are_persisted(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a"])
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    report(ledger, "batch", tasks)
    assert len(ledger.open_tasks_in(9, TENANT, TaskState.REPORTED)) == 2
    commit(ledger, "batch", tasks)
    assert ledger.open_tasks_in(9, TENANT) == ()


def test_a_tenant_sees_a_shared_lease_only_while_it_holds_its_tasks(blocked: Ledger) -> None:
    (whole,) = blocked.live_holders(START)
    assert (whole.holder, whole.tasks, whole.progress) == ("holder", 2, 9)
    assert blocked.scoped(TENANT).live_holders(START) == ()
    (theirs,) = blocked.scoped("other").live_holders(START)
    assert (theirs.holder, theirs.tasks) == ("holder", 2)


def test_places_of_evidence_are_named_by_job(ledger: Ledger) -> None:
    list_names(ledger, "job", ["a", "b"])
    tasks = claim(ledger, ledger.acquire_lease("w", START, TTL))
    commit(ledger, "batch", tasks)
    wanted = result(tasks[0])
    (place,) = ledger.places("job", [wanted.evidence_key, "f" * 64])
    assert (place.task_id, place.uri) == (tasks[0].task_id, tasks[0].identity.uri)
    assert place.evidence_key == wanted.evidence_key
    with pytest.raises(ContractError, match="no job"):
        list(ledger.scoped("other").places("job", [wanted.evidence_key]))


def test_a_task_is_told_with_its_job_and_its_model(blocked: Ledger) -> None:
    (letter, *_) = blocked.dead_letters(1, TENANT)
    history = blocked.task_history(letter.task_id)
    assert (history.job_id, history.model.backend, history.state) == (
        "job", "fake", TaskState.DEAD_LETTER,
    )  # fmt: skip
    assert history.entries[-1].worker == "w"
