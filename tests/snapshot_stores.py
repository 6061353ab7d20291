"""Small stores with several snapshots, for tests of what is done to snapshots after their build."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecm.contracts.search import Axis
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SNAPSHOTS, SnapshotRef, all_refs, read_published, read_ref
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import MV, OCR, START, VISION, VV, X, everything

POLICY = SnapshotPolicy(
    transforms={Axis.FTS: (VISION, OCR), Axis.VV: (VV,), Axis.X: (X,), Axis.MV: (MV,)}
)
FRESH = POLICY.model_copy(update={"others": "never"})
"""Another policy, so that its snapshots are in tables of their own."""
LATER = 4_000_000_000.0
"""After everything that a test writes, whatever the clock of the machine says."""


def copied(template: Path, folder: Path) -> EvidenceStore:
    """A store in another folder, as it is."""
    shutil.copytree(template, folder)
    return EvidenceStore.open(EvidenceConfig(uri=str(folder)))


def grown(place: Path | EvidenceConfig, count: int) -> EvidenceStore:
    """A store with `count` snapshots of one policy, one asset more in each, all published in turn.

    They were made at START, START + 1 and so on, of tenant `t`, whose assets are all dogs.
    """
    config = EvidenceConfig(uri=str(place)) if isinstance(place, Path) else place
    store = EvidenceStore.create(config, START)
    for number in range(count):
        grow(store, number)
    return store


def grow(store: EvidenceStore, number: int, policy: SnapshotPolicy = POLICY) -> SnapshotRef:
    """One asset more, and a snapshot of it, published at START + number."""
    EvidenceCommitter(store).append(f"b{number}", everything(number, "dog"))
    snapshots = SnapshotStore(store)
    ref = snapshots.build(policy, START + number)
    return snapshots.publish(ref.snapshot_id, START + number)


def ids_of(store: EvidenceStore) -> list[str]:
    """Oldest first."""
    return [ref.snapshot_id for ref in reversed(all_refs(store))]


def answers(store: EvidenceStore, snapshot_id: str) -> bool:
    """Whether a snapshot has, finds and shows all its assets, by words and by vectors."""
    ref = read_ref(store, snapshot_id)
    reader = SnapshotReader.open(store, ref)
    found = reader.search_text("t", "dog", {"tags": 1.0}, ref.assets + 1)
    rows = reader.rows("t", [asset_id for asset_id, _ in found])
    matrix = reader.tenant_matrix("t", Axis.VV)
    return len(rows) == len(matrix.asset_ids) == ref.assets


def served(store: EvidenceStore) -> str:
    """The published snapshot, after it was seen to answer."""
    published = read_published(store)
    assert published is not None
    assert answers(store, published.current.snapshot_id)
    return published.current.snapshot_id


def orphans(store: EvidenceStore) -> list[str]:
    """Whatever lies below `snapshots/` and is neither described by a reference nor used by one."""
    refs = all_refs(store)
    named = {ref.table for ref in refs} | {f"{SNAPSHOTS}/{r.snapshot_id}" for r in refs}
    found = []
    for one in store.storage.children(SNAPSHOTS):
        folder = f"{SNAPSHOTS}/{one}"
        tables = [t for t in named if t.startswith(f"{folder}/")]
        if folder not in named and not tables:
            found.append(folder)
        mine = {"ref.json", "files.json"} if folder in named else set()
        for child in store.storage.children(folder):
            if f"{folder}/{child}" not in tables and child not in mine:
                found.append(f"{folder}/{child}")
    for table in {ref.table for ref in refs}:
        found += _orphans_in(store, table, {r.snapshot_id for r in refs if r.table == table})
    return sorted(set(found))


def _orphans_in(store: EvidenceStore, table: str, living: set[str]) -> list[str]:
    """Versions that are neither tagged nor the newest, strange tags, and files of no version."""
    newest = store.open_lance(table)
    tags = newest.tags.list()
    found = [f"{table} tag {name}" for name in tags.keys() - living]
    kept = {tag["version"] for tag in tags.values()} | {newest.version}
    there = {version["version"] for version in newest.versions()}
    found += [f"{table} version {version}" for version in there - kept]
    used: set[str] = set()
    for version in there:
        used |= _used(store.open_lance(table, version))
    for kind in ("data", "_indices", "_deletions"):
        for name in store.storage.children(f"{table}/{kind}"):
            if name not in used:
                found.append(f"{table}/{kind}/{name}")
    return found


def _used(dataset: Any) -> set[str]:
    fragments = dataset.get_fragments()
    used = {file.path for fragment in fragments for file in fragment.metadata.files}
    for fragment in fragments:
        deletion = fragment.deletion_file()
        if deletion:
            used.add(deletion.rpartition("/")[2])
    return used | {s.uuid for index in dataset.describe_indices() for s in index.segments}


class Interrupting:
    """A storage that does something else, once, before one of its operations.

    Args:
        storage: what does the work.
        at: before which operation, counted from 0.
        act: what is done there; it uses a storage of its own.
    """

    def __init__(self, storage: Any, at: int, act: Callable[[], None]) -> None:
        self._storage = storage
        self._left = at
        self._act = act
        self.passed = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if name in ("lance_options", "root", "location"):
            return found

        def operation(*given: Any) -> Any:
            self.passed += 1
            self._left -= 1
            if self._left == -1:
                self._act()
            return found(*given)

        return operation


def interrupted(store: EvidenceStore, at: int, act: Callable[[], None]) -> EvidenceStore:
    """The store over `Interrupting` storage."""
    return EvidenceStore(store.config, Interrupting(store.storage, at, act), store.header)
