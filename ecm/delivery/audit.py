"""Conservation audit: all that was listed is accounted for, all that is done is stored, once.

Compares counts and order-free key digests, ledger against Lance in both directions, and names what
does not agree: some of it by name, all of it by number. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from ecm.contracts.identity import KeyDigest
from ecm.evidence import inventory
from ecm.evidence.known import KnownKeys
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import JobCounts, ShortResource
from ecm.ledger.states import BatchState

CHUNK_KEYS = 500_000
_NOT_PERSISTED = {
    None: "that the ledger never heard of (ecm ledger rebuild --into-existing tells it)",
    BatchState.REQUEUED: "that the ledger gave back",
}
NAMED = 5
"""Names given of each kind of problem."""


@dataclass(frozen=True)
class Audit:
    """Counts are images. `key_digest` is over the evidence keys of committed and reused images."""

    balanced: bool
    listed: int
    committed: int
    reused: int
    filtered: int
    dead: int
    pending: int
    key_digest: str
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class StoreAudit:
    """The store as a whole against the ledger as a whole.

    `prefix_digest` is over the first 128 bits of every done evidence key, each once.
    """

    batches: int
    evidence_keys: int
    prefix_digest: str
    problems: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, object]:
        return {"balanced": self.balanced, **asdict(self)}


def audit_job(ledger: Ledger, store: EvidenceStore, job_id: str) -> Audit:
    """The audit of one job: counts, digests of resources and tasks, every evidence key stored."""
    counts = ledger.job_counts(job_id)
    problems = [
        *_resource_problems(ledger, job_id, counts),
        *_task_problems(ledger, job_id, counts),
        *_evidence_problems(ledger, store, job_id),
    ]
    return Audit(
        balanced=not problems,
        listed=counts.listed,
        committed=counts.committed,
        reused=counts.reused,
        filtered=counts.filtered,
        dead=counts.dead,
        pending=counts.pending,
        key_digest=str(counts.key_digest),
        problems=tuple(problems),
    )


def audit_batches(ledger: Ledger, store: EvidenceStore) -> tuple[str, ...]:
    """Problems of the store as a whole: rows there twice, and batches the ledger did not persist.

    A batch that is reported now is under way. The store is read first: what it holds has been
    reported before.
    """
    return _batch_problems(ledger, store, inventory.batches_seen(store))


def audit_store(
    ledger: Ledger, store: EvidenceStore, tenants: Iterable[str], job_ids: Iterable[str]
) -> StoreAudit:
    """All evidence of some tenants against all done tasks of their jobs, key by key.

    Holds 16 bytes a key in memory. What is committed while it reads may look like a problem: run
    it when nobody else commits.
    """
    batches = inventory.batches_seen(store)
    problems = list(_batch_problems(ledger, store, batches))
    done = KnownKeys(chunk for job_id in job_ids for chunk in _chunks(ledger.evidence_keys(job_id)))
    under_way = {b.batch_id for b in ledger.unresolved_batches()}
    foreign = KeyDigest()
    named: list[str] = []
    for tenant in tenants:
        seen: set[str] = set()
        for found in inventory.strangers(store, done, tenant):
            if found.batch_id in under_way or found.evidence_key in seen:
                continue
            seen.add(found.evidence_key)
            foreign.add(found.evidence_key)
            if len(named) < NAMED:
                named.append(
                    f"{found.evidence_key} ({found.task_type} of asset {found.asset_id}, "
                    f"batch {found.batch_id})"
                )
    if foreign.count:
        problems.append(
            f"{foreign.count} evidence keys are stored but of no done task, digest {foreign}: "
            + _listing(named, foreign.count)
        )
    return StoreAudit(len(batches), len(done), str(KeyDigest(done.prefixes())), tuple(problems))


def _resource_problems(ledger: Ledger, job_id: str, counts: JobCounts) -> Iterator[str]:
    """Images that were listed and are not in the books, or the other way round."""
    accounted = counts.committed + counts.reused + counts.filtered + counts.dead + counts.pending
    lost = counts.listed - accounted
    if lost:
        named = [
            f"{short.uri} (no task, identity key {short.identity_key})"
            for short in islice(_without_tasks(ledger, job_id), NAMED)
        ]
        if not named and lost == 1:
            named = [_the_one(ledger, job_id, counts)]
        yield (
            f"{counts.listed} images were listed but {accounted} are accounted for"
            + _after_colon(named, abs(lost))
        )
    elif counts.listed_digest != counts.accounted_digest:
        yield (
            "the images accounted for are not those that were listed, though as many: digest "
            f"{counts.accounted_digest} instead of {counts.listed_digest}"
        )


def _without_tasks(ledger: Ledger, job_id: str) -> Iterator[ShortResource]:
    return (short for short in ledger.short_resources(job_id) if not short.tasks)


def _the_one(ledger: Ledger, job_id: str, counts: JobCounts) -> str:
    """The only image that is missing: the difference of the two digests is its key."""
    key = _difference(counts.listed_digest, counts.accounted_digest)
    job = ledger.job(job_id)
    uri = ledger.resource_uri(job.record.tenant_id, key) if job else None
    return f"{uri or 'a resource the ledger does not know'} (identity key {key})"


def _task_problems(ledger: Ledger, job_id: str, counts: JobCounts) -> Iterator[str]:
    """Tasks that were asked for and have no row."""
    listed, found = counts.listed_tasks, counts.found_tasks
    if listed is None or found is None or listed == found:
        return
    lost = listed.count - found.count
    named = [
        f"{short.uri} ({short.tasks} of {short.transforms} tasks)"
        for short in islice(ledger.short_resources(job_id), NAMED)
    ]
    if lost == 1:
        named = [f"task {_difference(listed, found)}", *named]
    yield (
        f"{listed.count} tasks were asked for but {found.count} have a row"
        + _after_colon(named, max(lost, len(named)))
    )


def _evidence_problems(ledger: Ledger, store: EvidenceStore, job_id: str) -> Iterator[str]:
    """Done tasks whose evidence is not stored."""
    missing = KeyDigest()
    some: list[str] = []
    for chunk in _chunks(ledger.evidence_keys(job_id)):
        for key in sorted(set(chunk) - store.evidence_keys_present(chunk)):
            missing.add(key)
            if len(some) < NAMED:
                some.append(key)
    if missing.count:
        places = {place.evidence_key: place for place in ledger.places(job_id, some)}
        named = [
            f"{places[key].uri} ({places[key].task_type}, evidence key {key})"
            if key in places
            else f"evidence key {key}"
            for key in some
        ]
        yield (
            f"{missing.count} evidence keys are done but not stored, digest {missing}: "
            + _listing(named, missing.count)
        )


def _batch_problems(
    ledger: Ledger, store: EvidenceStore, batches: dict[str, inventory.BatchSeen]
) -> tuple[str, ...]:
    problems = []
    doubled = inventory.doubled_rows(store, NAMED)
    if doubled.rows:
        problems.append(
            f"{doubled.rows} evidence rows are stored twice: "
            + _listing([f"evidence id {name}" for name in doubled.named], doubled.rows)
        )
    states: dict[str, BatchState] = {}
    names = iter(batches)
    while part := list(islice(names, CHUNK_KEYS // 100)):
        states |= ledger.batch_states(part)
    for state, what in _NOT_PERSISTED.items():
        wrong = sorted(batch for batch in batches if states.get(batch) is state)
        rows = sum(batches[batch].rows for batch in wrong)
        if wrong:
            problems.append(
                f"{rows} evidence rows lie in {len(wrong)} batches {what}: "
                + _listing([f"batch {batch}" for batch in wrong[:NAMED]], len(wrong))
            )
    return tuple(problems)


def _chunks(keys: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(keys, CHUNK_KEYS)):
        yield chunk


def _difference(whole: KeyDigest, part: KeyDigest) -> str:
    """The one key that is in `whole` and not in `part`."""
    return f"{(whole.total - part.total) % (1 << 256):064x}"


def _after_colon(named: Sequence[str], number: int) -> str:
    return f": {_listing(named, number)}" if named else ""


def _listing(named: Sequence[str], number: int) -> str:
    more = number - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")
