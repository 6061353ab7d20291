"""Submissions without a job of the caller's: sent again, refused, cut off, over a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecm.contracts.task import TaskType
from ecm.errors import ContractError, EcmError, LedgerUnavailable, Overloaded, StoreCorrupt
from ecm.ledger import Ledger, LedgerConfig, open_ledger
from ecm.ledger.records import ListingChunk, ListingOutcome
from ecm.ledger.states import JobState
from ecm.stages.plan import TransformPlan
from serve.submission import NamedTransform, NewJob, Producer, Submission
from tests.ledger_tasks import MODEL, START, VISION, list_names

TENANT = "t"
PRODUCER = Producer(lambda: TransformPlan({}), list)


class Lossy:
    """A ledger of which one call of record_listing ends badly, done or not."""

    def __init__(self, ledger: Ledger, trouble: EcmError, done: bool) -> None:
        self._ledger = ledger
        self._trouble = trouble
        self._done = done

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    def record_listing(self, job_id: str, chunk: ListingChunk, now: float) -> ListingOutcome:
        if self._done:
            self._ledger.record_listing(job_id, chunk, now)
        raise self._trouble


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    config = LedgerConfig(url=f"sqlite://{tmp_path}/ledger.db", throttle_at=2, refuse_at=2)
    with open_ledger(config) as opened:
        yield opened.scoped(TENANT)


def asked(priority: int = 0) -> Submission:
    transform = {"task_type": "vision", "transform": VISION, "model_spec": MODEL.model_dump()}
    resource = {"uri": "file:///a.jpg", "size": 1, "mtime_ns": 1}
    body = {"transforms": [transform], "resources": [resource], "priority": priority}
    return Submission.model_validate(body)


def states(ledger: Ledger) -> list[JobState]:
    return [job.state for job in ledger.jobs(10)]


def test_sent_again_it_is_the_same_job_unless_that_was_cancelled(ledger: Ledger) -> None:
    first = PRODUCER.submit(ledger, TENANT, asked(), START)
    assert PRODUCER.submit(ledger, TENANT, asked(), START + 1) == first
    assert states(ledger) == [JobState.LISTED]
    ledger.cancel_job(first.job_id, START)
    third = PRODUCER.submit(ledger, TENANT, asked(), START)
    assert (third.queued, third.tasks) == (1, first.tasks)
    assert third.job_id != first.job_id
    assert ledger.open_tasks(third.job_id) == 1


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("trouble", [LedgerUnavailable("locked"), StoreCorrupt("damaged")])
def test_cut_off_it_leaves_no_open_job_and_is_taken_when_it_comes_again(
    ledger: Ledger, trouble: EcmError, done: bool
) -> None:
    with pytest.raises(type(trouble)):
        PRODUCER.submit(Lossy(ledger, trouble, done), TENANT, asked(), START)  # type: ignore[arg-type]
    assert states(ledger) == [JobState.LISTED]
    said = PRODUCER.submit(ledger, TENANT, asked(), START)
    assert (said.queued, ledger.open_tasks(said.job_id)) == (1, 1)
    assert JobState.LISTING not in states(ledger)


def test_refused_by_a_full_queue_it_is_taken_when_there_is_room(ledger: Ledger) -> None:
    list_names(ledger, "deep", ["1", "2", "3"], tenant_id=TENANT)
    with pytest.raises(Overloaded):
        PRODUCER.submit(ledger, TENANT, asked(-1), START)
    assert JobState.LISTING not in states(ledger)
    ledger.cancel_job("deep", START)
    assert PRODUCER.submit(ledger, TENANT, asked(-1), START + 60).queued == 1


def test_transforms_of_other_types_than_those_asked_for_are_no_job(ledger: Ledger) -> None:
    vision = NamedTransform(task_type=TaskType.VISION, transform=VISION, model_spec=MODEL)
    odd = NewJob(task_types=(TaskType.MV_EMBED,), transforms=(vision,))
    with pytest.raises(ContractError, match="no transform"):
        PRODUCER.open_job(ledger, TENANT, odd, START)
