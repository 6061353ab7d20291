"""Closing the books in passes that nobody has to wait long for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

from ecm.delivery.closing import Books
from ecm.delivery.reporting import report_batch
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.ledger.records import Granted, Right
from ecm.ledger.states import JobState, TaskState
from tests.factories import START, fake_profile, gallery
from tests.workers import TASKS, analysed, claimed, put, queued

JOBS = 5


def test_many_small_jobs_are_ended_one_by_one_and_audited_once(tmp_path: Path) -> None:
    profile = fake_profile(tmp_path / "home")
    profile.home.mkdir()
    store, spool = EvidenceStore.create(profile.evidence, START), Spool(profile.spool)
    audits = 0

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal audits
        audits += event == "call" and frame.f_code.co_name == "audit_job"

    with open_ledger(profile.ledger) as ledger:
        granted = ledger.acquire_right("right", "desk", 600.0, ledger.now())
        assert isinstance(granted, Granted)
        right = Right("right", granted.fence)
        pictures = list(gallery(2).items())
        for number in range(JOBS + 1):
            queued(ledger, profile, put(tmp_path / f"photos-{number}", dict([pictures[number]])))
        for number in range(JOBS):
            results = analysed(profile, claimed(ledger, profile, 1))
            batch_id = f"desk-{number:06d}"
            spool.write(batch_id, results, START)
            report_batch(ledger, batch_id, results, right)
            versions = EvidenceCommitter(store).append(batch_id, results)
            ledger.persist(batch_id, versions, ledger.now(), right)

        def finished() -> int:
            return sum(j.state is JobState.FINISHED for j in ledger.jobs(JOBS + 1))

        books = Books(ledger, store, spool)
        for batches in range(JOBS, 0, -1):
            assert len(spool.list()) == batches
            assert not books.close(right, seconds=0.0)
        assert finished() == 0
        sys.setprofile(count)
        try:
            for done in range(1, JOBS + 1):
                assert not books.close(right, seconds=0.0)
                assert finished() == done
            assert books.close(right, seconds=0.0), "the last job still has work before it"
        finally:
            sys.setprofile(None)
        assert (audits, books.ended, finished()) == (JOBS, JOBS, JOBS)
        assert ledger.status(ledger.now()).states[TaskState.DONE] == JOBS * TASKS
