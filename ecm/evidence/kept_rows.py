"""The rows of a tenant's assets in memory, as columns: repeated words are codes.

A page of hits read from Lance costs a random access for each of some thirty columns. Knows how rows
are taken apart and put together again; knows no search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.errors import ResourceExhausted
from ecm.evidence.schema import TextKind
from ecm.evidence.snapshot_row import ROW_COLUMNS, SnapshotRow, VectorEvidence
from ecm.evidence.statement import Statement

BYTES_PER_ASSET: Final = 2500
"""About what an asset with 20 statements takes."""

_PLAIN: Final = ("uris", "name", "width", "height", "format", "caption", "caption_composed", "ocr")
_CODED: Final = ("kind", "run_id", "transform", "scheme", "text")
_AS_IS: Final = ("evidence_id", "ordinal", "confidence", "composed")
_ORIGIN: Final = ("evidence_id", "run_id", "transform")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """Words by code: codes int32 (n,), -1: none."""

    codes: npt.NDArray[np.int32]
    vocabulary: list[str]

    @classmethod
    def of(cls, parts: Sequence[pa.DictionaryArray]) -> _Words:
        kind = pa.dictionary(pa.int32(), pa.string())
        joined = in_one_piece(pa.chunked_array(parts, kind).unify_dictionaries())
        codes = joined.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return cls(codes, joined.dictionary.to_pylist())

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes) + sum(57 + len(word) for word in self.vocabulary)

    def at(self, rows: Integers) -> list[str | None]:
        words = self.vocabulary
        return [words[code] if code >= 0 else None for code in self.codes[rows].tolist()]


class KeptRows:
    """All rows of one tenant. Immutable; places are those of its asset ids in order."""

    def __init__(
        self, tenant_id: str, axes: Sequence[Axis], batches: Iterable[pa.RecordBatch]
    ) -> None:
        self._tenant_id = tenant_id
        self._axes = tuple(axes)
        parts = [_Part.of(batch, axes) for batch in batches]
        ids = [asset_id for part in parts for asset_id in part.asset_ids.to_pylist()]
        self._order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
        self._asset_ids = _joined([part.asset_ids for part in parts], pa.string())
        self._plain = pa.Table.from_batches([part.plain for part in parts]) if parts else None
        counts = np.concatenate([np.zeros(0, np.int64), *(part.counts for part in parts)])
        self._begins = np.concatenate([[0], np.cumsum(counts)])
        self._words = {
            name: _Words.of([part.words[name] for part in parts])
            for name in (*_CODED, *(f"{a}.{n}" for a in self._axes for n in _ORIGIN[1:]))
        }
        self._values = {
            name: _joined([part.values[name] for part in parts], kind)
            for name, kind in _kinds(self._axes).items()
        }

    def __len__(self) -> int:
        return len(self._order)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        arrow = [self._asset_ids, *self._values.values()]
        held = sum(int(array.get_total_buffer_size()) for array in arrow)
        plain = int(self._plain.get_total_buffer_size()) if self._plain is not None else 0
        numbers = int(self._order.nbytes) + int(self._begins.nbytes)
        return held + plain + numbers + sum(words.nbytes for words in self._words.values())

    def rows(self, places: Sequence[int]) -> list[SnapshotRow]:
        """The rows at some places, in the order asked for."""
        if not places or self._plain is None:
            return []
        rows = self._order[np.asarray(places, dtype=np.int64)]
        statements = self._statements(rows)
        origins = {axis: self._origins(axis, rows) for axis in self._axes}
        asset_ids = self._asset_ids.take(pa.array(rows)).to_pylist()
        plain = self._plain.take(pa.array(rows)).to_pylist()
        return [
            _row(
                self._tenant_id,
                asset_ids[number],
                plain[number],
                statements[number],
                {axis: own[number] for axis, own in origins.items()},
            )
            for number in range(len(rows))
        ]

    def _statements(self, rows: Integers) -> list[tuple[Statement, ...]]:
        begins, counts = self._begins[rows], self._begins[rows + 1] - self._begins[rows]
        ends = np.cumsum(counts)
        places = np.arange(ends[-1]) + np.repeat(begins - (ends - counts), counts)
        columns: dict[str, list[Any]] = {name: self._words[name].at(places) for name in _CODED}
        for name in _AS_IS:
            columns[name] = self._values[name].take(pa.array(places)).to_pylist()
        said = list(map(Statement, *(columns[name] for name in Statement.__slots__)))
        return [
            tuple(said[end - count : end])
            for end, count in zip(ends.tolist(), counts.tolist(), strict=True)
        ]

    def _origins(self, axis: Axis, rows: Integers) -> list[VectorEvidence | None]:
        ids = self._values[f"{axis}.evidence_id"].take(pa.array(rows)).to_pylist()
        runs, transforms = (self._words[f"{axis}.{name}"].at(rows) for name in _ORIGIN[1:])
        return [
            VectorEvidence(evidence_id, run or "", transform or "") if evidence_id else None
            for evidence_id, run, transform in zip(ids, runs, transforms, strict=True)
        ]


def columns_of(axes: Sequence[Axis]) -> list[str]:
    """The columns of a snapshot that rows are made of."""
    return [*ROW_COLUMNS, *(f"{axis}_evidence" for axis in axes)]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A batch taken apart: columns of assets, and of statements, flat."""

    asset_ids: pa.Array
    plain: pa.RecordBatch
    counts: Integers
    words: dict[str, pa.DictionaryArray]
    values: dict[str, pa.Array]

    @classmethod
    def of(cls, batch: pa.RecordBatch, axes: Sequence[Axis]) -> _Part:
        lists = batch["statements"]
        flat = lists.flatten()
        fields = dict(zip([field.name for field in flat.type], flat.flatten(), strict=True))
        words = {name: _encoded(fields[name]) for name in _CODED}
        values = {name: fields[name] for name in _AS_IS}
        for axis in axes:
            origin = batch[f"{axis}_evidence"]
            names = [field.name for field in origin.type]
            own = dict(zip(names, origin.flatten(), strict=True))
            values[f"{axis}.evidence_id"] = own["evidence_id"]
            words |= {f"{axis}.{name}": _encoded(own[name]) for name in _ORIGIN[1:]}
        counts = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
        return cls(
            asset_ids=batch["asset_id"],
            plain=batch.select(_PLAIN),
            counts=counts.astype(np.int64),
            words=words,
            values=values,
        )


def _row(
    tenant_id: str,
    asset_id: str,
    plain: dict[str, Any],
    statements: tuple[Statement, ...],
    origins: dict[Axis, VectorEvidence | None],
) -> SnapshotRow:
    uris = plain.pop("uris")
    return SnapshotRow(
        tenant_id=tenant_id,
        asset_id=asset_id,
        uris=tuple(uris),
        tags=tuple(said.text for said in statements if said.kind == TextKind.TAG),
        classification=tuple(
            said.text for said in statements if said.kind == TextKind.CLASSIFICATION
        ),
        statements=statements,
        vectors={axis: origin for axis, origin in origins.items() if origin is not None},
        **plain,
    )


def _kinds(axes: Sequence[Axis]) -> dict[str, pa.DataType]:
    """Types of what is kept as it is, by name."""
    of_statements = dict(
        zip(_AS_IS, (pa.string(), pa.int32(), pa.float64(), pa.bool_()), strict=True)
    )
    return {**of_statements, **{f"{axis}.evidence_id": pa.string() for axis in axes}}


def _encoded(column: pa.StringArray) -> pa.DictionaryArray:
    return column.dictionary_encode()


def _joined(parts: Sequence[pa.Array], kind: pa.DataType) -> pa.Array:
    return in_one_piece(pa.chunked_array(parts, kind))


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array. Raises ResourceExhausted when its strings do not fit in one."""
    try:
        joined = column.combine_chunks()
    except pa.ArrowInvalid as error:
        raise ResourceExhausted(f"a column of the snapshot is too large: {error}") from error
    if isinstance(joined, pa.ChunkedArray):
        raise ResourceExhausted("a column of the snapshot has more than 2 GiB of text")
    return joined
