"""A rollout's step through the same pipeline as every run, and what the books say of both models.

Queues the changed transforms of the sampled places only, as a job of their own; what is committed
already is reused, so that a step that was killed goes on where it was. Knows no gates.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Self

from rich.console import Console

import ecm
from ecm.config import Profile
from ecm.contracts.identity import ContentIdentity
from ecm.contracts.task import TaskType
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.incarnation import Incarnation
from ecm.errors import EcmError
from ecm.evidence.rollouts import ErrorCount, Rollout
from ecm.evidence.runs import RunRecord, RunState, record_run, runs_of
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.evidence.trial import Judge, complete
from ecm.evidence.trial_measures import Facts, Pace
from ecm.images.entries import Found, Skipped
from ecm.ledger.ledger import Ledger, open_ledger
from ecm.models.attestation import memory_below
from ecm.models.manifest import load_manifest
from ecm.models.registry import open_query_encoder
from ecm.stages.plan import TransformPlan
from jobs.enqueue import CHUNK_RESOURCES, EnqueueRequest, Listing, ListingProgress
from jobs.passes import Credit, Run, process
from jobs.progress import LiveProgress
from jobs.runtime import ray_session

RUNS = 5
"""Newest runs of a side that its pace is taken from."""
LETTERS = 10_000
"""Newest dead letters of a tenant that are counted by class."""


@dataclass(frozen=True)
class SampledPlaces:
    """The onlooker of a listing that lists no source but these places."""

    places: Sequence[ContentIdentity]

    def noted(self, chunk: Sequence[Found | Skipped]) -> None:
        """Nothing is kept."""

    def closing(
        self, progress: ListingProgress, stop: threading.Event
    ) -> Iterator[Sequence[Found]]:
        """All of them, in chunks, by place."""
        ordered = sorted(self.places, key=lambda identity: identity.uri)
        for begun in range(0, len(ordered), CHUNK_RESOURCES):
            yield [Found(identity) for identity in ordered[begun : begun + CHUNK_RESOURCES]]


class PipelineTrial:
    """Computes through Ray on the profile's machine or cluster; see `jobs.rollout.Trialling`.

    A context manager: a Ray of its own is started by the first step that needs one and serves all.
    """

    def __init__(self, profile: Profile, store: EvidenceStore, console: Console) -> None:
        self._profile = profile
        self._store = store
        self._console = console
        self._sessions = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.close()

    def compute(
        self,
        rollout: Rollout,
        plan: TransformPlan,
        pct: int,
        sampled: Mapping[str, Sequence[ContentIdentity]],
    ) -> None:
        """Raises LeaseLost while another run commits, and what the pipeline raises."""
        for tenant, places in sampled.items():
            if len(complete(self._store, tenant, rollout.terms.after)) < len(places):
                self._sessions.enter_context(ray_session(self._profile))
            self._compute(rollout, plan, tenant, places)

    def facts(
        self,
        rollout: Rollout,
        sampled: Mapping[str, Sequence[ContentIdentity]],
        population: int,
    ) -> Facts:
        terms = rollout.terms
        old, new = Pace(), Pace()
        for tenant in sampled:
            runs = [run for run in runs_of(self._store, tenant) if run.finished_at]
            mine = [run for run in runs if run.job_id.startswith(_prefix(rollout))]
            theirs = [
                run
                for run in runs
                if set(terms.before.values()) <= set(run.transforms) and run not in mine
            ]
            old, new = _pace(old, theirs[:RUNS]), _pace(new, mine)
        size = sum(map(len, sampled.values()))
        return Facts(size, population, frozenset(terms.after), old, new)

    def judge(self, plan: TransformPlan) -> tuple[Judge | None, str]:
        """The encoder of queries of the plan's own visual space: the same for both sides."""
        transform = plan.by_type.get(TaskType.VV_EMBED)
        if transform is None or not transform.manifest.query_encoder:
            return None, "no encoder brings texts into the visual space"
        manifest = transform.manifest
        try:
            own = load_manifest(manifest.query_encoder, self._profile.manifest_folders)
            threads = self._profile.search.threads
            memory = memory_below(self._profile.cache)
            encoder = open_query_encoder(own, reaches=manifest, threads=threads, memory=memory)
        except EcmError as error:
            return None, f"the query encoder cannot be used: {error}"[:500]
        return Judge(transform.fingerprint, encoder.embed_queries, encoder.centred), ""

    def errors(self, rollout: Rollout, tenants: Sequence[str]) -> tuple[ErrorCount, ...]:
        """Images with dead letters of either side's transforms, by class."""
        marks = dict.fromkeys(rollout.terms.before.values(), "a")
        marks |= dict.fromkeys(rollout.terms.after.values(), "b")
        found: Counter[tuple[str, str]] = Counter()
        with open_ledger(self._profile.ledger) as ledger:
            for tenant in tenants:
                letters = ledger.dead_letters(LETTERS, tenant_id=tenant)
                images = {
                    (marks[letter.transform], letter.error.error_class.value, letter.uri)
                    for letter in letters
                    if letter.transform in marks
                }
                found.update((side, kind) for side, kind, _ in images)
        return tuple(
            ErrorCount.model_validate({"side": side, "error_class": kind, "images": images})
            for (side, kind), images in sorted(found.items())
        )

    def withdraw(self, rollout: Rollout, tenants: Sequence[str]) -> None:
        """Cancel its jobs that are not finished."""
        with open_ledger(self._profile.ledger) as ledger:
            for tenant in tenants:
                for job in ledger.unfinished_jobs(tenant):
                    if job.record.job_id.startswith(_prefix(rollout)):
                        ledger.cancel_job(job.record.job_id, ledger.now())

    def _compute(
        self,
        rollout: Rollout,
        plan: TransformPlan,
        tenant: str,
        places: Sequence[ContentIdentity],
    ) -> None:
        """One tenant's places, as a run of its own."""
        began, started_at = time.monotonic(), time.time()
        profile, holder = self._profile, str(Incarnation.here())
        changed = {kind: plan.by_type[kind] for kind in rollout.terms.after}
        run_id = time.strftime("rollout-%Y%m%dT%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]
        request = EnqueueRequest(
            tenant_id=tenant,
            sources=(),
            plan=TransformPlan(changed),
            job_id=f"{_prefix(rollout)}{uuid.uuid4().hex[:12]}",
        )
        record = RunRecord(
            run_id=run_id,
            tenant_id=tenant,
            job_id=request.job_id,
            transforms=request.plan.fingerprints,
            config_digest=profile.digest(),
            code_version=ecm.__version__,
            started_at=started_at,
        )
        settings = CommitSettings(
            run_id=run_id,
            holder=holder,
            envelopes=profile.pipeline.commit_envelopes,
            seconds=profile.pipeline.commit_seconds,
        )
        with ExitStack() as stack:
            ledger = stack.enter_context(open_ledger(profile.ledger))
            spool, credit = Spool(profile.spool), Credit()
            loop = CommitLoop(profile.ledger, self._store, spool, settings, credit)
            stack.enter_context(loop)
            loop.wait_until_recovered()
            record_run(self._store, record)
            listing = Listing(profile.ledger, request, SampledPlaces(places))
            listing.start()
            stack.callback(listing.stop)
            progress = stack.enter_context(LiveProgress(self._console, began))
            run = Run(
                profile, tenant, plan, run_id, holder, ledger, self._store, spool, listing, loop,
                progress, began,
            )  # fmt: skip
            try:
                process(run, credit)
                self._conclude(ledger, run, record)
            except EcmError:
                record_run(self._store, record.finished(time.time(), {}, RunState.FAILED))
                raise

    def _conclude(self, ledger: Ledger, run: Run, record: RunRecord) -> None:
        """Audit the job; the run's end is on record. Raises EcmError when it does not balance."""
        audit = conclude_job(ledger, self._store, run.spool, record.job_id, run.loop.right)
        problems = (*run.blocked.lines.values(), *audit.problems)
        if problems:
            raise EcmError(
                f"the step does not balance: {problems[0]}",
                "rollout.audit",
                "ecm audit tells more",
            )
        counts: dict[str, object] = {
            "listed": audit.listed,
            "committed": audit.committed,
            "reused": audit.reused,
            "dead": audit.dead,
            "images_through_models": run.loop.totals.images_through_models,
            "seconds": time.monotonic() - run.began,
            "startup_seconds": max(0.0, run.warm - run.began) if run.warm else 0.0,
        }
        record_run(self._store, record.finished(time.time(), counts))


def _prefix(rollout: Rollout) -> str:
    return f"rollout-{rollout.rollout_id}-"


def _pace(pace: Pace, runs: Sequence[RunRecord]) -> Pace:
    for run in runs:
        images = run.counts.get("images_through_models", 0)
        seconds = run.telemetry.get("seconds", 0.0) - run.telemetry.get("startup_seconds", 0.0)
        if images and seconds > 0:
            pace = Pace(pace.images + images, pace.seconds + seconds)
    return pace
