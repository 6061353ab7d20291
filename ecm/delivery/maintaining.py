"""When evidence tables may be put in order, and in which order: by one owner, between batches.

Whoever calls holds the right to commit. Nothing is done while a batch is reported and not resolved,
since its rows may have to be looked for. Knows no Lance.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ecm.errors import StoreCorrupt, TransientError
from ecm.evidence.collection import sweep
from ecm.evidence.maintenance import (
    Leftover,
    TableStatistics,
    TableUpkeep,
    remove_leftover,
    store_leftovers,
)
from ecm.evidence.retention import Retention
from ecm.evidence.storage_leftovers import unfinished_in
from ecm.evidence.store import EvidenceStore
from ecm.ledger.ledger import Ledger

log = logging.getLogger(__name__)

LOOKING_SECONDS = 0.25
"""So long a loop looks for a step that has something to do."""

StillMine = Callable[[], None]


@dataclass(frozen=True)
class Progress:
    """The step being taken: its table (empty for the whole store), its act, how many are done."""

    table: str
    act: str
    done: int
    of: int


@dataclass
class Maintained:
    """What a maintenance did, or would do. `bytes_freed` is what lies less on disk, without the
    new files of merges; `problems` are tables left alone, each with its cause.
    """

    before: tuple[TableStatistics, ...] = ()
    after: tuple[TableStatistics, ...] = ()
    fragments_merged: int = 0
    versions_removed: int = 0
    files_removed: int = 0
    orphans_removed: int = 0
    bytes_freed: int = 0
    complete: bool = False
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def check_resolved(ledger: Ledger) -> None:
    """Raises TransientError while a batch is reported whose rows may not be in the tables."""
    waiting = len(ledger.unresolved_batches())
    if waiting:
        raise TransientError(
            f"{waiting} batches of an interrupted run are not resolved yet",
            "maintain.unresolved",
            "run: ecm index, or let the service start; then maintain again",
        )


def plan_maintenance(store: EvidenceStore, spool: Path, now: float) -> Maintained:
    """What `maintain` would do now. Changes nothing and needs no right."""
    plan = Maintained(before=_statistics(store), complete=True)
    for name in store.tables():
        try:
            _plan_table(plan, TableUpkeep(store, name, _never), now)
        except StoreCorrupt as error:
            plan.problems.append(f"{name}: {error.message}")
    _count(plan, store_leftovers(store, now))
    _count(plan, _spool_leftovers(store, spool, now))
    return plan


def _plan_table(plan: Maintained, upkeep: TableUpkeep, now: float) -> None:
    plan.fragments_merged += sum(len(run) for run in upkeep.runs())
    old = upkeep.removable()
    plan.versions_removed += old.versions
    plan.files_removed += old.files
    plan.bytes_freed += old.bytes
    _count(plan, upkeep.leftovers(now))


def maintain(
    store: EvidenceStore,
    spool: Path,
    still_mine: StillMine,
    now: float,
    report: Callable[[Progress], None],
    stopping: Callable[[], bool],
) -> Maintained:
    """Index, merge, clean up and sweep, table by table; then what lies beside the tables.

    Call `check_resolved` first, under the right. A damaged table is left alone and named.

    Args:
        store: what is maintained.
        spool: the local folder of batches on their way.
        still_mine: raises LeaseLost when another has taken the right; asked before every change.
        now: Unix seconds, by which the age of orphans is told.
        report: called before every step.
        stopping: asked between steps; True ends early, with everything consistent.
    """
    work = _Maintenance(store, still_mine, now, report, stopping)
    done = work.done
    done.before = _statistics(store)
    names = store.tables()
    for place, name in enumerate(names):
        if stopping():
            break
        work.table(name, place, len(names))
    else:
        work.beside(spool, len(names))
        done.complete = not stopping()
    done.after = _statistics(store)
    return done


class _Maintenance:
    """One pass over the store."""

    def __init__(
        self,
        store: EvidenceStore,
        still_mine: StillMine,
        now: float,
        report: Callable[[Progress], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._store = store
        self._still_mine = still_mine
        self._now = now
        self._report = report
        self._stopping = stopping
        self.done = Maintained()

    def table(self, name: str, place: int, of: int) -> None:
        """Every step of one table, as far as nobody wants to stop."""
        upkeep = TableUpkeep(self._store, name, self._still_mine)
        steps = (
            ("indexing", self._index),  # first: only what an index covers alike is merged
            ("merging", self._merge),
            ("cleaning", self._clean),
            ("sweeping", self._sweep),
            ("sealing", self._seal),
        )
        for act, step in steps:
            if self._stopping():
                return
            self._report(Progress(name, act, place, of))
            try:
                step(upkeep)
            except StoreCorrupt as error:
                self.done.problems.append(f"{name}: {error.message}")
                return

    def beside(self, spool: Path, tables: int) -> None:
        """What was given up outside the tables, in the store and in the spool's folder."""
        self._report(Progress("", "sweeping", tables, tables))
        self._snapshots()
        for leftover in store_leftovers(self._store, self._now):
            self._remove(leftover)
        for leftover in _spool_leftovers(self._store, spool, self._now):
            Path(leftover.name).unlink(missing_ok=True)
            _count(self.done, (leftover,))

    def _snapshots(self) -> None:
        """What builds and collections of snapshots left that died; every snapshot stays."""
        rule = Retention(grace=self._store.config.maintenance.orphans_seconds)
        try:
            done = sweep(self._store, rule, self._now, self._still_mine, log.info)
        except StoreCorrupt as error:
            self.done.problems.append(f"snapshots: {error.message}")
            return
        self.done.versions_removed += done.versions
        self.done.orphans_removed += len(done.leftovers)
        self.done.bytes_freed += done.bytes_freed
        self.done.problems += [f"{table}: {why}" for table, why in done.left.items()]

    def _merge(self, upkeep: TableUpkeep) -> None:
        while runs := upkeep.runs():  # again: what was merged lies last now, by other neighbours
            merged = 0
            for run in runs:
                if self._stopping():
                    return
                merged += upkeep.compact_run(run).removed
            self.done.fragments_merged += merged
            if not merged:
                return

    def _index(self, upkeep: TableUpkeep) -> None:
        upkeep.index()

    def _clean(self, upkeep: TableUpkeep) -> None:
        upkeep.release(self._now)
        cleaned = upkeep.clean()
        self.done.versions_removed += cleaned.versions
        self.done.files_removed += cleaned.files
        self.done.bytes_freed += cleaned.bytes

    def _seal(self, upkeep: TableUpkeep) -> None:
        """Bytes that rot from now on are noticed by a deep audit, also in words."""
        upkeep.seal()

    def _sweep(self, upkeep: TableUpkeep) -> None:
        if not upkeep.leftovers(self._now):
            return
        upkeep.bar()
        for leftover in upkeep.leftovers(self._now):  # again: a sleeper may have committed some
            self._remove(leftover)

    def _remove(self, leftover: Leftover) -> None:
        self._still_mine()
        remove_leftover(self._store, leftover)
        _count(self.done, (leftover,))


class BetweenBatches:
    """Bounded upkeep by a commit loop: after its first commit to a table, then after so many.

    The first looks after what short runs left, each with a fragment or two.

    A step writes at most `maintenance.step_bytes` anew or removes the versions beyond the window;
    tables take turns, one step after a batch, so no batch waits for more than one.
    """

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store
        self._every = store.config.maintenance.every_commits
        self._commits: Counter[str] = Counter()
        self._due: deque[tuple[str, str]] = deque()
        self._barred: set[str] = set()
        self.steps = 0

    def committed(self, tables: Iterable[str]) -> None:
        """A batch has gone to these tables."""
        for name in tables if self._every else ():
            self._commits.setdefault(name, self._every)
            self._commits[name] += 1
            if self._commits[name] >= self._every and name not in self._barred:
                self._commits[name] = 0
                self._due.extend([(name, "merge"), (name, "clean")])

    def step(self, ledger: Ledger, still_mine: StillMine) -> None:
        """Take the next step that is due and has something to do.

        Raises LeaseLost; what else goes wrong waits for another time.
        """
        if not self._due or not _resolved(ledger):
            return
        give_up = time.monotonic() + LOOKING_SECONDS
        while self._due and time.monotonic() < give_up:
            name, act = self._due.popleft()
            try:
                if self._take(TableUpkeep(self._store, name, still_mine), act):
                    self.steps += 1
                    self._due.append((name, act))  # big batches: one step may not be enough
                    return
            except StoreCorrupt as error:
                self._barred.add(name)
                log.warning("no upkeep of table %s any more: %s", name, error)
            except TransientError as error:
                log.info("upkeep of table %s put off: %s", name, error)

    def _take(self, upkeep: TableUpkeep, act: str) -> bool:
        """Whether anything was changed."""
        if act == "merge":
            return upkeep.compact_some().removed > 0
        return upkeep.has_old_versions() and upkeep.clean().versions > 0


def _resolved(ledger: Ledger) -> bool:
    """Whether it is certain that no batch is reported and not resolved."""
    try:
        return not ledger.unresolved_batches()
    except TransientError as error:
        log.info("upkeep put off: %s", error)
        return False


def _statistics(store: EvidenceStore) -> tuple[TableStatistics, ...]:
    return tuple(_measured(store))


def _measured(store: EvidenceStore) -> Iterator[TableStatistics]:
    """Of the tables that can be opened; a damaged one is named by the steps."""
    for name in store.tables():
        try:
            yield TableUpkeep(store, name, _never).statistics()
        except StoreCorrupt as error:
            log.warning("table %s cannot be measured: %s", name, error)


def _spool_leftovers(store: EvidenceStore, spool: Path, now: float) -> Iterator[Leftover]:
    before = now - store.config.maintenance.orphans_seconds
    for path, extent in unfinished_in(spool):
        if extent.modified < before:
            yield Leftover(str(path), extent.size)


def _count(done: Maintained, leftovers: Iterable[Leftover]) -> None:
    for leftover in leftovers:
        done.orphans_removed += 1
        done.bytes_freed += leftover.bytes


def _never() -> None:
    raise AssertionError("measuring and planning change nothing")
