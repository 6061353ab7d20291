"""Upkeep of evidence tables, one bounded step at a time: merge, index, clean up, sweep, measure.

Every step may be killed: Lance commits a version whole or not at all, and what a killed step leaves
lying the next sweep removes. Versions are removed only below a fence, so that no sleeper's change
can build on one that is gone. Who may maintain, and when, is decided elsewhere; snapshots have
their own collection.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from ecm.crashpoints import crash_point
from ecm.errors import StoreUnavailable
from ecm.evidence.compaction import (
    Compacted,
    Fragment,
    compact,
    fragments_of,
    full_runs,
    next_run,
)
from ecm.evidence.config import MaintenanceConfig
from ecm.evidence.faults import lance_errors
from ecm.evidence.held import forget_expired
from ecm.evidence.sealing import check_seals, seal_table
from ecm.evidence.storage import Extent
from ecm.evidence.storage_leftovers import remove_file, unfinished
from ecm.evidence.store import EvidenceStore
from ecm.evidence.transactions import fence

TABLES: Final = "tables"
_ASIDE: Final = "aside"
_SWEPT: Final = ("data/", "_deletions/", "_indices/", "_transactions/", "_versions/")
_KEPT: Final = ("_versions/latest_version_hint.json",)
_SLACK: Final = 1.25
"""Between commits versions are removed only when the oldest is a quarter over the window: each
clean-up reads every manifest there is."""


@dataclass(frozen=True)
class TableStatistics:
    """How one table stands. `bytes` is what lies on disk for all versions, `live_bytes` for the
    newest; `indexed` the share of rows inside its index, None without one.
    """

    table: str
    rows: int
    deleted_rows: int
    fragments: int
    mergeable: int
    versions: int
    bytes: int
    live_bytes: int
    indexed: float | None


@dataclass(frozen=True)
class Cleaned:
    """Versions removed, and the files that only they needed."""

    versions: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing refers to; `name` is relative to the store."""

    name: str
    bytes: int


class TableUpkeep:
    """The steps for one table, in one pass. `still_mine` is asked before every change."""

    def __init__(self, store: EvidenceStore, name: str, still_mine: Callable[[], None]) -> None:
        self._store = store
        self._name = name
        self._still_mine = still_mine
        self._config: MaintenanceConfig = store.config.maintenance
        self._barred = False

    def compact_some(self) -> Compacted:
        """Merge what has come lately, `step_bytes` at most; nothing that an index covers."""
        dataset = self._store.dataset(self._name)
        run = next_run(_unindexed(dataset), self._config.step_bytes)
        return compact(self._name, dataset, run, self._still_mine) if run else Compacted()

    def runs(self) -> list[list[Fragment]]:
        """What `compact_run` is to be called with, one by one."""
        return full_runs(fragments_of(self._store.dataset(self._name)), self._config.fragment_bytes)

    def compact_run(self, run: list[Fragment]) -> Compacted:
        """Merge neighbours; nothing when they have changed meanwhile.

        Raises StoreCorrupt when a file of theirs is not what it was when it was sealed.
        """
        dataset = self._store.dataset(self._name)
        there = {fragment.number for fragment in fragments_of(dataset)}
        if not {fragment.number for fragment in run} <= there:
            return Compacted()
        check_seals(self._store, self._name, {fragment.number for fragment in run})
        return compact(self._name, dataset, run, self._still_mine)

    def index(self) -> None:
        """Bring the indices of the table up to date, the missing ones included."""
        self._still_mine()
        self._store.index_lookups()
        dataset = self._store.dataset(self._name)
        with lance_errors(f"cannot index table {self._name}"):
            indices = dataset.describe_indices()
            if any(index.num_rows_indexed < dataset.count_rows() for index in indices):
                dataset.optimize.optimize_indices()
        crash_point("maintain.indexed")

    def seal(self) -> None:
        """Seal the files that are new, so that what happens to them later is noticed."""
        seal_table(self._store, self._name, sys.maxsize)

    def has_old_versions(self) -> bool:
        """Whether the oldest version is well over the window; reads one manifest."""
        dataset = self._store.dataset(self._name)
        with lance_errors(f"cannot look at the versions of {self._name}"):
            newest = dataset.get_version()["timestamp"]
            oldest = min(ref["version"] for ref in dataset.version_refs())
            if oldest == dataset.version:
                return False
            first = dataset.checkout_version(oldest).get_version()["timestamp"]
        return bool((newest - first).total_seconds() > _SLACK * self._config.versions_seconds)

    def removable(self) -> Cleaned:
        """What `clean` would remove."""
        dataset = self._store.dataset(self._name)
        with lance_errors(f"cannot look at the versions of {self._name}"):
            told = dataset.explain_cleanup_old_versions(
                timedelta(seconds=self._config.versions_seconds), error_if_tagged_old_versions=False
            )
        return _cleaned(told.stats)

    def release(self, now: float) -> None:
        """Let go of versions that readers held who were killed: else they would stay for good."""
        self._still_mine()
        forget_expired(self._store, self._name, now)

    def clean(self) -> Cleaned:
        """Remove versions that are older than the window, and what only they needed.

        The newest version and tagged ones stay. A fence is put above them first: see
        `ecm.evidence.transactions.fence`.
        """
        if not self.removable().versions:
            return Cleaned()
        self.bar()
        dataset = self._store.dataset(self._name)
        self._still_mine()
        with lance_errors(f"cannot clean up table {self._name}"):
            done = dataset.cleanup_old_versions(
                timedelta(seconds=self._config.versions_seconds), error_if_tagged_old_versions=False
            )
        crash_point("maintain.cleaned")
        return _cleaned(done)

    def bar(self) -> None:
        """Let no change in that began before now, by whomever: before anything is removed.

        A second call does nothing.
        """
        if self._barred:
            return
        for _ in range(self._store.config.commit_attempts - 1):
            try:
                self._fence()
                break
            except StoreUnavailable:  # somebody came first: the next is put above that
                continue
        else:
            self._fence()
        self._barred = True
        crash_point("maintain.fenced")

    def _fence(self) -> None:
        dataset = self._store.dataset(self._name)
        self._still_mine()
        with lance_errors(f"cannot fence table {self._name}"):
            fence(dataset)

    def leftovers(self, now: float) -> list[Leftover]:
        """Files of the table that no version refers to, older than the window for orphans.

        They are listed first and the versions read after that, so that what is committed meanwhile
        is not taken for one.
        """
        before = now - self._config.orphans_seconds
        with lance_errors(f"cannot list the files of table {self._name}"):
            lying = self._store.dataset(self._name).all_files().read_all().to_pylist()
            old = {
                file["path"]: int(file["size_bytes"])
                for file in lying
                if file["path"].startswith(_SWEPT)
                and file["path"] not in _KEPT
                and file["last_modified"].timestamp() < before
            }
            if not old:
                return []
            tracked: set[str] = set()
            for batch in self._store.dataset(self._name).tracked_files():
                tracked.update(batch.column("path").to_pylist())
        folder = f"{TABLES}/{self._name}.lance"
        return [Leftover(f"{folder}/{path}", old[path]) for path in sorted(old.keys() - tracked)]

    def statistics(self) -> TableStatistics:
        """How the table stands; lists its files."""
        dataset = self._store.dataset(self._name)
        with lance_errors(f"cannot measure table {self._name}"):
            sizes = dataset.all_files().read_all().column("size_bytes").to_pylist()
            told = dataset.get_version()["metadata"]
            fragments = fragments_of(dataset)
            indices = dataset.describe_indices()
            rows = int(told["total_rows"])
            covered = min((index.num_rows_indexed for index in indices), default=None)
            versions = len(dataset.version_refs())
        return TableStatistics(
            table=self._name,
            rows=rows,
            deleted_rows=sum(fragment.deleted for fragment in fragments),
            fragments=len(fragments),
            mergeable=sum(len(run) for run in full_runs(fragments, self._config.fragment_bytes)),
            versions=versions,
            bytes=sum(sizes),
            live_bytes=int(told["total_files_size"]),
            indexed=None if covered is None else min(1.0, covered / rows) if rows else 1.0,
        )


def store_leftovers(store: EvidenceStore, now: float) -> Iterator[Leftover]:
    """What lies outside the tables and was given up: tables in the making, half-written files."""
    before = now - store.config.maintenance.orphans_seconds
    for child in store.storage.children(_ASIDE):
        name = f"{_ASIDE}/{child}"
        extent = store.storage.extent(name)
        if _given_up(extent, before):
            yield Leftover(name, extent.size)
    for name, extent in unfinished(store.storage):
        if _given_up(extent, before):
            yield Leftover(name, extent.size)


def remove_leftover(store: EvidenceStore, leftover: Leftover) -> None:
    """Remove one; nothing happens when it has gone. Raises as `file_errors` says."""
    if leftover.name.startswith(f"{_ASIDE}/"):
        store.storage.remove(leftover.name)
    else:
        remove_file(store.storage, leftover.name)
    crash_point("maintain.swept")


def _given_up(extent: Extent, before: float) -> bool:
    return 0 < extent.modified < before


def _unindexed(dataset: Any) -> list[Fragment]:
    """The fragments after the last one that an index covers: moving others would rewrite it."""
    segments = [segment for index in dataset.describe_indices() for segment in index.segments]
    newest = max((number for s in segments for number in s.fragment_ids), default=-1)
    return [fragment for fragment in fragments_of(dataset) if fragment.number > newest]


def _cleaned(stats: Any) -> Cleaned:
    files = (
        stats.data_files_removed
        + stats.transaction_files_removed
        + stats.index_files_removed
        + stats.deletion_files_removed
    )
    return Cleaned(int(stats.old_versions), int(files), int(stats.bytes_removed))
