"""The passes of a run: Ray Data executions until the ledger has no more work for it.

Knows how leases become blocks and how many passes there are; what is listed, audited and published
around them is known to `jobs.index`.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ecm.config import Profile
from ecm.contracts.result import ResultEnvelope
from ecm.contracts.task import TaskType
from ecm.delivery.committing import CommitLoop
from ecm.delivery.entries import Settled, entries_of
from ecm.errors import EcmError, ManifestError
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.models.attestation import attest, memory_below
from ecm.stages.assembly import StageSettings
from ecm.stages.envelope import OWN_MS
from ecm.stages.plan import TransformPlan
from jobs import pipeline
from jobs.blocking import Blocked
from jobs.enqueue import Listing, ListingProgress
from jobs.feeder import Feeder, FeederSettings
from jobs.progress import LiveProgress, Reading
from jobs.runtime import ray_session

POLL_SECONDS = 0.2
FIRST_PASS_BLOCKS = 16


@dataclass
class Run:
    """The open connections and running totals of one `ecm index`."""

    profile: Profile
    tenant_id: str
    plan: TransformPlan
    run_id: str
    holder: str
    ledger: Ledger
    store: EvidenceStore
    spool: Spool
    listing: Listing
    loop: CommitLoop
    progress: LiveProgress
    began: float
    blocks: int = 0
    warm: float | None = None
    blocked: Blocked = field(default_factory=Blocked)

    @property
    def sound(self) -> TransformPlan:
        """The part of the plan that no failed probe has blocked."""
        return self.blocked.left_of(self.plan)

    def reading(self, note: str = "") -> Reading:
        listed = self.listing.progress
        return Reading(
            total=listed.queued,
            done=min(self.loop.totals.images_settled, listed.queued),
            reused=listed.reused,
            dead=self.loop.totals.images_dead + listed.dead,
            note=note or listed.waiting or _listing_note(listed),
        )


def _listing_note(listed: ListingProgress) -> str:
    return "" if listed.closed else listed.detail() or f"listing, {listed.listed} so far"


class Credit:
    """Passes what the commit loop has settled on to the feeder of the current pass."""

    def __init__(self) -> None:
        self.feeder: Any = None

    def __call__(self, settled: Sequence[Settled]) -> None:
        if self.feeder is not None:
            self.feeder.settled.remote(len(settled), [e.of_key for e in settled if e.entry.key])


def process(run: Run, credit: Credit) -> None:
    """Passes until the listing is closed and nothing of this tenant is claimable any more.

    A golden probe that fails ends a pass; the run goes on with the models that are sound.
    """
    with ExitStack() as stack:
        started = False
        for blocks in _passes(run):
            if not started:
                _attest(run)
                stack.enter_context(ray_session(run.profile))
                started = True
            _run_pass(run, credit, blocks)


def _attest(run: Run) -> None:
    """Nothing is leased for a model whose files are not the declared ones: its tasks are blocked.

    Those of this run's tenant: other tenants' runs may be on machines whose files are right.
    Raises ManifestError. The actors verify again on the machines they run on.
    """
    memory = memory_below(run.profile.cache)
    mismatch: ManifestError | None = None
    for transform in run.plan.by_type.values():
        try:
            attest(transform.manifest, memory)
        except ManifestError as error:
            run.ledger.scoped(run.tenant_id).mark_mismatch(
                transform.fingerprint, error.message, run.ledger.now()
            )
            mismatch = error
    if mismatch is not None:
        raise mismatch


def pipeline_failure(error: RayError) -> EcmError:
    """A failed Ray Data execution in one line; nothing is lost, the next run goes on from here."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "ecm.errors." in line] or lines[-1:]
    reason = named[-1].rpartition("ecm.errors.")[2][:500] if named else type(error).__name__
    return EcmError(f"the pipeline failed: {reason}", "pipeline.failed", "run again to go on")


def _passes(run: Run) -> Iterator[int]:
    """Blocks of each pass; waits for the listing, and for retries whose time has not come."""
    config = run.profile.pipeline
    while True:
        closed = run.listing.progress.closed
        run.listing.check()
        now = run.ledger.now()
        run.blocked.mark(run.ledger, run.tenant_id)
        runnable = run.ledger.runnable(run.tenant_id, run.sound.fingerprints, now)
        enough = runnable.resources >= FIRST_PASS_BLOCKS * config.block_images
        if runnable.resources and (closed or enough):
            blocks = math.ceil(runnable.resources / config.block_images)
            yield min(blocks, config.pass_blocks)
        elif closed and runnable.next_at is None:
            return
        else:
            note = ""
            if closed and runnable.next_at is not None:
                note = f"waiting {max(0.0, runnable.next_at - now):.0f} s to retry"
            run.progress.show(run.reading(note))
            time.sleep(POLL_SECONDS)


def _run_pass(run: Run, credit: Credit, blocks: int) -> None:
    """One Ray Data execution: `blocks` lease blocks through the stages into the commit loop."""
    scratch = run.profile.cache / "scratch" / run.run_id
    feeder = _start_feeder(run)
    credit.feeder = feeder
    config = run.profile.pipeline
    stages = StageSettings(
        plan=run.sound,
        limits=run.profile.images,
        run_id=run.run_id,
        batch_size=config.batch_size,
        threads=config.threads,
        scratch=scratch,
        probe_images=config.probe_images,
        memory=memory_below(run.profile.cache),
    )
    settings = pipeline.PipelineSettings(config, stages)
    try:
        plan = pipeline.build(feeder, settings, blocks, run.blocks)
        for block in plan.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
            if run.warm is None and block.num_rows:
                run.warm = time.monotonic() - _work_seconds(block)
            run.loop.submit(entries_of(block))
            run.progress.show(run.reading())
        run.loop.drain(lambda: run.progress.show(run.reading()))
        run.progress.show(run.reading())
    except RayError as error:
        if not run.blocked.notice_new(run.store, run.run_id, run.plan):
            raise pipeline_failure(error) from error
        run.loop.drain(lambda: run.progress.show(run.reading()))  # while its tasks are still leased
    finally:
        credit.feeder = None
        ray.get(feeder.stop.remote())
        ray.kill(feeder)
        shutil.rmtree(scratch, ignore_errors=True)
    run.blocks += blocks


def _start_feeder(run: Run) -> Any:
    config = run.profile.pipeline
    plan = run.sound
    vision, ocr = plan.by_type.get(TaskType.VISION), plan.by_type.get(TaskType.OCR)
    settings = FeederSettings(
        ledger=run.profile.ledger,
        evidence=run.profile.evidence,
        holder=run.holder,
        tenant_id=run.tenant_id,
        transforms=plan.fingerprints,
        vision_transform=vision.fingerprint if vision else None,
        ocr_transform=ocr.fingerprint if ocr else None,
        block_images=config.block_images,
        window_tasks=config.window_blocks * config.block_images * len(plan.by_type),
    )
    here = ray.get_runtime_context().get_node_id()
    actor = ray.remote(Feeder).options(
        num_cpus=0,
        max_concurrency=1000,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )
    return actor.remote(settings)


def _work_seconds(block: pa.Table) -> float:
    """Seconds that stages worked on the images of a block: what is left before it was start-up."""
    rows = block.filter(pc.equal(block.column("images"), 1)).column("envelope").to_pylist()
    times = (ResultEnvelope.model_validate_json(raw).telemetry.latency_ms for raw in rows)
    return (
        sum(ms for each in times for name, ms in each.items() if name not in ("read_ms", OWN_MS))
        / 1000.0
    )
