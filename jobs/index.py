"""Index images: list, analyse, commit, audit, publish. Safe to repeat, safe to kill.

python -m jobs.index --profile conf/L1.yaml --tenant t /photos s3://bucket/prefix
ray job submit --working-dir . -- python -m jobs.index --profile conf/C1.yaml s3://bucket/prefix
"""

from __future__ import annotations

import math
import shutil
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

import ecm
from ecm.config import Profile
from ecm.contracts.result import ResultEnvelope
from ecm.contracts.task import TaskType
from ecm.delivery.audit import Audit, audit_batches
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.entries import Settled, entries_of
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.pending import CommitTotals
from ecm.delivery.recovery import Recovered
from ecm.errors import EcmError, ManifestError
from ecm.evidence.runs import RunRecord, record_run
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.images.listing import list_source
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.models.manifest import verify_files
from ecm.opening import plan_of
from ecm.stages.assembly import StageSettings
from ecm.stages.plan import TransformPlan
from jobs import pipeline
from jobs.enqueue import EnqueueRequest, Listing, ListingProgress
from jobs.feeder import Feeder, FeederSettings
from jobs.materialize import materialize
from jobs.progress import LiveProgress, Reading
from jobs.runtime import ray_session

POLL_SECONDS = 0.2
FIRST_PASS_BLOCKS = 16


@dataclass(frozen=True)
class IndexSummary:
    """What a run did; counts are images, `retried` and `stale` attempts. The JSON of `ecm index`.

    `stale` are results refused because others had taken the task; `throttled_seconds` is how long
    the listing waited for a full queue.
    """

    run_id: str
    job_id: str
    listed: int
    committed: int
    reused: int
    filtered: int
    dead: int
    pending: int
    images_through_models: int
    bytes_read: int
    seconds: float
    startup_seconds: float
    snapshot_id: str | None
    key_digest: str
    problems: tuple[str, ...] = ()
    retried: int = 0
    stale: int = 0
    throttled_seconds: float = 0.0

    def to_json(self) -> dict[str, object]:
        return asdict(self)


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

    def reading(self, note: str = "") -> Reading:
        listed = self.listing.progress
        return Reading(
            total=listed.queued,
            done=min(self.loop.totals.images_settled, listed.queued),
            reused=listed.reused,
            dead=self.loop.totals.images_dead + listed.dead,
            note=note or listed.waiting or _listing_note(listed),
        )


def run_index(
    profile: Profile, sources: tuple[str, ...], tenant_id: str, console: Console
) -> IndexSummary:
    """List `sources`, run the pipeline until the ledger has no more for it, audit and publish.

    Raises LeaseLost while another run commits to the same store.
    """
    began = time.monotonic()
    started_at = time.time()
    plan = plan_of(profile)
    for source in sources:
        list_source(source)  # Raises here, before anything is created, when it is not there.
    run_id = time.strftime("run-%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]
    holder = str(Incarnation.here())
    request = EnqueueRequest(tenant_id=tenant_id, sources=sources, plan=plan, roots=profile.roots)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(profile.ledger))
        store = EvidenceStore.create(profile.evidence, started_at)
        spool = Spool(profile.spool)
        settings = CommitSettings(
            run_id=run_id,
            holder=holder,
            envelopes=profile.pipeline.commit_envelopes,
            seconds=profile.pipeline.commit_seconds,
        )
        credit = Credit()
        loop = stack.enter_context(CommitLoop(profile.ledger, store, spool, settings, credit))
        recovered = loop.wait_until_recovered()
        if recovered != Recovered():
            console.print(str(recovered), highlight=False)
        record = RunRecord(
            run_id=run_id,
            tenant_id=tenant_id,
            job_id=request.job_id,
            transforms=plan.fingerprints,
            config_digest=profile.digest(),
            code_version=ecm.__version__,
            started_at=started_at,
        )
        listing = Listing(profile.ledger, request)
        listing.start()
        stack.callback(listing.stop)
        progress = stack.enter_context(LiveProgress(console, began))
        run = Run(
            profile, tenant_id, plan, run_id, holder, ledger, store, spool, listing, loop,
            progress, began,
        )  # fmt: skip
        _process(run, credit)
        return _conclude(run, record)


def _listing_note(listed: ListingProgress) -> str:
    return "" if listed.closed else f"listing, {listed.listed} so far"


class Credit:
    """Passes what the commit loop has settled on to the feeder of the current pass."""

    def __init__(self) -> None:
        self.feeder: Any = None

    def __call__(self, settled: Sequence[Settled]) -> None:
        if self.feeder is not None:
            self.feeder.settled.remote(len(settled), [e.of_key for e in settled if e.entry.key])


def _process(run: Run, credit: Credit) -> None:
    """Passes until the listing is closed and nothing of this tenant is claimable any more."""
    with ExitStack() as stack:
        started = False
        for blocks in _passes(run):
            if not started:
                _attest(run)
                stack.enter_context(ray_session(run.profile))
                started = True
            try:
                _run_pass(run, credit, blocks)
            except RayError as error:
                raise pipeline_failure(error) from error


def _attest(run: Run) -> None:
    """Nothing is leased for a model whose files are not the declared ones: its tasks are blocked.

    Those of this run's tenant: other tenants' runs may be on machines whose files are right.
    Raises ManifestError. The actors verify again on the machines they run on.
    """
    mismatch: ManifestError | None = None
    for transform in run.plan.by_type.values():
        try:
            verify_files(transform.manifest)
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
        run.listing.check()
        closed = run.listing.progress.closed
        now = run.ledger.now()
        runnable = run.ledger.runnable(run.tenant_id, run.plan.fingerprints, now)
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
        plan=run.plan,
        limits=run.profile.images,
        run_id=run.run_id,
        batch_size=config.batch_size,
        threads=config.threads,
        scratch=scratch,
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
    finally:
        credit.feeder = None
        ray.get(feeder.stop.remote())
        ray.kill(feeder)
        shutil.rmtree(scratch, ignore_errors=True)
    run.blocks += blocks


def _start_feeder(run: Run) -> Any:
    config = run.profile.pipeline
    vision = run.plan.by_type.get(TaskType.VISION)
    settings = FeederSettings(
        ledger=run.profile.ledger,
        evidence=run.profile.evidence,
        holder=run.holder,
        tenant_id=run.tenant_id,
        transforms=run.plan.fingerprints,
        vision_transform=vision.fingerprint if vision else None,
        block_images=config.block_images,
        window_tasks=config.window_blocks * config.block_images * len(run.plan.by_type),
    )
    here = ray.get_runtime_context().get_node_id()
    actor = ray.remote(Feeder).options(
        num_cpus=0,
        max_concurrency=1000,
        scheduling_strategy=NodeAffinitySchedulingStrategy(here, soft=False),
    )
    return actor.remote(settings)


def _conclude(run: Run, record: RunRecord) -> IndexSummary:
    """Audit, mark done, publish, and write the run's row last."""
    job_id = record.job_id
    audit = conclude_job(run.ledger, run.store, run.spool, job_id, run.loop.right)
    snapshot = (
        materialize(run.store, run.plan).snapshot_id if audit.committed + audit.reused else None
    )
    problems = (*audit.problems, *audit_batches(run.ledger, run.store))
    audit = replace(audit, balanced=not problems, problems=problems)
    summary = _summary(run, audit, job_id, snapshot, run.loop.totals)
    record_run(run.store, record.finished(time.time(), summary.to_json()))
    return summary


def _summary(
    run: Run, audit: Audit, job_id: str, snapshot: str | None, totals: CommitTotals
) -> IndexSummary:
    return IndexSummary(
        run_id=run.run_id,
        job_id=job_id,
        listed=audit.listed,
        committed=audit.committed,
        reused=audit.reused,
        filtered=audit.filtered,
        dead=audit.dead,
        pending=audit.pending,
        images_through_models=totals.images_through_models,
        bytes_read=totals.bytes_read,
        seconds=round(time.monotonic() - run.began, 3),
        startup_seconds=round(max(0.0, run.warm - run.began), 3) if run.warm else 0.0,
        snapshot_id=snapshot,
        key_digest=audit.key_digest,
        problems=audit.problems,
        retried=totals.retried,
        stale=totals.stale,
        throttled_seconds=round(run.listing.progress.throttled_seconds, 3),
    )


def _work_seconds(block: pa.Table) -> float:
    """Seconds that stages worked on the images of a block: what is left before it was start-up."""
    rows = block.filter(pc.equal(block.column("images"), 1)).column("envelope").to_pylist()
    times = (ResultEnvelope.model_validate_json(raw).telemetry.latency_ms for raw in rows)
    return sum(ms for each in times for name, ms in each.items() if name != "read_ms") / 1000.0


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["index", *sys.argv[1:]]))
