"""Commits to Lance tables on a version that is fixed beforehand, and what is read off them later.

Knows Lance's operations and ecm's marks on them. Knows no batches, keys or rights.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import lance

from ecm.errors import EcmError
from ecm.evidence.faults import lance_errors

BATCH_PROPERTY: Final = "ecm.batch"
FENCE_PROPERTY: Final = "ecm.fence"
FAR_BACK: Final = 128
"""So many versions are looked at one by one; beyond, reading the table is cheaper."""

_SAME_ROWS: Final = (lance.LanceOperation.Rewrite, lance.LanceOperation.CreateIndex)


class Change(Enum):
    """What became of a table's rows: none changed, some were added, or nobody can say."""

    NONE = "none"
    ADDED = "added"
    UNKNOWN = "unknown"


def commit_on(dataset: Any, operation: Any, properties: Mapping[str, str]) -> int:
    """Commit on top of the version that `dataset` shows; the version made.

    Raises what Lance raises: call it inside `lance_errors`.
    """
    transaction = lance.Transaction(
        read_version=dataset.version,
        operation=operation,
        transaction_properties=dict(properties),
    )
    return int(lance.LanceDataset.commit(dataset, transaction).version)


def fence(dataset: Any) -> int:
    """A merge of nothing: Lance refuses appends, deletions and compactions that began before it.

    For as long as its version exists: without it Lance would let a deletion pass that began on a
    version that has been cleaned away. Raises what Lance raises.
    """
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    operation = lance.LanceOperation.Merge(fragments, dataset.lance_schema)
    return commit_on(dataset, operation, {FENCE_PROPERTY: uuid.uuid4().hex})


def change_since(dataset: Any, version: int) -> Change:
    """What happened to the rows after a version, up to the one that `dataset` shows."""
    later = range(version + 1, int(dataset.version) + 1)
    if dataset.version < version or len(later) > FAR_BACK:
        return Change.UNKNOWN
    change = Change.NONE
    for number in later:
        try:
            with lance_errors(f"cannot read transaction {number}"):
                transaction = dataset.read_transaction(number)
        except EcmError:  # cleaned away: the rows have to be asked
            return Change.UNKNOWN
        if transaction is None:
            return Change.UNKNOWN
        if isinstance(transaction.operation, lance.LanceOperation.Append):
            change = Change.ADDED
        elif not _keeps_rows(transaction):
            return Change.UNKNOWN
    return change


def _keeps_rows(transaction: Any) -> bool:
    """Compaction, its reservation of fragment numbers (which Python has no class for), indices,
    fences.
    """
    operation = transaction.operation
    if isinstance(operation, lance.LanceOperation.Merge):
        return FENCE_PROPERTY in (transaction.transaction_properties or {})
    reserved = type(operation) is lance.LanceOperation.BaseOperation
    return reserved or isinstance(operation, _SAME_ROWS)
