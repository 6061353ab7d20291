"""Homes whose stores are damaged on purpose, mended, and made whole again by their own tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ecm.config import Profile
from ecm.contracts.task import TaskType
from ecm.delivery.admission import Admission
from ecm.delivery.committing import CommitLoop, CommitSettings
from ecm.delivery.concluding import conclude_job
from ecm.delivery.deep_audit import DeepAudit, deep_audit
from ecm.delivery.repair import Repaired, repair
from ecm.delivery.tenure import unfenced_tenure
from ecm.evidence.examiners import Here
from ecm.evidence.spool import Spool
from ecm.evidence.store import EvidenceStore
from ecm.ledger import open_ledger
from ecm.opening import plan_of
from ecm.publishing import materialize, materialize_anew
from tests.workers import claimed, entries_of_claimed, queued

Damage = Callable[[Path], None]
"""Does something to a file."""


def flipped(at: int) -> Damage:
    """One byte is another; negative places count from the end."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 0x55
        path.write_bytes(data)

    return flip


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def removed(path: Path) -> None:
    path.unlink()


def table_of(profile: Profile, beginning: str) -> str:
    """The one table whose name begins like that."""
    (name,) = (n for n in _store(profile).tables() if n.startswith(beginning))
    return name


def fragment_file(profile: Profile, table: str, place: int) -> Path:
    """The data file of one of the table's fragments."""
    store = _store(profile)
    metadata = store.dataset(table).get_fragments()[place].metadata
    return Path(store.storage.location(f"tables/{table}.lance/data/{metadata.files[0].path}"))


def vector_place(profile: Profile, table: str, place: int) -> tuple[Path, int]:
    """Where in its file the first vector of a fragment stands."""
    fragment = _store(profile).dataset(table).get_fragments()[place]
    vector = fragment.to_table(columns=["vector"])["vector"].combine_chunks()
    raw = vector.flatten().to_numpy().astype("<f4")[: vector.type.list_size].tobytes()
    path = fragment_file(profile, table, place)
    return path, path.read_bytes().index(raw[:32])


def manifests(profile: Profile, table: str) -> list[Path]:
    """The table's manifests, newest first."""
    folder = Path(_store(profile).storage.location(f"tables/{table}.lance/_versions"))
    return sorted(folder.glob("*.manifest"))


def examined(profile: Profile) -> DeepAudit:
    store = _store(profile)
    with open_ledger(profile.ledger) as ledger:
        return deep_audit(ledger, store, Here(store), lambda *_: None)


def mended(profile: Profile) -> Repaired:
    """As `ecm repair` does it, in this process."""
    store = _store(profile)
    with unfenced_tenure(profile.ledger, store) as tenure, open_ledger(profile.ledger) as ledger:
        found = deep_audit(ledger, store, Here(store), lambda *_: None)
        return repair(
            ledger,
            store,
            found,
            lambda whole: materialize_anew(whole, plan_of(profile)),
            tenure.confirm,
            lambda _: None,
        )


def derived_again(profile: Profile) -> int:
    """As the next `ecm index` does it; how many tasks were not linked but computed."""
    store, spool = _store(profile), Spool(profile.spool)
    vision = plan_of(profile).by_type[TaskType.VISION].fingerprint
    settings = CommitSettings("run-again", "again", envelopes=8, seconds=0.01)
    with open_ledger(profile.ledger) as ledger:
        admission = Admission(ledger, profile.evidence)
        job = queued(ledger, profile, profile.home / "photos")
        with CommitLoop(profile.ledger, store, spool, settings, lambda _: None) as loop:
            loop.wait_until_recovered()
            tasks = claimed(ledger, profile, 1000)
            entries = (
                entries_of_claimed(profile, tasks, lambda r: admission.admit(r, vision))
                if tasks
                else ()
            )
            loop.submit(entries)
            loop.drain(lambda: None)
            audit = conclude_job(ledger, store, spool, job, loop.right)
            assert audit.balanced, audit.problems
    materialize(store, plan_of(profile))
    return sum(not entry.linked for entry in entries)


def key_digest(profile: Profile) -> str:
    """What the last job has said in all."""
    with open_ledger(profile.ledger) as ledger:
        return str(ledger.job_counts(ledger.last_job("t") or "").key_digest)


def _store(profile: Profile) -> EvidenceStore:
    return EvidenceStore.open(profile.evidence)
