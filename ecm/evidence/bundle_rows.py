"""What rows of a bundle may say, and their ids under another tenant. Pure: no I/O, no clock.

Every id of a row follows from what the row is about, so an id that does not follow, like a value no
run can have stated, is somebody's tampering or damage; it is refused with the row's place.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from ecm.contracts.identity import ContentIdentity, KeyDigest, digest, evidence_id, evidence_key
from ecm.contracts.result import NORM_TOLERANCE
from ecm.contracts.task import TaskType
from ecm.evidence.bundle import BundleManifest, BundleTable, damaged
from ecm.evidence.bundle_order import order_columns, row_id_column
from ecm.evidence.codec import asset_key, version_key
from ecm.evidence.runs import former_run_key, record_of, run_key
from ecm.evidence.schema import (
    ANALYSIS_RUNS,
    ASSET_SIGHTINGS,
    ASSET_VERSIONS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_TEXT,
    THUMBNAILS,
    Sighting,
    TextKind,
    is_evidence_table,
    is_vector_table,
)
from ecm.evidence.sightings import Seen, sighting_key

Row = dict[str, Any]

MAX_TEXT: Final = 20_000
MAX_THUMBNAIL_BYTES: Final = 4 << 20
MAX_URI: Final = 8192
FUTURE_SECONDS: Final = 86_400.0
"""How far after the export a row may claim to have been observed: clocks differ, by less."""

_DIGEST_COLUMNS: Final = ("asset_id", "transform", "config_digest", "evidence_key", "checksum")
_WORD_COLUMNS: Final = {"run_id": 128, "batch_id": 128, "task_type": 32, "job_id": 128}
_TIMES: Final = ("observed_at", "recorded_at", "started_at", "finished_at")
_HEX: Final = "^[0-9a-f]{64}$"
_SIGHTINGS, _TASKS, _KINDS = (
    frozenset(each.value for each in kinds) for kinds in (Sighting, TaskType, TextKind)
)


class RowChecks:
    """The checks of one table, portion by portion: its order goes through all of them."""

    def __init__(self, table: BundleTable, manifest: BundleManifest) -> None:
        self._name = table.name
        self._table = table
        self._tenants = pa.array(sorted(manifest.tenants), pa.string())
        self._latest = manifest.created_at + FUTURE_SECONDS
        self._said = {(t.fingerprint, kind) for t in manifest.transforms for kind in t.task_types}
        self._last: tuple[str, ...] = ()
        self._rows = 0
        self.keys = KeyDigest()

    def check(self, rows: pa.Table) -> None:
        """Raises StoreCorrupt for the first row that cannot be what it claims."""
        self._check_shape(rows)
        self._check_order(rows)
        if is_vector_table(self._name):
            self._check_vectors(rows)
        if self._name == THUMBNAILS:
            pictures = [_picture_possible(picture) for picture in rows["jpeg"].to_pylist()]
            self._must("its picture is no small JPEG", pa.array(pictures))
        self._check_ids(rows)
        self._rows += rows.num_rows

    def finish(self) -> None:
        """Raises StoreCorrupt unless the rows are those that the manifest counts."""
        if self._rows != self._table.rows or self.keys != self._table.key_digest:
            raise damaged(
                [
                    f"table {self._name} has {self._rows} rows of digest {self.keys} instead of "
                    f"{self._table.rows} of {self._table.key_digest}"
                ]
            )

    def _check_shape(self, rows: pa.Table) -> None:
        """What holds of whole columns: no nulls, digests, bounded words, possible times."""
        for field in rows.schema:
            column = rows[field.name]
            if not field.nullable and column.null_count:
                self._refuse(f"{field.name} is missing", pc.is_null(column))
        self._must(
            "tenant_id is not of this bundle", pc.is_in(rows["tenant_id"], value_set=self._tenants)
        )
        for name in rows.schema.names:
            column = rows[name]
            if name in _DIGEST_COLUMNS:
                self._must(f"{name} is no digest", pc.match_substring_regex(column, _HEX))
            elif name in _WORD_COLUMNS:
                size = pc.utf8_length(column)
                fits = pc.and_(pc.greater(size, 0), pc.less_equal(size, _WORD_COLUMNS[name]))
                self._must(f"{name} is too long or empty", fits)
            elif name in _TIMES:
                past = pc.and_(pc.greater_equal(column, 0.0), pc.less_equal(column, self._latest))
                self._must(f"{name} is in the future or no time", pc.fill_null(past, True))

    def _check_order(self, rows: pa.Table) -> None:
        columns = [rows[name].to_pylist() for name in order_columns(self._name)]
        last = self._last
        for place, key in enumerate(zip(*columns, strict=True)):
            if key <= last:
                raise self._damaged("it is out of order, or there twice", place)
            last = key
        self._last = last

    def _check_vectors(self, rows: pa.Table) -> None:
        vectors = matrix(rows)
        finite = np.isfinite(vectors).all(axis=1)
        self._must("its vector is not finite", pa.array(finite))
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        self._must(
            "its vector is not of unit length", pa.array(np.abs(lengths - 1) <= NORM_TOLERANCE)
        )
        sums = rows["checksum"].to_pylist()
        for place, (vector, stated) in enumerate(zip(vectors, sums, strict=True)):
            if hashlib.sha256(vector.tobytes()).hexdigest() != stated:
                raise self._damaged("its vector does not have its checksum", place)
        own = pc.equal(rows["transform"], self._table.transform)
        self._must("its transform is not the table's", own)

    def _check_ids(self, rows: pa.Table) -> None:
        """The ids follow from the rows, and the rest of each row is possible."""
        column = row_id_column(self._name)
        possible = _POSSIBLE.get(self._name, _vector_possible)
        evidence = is_evidence_table(self._name)
        for place, row in enumerate(light(rows).to_pylist()):
            why = possible(row)
            if why:
                raise self._damaged(why, place)
            if evidence and (row["transform"], row["task_type"]) not in self._said:
                raise self._damaged("its transform is not in the manifest", place)
            if not _follows(self._name, row):
                raise self._damaged("its ids do not follow from what it is about", place)
            self.keys.add(row[column])

    def _must(self, why: str, holds: Any) -> None:
        if not pc.all(holds, skip_nulls=False).as_py():
            self._refuse(why, pc.invert(pc.fill_null(holds, False)))

    def _refuse(self, why: str, wrong: Any) -> None:
        place = pc.index(wrong, True).as_py()
        raise self._damaged(why, place)

    def _damaged(self, why: str, place: int) -> Exception:
        return damaged([f"table {self._name}, row {self._rows + place}: {why}"])


class Rekeyed:
    """Rows as they are under the tenants and the batch they are imported as."""

    def __init__(self, name: str, tenants: Mapping[str, str]) -> None:
        self._name = name
        self._tenants = tenants

    def rows(self, rows: pa.Table, batch_id: str) -> pa.Table:
        """The same rows with another batch, and with other ids where the tenant is another."""
        moved = any(old != new for old, new in self._tenants.items())
        changed: dict[str, list[Any]] = {}
        if moved:
            for row in light(rows).to_pylist():
                row = self._moved(row)
                for column in ("tenant_id", *derived(self._name, row)):
                    changed.setdefault(column, []).append(row[column])
        if "batch_id" in rows.schema.names:
            changed["batch_id"] = [batch_id] * rows.num_rows
        for name, values in changed.items():
            place = rows.schema.get_field_index(name)
            field = rows.schema.field(place)
            rows = rows.set_column(place, field, pa.array(values, field.type))
        return rows

    def _moved(self, row: Row) -> Row:
        tenant = self._tenants[row["tenant_id"]]
        if tenant == row["tenant_id"]:
            return row
        row = {**row, "tenant_id": tenant}
        return {**row, **derived(self._name, row)}


def derived(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    """The ids that follow from a row of a table."""
    tenant, asset = row["tenant_id"], row.get("asset_id", "")
    if name in (ASSETS, THUMBNAILS):
        return {"asset_key": asset_key(tenant, asset)}
    if name == ASSET_VERSIONS:
        where = (row["uri"], row["size"], row["mtime_ns"], row["etag"])
        return {"version_id": version_key(tenant, asset, *where)}
    if name == ASSET_SIGHTINGS:
        return {"sighting_id": sighting_key(_seen(row))}
    if name == ANALYSIS_RUNS:
        return {"run_key": run_key(tenant, row["run_id"], row["state"])}
    key = evidence_key(tenant, asset, row["task_type"], row["transform"])
    kind = row["kind"] if name == EVIDENCE_TEXT else _kind_of(name)
    return {"evidence_key": key, "evidence_id": evidence_id(key, kind, row["ordinal"])}


def _follows(name: str, row: Mapping[str, Any]) -> bool:
    """Whether a row has the ids that follow from it; those of runs were others once."""
    if name == ANALYSIS_RUNS and row["run_key"] == former_run_key(row["run_id"], row["state"]):
        return True
    return all(row[column] == value for column, value in derived(name, row).items())


def matrix(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The vectors of a table, float32 of shape (rows, dim)."""
    column = rows["vector"].combine_chunks()
    values = column.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values, "<f4").reshape(rows.num_rows, -1)


def light(rows: pa.Table) -> pa.Table:
    """The rows without what is large and no part of an id."""
    return rows.drop_columns([n for n in ("vector", "jpeg") if n in rows.schema.names])


def _kind_of(name: str) -> str:
    return "measure" if name == EVIDENCE_MEASURES else name.split("_")[2]


def _seen(row: Mapping[str, Any]) -> Seen:
    place = ContentIdentity(
        uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
    )
    return Seen(
        row["tenant_id"], row["asset_id"], Sighting(row["state"]), place, row["observed_at"]
    )


def _asset_possible(row: Row) -> str:
    if min(row["width"], row["height"], row["frames"]) < 1 or row["size"] < 0:
        return "no image is of that size"
    if not 1 <= row["orientation"] <= 8 or not 1 <= len(row["format"]) <= 16:
        return "no image has that orientation or format"
    return ""


def _place_possible(row: Row) -> str:
    if not 1 <= len(row["uri"]) <= MAX_URI or row["size"] < 0:
        return "that is no place"
    if row["mtime_ns"] is None and row["etag"] is None:
        return "its place has neither a time nor an etag"
    if len(row["etag"] or "") > 256:
        return "its etag is too long"
    if "state" in row and row["state"] not in _SIGHTINGS:
        return f"{row['state'][:32]!r} is no state of a place"
    return ""


def _task_possible(row: Row) -> str:
    if row["task_type"] not in _TASKS:
        return f"{row['task_type']!r} is no task type"
    return "" if row["ordinal"] >= 0 else "its ordinal is negative"


def _text_possible(row: Row) -> str:
    if row["kind"] not in _KINDS:
        return f"{row['kind'][:32]!r} is no kind of text"
    if len(row["text"]) > MAX_TEXT or len(row["scheme"]) > 64:
        return "its text is too long"
    confidence = row["confidence"]
    if confidence is not None and not 0.0 <= confidence <= 1.0:
        return "its confidence is not between 0 and 1"
    return _task_possible(row)


def _measure_possible(row: Row) -> str:
    if not math.isfinite(row["value"]) or not 1 <= len(row["name"]) <= 256:
        return "its value or its name is impossible"
    return _task_possible(row)


def _vector_possible(row: Row) -> str:
    if not (math.isfinite(row["norm"]) and row["norm"] > 0) or len(row["quantization"]) > 32:
        return "its norm or quantization is impossible"
    return _task_possible(row)


def _run_possible(row: Row) -> str:
    try:
        record_of(row)
    except ValidationError as error:
        return f"it is no record of a run: {error.errors()[0]['msg'][:100]}"
    return ""


def _anything(_: Row) -> str:
    return ""


def _picture_possible(picture: bytes) -> bool:
    return picture.startswith(b"\xff\xd8\xff") and len(picture) <= MAX_THUMBNAIL_BYTES


_POSSIBLE: Final[Mapping[str, Callable[[Row], str]]] = {
    ASSETS: _asset_possible,
    ASSET_VERSIONS: _place_possible,
    ASSET_SIGHTINGS: _place_possible,
    THUMBNAILS: _anything,
    EVIDENCE_TEXT: _text_possible,
    EVIDENCE_MEASURES: _measure_possible,
    ANALYSIS_RUNS: _run_possible,
}
