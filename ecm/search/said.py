"""What was said of a tenant's assets, flat: one entry per statement, strings as codes.

Knows the column `statements` of a snapshot and those that name the evidence behind vectors. Knows
no fact and no filter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecm.evidence.kept_rows import in_one_piece
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import VECTOR_AXES
from ecm.evidence.schema import TextKind
from ecm.search.label_sets import Floats, Integers, LabelSets

LOW_CONFIDENCE: Final = 0.3

_LABELS: Final = (TextKind.TAG.value, TextKind.CLASSIFICATION.value)


class TenantTables(Protocol):
    """What of a snapshot facts are read from; see `SnapshotReader`."""

    def tenant_table(self, tenant_id: str, columns: Sequence[str]) -> pa.Table: ...

    def tenant_batches(
        self, tenant_id: str, columns: Sequence[str]
    ) -> Iterator[pa.RecordBatch]: ...


class Among:
    """A snapshot as if it had some assets only."""

    def __init__(self, reader: SnapshotReader, asset_ids: Collection[str]) -> None:
        self._reader = reader
        self._asset_ids = asset_ids

    def tenant_table(self, tenant_id: str, columns: Sequence[str]) -> pa.Table:
        return self._reader.tenant_table(tenant_id, columns, self._asset_ids)

    def tenant_batches(self, tenant_id: str, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        return self._reader.tenant_batches(tenant_id, columns, self._asset_ids)


@dataclass(frozen=True, slots=True)
class Said:
    """Statements, flat: rows int32 (s,), kinds, labels, confidences float64 (s,) or NaN; and the
    runs behind statements and vectors with their rows. Strings are encoded by dictionaries.
    """

    rows: Integers
    kinds: pa.DictionaryArray
    texts: pa.DictionaryArray
    confidences: Floats
    run_rows: Integers
    run_ids: pa.DictionaryArray

    @classmethod
    def read(cls, reader: TenantTables, tenant_id: str, ids: pa.StringArray) -> Said:
        """All that was said of the assets, some rows at a time: most of each is not kept."""
        columns = ["asset_id", "statements", *(f"{axis.value}_evidence" for axis in VECTOR_AXES)]
        parts = [cls._of(batch, ids) for batch in reader.tenant_batches(tenant_id, columns)]
        none = np.zeros(0, np.int32)
        return cls(
            rows=np.concatenate([none, *(part.rows for part in parts)]),
            kinds=_joined([part.kinds for part in parts]),
            texts=_joined([part.texts for part in parts]),
            confidences=np.concatenate([np.zeros(0), *(part.confidences for part in parts)]),
            run_rows=np.concatenate([none, *(part.run_rows for part in parts)]),
            run_ids=_joined([part.run_ids for part in parts]),
        )

    @classmethod
    def _of(cls, batch: pa.RecordBatch, ids: pa.StringArray) -> Said:
        """From lists of statements and structs of vector evidence; `rows` are those of assets."""
        own = pc.index_in(batch["asset_id"], value_set=ids).to_numpy()
        lists = batch["statements"]
        values = lists.flatten()
        fields = dict(zip([f.name for f in values.type], values.flatten(), strict=True))
        rows = own[pc.list_parent_indices(lists).to_numpy()]
        spoken = pc.is_in(fields["kind"], value_set=pa.array(_LABELS))
        vectors = [
            pc.struct_field(c, "run_id") for c in batch.columns if pa.types.is_struct(c.type)
        ]
        return cls(
            rows=rows.astype(np.int32),
            kinds=fields["kind"].dictionary_encode(),
            # What is no label is not looked at again: captions would be a dictionary of their own.
            texts=pc.if_else(spoken, fields["text"], None).dictionary_encode(),
            confidences=floats(fields["confidence"]),
            run_rows=np.concatenate([rows, *([own] * len(vectors))]).astype(np.int32),
            run_ids=pa.concat_arrays([fields["run_id"], *vectors]).dictionary_encode(),
        )

    def _of_kinds(self, *kinds: TextKind) -> npt.NDArray[np.bool_]:
        named = [
            code for code, kind in enumerate(self.kinds.dictionary.to_pylist()) if kind in kinds
        ]
        return np.isin(self.kinds.indices.to_numpy(), named)

    def labels(self, kind: TextKind, count: int) -> LabelSets:
        """The casefolded labels of a kind, of `count` rows."""
        chosen = self._of_kinds(kind)
        texts = self.texts.filter(pa.array(chosen))
        return LabelSets.of(self.rows[chosen], texts, self.confidences[chosen], count, str.casefold)

    def runs(self, count: int) -> LabelSets:
        """The runs behind what was said of each row, in words and vectors."""
        unknown = np.full(len(self.run_rows), np.nan)
        return LabelSets.of(self.run_rows, self.run_ids, unknown, count, str)

    def surest(self, count: int) -> Floats:
        """Confidence of the surest tag or class: float64 (count,), NaN where none has one."""
        chosen = self._of_kinds(TextKind.TAG, TextKind.CLASSIFICATION)
        surest = np.full(count, np.nan)
        np.fmax.at(surest, self.rows[chosen], self.confidences[chosen])
        return surest

    def low_share(self, count: int) -> Floats:
        """Share of statements below LOW_CONFIDENCE among those that have a confidence: float64
        (count,), NaN where none has.
        """
        known = ~np.isnan(self.confidences)
        rows, low = self.rows[known], self.confidences[known] < LOW_CONFIDENCE
        every = np.bincount(rows, minlength=count).astype(np.float64)
        share = np.full(count, np.nan)
        below = np.bincount(rows[low], minlength=count)
        np.divide(below, every, out=share, where=every > 0)
        return share


def floats(column: pa.Array) -> Floats:
    """Numbers as float64 (n,), NaN where there is none."""
    filled = column.cast(pa.float64()).fill_null(float("nan"))
    values: Floats = filled.to_numpy(zero_copy_only=False)
    return values


def _joined(parts: Sequence[pa.DictionaryArray]) -> pa.DictionaryArray:
    """Arrays one after the other, with one dictionary."""
    kind = pa.dictionary(pa.int32(), pa.string())
    return in_one_piece(pa.chunked_array(parts, kind).unify_dictionaries())
