"""Homes whose tables are worth maintaining: many small batches, published, with debris about."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lance.fragment import write_fragments

from ecm.config import Profile
from ecm.contracts.identity import digest
from ecm.delivery.audit import audit_batches, audit_job
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.entries import Settled
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.opening import plan_of
from ecm.publishing import materialize
from tests.factories import FAKE_MODELS, START, fake_profile, gallery
from tests.workers import claimed, entries_of_claimed, put, queued

REPO = Path(__file__).resolve().parents[1]
PICTURES = 24
AT_ONCE = ("evidence.maintenance.versions_seconds=0", "evidence.maintenance.orphans_seconds=0")


def made(home: Path, *overrides: str) -> Profile:
    """A home with one finished job of PICTURES, a batch for every second one, and a snapshot."""
    profile = fake_profile(home, "pipeline.commit_envelopes=8", *overrides)
    home.mkdir(parents=True)
    photos = put(home / "photos", gallery(PICTURES // 8))
    store, spool = EvidenceStore.create(profile.evidence, START), Spool(profile.spool)
    with open_ledger(profile.ledger) as ledger:
        job = queued(ledger, profile, photos)
        settings = CommitSettings("run", "made", envelopes=8, seconds=0.01)
        with CommitLoop(profile.ledger, store, spool, settings, _ignored) as loop:
            loop.wait_until_recovered()
            loop.submit(entries_of_claimed(profile, claimed(ledger, profile, PICTURES)))
            loop.drain(lambda: None)
            conclude_job(ledger, store, spool, job, loop.right)
    materialize(store, plan_of(profile))
    return profile


def litter(profile: Profile) -> None:
    """What processes leave that are killed while they write."""
    store = EvidenceStore.open(profile.evidence)
    root = Path(store.storage.root)
    for name in store.tables():
        dataset = store.dataset(name)
        write_fragments(dataset.to_table(), dataset, schema=dataset.schema)
        (root / "tables" / f"{name}.lance" / "data" / ".tmpAbc").write_bytes(b"half")
    (root / "aside" / "table.lance" / "data").mkdir(parents=True)
    profile.spool.mkdir(exist_ok=True)
    for folder in (root, root / "snapshots", profile.spool):
        (folder / ".writing-0123").write_bytes(b"half")


def orphans(profile: Profile) -> list[str]:
    """Files below the tables that Lance's own lists do not have, and half-written ones anywhere."""
    store = EvidenceStore.open(profile.evidence)
    root = Path(store.storage.root)
    left = [str(path) for path in profile.home.rglob(".writing-*")]
    left += [str(path) for path in (root / "aside").glob("*.lance")]
    for name in store.tables():
        dataset = store.dataset(name)
        folder = Path(dataset.uri)
        tracked = set(dataset.tracked_files().read_all()["path"].to_pylist())
        lying = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        known = ("_refs/", "_versions/latest_version_hint")
        left += [f"{name}/{path}" for path in lying - tracked if not path.startswith(known)]
    return left


def contents(profile: Profile) -> dict[str, str]:
    """A digest of every row of every table, whatever their order."""
    store = EvidenceStore.open(profile.evidence)
    return {
        name: digest(sorted(map(repr, store.dataset(name).to_table().to_pylist())))
        for name in store.tables()
    }


def is_well(profile: Profile) -> bool:
    """Whether the audit balances and the published snapshot answers for every picture."""
    store = EvidenceStore.open(profile.evidence)
    with open_ledger(profile.ledger) as ledger:
        jobs = [job.record.job_id for job in ledger.jobs(10)]
        audits = [audit_job(ledger, store, job) for job in jobs]
        problems = [*audit_batches(ledger, store), *(p for a in audits for p in a.problems)]
    ref = SnapshotStore(store).published()
    assert ref is not None
    hits = SnapshotReader.open(store, ref).search_text("t", "picture", {"caption": 1.0}, 50)
    return problems == [] and all(a.balanced for a in audits) and len(hits) == PICTURES


def command(profile: Profile, *words: str) -> list[str]:
    """`ecm maintain` for a home of `made`, with no window."""
    settings = [f"--set={setting}" for setting in (*FAKE_MODELS, *AT_ONCE)]
    options = ["--home", str(profile.home), *settings, *words]
    return [sys.executable, "-m", "jobs.cli", "maintain", *options]


def maintain(profile: Profile, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(profile, *words),
        cwd=REPO,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    )


def _ignored(_: list[Settled]) -> None:
    """Nobody waits for these results."""
