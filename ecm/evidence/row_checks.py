"""What every row of an evidence table must satisfy by itself, whoever wrote it and whenever.

Ids are digests of their fields, vectors are unit vectors with a checksum, confidences lie between 0
and 1: a row of which something was altered seldom satisfies all of it. Pure: no I/O and no Lance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.identity import ContentIdentity, evidence_id, evidence_key
from ecm.contracts.result import MAX_WRITTEN, NORM_TOLERANCE, WrittenKind, WrittenSource
from ecm.contracts.tidy import MAX_TEXT
from ecm.errors import ContractError
from ecm.evidence.codec import asset_key, version_key, words_key
from ecm.evidence.runs import former_run_key, run_key
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    THUMBNAILS,
    Sighting,
    TextKind,
    is_evidence_table,
    is_vector_table,
    key_column,
)
from ecm.evidence.sightings import Seen, sighting_key

"""Characters of one statement, as in the contract."""

Mask = npt.NDArray[np.bool_]


class RowFault(StrEnum):
    """What can be wrong with a row."""

    CHECKSUM = "checksum"
    VECTOR = "vector"
    KEY = "key"
    TEXT = "text"
    CONFIDENCE = "confidence"
    VALUE = "value"


@dataclass(slots=True)
class RowFaults:
    """The rows of one batch with something wrong, by what it is; and the keys they may be of.

    `keys` are values of the key column that are not to be trusted: those that stand in bad rows,
    and those that follow from the other fields of such a row.
    """

    by_kind: dict[RowFault, Mask] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def any(self, rows: int) -> Mask:
        """Whether anything is wrong, by row."""
        bad = np.zeros(rows, dtype=np.bool_)
        for mask in self.by_kind.values():
            bad |= mask
        return bad


def check_rows(table: str, batch: pa.RecordBatch) -> RowFaults:
    """Look at every row of a batch with all columns of an evidence table, and its metadata.

    Raises pa.ArrowException or ValueError for columns that are no valid Arrow data.
    """
    batch.validate(full=True)
    found = RowFaults()
    _add(found, RowFault.VALUE, _missing(batch))
    for kind, check in _checks(table):
        _add(found, kind, check(batch))
    expected = expected_keys(table, batch)
    stored = batch[key_column(table)].to_pylist()
    wrong = np.array([a != b for a, b in zip(stored, expected, strict=True)], dtype=np.bool_)
    if table == ANALYSIS_RUNS:
        wrong &= np.array([a != b for a, b in zip(stored, _former(batch), strict=True)], np.bool_)
    _add(found, RowFault.KEY, wrong)
    for place in np.flatnonzero(found.any(batch.num_rows)):
        found.keys.update(k for k in (stored[place], expected[place]) if k is not None)
    return found


def _add(found: RowFaults, kind: RowFault, bad: Mask) -> None:
    if bad.any():
        known = found.by_kind.get(kind)
        found.by_kind[kind] = bad if known is None else known | bad


def _missing(batch: pa.RecordBatch) -> Mask:
    """Rows without a value that every row has, and numbers that are none."""
    bad = np.zeros(batch.num_rows, dtype=np.bool_)
    for column, stored in zip(batch.columns, batch.schema, strict=True):
        if not stored.nullable and column.null_count:
            bad |= _mask(pc.is_null(column))
        if pa.types.is_float64(stored.type):
            bad |= _mask(pc.invert(pc.fill_null(pc.is_finite(column), True)))
    return bad


def _checks(table: str) -> Iterator[tuple[RowFault, Callable[[pa.RecordBatch], Mask]]]:
    if is_evidence_table(table):
        yield RowFault.KEY, _wrong_ids
    if is_vector_table(table):
        yield RowFault.VECTOR, _no_unit_vector
        yield RowFault.CHECKSUM, _other_checksum
        yield RowFault.VALUE, _other_transform
    if table == EVIDENCE_TEXT:
        yield RowFault.TEXT, _no_text
        yield RowFault.CONFIDENCE, _no_confidence
    if table == EVIDENCE_REGIONS:
        yield RowFault.VALUE, _no_region
    if table == ASSET_WORDS:
        yield RowFault.TEXT, _no_words
    if table == THUMBNAILS:
        yield RowFault.VALUE, _no_jpeg
    if table == ASSETS:
        yield RowFault.VALUE, _no_image


def _no_unit_vector(batch: pa.RecordBatch) -> Mask:
    values = _vectors(batch)
    with np.errstate(all="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", values, values, dtype=np.float64))
        unit: Mask = np.abs(norms - 1.0) <= NORM_TOLERANCE  # false where it is no number
    return ~unit


def _other_checksum(batch: pa.RecordBatch) -> Mask:
    values = np.ascontiguousarray(_vectors(batch), dtype="<f4")
    sums = batch["checksum"].to_pylist()
    return np.array(
        [
            hashlib.sha256(row.data).hexdigest() != told
            for row, told in zip(values, sums, strict=True)
        ],
        dtype=np.bool_,
    )


def _other_transform(batch: pa.RecordBatch) -> Mask:
    """Two models never share a table."""
    mark = (batch.schema.metadata or {}).get(b"ecm.transform", b"").decode(errors="replace")
    return _mask(pc.not_equal(batch["transform"], mark))


def _vectors(batch: pa.RecordBatch) -> npt.NDArray[np.float32]:
    """float32 of shape (rows, dimension), whatever it is where a vector is missing."""
    column = batch["vector"]
    dim = column.type.list_size
    flat = column.values.slice(column.offset * dim, len(column) * dim)
    values: npt.NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).reshape(len(column), dim)
    return values


def _no_text(batch: pa.RecordBatch) -> Mask:
    kinds = pc.is_in(batch["kind"], pa.array([kind.value for kind in TextKind]))
    short = pc.less_equal(pc.utf8_length(batch["text"]), MAX_TEXT)
    return _mask(pc.invert(pc.and_(kinds, short)))


def _no_words(batch: pa.RecordBatch) -> Mask:
    """Words of a known kind and source, that are some; a time where that is what they say."""
    kinds = pc.is_in(batch["kind"], pa.array([kind.value for kind in WrittenKind]))
    sources = pc.is_in(batch["source"], pa.array([source.value for source in WrittenSource]))
    length = pc.utf8_length(batch["text"])
    some = pc.and_(pc.greater(length, 0), pc.less_equal(length, MAX_WRITTEN))
    timed = pc.equal(
        pc.is_valid(batch["taken_at"]), pc.equal(batch["kind"], WrittenKind.TAKEN.value)
    )
    return _mask(pc.invert(pc.and_(pc.and_(kinds, sources), pc.and_(some, timed))))


def _no_confidence(batch: pa.RecordBatch) -> Mask:
    said = batch["confidence"]
    inside = pc.and_(pc.greater_equal(said, 0.0), pc.less_equal(said, 1.0))
    return _mask(pc.invert(pc.fill_null(inside, True)))


def _no_region(batch: pa.RecordBatch) -> Mask:
    """Shares of the picture's sides, the first before the last; only words read have a region."""
    inside = pc.equal(batch["kind"], TextKind.OCR.value)
    for first, last in (("left", "right"), ("top", "bottom")):
        ordered = pc.less_equal(batch[first], batch[last])
        within = pc.and_(pc.greater_equal(batch[first], 0.0), pc.less_equal(batch[last], 1.0))
        inside = pc.and_(inside, pc.and_(ordered, within))
    return _mask(pc.invert(inside))


def _no_jpeg(batch: pa.RecordBatch) -> Mask:
    pictures = batch["jpeg"].to_pylist()
    return np.array(
        [
            p is None or not (p.startswith(b"\xff\xd8") and p.endswith(b"\xff\xd9"))
            for p in pictures
        ],
        dtype=np.bool_,
    )


def _no_image(batch: pa.RecordBatch) -> Mask:
    bad = np.zeros(batch.num_rows, dtype=np.bool_)
    for name in ("width", "height", "frames"):
        bad |= _mask(pc.less(batch[name], 1))
    upright = pc.and_(pc.greater_equal(batch["orientation"], 1), pc.less(batch["orientation"], 9))
    return bad | _mask(pc.invert(upright)) | _mask(pc.less(batch["size"], 0))


def _wrong_ids(batch: pa.RecordBatch) -> Mask:
    """The id is that of the evidence key, the kind and the place."""
    ids = zip(
        expected_ids(batch, batch["evidence_key"].to_pylist()),
        batch["evidence_id"].to_pylist(),
        strict=True,
    )
    return np.array([expected != told for expected, told in ids], dtype=np.bool_)


def expected_ids(batch: pa.RecordBatch, keys: Sequence[str | None]) -> list[str]:
    """The evidence id of each row under an evidence key, from its kind and its place."""
    if "kind" in batch.schema.names:
        kinds: Iterator[Any] = iter(batch["kind"].to_pylist())
    else:
        space = (batch.schema.metadata or {}).get(b"ecm.space", b"measure").decode()
        kinds = repeat(space, batch.num_rows)
    places = batch["ordinal"].to_pylist()
    return [evidence_id(str(k), kind, n) for k, kind, n in zip(keys, kinds, places, strict=True)]


def _former(batch: pa.RecordBatch) -> list[str]:
    """The keys that rows of runs had when runs were named across tenants."""
    rows = zip(batch["run_id"].to_pylist(), batch["state"].to_pylist(), strict=True)
    return [former_run_key(run_id, state) for run_id, state in rows]


def expected_keys(table: str, batch: pa.RecordBatch) -> list[str | None]:
    """The key of each row as it follows from its other fields; None where none can."""
    make, columns = _KEY_OF[table if table in _KEY_OF else EVIDENCE_TEXT]
    made: dict[tuple[Any, ...], str | None] = {}
    keys = []
    for fields in zip(*(batch[name].to_pylist() for name in columns), strict=True):
        if fields not in made:
            made[fields] = _key_or_none(make, fields)
        keys.append(made[fields])
    return keys


def _key_or_none(make: Callable[..., str], fields: tuple[Any, ...]) -> str | None:
    """None where no key can be made of what stands there."""
    try:
        return make(*fields)
    except (ValueError, ContractError):
        return None


def _sighting(*fields: Any) -> str:
    tenant_id, asset_id, state, uri, size, mtime_ns, etag, observed_at = fields
    identity = ContentIdentity(uri=uri, size=size, mtime_ns=mtime_ns, etag=etag)
    return sighting_key(Seen(tenant_id, asset_id, Sighting(state), identity, observed_at))


_PLACE: Final = ("uri", "size", "mtime_ns", "etag")
_KEY_OF: Final[dict[str, tuple[Callable[..., str], tuple[str, ...]]]] = {
    EVIDENCE_TEXT: (evidence_key, ("tenant_id", "asset_id", "task_type", "transform")),
    EVIDENCE_REGIONS: (evidence_key, ("tenant_id", "asset_id", "task_type", "transform")),
    EVIDENCE_MEASURES: (evidence_key, ("tenant_id", "asset_id", "task_type", "transform")),
    ASSETS: (asset_key, ("tenant_id", "asset_id")),
    ASSET_WORDS: (
        words_key,
        ("tenant_id", "asset_id", "kind", "source", "ordinal", "text", "taken_at"),
    ),
    THUMBNAILS: (asset_key, ("tenant_id", "asset_id")),
    ASSET_VERSIONS: (version_key, ("tenant_id", "asset_id", *_PLACE)),
    ASSET_SIGHTINGS: (_sighting, ("tenant_id", "asset_id", "state", *_PLACE, "observed_at")),
    ANALYSIS_RUNS: (run_key, ("tenant_id", "run_id", "state")),
}


def _mask(values: Any) -> Mask:
    """An Arrow array of truth values; where there is none, something is wrong."""
    found: Mask = np.asarray(pc.fill_null(values, True).to_numpy(zero_copy_only=False), np.bool_)
    return found
