"""What rows of a bundle may say, and that they are all there, in order, once.

What every stored row must satisfy is known to `row_checks`; here is what holds of rows that
somebody else may have made: whose they are, how long their words are, when they can have been said,
and that the manifest names their transforms. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from ecm.contracts.identity import KeyDigest
from ecm.contracts.result import Written
from ecm.contracts.task import TaskType
from ecm.errors import EcmError
from ecm.evidence.bundle import BundleTransform, damaged
from ecm.evidence.bundle_order import order_columns, row_id_column
from ecm.evidence.faults import lance_errors
from ecm.evidence.row_checks import RowFault, check_rows
from ecm.evidence.runs import record_of
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSET_WORDS,
    THUMBNAILS,
    is_evidence_table,
    is_vector_table,
)

Row = dict[str, Any]

MAX_THUMBNAIL_BYTES: Final = 4 << 20
FUTURE_SECONDS: Final = 86_400.0
"""How far after the export a row may claim to have been observed: clocks differ, by less."""

_SAID: Final[Mapping[RowFault, str]] = {
    RowFault.CHECKSUM: "its vector does not have its checksum",
    RowFault.VECTOR: "its vector is not finite or not of unit length",
    RowFault.KEY: "its ids do not follow from what it is about",
    RowFault.TEXT: "its text is too long or of no known kind",
    RowFault.CONFIDENCE: "its confidence is not between 0 and 1",
    RowFault.VALUE: "a value is missing or impossible",
}
_DIGESTS: Final = ("asset_id", "transform", "config_digest")
_WORDS: Final = {
    "run_id": 128,
    "batch_id": 128,
    "job_id": 128,
    "scheme": 64,
    "quantization": 32,
    "name": 256,
    "uri": 8192,
    "etag": 256,
    "format": 16,
}
_EMPTY: Final = frozenset({"scheme"})
_TIMES: Final = ("observed_at", "recorded_at", "started_at", "finished_at")
_TASKS: Final = frozenset(kind.value for kind in TaskType)
_HEX: Final = "^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Claims:
    """What rows of a bundle are measured against: whose they may be, when (Unix seconds) they were
    exported, and the transforms that the manifest names.
    """

    tenants: Collection[str]
    created_at: float
    transforms: Sequence[BundleTransform]


class RowChecks:
    """The checks of one table, portion by portion: its order goes through all of them.

    `refused` makes the error of what is found.
    """

    def __init__(
        self, name: str, claims: Claims, refused: Callable[[list[str]], EcmError] = damaged
    ) -> None:
        self._name = name
        self._refused = refused
        self._tenants = pa.array(sorted(claims.tenants), pa.string())
        self._latest = claims.created_at + FUTURE_SECONDS
        self._said = {(t.fingerprint, kind) for t in claims.transforms for kind in t.task_types}
        self._last: tuple[str, ...] = ()
        self._rows = 0
        self.keys = KeyDigest()

    def check(self, rows: pa.Table) -> None:
        """Raises StoreCorrupt for the first row that cannot be what it claims."""
        batch = rows.combine_chunks().to_batches()[0]
        with lance_errors(f"cannot read the rows of table {self._name}"):
            faults = check_rows(self._name, batch)
        for fault, bad in faults.by_kind.items():
            self._must(_SAID[fault], pa.array(~bad))
        self._check_columns(rows)
        self._check_order(rows)
        self._check_each(rows)
        for key in rows[row_id_column(self._name)].to_pylist():
            self.keys.add(key)
        self._rows += rows.num_rows

    def finish(self, rows: int, keys: KeyDigest) -> None:
        """Raises StoreCorrupt unless the rows seen are so many, with this digest of their ids."""
        if self._rows != rows or self.keys != keys:
            found = f"{self._rows} rows of digest {self.keys}"
            raise self._refused([f"table {self._name} has {found} instead of {rows} of {keys}"])

    def _check_columns(self, rows: pa.Table) -> None:
        """What holds of whole columns: whose, digests, bounded words, possible times."""
        own = pc.is_in(rows["tenant_id"], value_set=self._tenants)
        self._must("tenant_id is not of this bundle", own)
        for name in rows.schema.names:
            column = rows[name]
            if name in _DIGESTS:
                self._must(f"{name} is no digest", pc.match_substring_regex(column, _HEX))
            elif name in _WORDS:
                size = pc.utf8_length(column)
                least = 0 if name in _EMPTY else 1
                fits = pc.and_(pc.greater_equal(size, least), pc.less_equal(size, _WORDS[name]))
                self._must(f"{name} is too long or empty", pc.fill_null(fits, True))
            elif name in _TIMES:
                past = pc.and_(pc.greater_equal(column, 0.0), pc.less_equal(column, self._latest))
                self._must(f"{name} is in the future or no time", pc.fill_null(past, True))
        if is_evidence_table(self._name):
            self._check_transforms(rows)
        if is_vector_table(self._name):
            self._must("its norm is impossible", pc.greater(rows["norm"], 0.0))
        if self._name == THUMBNAILS:
            small = pc.less_equal(pc.binary_length(rows["jpeg"]), MAX_THUMBNAIL_BYTES)
            self._must("its picture is too large", small)

    def _check_transforms(self, rows: pa.Table) -> None:
        """A transform that the manifest does not name was not compared with the profile's."""
        columns = ("transform", "task_type")
        for pair in rows.select(columns).group_by(list(columns)).aggregate([]).to_pylist():
            transform, kind = (pair[column] for column in columns)
            if (transform, kind) not in self._said or kind not in _TASKS:
                others = pc.or_(
                    pc.not_equal(rows["transform"], transform),
                    pc.not_equal(rows["task_type"], kind),
                )
                self._must("its transform or its task type is not in the manifest", others)
        self._must("its ordinal is negative", pc.greater_equal(rows["ordinal"], 0))

    def _check_order(self, rows: pa.Table) -> None:
        columns = [rows[name].to_pylist() for name in order_columns(self._name)]
        last = self._last
        for place, key in enumerate(zip(*columns, strict=True)):
            if key <= last:
                raise self._damaged("it is out of order, or there twice", place)
            last = key
        self._last = last

    def _check_each(self, rows: pa.Table) -> None:
        possible = _POSSIBLE.get(self._name)
        for place, row in enumerate(rows.to_pylist() if possible else ()):
            why = possible(row) if possible else ""
            if why:
                raise self._damaged(why, place)

    def _must(self, why: str, holds: Any) -> None:
        holds = pc.fill_null(holds, False)
        place = pc.index(holds, False).as_py()
        if place >= 0:
            raise self._damaged(why, place)

    def _damaged(self, why: str, place: int) -> EcmError:
        return self._refused([f"table {self._name}, row {self._rows + place}: {why}"])


def _place_possible(row: Row) -> str:
    if row["size"] < 0 or (row["mtime_ns"] is None and row["etag"] is None):
        return "its place has no size, or neither a time nor an etag"
    return ""


def _words_possible(row: Row) -> str:
    try:
        Written(**{name: row[name] for name in Written.model_fields})
    except ValidationError as error:
        return f"it is nothing that is read from a file: {error.errors()[0]['msg'][:100]}"
    return "its ordinal is negative" if row["ordinal"] < 0 else ""


def _run_possible(row: Row) -> str:
    try:
        record_of(row)
    except ValidationError as error:
        return f"it is no record of a run: {error.errors()[0]['msg'][:100]}"
    return ""


_POSSIBLE: Final[Mapping[str, Callable[[Row], str]]] = {
    ASSET_VERSIONS: _place_possible,
    ASSET_SIGHTINGS: _place_possible,
    ASSET_WORDS: _words_possible,
    ANALYSIS_RUNS: _run_possible,
}
