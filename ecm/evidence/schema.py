"""Arrow schemas of the evidence tables, their names and their keys.

Knows columns and what makes a row unique. Knows no Lance, no files and no envelopes.

    assets              one row per (tenant, content): what decoding found
    asset_versions      where that content was seen: uri, size, mtime or etag, when
    asset_sightings     what a later look at such a place found: back, gone or altered
    asset_words         what people wrote into the file itself, and when it says it was taken
    thumbnails          one small JPEG per asset
    evidence_text       captions, tags, classes and recognised text, one statement a row
    evidence_regions    where in the picture the words of a statement in evidence_text stand
    evidence_measures   named numbers a task reported about an image
    evidence_vectors_*  one table per space and transform: two models never share an index
    analysis_runs       who ran what, when, and with what outcome
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import pyarrow as pa

from ecm.contracts.result import Space
from ecm.errors import ContractError, StoreCorrupt

SCHEMA_VERSION: Final = 1

ASSETS: Final = "assets"
ASSET_VERSIONS: Final = "asset_versions"
ASSET_SIGHTINGS: Final = "asset_sightings"
ASSET_WORDS: Final = "asset_words"
THUMBNAILS: Final = "thumbnails"
EVIDENCE_TEXT: Final = "evidence_text"
EVIDENCE_REGIONS: Final = "evidence_regions"
EVIDENCE_MEASURES: Final = "evidence_measures"
EVIDENCE_VECTORS: Final = "evidence_vectors"
ANALYSIS_RUNS: Final = "analysis_runs"

SIDES: Final = ("left", "top", "right", "bottom")
"""Edges of a region, as shares of the width and height of the upright picture."""

_VERSION_KEY: Final = b"ecm.schema_version"
_VECTOR_NAME: Final = re.compile(r"^evidence_vectors_(vv|x|mv)_([0-9a-f]{12})$")


class TextKind(StrEnum):
    """What a row of `evidence_text` states.

    `nothing` marks a task without text of its own that succeeded and had nothing to say.
    """

    CAPTION = "caption"
    TAG = "tag"
    CLASSIFICATION = "classification"
    OCR = "ocr"
    NOTHING = "nothing"


class Sighting(StrEnum):
    """What a later look at a place found that `asset_versions` alone does not tell.

    `present`: content known from before lies there again. `gone`: a complete listing did not have
    it any more. `altered`: the same size and time, but other bytes.
    """

    PRESENT = "present"
    GONE = "gone"
    ALTERED = "altered"


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_ORIGIN = [
    _required("tenant_id", pa.string()),
    _required("asset_id", pa.string()),
    _required("run_id", pa.string()),
    _required("transform", pa.string()),
    _required("batch_id", pa.string()),
    _required("observed_at", pa.float64()),
]
_STATEMENT = [
    _required("evidence_id", pa.string()),
    _required("evidence_key", pa.string()),
    *_ORIGIN,
    _required("task_type", pa.string()),
    _required("ordinal", pa.int32()),
]


def _schema(fields: list[pa.Field], **metadata: str) -> pa.Schema:
    marks = {_VERSION_KEY: str(SCHEMA_VERSION).encode()}
    return pa.schema(
        fields, metadata=marks | {f"ecm.{k}".encode(): v.encode() for k, v in metadata.items()}
    )


_FIXED: Final[dict[str, pa.Schema]] = {
    ASSETS: _schema(
        [
            _required("asset_key", pa.string()),
            *_ORIGIN,
            _required("size", pa.int64()),
            _required("width", pa.int32()),
            _required("height", pa.int32()),
            _required("format", pa.string()),
            _required("orientation", pa.int8()),
            _required("frames", pa.int32()),
        ]
    ),
    ASSET_VERSIONS: _schema(
        [
            _required("version_id", pa.string()),
            *_ORIGIN,
            _required("uri", pa.string()),
            _required("size", pa.int64()),
            pa.field("mtime_ns", pa.int64()),
            pa.field("etag", pa.string()),
        ]
    ),
    ASSET_SIGHTINGS: _schema(
        [
            _required("sighting_id", pa.string()),
            _required("tenant_id", pa.string()),
            _required("asset_id", pa.string()),
            _required("run_id", pa.string()),
            _required("batch_id", pa.string()),
            _required("observed_at", pa.float64()),
            _required("state", pa.string()),
            _required("uri", pa.string()),
            _required("size", pa.int64()),
            pa.field("mtime_ns", pa.int64()),
            pa.field("etag", pa.string()),
        ]
    ),
    ASSET_WORDS: _schema(
        [
            _required("words_id", pa.string()),
            _required("tenant_id", pa.string()),
            _required("asset_id", pa.string()),
            _required("run_id", pa.string()),
            _required("batch_id", pa.string()),
            _required("observed_at", pa.float64()),
            _required("kind", pa.string()),
            _required("source", pa.string()),
            _required("ordinal", pa.int32()),
            _required("text", pa.string()),
            pa.field("taken_at", pa.float64()),
        ]
    ),
    THUMBNAILS: _schema(
        [_required("asset_key", pa.string()), *_ORIGIN, _required("jpeg", pa.binary())]
    ),
    EVIDENCE_TEXT: _schema(
        [
            *_STATEMENT,
            _required("kind", pa.string()),
            _required("text", pa.string()),
            pa.field("confidence", pa.float64()),
            _required("scheme", pa.string()),
            _required("composed", pa.bool_()),
        ]
    ),
    EVIDENCE_REGIONS: _schema(
        [
            *_STATEMENT,
            _required("kind", pa.string()),
            *(_required(side, pa.float64()) for side in SIDES),
        ]
    ),
    EVIDENCE_MEASURES: _schema(
        [*_STATEMENT, _required("name", pa.string()), _required("value", pa.float64())]
    ),
    ANALYSIS_RUNS: _schema(
        [
            _required("run_key", pa.string()),
            _required("run_id", pa.string()),
            _required("tenant_id", pa.string()),
            _required("job_id", pa.string()),
            _required("state", pa.string()),
            _required("recorded_at", pa.float64()),
            _required("started_at", pa.float64()),
            pa.field("finished_at", pa.float64()),
            _required("config_digest", pa.string()),
            _required("code_version", pa.string()),
            pa.field("transforms", pa.list_(pa.string()), nullable=False),
            pa.field("counts", pa.list_(pa.struct([("name", pa.string()), ("value", pa.int64())]))),
            pa.field(
                "telemetry", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64())]))
            ),
        ]
    ),
}

_WORDS_AND_NUMBERS: Final = (EVIDENCE_TEXT, EVIDENCE_REGIONS, EVIDENCE_MEASURES)

_KEYS: Final = {
    ASSETS: "asset_key",
    ASSET_VERSIONS: "version_id",
    ASSET_SIGHTINGS: "sighting_id",
    ASSET_WORDS: "words_id",
    THUMBNAILS: "asset_key",
    ANALYSIS_RUNS: "run_key",
}


def vector_table(space: Space, transform: str) -> str:
    """Name of the table that holds the vectors of one space and one transform fingerprint."""
    return f"{EVIDENCE_VECTORS}_{space.value}_{transform[:12]}"


def is_vector_table(name: str) -> bool:
    return _VECTOR_NAME.match(name) is not None


def is_evidence_table(name: str) -> bool:
    """Whether rows of the table belong to an evidence key, so that a task can be traced in it."""
    return name in _WORDS_AND_NUMBERS or is_vector_table(name)


def vector_schema(space: Space, transform: str, dim: int) -> pa.Schema:
    """Schema of one vector table: `vector` is fixed_size_list<float32>[dim], L2-normalised.

    `norm` is the length before normalisation, `checksum` the sha256 of the little-endian bytes.
    """
    fields = [
        *_STATEMENT,
        _required("vector", pa.list_(pa.float32(), dim)),
        _required("norm", pa.float64()),
        _required("quantization", pa.string()),
        _required("checksum", pa.string()),
    ]
    return _schema(fields, space=space.value, transform=transform, dim=str(dim))


def fixed_schema(name: str) -> pa.Schema:
    """Schema of a table that is not a vector table. Raises ContractError for an unknown name."""
    try:
        return _FIXED[name]
    except KeyError:
        raise ContractError(f"no evidence table is called {name!r}") from None


def key_column(name: str) -> str:
    """The column of hex digests by which rows already present are recognised."""
    return _KEYS.get(name, "evidence_key")


def check_schema(name: str, stored: pa.Schema, expected: pa.Schema | None = None) -> None:
    """Refuse a stored table of an unknown schema version or with other columns than expected."""
    version = (stored.metadata or {}).get(_VERSION_KEY, b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise StoreCorrupt(
            f"table {name} has schema version {version}, this release reads {SCHEMA_VERSION}",
            code="store.version",
            hint="use the release that wrote it, or export and import",
        )
    if expected is None:
        return
    if not stored.equals(expected, check_metadata=False):
        raise StoreCorrupt(
            f"table {name} has other columns than this release writes",
            code="store.schema",
            hint="restore the store from a copy, or index into a new one",
        )
    for mark in (b"ecm.space", b"ecm.transform", b"ecm.dim"):
        if (stored.metadata or {}).get(mark) != (expected.metadata or {}).get(mark):
            raise StoreCorrupt(
                f"table {name} belongs to another {mark.decode()[4:]}", code="store.schema"
            )
