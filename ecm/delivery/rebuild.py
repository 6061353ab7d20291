"""A ledger restored from its evidence store: what is stored is done, and is never computed again.

For every place at which content was seen and every transform that said something about it, a task
in state done. Streams the store, repeats without harm and goes on after a kill. Needs the right to
commit, so that nobody adds to the store meanwhile. Knows the store's tables; runs no model.

What a store cannot tell is not restored: dead letters, files that were skipped, and which job once
listed what. The next run lists them again.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from ecm.contracts.identity import ContentIdentity, digest, evidence_key
from ecm.contracts.task import ModelSpec, TaskType
from ecm.delivery.committing import CommitSettings
from ecm.delivery.recovery import recover
from ecm.delivery.taking_over import claim_right
from ecm.delivery.tenure import commit_right
from ecm.delivery.verifying import altered_identity
from ecm.errors import ConfigError, ContractError, LeaseLost, StoreCorrupt
from ecm.evidence import inventory
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.known import KnownKeys
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import JobRecord, RestoredResource, RestoredTask, Right
from ecm.ledger.states import JobState

CHUNK_BATCHES = 5000
UNKNOWN_MODEL = ModelSpec(backend="unknown", model_id="unknown", revision="unknown")
"""Of evidence whose transform is not among those of the present profile."""


@dataclass(frozen=True)
class RebuildSettings:
    """Whose right it is, the models of the transforms that the profile knows, and how many places
    one transaction restores.

    `work` names the jobs, `source` is what they are said to have listed: the store, if empty. Other
    tenants than `tenants`, if any are given, are left alone.
    """

    commit: CommitSettings
    lease_seconds: float
    models: Mapping[str, ModelSpec]
    chunk: int = 1000
    work: str = "rebuild"
    source: str = ""
    tenants: frozenset[str] = frozenset()


@dataclass
class Rebuilt:
    """What a rebuild has done so far; `versions` counts the rows read of so many in `of`."""

    of: int = 0
    versions: int = 0
    resources: int = 0
    tasks: int = 0
    settled: int = 0
    batches: int = 0
    spooled: int = 0
    jobs: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Images and tasks entered, waiting tasks found done, batches known, jobs by tenant."""
        return {
            "resources": self.resources,
            "tasks": self.tasks,
            "settled": self.settled,
            "batches": self.batches,
            "spooled": self.spooled,
            "jobs": dict(self.jobs),
        }


def check_empty(ledger: Ledger, store: EvidenceStore) -> None:
    """Raises ConfigError for a ledger with jobs of its own; one a rebuild has begun is fine."""
    source = _source(store)
    for job in ledger.jobs(1000):
        if job.record.source != source:
            raise ConfigError(
                f"the ledger is not empty: it has job {job.record.job_id}",
                "rebuild.not_empty",
                "--into-existing adds to it what the store holds and it does not know",
            )


def rebuild(
    ledger: Ledger,
    store: EvidenceStore,
    spool: Spool,
    settings: RebuildSettings,
    report: Callable[[Rebuilt], None],
) -> Rebuilt:
    """Enter everything the store holds; `report` is called after every chunk.

    Raises LeaseLost while another commits to the store, or when it takes over.
    """
    ledger.begin_restore(ledger.now())
    right, _ = claim_right(
        ledger, commit_right(store), settings.commit.holder, settings.lease_seconds
    )
    try:
        work = _Rebuild(ledger, store, right, settings, report)
        work.finish_spool(spool)
        work.run()
    finally:
        ledger.release_right(right.name, right.fence)
    return work.done


class _Rebuild:
    """One pass over the store."""

    def __init__(
        self,
        ledger: Ledger,
        store: EvidenceStore,
        right: Right,
        settings: RebuildSettings,
        report: Callable[[Rebuilt], None],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._right = right
        self._settings = settings
        self._report = report
        self._renewed = time.monotonic()
        self._restored = KnownKeys()
        self.done = Rebuilt()

    def finish_spool(self, spool: Spool) -> None:
        """Complete batches that were being appended when the ledger was lost.

        First those the ledger knows. Of the others every result is taken: what a batch of results
        says is the same whoever computed it, and the tables leave out what they have. The store is
        fenced first, since a committer of the lost ledger may still be alive.
        """
        committer = EvidenceCommitter(self._store)
        committer.fence()
        recover(self._ledger, committer, spool, self._right)
        names = spool.list()
        for batch_id in sorted(set(names) - self._ledger.batch_states(names).keys()):
            try:
                batch = spool.read(batch_id)
            except StoreCorrupt:
                batch = None  # torn before it was synced: nothing of it was appended
            if batch is not None:
                committer.append(batch_id, batch.envelopes)
                self.done.spooled += 1
            spool.drop(batch_id)

    def run(self) -> None:
        wanted = self._settings.tenants
        said = inventory.stated(self._store)
        transforms = _by_tenant(s for s in said if not wanted or s.tenant_id in wanted)
        jobs = {tenant: self._job(tenant, said) for tenant, said in sorted(transforms.items())}
        self.done.of = self._store.counts().get("asset_versions", 0)
        for versions in inventory.versions(self._store, self._settings.chunk):
            by_tenant: dict[str, list[inventory.Version]] = defaultdict(list)
            for version in versions:
                by_tenant[version.tenant_id].append(version)
            for tenant, seen in by_tenant.items():
                if tenant in jobs:
                    self._restore(jobs[tenant], seen, transforms[tenant])
            self.done.versions += len(versions)
            self._renew()
            self._report(self.done)
        self._know_batches()
        for tenant, job_id in jobs.items():
            self._end(job_id)
            self.done.jobs[tenant] = job_id
        self._report(self.done)

    def _job(self, tenant: str, said: Sequence[inventory.Stated]) -> str:
        """The tenant's job that a killed rebuild has left open, or a new one."""
        source = self._settings.source or _source(self._store)
        wanted = tuple(sorted({each.transform for each in said}))
        now = self._ledger.now()
        begun = [j for j in self._ledger.unfinished_jobs(tenant) if j.record.source == source]
        for job in begun:
            if job.state is JobState.LISTING and job.record.transforms == wanted:
                return job.record.job_id
            self._end(job.record.job_id)  # all there, or of a store that has grown since
        when = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{now % 1:.3f}"[2:]
        job_id = f"{self._settings.work}-{when}-{tenant}"
        record = JobRecord(
            job_id=job_id, tenant_id=tenant, source=source, transforms=wanted, created_at=now
        )
        self._ledger.open_job(record, now)
        return job_id

    def _end(self, job_id: str) -> None:
        self._ledger.close_listing(job_id, self._ledger.now())
        self._ledger.finish_job(job_id, self._ledger.now())

    def _restore(
        self,
        job_id: str,
        versions: Sequence[inventory.Version],
        said: Sequence[inventory.Stated],
    ) -> None:
        keys = {
            (version.asset_id, each): evidence_key(
                version.tenant_id, version.asset_id, each.task_type, each.transform
            )
            for version in versions
            for each in said
        }
        stored = self._store.evidence_keys_present(keys.values())
        resources = [
            RestoredResource(self._resource(version), version.asset_id, version.observed_at, tasks)
            for version in versions
            if (tasks := tuple(self._tasks(version.asset_id, said, keys, stored)))
        ]
        if resources:
            outcome = self._ledger.restore(job_id, resources, self._ledger.now(), self._right)
            self.done.resources += outcome.resources
            self.done.tasks += outcome.tasks
            self.done.settled += outcome.settled

    def _resource(self, version: inventory.Version) -> ContentIdentity:
        """The resource that content was read as: other bytes of the same size and date, which only
        reading can tell, are a resource of their own.
        """
        key = digest([version.tenant_id, version.identity.key()])
        if self._restored.contains([key])[0]:
            return altered_identity(version.identity, version.asset_id)
        self._restored.add([key])
        return version.identity

    def _tasks(
        self,
        asset_id: str,
        said: Sequence[inventory.Stated],
        keys: Mapping[tuple[str, inventory.Stated], str],
        stored: frozenset[str],
    ) -> Iterator[RestoredTask]:
        for each in said:
            key = keys[asset_id, each]
            if key in stored:
                model = self._settings.models.get(each.transform, UNKNOWN_MODEL)
                yield RestoredTask(TaskType(each.task_type), each.transform, model, key)

    def _know_batches(self) -> None:
        """So that evidence is of a batch that the ledger knows as persisted."""
        seen = iter(inventory.batches_seen(self._store).items())
        while part := dict(islice(seen, CHUNK_BATCHES)):
            self._ledger.restore_batches({name: batch.observed_at for name, batch in part.items()})
            self.done.batches += len(part)
            self._renew()

    def _renew(self) -> None:
        """Keep the right to commit; a chunk takes a fraction of its time."""
        ttl = self._settings.lease_seconds
        if time.monotonic() - self._renewed < ttl / 4:
            return
        self._renewed = time.monotonic()
        if not self._ledger.renew_right(
            self._right.name, self._right.fence, ttl, self._ledger.now()
        ):
            raise LeaseLost("another committer took over this store; run the rebuild again")


def _by_tenant(said: Iterable[inventory.Stated]) -> dict[str, list[inventory.Stated]]:
    found: dict[str, list[inventory.Stated]] = defaultdict(list)
    for each in sorted(said, key=lambda s: (s.tenant_id, s.task_type, s.transform)):
        if each.task_type not in list(TaskType):
            raise ContractError(f"the store has evidence of task type {each.task_type}")
        found[each.tenant_id].append(each)
    return dict(found)


def _source(store: EvidenceStore) -> str:
    return f"evidence store {store.header.store_id}"
