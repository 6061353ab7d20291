"""The columns a block has between stages, and how a row says that it failed.

One row is one resource with all its task types. Knows Arrow types only: no model, file or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ecm.contracts.result import EnvelopeError, ErrorClass, TextStatement

TASK = pa.struct(
    [
        ("task_id", pa.string()),
        ("task_type", pa.string()),
        ("transform", pa.string()),
        ("attempt", pa.int32()),
        ("fence", pa.int64()),
    ]
)
LABEL = pa.struct([("label", pa.string()), ("confidence", pa.float64()), ("scheme", pa.string())])
BOX = pa.struct([(side, pa.float64()) for side in ("left", "top", "right", "bottom")])
TEXT = pa.struct(
    [
        ("text", pa.string()),
        ("confidence", pa.float64()),
        ("composed", pa.bool_()),
        ("scheme", pa.string()),
        ("box", BOX),
    ]
)
VECTOR = pa.struct([("values", pa.list_(pa.float32())), ("norm", pa.float64())])
ERROR = pa.struct(
    [
        ("class", pa.string()),
        ("code", pa.string()),
        ("stage", pa.string()),
        ("message", pa.string()),
    ]
)

WRITTEN = pa.list_(
    pa.struct(
        [
            ("kind", pa.string()),
            ("source", pa.string()),
            ("text", pa.string()),
            ("taken_at", pa.float64()),
        ]
    )
)
"""What people wrote into a file."""

PICTURE = pa.struct([("rgb", pa.large_binary()), ("width", pa.int32()), ("height", pa.int32())])
"""uint8 RGB pixels of a picture in its own proportions."""

EFFORT = pa.struct(
    [
        ("asks", pa.int32()),
        ("finish_reason", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("fallback", pa.bool_()),
        ("blocks", pa.int32()),
    ]
)
"""What the answer of a captioner took; `blocks` shared the engine when it was asked."""

MODEL_ERRORS = pa.list_(pa.struct([("task_type", pa.string()), ("error", ERROR)]))
"""Failures of single task types: the other tasks of the row are unharmed."""

CLAIM_SCHEMA = pa.schema(
    [
        ("resource_key", pa.string()),
        ("tenant_id", pa.string()),
        ("uri", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("etag", pa.string()),
        ("tasks", pa.list_(TASK)),
    ]
)
"""What the source emits: one row per claimed resource."""

PREPARED_FIELDS = [
    pa.field("content_hash", pa.string()),
    pa.field("bytes_read", pa.int64()),
    pa.field("linked", pa.list_(pa.string())),
    pa.field("known_text", pa.string()),
    pa.field("known_read", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("format", pa.string()),
    pa.field("orientation", pa.int32()),
    pa.field("frames", pa.int32()),
    pa.field("written", WRITTEN),
    pa.field("thumbnail", pa.binary()),
    pa.field("x", VECTOR),
    pa.field("error", ERROR),
    pa.field("read_ms", pa.float64()),
    pa.field("decode_ms", pa.float64()),
]

ENVELOPE_SCHEMA = pa.schema(
    [
        ("resource_key", pa.string()),
        ("task_id", pa.string()),
        ("fence", pa.int64()),
        ("envelope", pa.binary()),
        ("images", pa.int64()),
        ("bytes_read", pa.int64()),
        ("modelled", pa.int64()),
    ]
)
"""What the pipeline ends with: one row per task. The first row of each resource has `images` 1, its
`bytes_read`, and `modelled` 1 when a network looked at it; the others have 0, so that sums count
images."""


def text_statement(raw: Mapping[str, Any]) -> TextStatement:
    """The statement that a value of type TEXT holds."""
    return TextStatement(**{name: said for name, said in raw.items() if said is not None})


def pixels_column(manifest_name: str) -> str:
    """Column with the pixels for one manifest: RGB of equal size, or PICTURE by its bounds."""
    return f"pixels_{manifest_name}"


@dataclass(frozen=True)
class RowFailure:
    """Why a row failed, and where; later stages pass it on untouched."""

    error_class: ErrorClass
    code: str
    stage: str
    message: str

    def to_arrow(self) -> dict[str, str]:
        return {
            "class": self.error_class.value,
            "code": self.code,
            "stage": self.stage,
            "message": self.message[:2000],
        }

    def contract(self) -> EnvelopeError:
        return EnvelopeError.model_validate(self.to_arrow())


def with_column(
    table: pa.Table, name: str, values: Sequence[Any] | pa.Array, kind: Any
) -> pa.Table:
    """`table` with the column replaced or added; plain values are converted to `kind`."""
    column = values if isinstance(values, pa.Array) else pa.array(values, kind)
    field = pa.field(name, kind)
    place = table.schema.get_field_index(name)
    if place >= 0:
        return table.set_column(place, field, column)
    return table.append_column(field, column)
