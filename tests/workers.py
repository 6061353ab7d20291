"""Work for workers in tests: pictures in a folder, their tasks in a ledger, claims, results."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from ecm.config import Profile
from ecm.contracts.result import ResultEnvelope
from ecm.delivery.claimed import block_of
from ecm.delivery.entries import Entry, entries_of
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger
from ecm.ledger.records import ClaimedTask, Lease
from ecm.opening import plan_of
from ecm.stages.assembly import SEAL, StageSettings, image_parts, open_part, open_prepare
from ecm.stages.prepare import Admission, admit_everything
from jobs.enqueue import EnqueueRequest, ListingProgress, enqueue

TASKS = 4
"""Tasks of one picture: one of each transform of the fake profile."""


def put(folder: Path, pictures: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    return folder


def queued(ledger: Ledger, profile: Profile, folder: Path, tenant: str = "t") -> str:
    """List a folder for a tenant; the job's id."""
    request = EnqueueRequest(tenant_id=tenant, sources=(str(folder),), plan=plan_of(profile))
    enqueue(ledger, request, ListingProgress(), threading.Event())
    return request.job_id


def claimed(
    ledger: Ledger, profile: Profile, images: int, lease: Lease | None = None, ttl: float = 60.0
) -> tuple[ClaimedTask, ...]:
    """A block under a new lease, or under `lease`."""
    now = ledger.now()
    lease = lease or ledger.acquire_lease(f"test-{now}", now, ttl)
    tasks = ledger.claim(lease, plan_of(profile).fingerprints, None, None, images, ledger.now())
    ledger.start(lease, ledger.now())
    return tasks


def analysed(
    profile: Profile,
    tasks: Sequence[ClaimedTask],
    admission: Admission = admit_everything,
    worker_id: str = "w",
) -> list[ResultEnvelope]:
    """What the stages of the profile say about claimed tasks."""
    return [entry.envelope for entry in entries_of_claimed(profile, tasks, admission, worker_id)]


def entries_of_claimed(
    profile: Profile,
    tasks: Sequence[ClaimedTask],
    admission: Admission = admit_everything,
    worker_id: str = "w",
) -> Sequence[Entry]:
    """The same as it is handed to a commit loop, by a run of its own."""
    run_id = f"run-{uuid.uuid4().hex[:8]}"
    settings = StageSettings(
        plan_of(profile), profile.images, run_id, batch_size=8, threads=1, scratch=None
    )
    with open_prepare(settings, admission) as prepare:
        block = prepare(block_of(tasks))
    for part in (*image_parts(settings.plan), SEAL):
        for stage in open_part(part, settings, worker_id):
            block = stage(block)
    return entries_of(block)


def rows(profile: Profile) -> dict[str, int]:
    """Rows of every table of the store."""
    return EvidenceStore.open(profile.evidence).counts()
