"""Index images: list, analyse, commit, audit, publish. Safe to repeat, safe to kill.

python -m jobs.index --profile conf/L1.yaml --tenant t /photos s3://bucket/prefix
ray job submit --working-dir . -- python -m jobs.index --profile conf/C1.yaml s3://bucket/prefix
"""

from __future__ import annotations

import sys
import time
import uuid
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial

from rich.console import Console

import ecm
from ecm.config import Profile
from ecm.delivery.audit import Audit, audit_batches
from ecm.delivery.captioned import Captioned, captioned
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.estimates import actors_of
from ecm.delivery.fitting import check_machine, check_settings
from ecm.delivery.incarnation import Incarnation
from ecm.delivery.listed import ListedPlaces, listing_on_disk
from ecm.delivery.recovery import Recovered
from ecm.delivery.rescan import Look, Rescanned, rescan
from ecm.delivery.verifying import ContentCheck, Verified
from ecm.errors import EcmError, LeaseLost, SnapshotRejected, SourceError, TransientError
from ecm.evidence.refs import published_ref
from ecm.evidence.runs import RunRecord, RunState, record_run
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.images.listing import list_source
from ecm.ledger.ledger import open_ledger
from ecm.models.attestation import check_fetched
from ecm.models.devices import present_gpus
from ecm.opening import plan_of
from jobs.enqueue import EnqueueRequest, Listing, confine
from jobs.materialize import materialize
from jobs.passes import Credit, Run, process
from jobs.progress import LiveProgress
from jobs.runtime import is_local
from jobs.watching import Watch


@dataclass(frozen=True)
class IndexSummary:
    """What a run did; counts are images, `retried` and `stale` attempts. The JSON of `ecm index`.

    `stale` are results refused because others had taken the task; `throttled_seconds` is how long
    the listing waited for a full queue. `gone`, `returned` and `moved` are places: not listed any
    more, holding known content again, and gone with their content at a new place. `verified` were
    read although their size and date were unchanged; `disagreements` of these had other bytes than
    are on record, and are listed a second time to be analysed. `captions` is what a captioner's
    answers took, if the run had one.
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
    gone: int = 0
    returned: int = 0
    moved: int = 0
    verified: int = 0
    bytes_verified: int = 0
    disagreements: int = 0
    captions: Captioned | None = None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Rereading:
    """How a run looks at what is known already.

    With `accept_gone` whatever is missing is gone, even all of a source or the source itself; with
    `verify_content` what is unchanged by size and date is read as well.
    """

    accept_gone: bool = False
    verify_content: bool = False


def run_index(
    profile: Profile,
    sources: tuple[str, ...],
    tenant_id: str,
    console: Console,
    rereading: Rereading | None = None,
) -> IndexSummary:
    """List `sources`, run the pipeline until the ledger has no more for it, audit and publish.

    Raises LeaseLost while another run commits to the same store, ConfigError when a model does not
    fit on the GPUs there are.
    """
    rereading = rereading or Rereading()
    began = time.monotonic()
    started_at = time.time()
    plan = plan_of(profile)
    for transform in plan.by_type.values():
        check_fetched(transform.manifest)
    check_settings(plan, profile.pipeline)
    if is_local(profile):
        check_machine(plan, profile.pipeline, present_gpus)
    there = tuple(source for source in sources if _is_there(source, profile, rereading))
    lost = tuple(source for source in sources if source not in there)
    run_id = time.strftime("run-%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]
    holder = str(Incarnation.here())
    request = EnqueueRequest(tenant_id=tenant_id, sources=there, plan=plan, roots=profile.roots)
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
        record_run(store, record)
        runs = profile.cache / "listing" / store.header.store_id
        listed = stack.enter_context(listing_on_disk(runs, run_id, there, lost))
        look = Look(tenant_id, run_id, started_at)
        check = None
        if rereading.verify_content:
            check = ContentCheck(store, listed, look, profile.pipeline.verify_threads)
        listing = Listing(profile.ledger, request, Watch(listed, check))
        listing.start()
        stack.callback(listing.stop)
        progress = stack.enter_context(LiveProgress(console, began))
        run = Run(
            profile, tenant_id, plan, run_id, holder, ledger, store, spool, listing, loop,
            progress, began,
        )  # fmt: skip
        try:
            process(run, credit)
            return _conclude(run, record, _Looking(listed, look, rereading, check))
        except (LeaseLost, TransientError):
            raise  # its end is on record, or may not or cannot be written
        except EcmError:
            record_run(store, record.finished(time.time(), {}, RunState.FAILED))
            raise


def _is_there(source: str, profile: Profile, rereading: Rereading) -> bool:
    """Whether a source can be listed; raises here, before anything is created, when it cannot.

    One that is not there is gone where that was agreed to, within the profile's roots.
    """
    try:
        list_source(source)
    except SourceError as error:
        if error.code != "source.missing" or not rereading.accept_gone:
            raise
        confine(source, profile.roots)
        return False
    return True


@dataclass(frozen=True)
class _Looking:
    """What a run has looked at, and how."""

    listed: ListedPlaces
    look: Look
    rereading: Rereading
    check: ContentCheck | None

    @property
    def verified(self) -> Verified:
        return Verified() if self.check is None else self.check.totals


def _conclude(run: Run, record: RunRecord, looking: _Looking) -> IndexSummary:
    """Audit, mark done, put on record what is gone, publish, and write the run's end last."""
    job_id = record.job_id
    audit = conclude_job(run.ledger, run.store, run.spool, job_id, run.loop.right)
    found = _rescan(run, looking)
    worth = audit.committed + audit.reused or published_ref(run.store)  # emptied is news, too
    published = _published(run) if worth else None
    snapshot = published if isinstance(published, str) else None
    rejected = (str(published),) if isinstance(published, SnapshotRejected) else ()
    problems = (*audit.problems, *audit_batches(run.ledger, run.store), *rejected)
    audit = replace(audit, balanced=not problems, problems=problems)
    summary = _summary(run, audit, job_id, snapshot, found, looking.verified)
    captions = summary.captions.numbers() if summary.captions else {}
    pipeline = run.profile.pipeline
    worked = run.loop.totals.work.numbers(
        run.plan, actors_of(pipeline, run.plan), pipeline.decode_workers
    )
    record_run(run.store, record.finished(time.time(), {**summary.to_json(), **worked, **captions}))
    return summary


def _published(run: Run) -> str | SnapshotRejected:
    """The snapshot that is served now, or why the one just made is not."""
    try:
        mine = partial(run.ledger.confirm_right, run.loop.right)
        plan = plan_of(run.profile)  # a rollout may have been taken back since the run began
        return materialize(run.store, plan, run.profile.snapshots, mine).snapshot_id
    except SnapshotRejected as error:
        return error


def _rescan(run: Run, looking: _Looking) -> Rescanned:
    """What the complete listing says about what the store knew before the run began."""
    share = 1.0 if looking.rereading.accept_gone else run.profile.pipeline.max_gone_share
    return rescan(
        run.store,
        looking.listed,
        looking.look,
        share,
        lambda: run.ledger.confirm_right(run.loop.right),
        looking.check.altered() if looking.check else (),
    )


def _summary(
    run: Run,
    audit: Audit,
    job_id: str,
    snapshot: str | None,
    found: Rescanned,
    verified: Verified,
) -> IndexSummary:
    totals = run.loop.totals
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
        problems=(
            *run.blocked.lines.values(),
            *audit.problems,
            *found.problems,
            *verified.problems(),
        ),
        retried=totals.retried,
        stale=totals.stale,
        throttled_seconds=round(run.listing.progress.throttled_seconds, 3),
        gone=found.gone,
        returned=found.returned,
        moved=found.moved,
        verified=verified.files,
        bytes_verified=verified.bytes_read,
        disagreements=verified.altered,
        captions=captioned(totals.telemetry),
    )


if __name__ == "__main__":
    from jobs.cli import run as run_command

    sys.exit(run_command(["index", *sys.argv[1:]]))
