"""How many bytes of the store one more image or statement takes, measured on what is there.

Reads table metadata and, for texts, two columns; no vectors. Knows tables; plans are unknown here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from ecm.contracts.result import Space
from ecm.evidence.faults import lance_errors
from ecm.evidence.schema import (
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    THUMBNAILS,
    is_vector_table,
    vector_table,
)
from ecm.evidence.store import EvidenceStore

FLOAT32: Final = 4
_WORDS: Final = (EVIDENCE_TEXT, EVIDENCE_REGIONS)
_PER_IMAGE: Final = (ASSETS, ASSET_VERSIONS, THUMBNAILS)
_SCAN_ROWS: Final = 65_536
_TEXT_COLUMNS: Final = ["task_type", "evidence_key"]


@dataclass(frozen=True, slots=True)
class _Size:
    rows: int
    size: int
    dim: int = 0

    @property
    def per_row(self) -> float:
        return self.size / self.rows


class Footprint:
    """Bytes per row of the tables of a store, as their files are now; read once."""

    def __init__(self, store: EvidenceStore) -> None:
        self._sizes = {
            name: size for name in store.tables() if (size := _size_of(store, name)).rows
        }
        counted = {name: _rows_by_type(store, name) for name in _WORDS if name in self._sizes}
        self._tasks = counted[EVIDENCE_TEXT][1] if EVIDENCE_TEXT in counted else Counter[str]()
        self._rows = {name: rows for name, (rows, _) in counted.items()}

    def per_vector(self, space: Space, transform: str, dim: int) -> float | None:
        """Bytes of one more vector: as in the table of the transform, else float32 values plus what
        rows of other vector tables take besides theirs (median); None when there is no table.
        """
        own = self._sizes.get(vector_table(space, transform))
        if own is not None and own.dim == dim:
            return own.per_row
        besides = [
            size.per_row - FLOAT32 * size.dim
            for name, size in self._sizes.items()
            if is_vector_table(name)
        ]
        return FLOAT32 * dim + max(0.0, median(besides)) if besides else None

    def per_text(self, task_type: str) -> float | None:
        """Bytes of the texts that one image's task of a type leaves, and of where they stand; None
        when there are none.
        """
        tasks = self._tasks[task_type]
        if not tasks:
            return None
        return sum(
            rows[task_type] / tasks * self._sizes[name].per_row for name, rows in self._rows.items()
        )

    def per_image(self) -> float | None:
        """Bytes kept of an image besides statements: facts, places, words in files, thumbnail."""
        found = [self._sizes[name].per_row for name in _PER_IMAGE if name in self._sizes]
        if ASSET_WORDS in self._sizes and ASSETS in self._sizes:
            found.append(self._sizes[ASSET_WORDS].size / self._sizes[ASSETS].rows)
        return sum(found) if found else None


def _size_of(store: EvidenceStore, name: str) -> _Size:
    dataset = store.dataset(name)
    with lance_errors(f"cannot read the sizes of table {name}"):
        files = [file for part in dataset.get_fragments() for file in part.metadata.files]
        size = sum(int(file.file_size_bytes or 0) for file in files)
        return _Size(int(dataset.count_rows()), size, _dim_of(dataset.schema))


def _dim_of(schema: Any) -> int:
    return schema.field("vector").type.list_size if "vector" in schema.names else 0


def _rows_by_type(store: EvidenceStore, name: str) -> tuple[Counter[str], Counter[str]]:
    """Rows of a table of words and their evidence keys, by task type."""
    dataset = store.dataset(name)
    rows: Counter[str] = Counter()
    keys: Counter[str] = Counter()
    with lance_errors(f"cannot read table {name}"):
        # Statements of one key lie together; one that two batches share counts twice.
        for batch in dataset.to_batches(columns=_TEXT_COLUMNS, batch_size=_SCAN_ROWS):
            types, names = (batch[column].to_pylist() for column in _TEXT_COLUMNS)
            rows.update(types)
            keys.update(kind for kind, _ in set(zip(types, names, strict=True)))
    return rows, keys
