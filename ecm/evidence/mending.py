"""Taking what is damaged out of a table, so that it opens, is read and can be appended to again.

Each change is one commit on a version that is fixed before the right is asked for; nothing is
rewritten and no row is invented. Files that cannot be read are put aside below `damaged/`, not
removed. What is to be taken out, an examination has found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import lance
import pyarrow as pa
import pyarrow.compute as pc
from lance.fragment import write_fragments

from ecm.crashpoints import crash_point
from ecm.evidence.committer import StillMine, delete_rows
from ecm.evidence.damage import FragmentExam
from ecm.evidence.examination import TableExam
from ecm.evidence.faults import lance_errors
from ecm.evidence.integrity import batches_of
from ecm.evidence.schema import key_column
from ecm.evidence.seals import drop_seals
from ecm.evidence.store import EvidenceStore
from ecm.evidence.table_heads import DAMAGED, manifests_of, table_folder
from ecm.evidence.transactions import commit_on

REPAIR_PROPERTY: Final = "ecm.repair"
_KEYS_AT_ONCE: Final = 5000


class TableMending:
    """One table; `name` names the repair. Every step may be repeated, and killed in between."""

    def __init__(
        self, store: EvidenceStore, table: TableExam, name: str, still_mine: StillMine
    ) -> None:
        self._store = store
        self._exam = table
        self._repair = name
        self._still_mine = still_mine

    def mend(self) -> Iterator[str]:
        """Do all that the examination asks for; a line for a person about each step.

        Raises LeaseLost when another has taken the right, StoreCorrupt, StoreUnavailable.
        """
        head = self._exam.head
        if head.version is None:
            yield from self._put_table_aside()
            return
        if head.version != head.newest:
            yield from self._go_back(head.version, head.newest)
        if self._exam.lost:
            yield self._drop_fragments()
        for torn in self._exam.torn.values():
            yield self._rewrite(torn)
        if self._exam.broken_indices:
            yield self._rebuild_indices()
        # What only a seal can tell is out by now; bad rows tell it themselves, and without them
        # the rest of their file is as good as any.
        drop_seals(self._store, head.table)
        if self._exam.spoilt:
            yield self._delete_rows()

    def _put_table_aside(self) -> Iterator[str]:
        """Nothing of the table can be read: it begins anew with the next batch."""
        table = self._exam.name
        if not self._store.has_table(table):
            yield f"{table}: begins anew"
            return
        aside = f"{DAMAGED}/{self._repair}/{table}.lance"
        self._still_mine()
        self._store.storage.move_new(table_folder(table), aside)
        drop_seals(self._store, table)
        yield f"{table}: no version can be read; all of it lies in {aside}"

    def _go_back(self, version: int, newest: int) -> Iterator[str]:
        """Put manifests aside that cannot be read, and make a version above all of them.

        The last commit says that rows were deleted, so that whoever remembers keys of a version
        that is gone reads them again.
        """
        table = self._exam.name
        for number, name in manifests_of(self._store, table).items():
            if number > version:
                self._still_mine()
                self._put_aside(name)
                yield f"{table}: version {number} cannot be read; its manifest is put aside"
        crash_point("repair.reverted")
        reached = 0
        while reached <= newest:
            dataset = self._store.dataset(table)
            self._still_mine()
            with lance_errors(f"cannot commit to {table}"):
                reached = self._commit(dataset, [])
        yield f"{table}: goes on from version {version} as version {reached}"

    def _put_aside(self, name: str) -> None:
        raw = self._store.storage.read(name)
        if raw is not None:
            self._store.storage.put(f"{DAMAGED}/{self._repair}/{name}", raw)
            self._store.storage.remove(name)

    def _drop_fragments(self) -> str:
        dataset = self._store.dataset(self._exam.name)
        lost = sorted(self._exam.lost)
        self._still_mine()
        with lance_errors(f"cannot drop fragments of {self._exam.name}"):
            self._commit(dataset, lost)
        crash_point("repair.dropped")
        told = ", ".join(map(str, lost[:10])) + (" and more" if len(lost) > 10 else "")
        return f"{self._exam.name}: dropped fragments {told} of {self._exam.lost_rows:,} rows"

    def _rewrite(self, torn: FragmentExam) -> str:
        """Write the rows of a torn fragment anew that can be read and are of no spoilt key."""
        table, number = self._exam.name, torn.ref.fragment
        dataset = self._store.dataset(table)
        self._still_mine()
        with lance_errors(f"cannot rewrite fragment {number} of {table}"):
            rows = pa.RecordBatchReader.from_batches(dataset.schema, self._legible(torn))
            options = dataset.latest_storage_options()
            written = write_fragments(
                rows, dataset.uri, schema=dataset.schema, storage_options=options
            )
            update = lance.LanceOperation.Update(
                removed_fragment_ids=[number], new_fragments=written
            )
            commit_on(dataset, update, {REPAIR_PROPERTY: self._repair})
        return f"{table}: wrote fragment {number} anew without {torn.illegible_rows:,} rows"

    def _legible(self, torn: FragmentExam) -> Iterator[pa.RecordBatch]:
        spoilt = pa.array(sorted(self._exam.spoilt), pa.string())
        for stretch in torn.legible or ():
            for batch in batches_of(self._store, torn.ref, None, stretch):
                bad = pc.is_in(batch[key_column(self._exam.name)], spoilt)
                yield batch.filter(pc.invert(bad))

    def _commit(self, dataset: Any, fragments: Collection[int]) -> int:
        deleted = lance.LanceOperation.Delete([], fragments, f"damaged: {self._repair}")
        return commit_on(dataset, deleted, {REPAIR_PROPERTY: self._repair})

    def _delete_rows(self) -> str:
        """Every row of a key that has a bad row goes: the key is derived again as a whole."""
        table, rows = self._exam.name, 0
        column = key_column(table)
        spoilt = sorted(self._exam.spoilt)
        for start in range(0, len(spoilt), _KEYS_AT_ONCE):
            where = pc.field(column).isin(spoilt[start : start + _KEYS_AT_ONCE])
            rows += delete_rows(self._store, table, where, self._still_mine)
            crash_point("repair.deleted")
        return f"{table}: deleted {rows:,} rows of {len(self._exam.spoilt):,} keys"

    def _rebuild_indices(self) -> str:
        table = self._exam.name
        names = sorted(self._exam.broken_indices)
        for name in names:
            dataset = self._store.dataset(table)
            self._still_mine()
            with lance_errors(f"cannot drop index {name} of {table}"):
                dataset.drop_index(name)
        self._store.index_lookups()
        crash_point("repair.indexed")
        return f"{table}: made the index {', '.join(names)} anew"
