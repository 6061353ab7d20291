"""A process that indexes with the product's own pieces, made to be killed; and what forks it.

    python -m tests.fault_victim     reads orders from stdin, one JSON object a line

The server imports everything once and forks a process per order, so that a victim starts in
milliseconds. Every victim is first the recovery of the one before: list, claim, stages with the
fake models, commit loop, audit, snapshot. It writes down what went through the models.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401 - imported before the fork
import lance  # noqa: F401 - imported before the fork
import pyarrow as pa

import ecm
from ecm.config import Profile
from ecm.contracts.task import TaskType
from ecm.crashpoints import VARIABLE, arm
from ecm.delivery.admission import Admission
from ecm.delivery.claimed import block_of
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.entries import Entry, Settled, entries_of
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.listed import listing_on_disk
from ecm.delivery.rebuild import RebuildSettings, rebuild
from ecm.delivery.rescan import Look, rescan
from ecm.errors import EcmError
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import Ledger, open_ledger
from ecm.ledger.records import ClaimedTask, Lease, Redrive, TaskFence
from ecm.ledger.states import HELD, TaskState
from ecm.opening import plan_of
from ecm.stages.assembly import SEAL, Stage, StageSettings, image_parts, open_part, open_prepare
from ecm.stages.plan import TransformPlan
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from jobs.enqueue import EnqueueRequest, ListingProgress, Onlooker, enqueue
from jobs.materialize import materialize
from jobs.watching import Watch
from tests.factories import fake_profile

PATIENCE = 90
"""Seconds after which a victim that hangs is ended by its own alarm clock."""
FAILED, BROKEN = 3, 4
TENANT = "t"


@dataclass(frozen=True)
class Order:
    """What one victim does: `crash` as in ECM_CRASH, `settings` as in --set.

    `acts` are what operators do beside indexing: cancel, mismatch, fold, rebuild; and "quiet": one
    thread works at a time, so that a process stopped in one never holds a lock with another.
    `largest_file` limits every file the victim writes, in bytes; its clock is wrong by `skew`
    seconds.
    """

    home: str
    photos: str
    crash: str = ""
    settings: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    largest_file: int | None = None
    skew: float = 0.0

    @property
    def journal(self) -> Path:
        return Path(self.home) / "models.jsonl"

    @property
    def result(self) -> Path:
        return Path(self.home) / "result.json"

    def profile(self) -> Profile:
        """Small blocks and batches; kills do not show that a task kills, so they do not count."""
        small = ("pipeline.block_images=3", "pipeline.commit_envelopes=8")
        quick = ("pipeline.commit_seconds=0.05", "ledger.max_expiries=1000")
        return fake_profile(Path(self.home), *small, *quick, *self.settings)


class Victim:
    """One `ecm index` without Ray."""

    def __init__(self, order: Order, ledger: Ledger) -> None:
        self._order = order
        self._profile = order.profile()
        self._plan = plan_of(self._profile)
        self._ledger = ledger
        self._holder = str(Incarnation.here())
        self._run_id = f"run-{uuid.uuid4().hex[:12]}"
        self._admission = Admission(ledger, self._profile.evidence)
        self._store = EvidenceStore.create(self._profile.evidence, time.time())
        self._spool = Spool(self._profile.spool)

    def index(self) -> dict[str, Any]:
        """Everything, to the end; what the audit said."""
        config = self._profile.pipeline
        settings = CommitSettings(
            run_id=self._run_id,
            holder=self._holder,
            envelopes=config.commit_envelopes,
            seconds=config.commit_seconds,
        )
        if "rebuild" in self._order.acts:
            models = {t.fingerprint: t.model for t in self._plan.by_type.values()}
            rebuilding = RebuildSettings(settings, self._profile.ledger.lease_seconds, models)
            rebuild(self._ledger, self._store, self._spool, rebuilding, lambda _: None)
        with CommitLoop(
            self._profile.ledger, self._store, self._spool, settings, self._settled
        ) as loop:
            loop.wait_until_recovered()
            if "cancel" in self._order.acts:
                self._ledger.cancel_job(self._listed(), self._ledger.now())
            began = time.time()
            runs = self._profile.cache / "listing"
            with listing_on_disk(runs, self._run_id, (self._order.photos,)) as listed:
                job_id = self._listed(Watch(listed))
                self._operate()
                self._work(loop)
                if "fold" in self._order.acts:  # only now is there certainly something to fold
                    self._ledger.fold_evidence(1)
                audit = conclude_job(self._ledger, self._store, self._spool, job_id, loop.right)
                look = Look(TENANT, self._run_id, began)
                mine = partial(self._ledger.confirm_right, loop.right)
                rescan(self._store, listed, look, 1.0, mine)
            ref = materialize(self._store, self._plan)
            record_run(self._store, self._record(job_id).finished(time.time(), audit.to_json()))
            return {**audit.to_json(), "snapshot_id": ref.snapshot_id, "assets": ref.assets}

    def _listed(self, onlooker: Onlooker | None = None) -> str:
        request = EnqueueRequest(tenant_id=TENANT, sources=(self._order.photos,), plan=self._plan)
        enqueue(self._ledger, request, ListingProgress(), threading.Event(), onlooker)
        return request.job_id

    def _operate(self) -> None:
        """Tasks are blocked if ordered; what is blocked, also by an earlier victim, is redriven."""
        vision = self._plan.by_type[TaskType.VISION].fingerprint
        if "mismatch" in self._order.acts:
            self._ledger.mark_mismatch(vision, "another model is loaded", self._ledger.now())
        if self._ledger.status(self._ledger.now()).states[TaskState.MODEL_MISMATCH]:
            self._ledger.redrive(Redrive(transform=vision), self._ledger.now())

    def _work(self, loop: CommitLoop) -> None:
        ttl = self._profile.ledger.lease_seconds
        lease = self._ledger.acquire_lease(self._holder, self._ledger.now(), ttl)
        with self._stages() as stages:
            self._release_one(self._claim(lease))
            while not self._finished():
                if not (claimed := self._claim(lease)):
                    loop.drain(lambda: None)
                    continue
                self._ledger.start(lease, self._ledger.now())
                self._ledger.heartbeat(lease, self._ledger.now(), ttl)
                block = block_of(claimed)
                for stage in stages:
                    block = stage(block)
                entries = entries_of(block)
                self._write_down(entries)
                loop.submit(entries)
                if "quiet" in self._order.acts:
                    loop.drain(lambda: None)
            loop.drain(lambda: None)
        self._ledger.release_lease(lease, self._ledger.now())

    def _claim(self, lease: Lease) -> Sequence[ClaimedTask]:
        images = self._profile.pipeline.block_images
        return self._ledger.claim(
            lease, self._plan.fingerprints, TENANT, None, images, self._ledger.now()
        )

    def _release_one(self, claimed: Sequence[ClaimedTask]) -> None:
        """The first claim goes back untouched."""
        if claimed:
            claims = [TaskFence(task.task_id, task.fence) for task in claimed]
            self._ledger.release(claims, self._ledger.now())

    def _finished(self) -> bool:
        """Whether nothing is left that this tenant could claim, now or later."""
        now = self._ledger.now()
        runnable = self._ledger.runnable(TENANT, self._plan.fingerprints, now)
        states = self._ledger.status(now).states
        return not runnable.resources and not any(states[state] for state in HELD)

    @contextmanager
    def _stages(self) -> Iterator[list[Stage]]:
        settings = StageSettings(
            plan=self._plan,
            limits=self._profile.images,
            run_id=self._run_id,
            batch_size=self._profile.pipeline.batch_size,
            threads=1,
            scratch=self._profile.cache / "scratch" / self._run_id,
        )
        parts = [*image_parts(self._plan), SEAL]
        opened = [stage for part in parts for stage in open_part(part, settings, self._holder)]
        with ExitStack() as stack:
            yield [stack.enter_context(open_prepare(settings, self._admit)), *opened]

    def _admit(self, requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
        vision = self._plan.by_type[TaskType.VISION].fingerprint
        return self._admission.admit(requests, vision)

    def _settled(self, settled: Sequence[Settled]) -> None:
        self._admission.settled(each.of_key for each in settled)

    def _write_down(self, entries: Sequence[Entry]) -> None:
        """What the models have just worked on, on disk before anybody can be killed for it."""
        said = [entry.key for entry in entries if not entry.failed and not entry.linked]
        line = {"keys": said, "images": sum(entry.modelled for entry in entries)}
        with self._order.journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(line).encode() + b"\n")
            os.fsync(journal.fileno())

    def _record(self, job_id: str) -> RunRecord:
        return RunRecord(
            run_id=self._run_id,
            tenant_id=TENANT,
            job_id=job_id,
            transforms=self._plan.fingerprints,
            config_digest=self._profile.digest(),
            code_version=ecm.__version__,
            started_at=time.time(),
        )


def plan_for(order: Order) -> TransformPlan:
    """The transforms that a victim applies."""
    return plan_of(order.profile())


def run(order: Order) -> int:
    """Exit code of a victim that lives: 0, FAILED with the error's code in its result, BROKEN."""
    signal.alarm(PATIENCE)
    if order.largest_file is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.largest_file, order.largest_file))
    if order.skew:
        right = time.time
        time.time = lambda: right() + order.skew
    arm({VARIABLE: order.crash})
    try:
        with open_ledger(order.profile().ledger) as ledger:
            told, code = Victim(order, ledger).index(), 0
    except EcmError as error:
        told, code = {"error": error.code, "message": str(error)}, FAILED
    except Exception:  # noqa: BLE001 - told to the harness, which fails
        told, code = {"error": "broken", "message": traceback.format_exc()}, BROKEN
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    order.result.write_text(json.dumps(told))
    return code


def serve() -> None:
    """Fork a victim per `start`, and say how it ended when asked to `wait` for it."""
    warnings.filterwarnings("ignore", message="lance is not fork-safe")
    pa.set_cpu_count(2)
    for line in sys.stdin:
        request = json.loads(line)
        match request:
            case {"start": fields}:
                pid = os.fork()
                if pid == 0:
                    sys.stdin = open(os.devnull)  # noqa: SIM115 - the orders are not the victim's
                    os._exit(run(order_of(fields)))
                answer = {"pid": pid}
            case {"wait": pid}:
                _, status = os.waitpid(pid, 0)
                answer = {"code": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def order_of(fields: dict[str, Any]) -> Order:
    return Order(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def fields_of(order: Order) -> dict[str, Any]:
    return asdict(order)


if __name__ == "__main__":
    serve()
