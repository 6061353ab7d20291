"""What does a commit cost beside a bare Lance append of the same rows, and does it age?

    python benchmarks/store.py [ROUNDS] [VERSIONS] [FOLDER]

Rate: batches of 800 envelopes (200 images with the dimensions of the packaged models and a small
picture each), in turns with `lance.write_dataset(mode="append")` of the very same Arrow tables, one
after the other, in one process; medians. "tables" is what a committer needs for the same tables:
keys looked up, tables written side by side, the right asked, transactions committed. "append" is
`EvidenceCommitter.append`, from sealed envelopes to committed tables, so with the encoding, which
bare appends do not need. "protocol" is all of a commit: spool with fsync, report to a SQLite
ledger, append, persist.

Age: small batches until version VERSIONS; then commits to the old store in turns with commits to
young ones, without upkeep and with it (old versions are kept an hour, as by default).
"""

from __future__ import annotations

import base64
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lance
import numpy as np

from ecm.contracts.identity import ContentIdentity, digest
from ecm.contracts.result import (
    EnvelopeStatus,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    TextStatement,
    VectorStatement,
)
from ecm.contracts.task import ModelSpec, TaskSpec, TaskType
from ecm.delivery.maintaining import BetweenBatches
from ecm.delivery.reporting import report_batch
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import LedgerConfig, open_ledger
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import (
    ClaimedTask,
    Granted,
    JobRecord,
    ListingChunk,
    ResourceTasks,
    Right,
)

SPACES = {
    TaskType.VV_EMBED: (Space.VV, 1280),
    TaskType.X_EMBED: (Space.X, 252),
    TaskType.MV_EMBED: (Space.MV, 384),
}
TRANSFORMS = {kind: digest(kind) for kind in (TaskType.VISION, *SPACES)}
MODEL = ModelSpec(backend="fake", model_id="fake", revision="1")
IMAGES, SMALL = 200, 10
WORDS = [f"word{n}" for n in range(2000)]
JPEG_BYTES = 4000
SAMPLES = 30


class Times:
    """Seconds of every step, in order."""

    def __init__(self) -> None:
        self.steps: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.steps[step].append(time.perf_counter() - began)

    def median_ms(self, step: str) -> float:
        return 1000 * statistics.median(self.steps[step])


class Work:
    """A ledger with leased tasks, and what models might say about them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rng = np.random.default_rng(0)
        self._listed = 0

    def batch(self, images: int) -> list[ResultEnvelope]:
        """Envelopes of freshly listed and claimed tasks."""
        now = self._ledger.now()
        job = JobRecord(
            job_id=f"job-{self._listed}",
            tenant_id="bench",
            source="file:///photos",
            transforms=tuple(TRANSFORMS.values()),
            created_at=now,
        )
        self._ledger.open_job(job, now)
        found = [self._resource(job.job_id, self._listed + n) for n in range(images)]
        self._listed += images
        self._ledger.record_listing(job.job_id, ListingChunk(tuple(found), (), "end"), now)
        lease = self._ledger.acquire_lease("bench", now, 600.0)
        tasks = self._ledger.claim(lease, job.transforms, "bench", None, images, now)
        self._ledger.start(lease, now)
        return [self._envelope(task) for task in tasks]

    def _resource(self, job_id: str, number: int) -> ResourceTasks:
        uri = f"file:///photos/folder{number % 100}/image_{number}.jpg"
        identity = ContentIdentity(uri=uri, size=number, mtime_ns=1)
        tasks = [
            TaskSpec.create(
                tenant_id="bench",
                job_id=job_id,
                identity=identity,
                task_type=kind,
                model=MODEL,
                transform=transform,
            )
            for kind, transform in TRANSFORMS.items()
        ]
        return ResourceTasks(identity, tuple(tasks))

    def _envelope(self, task: ClaimedTask) -> ResultEnvelope:
        return ResultEnvelope.seal(
            tenant_id=task.tenant_id,
            task_id=task.task_id,
            task_type=task.task_type,
            transform=task.transform,
            run_id="bench",
            worker_id="bench",
            attempt=1,
            fence=task.fence,
            resource_fingerprint=ResourceFingerprint(
                uri=task.identity.uri,
                content_hash=digest(task.identity.uri),
                size=task.identity.size,
                mtime_ns=1,
            ),
            image=ImageFacts(width=2000, height=1500, format="JPEG"),
            outputs=self._said(task.task_type),
            status=EnvelopeStatus.SUCCESS,
            observed_at=1.0,
        )

    def _said(self, kind: TaskType) -> Outputs:
        if kind in SPACES:
            space, dim = SPACES[kind]
            vector = self._rng.normal(size=dim).astype(np.float32)
            return Outputs(vectors=(VectorStatement.of(space, vector / np.linalg.norm(vector)),))
        labels = self._rng.choice(WORDS, 6)
        return Outputs(
            caption=TextStatement(text="a photo of " + " ".join(labels[:3]), composed=True),
            tags=tuple(LabelStatement(label=w, confidence=0.5) for w in labels),
            classification=(LabelStatement(label=labels[0], confidence=0.9, scheme="s"),),
            thumbnail=base64.b64encode(self._rng.bytes(JPEG_BYTES)),
        )


class Home:
    """A store with its spool and its committer, on a common ledger."""

    def __init__(self, folder: Path, ledger: Ledger, right: Right) -> None:
        self.store = EvidenceStore.create(EvidenceConfig(uri=str(folder / "store")), 0.0)
        self._spool = Spool(folder / "spool")
        self._committer = EvidenceCommitter(self.store)
        self._upkeep = BetweenBatches(self.store)
        self._ledger = ledger
        self._right = right
        self._number = 0
        self._name = folder.name
        self.times = Times()

    def commit(self, envelopes: list[ResultEnvelope]) -> None:
        """The commit loop's steps."""
        self._number += 1
        batch_id = f"{self._name}-{self._number:06d}"
        with self.times.measure("spool"):
            self._spool.write(batch_id, envelopes, self._ledger.now())
        with self.times.measure("report"):
            taken = report_batch(self._ledger, batch_id, envelopes, self._right)
        kept = [e for e in envelopes if e.task_id in taken.accepted]
        assert len(kept) == len(envelopes)
        with self.times.measure("append"):
            versions = self._committer.append(
                batch_id, kept, lambda: self._ledger.confirm_right(self._right)
            )
        with self.times.measure("persist"):
            self._ledger.persist(batch_id, versions, self._ledger.now(), self._right)
        self._spool.drop(batch_id)
        self._upkeep.committed(versions)

    def keep_up(self) -> None:
        """What the loop does after a batch."""
        before = self._upkeep.steps
        began = time.perf_counter()
        self._upkeep.step(self._ledger, unquestioned)
        if self._upkeep.steps > before:
            self.times.steps["upkeep"].append(time.perf_counter() - began)


STEPS = ("spool", "report", "append", "persist")


def rate(work: Work, folder: Path, home: Home, rounds: int) -> None:
    """Bare appends, appends of the same tables by a committer, and whole commits, in turns."""
    times = Times()
    other = EvidenceStore.create(EvidenceConfig(uri=str(folder / "tables")), 0.0)
    committer = EvidenceCommitter(other)
    for number in range(rounds):
        envelopes = work.batch(IMAGES)
        with times.measure("encode"):
            tables = tables_of(envelopes, "plain")

        def bare(tables=tables) -> None:  # type: ignore[no-untyped-def]
            with times.measure("bare"):
                for name, table in tables.items():
                    lance.write_dataset(table, folder / "plain" / name, mode="append")

        def encoded(tables=tables, number=number) -> None:  # type: ignore[no-untyped-def]
            with times.measure("tables"):
                committer.append_tables(tables, f"batch-{number}")

        def whole(envelopes=envelopes) -> None:  # type: ignore[no-untyped-def]
            home.commit(envelopes)

        turns = [bare, encoded, whole]
        for turn in turns[number % 3 :] + turns[: number % 3]:
            turn()
    for step in STEPS:
        times.steps[step] = home.times.steps[step]
    times.steps["protocol"] = [
        sum(steps) for steps in zip(*(times.steps[step] for step in STEPS), strict=True)
    ]
    print(f"{rounds} batches of {len(envelopes)} envelopes, {len(tables)} tables; medians in ms")
    for step in ("bare", "tables", "append", "protocol", *STEPS, "encode"):
        print(f"  {step:8} {times.median_ms(step):7.1f}")
    for step in ("tables", "append", "protocol"):
        pairs = zip(times.steps["bare"], times.steps[step], strict=True)
        kept = statistics.median(before / after for before, after in pairs)
        print(f"rate of bare appends kept by {step}: {kept:.2f}")


def age(work: Work, folder: Path, ledger: Ledger, right: Right, versions: int) -> None:
    for upkeep in ("off", "on"):
        old = Home(folder / f"old-{upkeep}", ledger, right)
        began = time.perf_counter()
        while old_version(old) < versions:
            old.commit(work.batch(SMALL))
            if upkeep == "on":
                old.keep_up()
        seconds = time.perf_counter() - began
        ratios = []
        for sample in range(SAMPLES):
            if sample % 5 == 0:
                young = Home(folder / f"young-{upkeep}-{sample}", ledger, right)
                young.commit(work.batch(SMALL))
            for home in (old, young) if sample % 2 else (young, old):
                home.commit(work.batch(SMALL))
            ratios.append(old.times.steps["append"][-1] / young.times.steps["append"][-1])
        table = max(old.store.tables(), key=lambda name: old.store.dataset(name).version)
        told = old.store.dataset(table).get_version()["metadata"]
        steps = [1000 * s for s in old.times.steps["upkeep"]] or [0.0]
        print(
            f"upkeep {upkeep:3}: version {old_version(old)}, {told['total_fragments']} fragments; "
            f"append {1000 * statistics.median(old.times.steps['append'][-SAMPLES:]):.1f} ms, "
            f"{statistics.median(ratios):.2f} times that of version 1; {seconds:.0f} s to there, "
            f"{sum(steps) / 1000:.1f} s in {len(old.times.steps['upkeep'])} steps, "
            f"longest {max(steps):.0f} ms",
            flush=True,
        )


def old_version(home: Home) -> int:
    """The version of the table with the fewest."""
    return min(home.store.versions().values(), default=0)


def main(rounds: int, versions: int, folder: Path) -> None:
    config = LedgerConfig(url=f"sqlite://{folder / 'ledger.sqlite3'}", refuse_at=10**9)
    with open_ledger(config) as ledger:
        granted = ledger.acquire_right("committer:bench", "bench", 86_400.0, ledger.now())
        assert isinstance(granted, Granted)
        right = Right("committer:bench", granted.fence)
        work = Work(ledger)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rate(work, folder, Home(folder / "rate", ledger, right), rounds)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"memory: {before / 1024:.0f} MiB at first, {grown / 1024:.0f} MiB more at most")
        age(work, folder, ledger, right, versions)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    chosen = (numbers + [40, 1000][len(numbers) :])[:2]
    if len(sys.argv) > 3:
        main(*chosen, Path(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(*chosen, Path(temporary))
