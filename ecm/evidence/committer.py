"""Appending batches to the tables so that each row is there once, whatever dies when.

Rows that a table has already are left out, so that another try adds what is missing and nothing
else; the batch id in the transaction of an append is for people who look at a table's history, and
may be cleaned away. There must be one committer per store at a time: the fenced right to be it is
the ledger's. A committer that slept through the loss of its right is kept out by two things
together: `still_mine` is asked after the version that a change builds on is fixed, and whoever
takes over from the living calls `fence`, after which no change builds on earlier versions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from ecm.contracts.result import ResultEnvelope
from ecm.crashpoints import crash_point
from ecm.errors import ContractError, StoreCorrupt, StoreUnavailable
from ecm.evidence.codec import each_table
from ecm.evidence.faults import lance_errors
from ecm.evidence.known import Remembered, TableKeys
from ecm.evidence.schema import is_evidence_table, key_column
from ecm.evidence.spool import BATCH_ID
from ecm.evidence.store import EvidenceStore
from ecm.evidence.transactions import BATCH_PROPERTY, commit_on, fence

_Answer = TypeVar("_Answer")

_AT_ONCE: Final = 8

Tables = Callable[[], Iterator[tuple[str, pa.Table]]]

StillMine = Callable[[], None]
"""Raises LeaseLost when another has taken the right to commit."""


def unquestioned() -> None:
    """The `StillMine` of a store that nobody else can be writing to."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """Rows on their way into one table: written, on top of the version that `dataset` shows."""

    name: str
    dataset: Any
    known: Remembered
    keys: list[str]
    fragments: list[Any]


class EvidenceCommitter:
    """Appends and deletes batches. Not thread-safe: one thread owns it."""

    def __init__(self, store: EvidenceStore, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._sleep = sleep
        self._known = TableKeys()

    def append(
        self,
        batch_id: str,
        envelopes: Sequence[ResultEnvelope],
        still_mine: StillMine = unquestioned,
    ) -> dict[str, int]:
        """Append what a batch says; a version of each table it concerns in which it can be read.

        Idempotent: a table that has every row of the batch is left alone, at the price of a look
        at its keys in memory; rows it has lost come back. Lost races and outages are tried again
        with back-off.

        Raises StoreUnavailable when the attempts are used up, StoreCorrupt, ResourceExhausted,
        ContractError (malformed batch id, vectors of mixed dimension), LeaseLost.
        """
        _check_batch(batch_id)
        return self._append_all(lambda: each_table(envelopes, batch_id), batch_id, still_mine)

    def append_rows(
        self,
        name: str,
        table: pa.Table,
        batch_id: str,
        still_mine: StillMine = unquestioned,
    ) -> int:
        """Append rows of one table under a batch id of their own, once. Raises as `append` does."""
        return self.append_tables({name: table}, batch_id, still_mine)[name]

    def append_tables(
        self,
        tables: Mapping[str, pa.Table],
        batch_id: str,
        still_mine: StillMine = unquestioned,
    ) -> dict[str, int]:
        """`append` of what is encoded already, by table name. Raises as `append` does."""
        _check_batch(batch_id)
        return self._append_all(lambda: iter(tables.items()), batch_id, still_mine)

    def delete_batch(self, batch_id: str, still_mine: StillMine = unquestioned) -> dict[str, int]:
        """Delete what a batch stated, for a batch whose spool is lost; rows deleted per table.

        Assets, their versions and thumbnails stay: they are facts about bytes that later batches
        may have relied on, and their ids keep them from being doubled. Raises as `append`.
        """
        _check_batch(batch_id)
        of_batch = pc.field("batch_id") == batch_id
        deleted = {
            name: self._retrying(
                lambda name=name: delete_rows(self._store, name, of_batch, still_mine)  # type: ignore[misc]
            )
            for name in filter(is_evidence_table, self._store.tables())
        }
        return {name: rows for name, rows in deleted.items() if rows}

    def fence(self) -> None:
        """From now on no table takes a change that builds on its present or an earlier version.

        For whoever takes the right to commit over from a holder that may be alive. Changes no row.
        Raises StoreUnavailable, StoreCorrupt.
        """
        for name in self._store.tables():
            self._retrying(lambda name=name: self._fence_once(name))  # type: ignore[misc]

    def _append_all(self, tables: Tables, batch_id: str, still_mine: StillMine) -> dict[str, int]:
        return self._retrying(lambda: self._append_once(tables, batch_id, still_mine))

    def _retrying(self, change: Callable[[], _Answer]) -> _Answer:
        """Each change looks at the newest version first, so any outcome allows another try."""
        attempts = self._store.config.commit_attempts
        for attempt in range(1, attempts):
            try:
                return change()
            except StoreUnavailable:
                self._sleep(self._store.config.commit_backoff_seconds * 2 ** (attempt - 1))
        return change()

    def _fence_once(self, name: str) -> None:
        dataset = self._store.dataset(name)
        with lance_errors(f"cannot fence {name}"):
            fence(dataset)

    def _append_once(self, tables: Tables, batch_id: str, still_mine: StillMine) -> dict[str, int]:
        """Tables side by side: most of an append is waiting for a disk or a network.

        What some tables have after another's failure the next try leaves out.
        """
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="append") as pool:
            staging = [pool.submit(self._stage, name, table, batch_id) for name, table in tables()]
            staged = [each.result() for each in staging]
            still_mine()
            committing = [pool.submit(self._commit, each, batch_id) for each in staged]
        try:
            versions = [each.result() for each in committing]
        except StoreCorrupt:
            still_mine()  # who slept finds the version it built on cleaned away: nothing is damaged
            raise
        return {each.name: version for each, version in zip(staged, versions, strict=True)}

    def _stage(self, name: str, table: pa.Table, batch_id: str) -> _Staged:
        """Fix the version to build on, and write what it lacks; nobody sees it yet."""
        dataset = self._store.ensure_table(name, table.schema)
        known = self._known.of(name, dataset)
        keys = table[key_column(name)].to_pylist()
        fresh = table.filter(pa.array(~known.keys.contains(keys)))
        fragments: list[Any] = []
        if fresh.num_rows:
            with lance_errors(f"cannot write batch {batch_id} to {name}"):
                fragments = write_fragments(fresh, dataset, schema=dataset.schema)
            crash_point("table.fragments")
        return _Staged(name, dataset, known, keys, fragments)

    def _commit(self, staged: _Staged, batch_id: str) -> int:
        if not staged.fragments:
            return int(staged.dataset.version)
        with lance_errors(f"cannot append batch {batch_id} to {staged.name}"):
            appended = lance.LanceOperation.Append(staged.fragments)
            version = commit_on(staged.dataset, appended, {BATCH_PROPERTY: batch_id})
        crash_point("table.committed")
        if version == staged.known.version + 1:
            staged.known.version = version
            staged.known.keys.add(staged.keys)
        return version


def delete_rows(
    store: EvidenceStore, name: str, where: pc.Expression, still_mine: StillMine
) -> int:
    """Deletes the rows of a table that match; how many. A version that another has made since the
    right was confirmed refuses it. Raises StoreUnavailable, StoreCorrupt, LeaseLost.
    """
    dataset = store.dataset(name)
    still_mine()
    with lance_errors(f"cannot delete rows of {name}"):
        rows = int(dataset.count_rows(filter=where))
        if rows:
            dataset.delete(where, conflict_retries=0)
    return rows


def _check_batch(batch_id: str) -> None:
    if not BATCH_ID.match(batch_id):
        raise ContractError(f"malformed batch id {batch_id!r}")
