"""From a block's columns to sealed ResultEnvelopes: the only place that builds them.

Knows contracts and columns. Knows no model, ledger, store or Ray.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ecm.contracts.result import (
    EnvelopeError,
    EnvelopeStatus,
    ErrorClass,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    Telemetry,
    TextStatement,
    VectorStatement,
    Written,
)
from ecm.contracts.task import TaskType
from ecm.stages.columns import ENVELOPE_SCHEMA, RowFailure, text_statement

_TIMES = ("read_ms", "decode_ms", "model_ms", "text_ms")
OWN_MS = "own_ms"
"""Of the model behind the task itself; `model_ms` is that of the last model that saw the image."""

_VECTOR_COLUMNS = {
    TaskType.VV_EMBED: (Space.VV, "vv"),
    TaskType.X_EMBED: (Space.X, "x"),
    TaskType.MV_EMBED: (Space.MV, "mv"),
}
_WORD_COLUMNS = {TaskType.VISION: "tags", TaskType.OCR: "ocr"}
"""Lists that are there, if empty, once a task in words was done."""
_LOOKED = ("vv", "caption", "tags", "ocr")
"""Columns of which one has a value when a network looked at the image."""


@dataclass(frozen=True)
class EnvelopeStage:
    """ENVELOPE_SCHEMA out: one row per task of each resource of the block."""

    run_id: str
    worker_id: str

    def __call__(self, table: pa.Table) -> pa.Table:
        sealed = [entry for row in table.to_pylist() for entry in self._resource(row)]
        return pa.Table.from_pylist(sealed, schema=ENVELOPE_SCHEMA)

    def _resource(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        modelled = any(row.get(column) is not None for column in _LOOKED)
        thumbnail = row.get("thumbnail")
        facts = bare = _facts(row)
        if bare is not None:
            facts = bare.model_copy(update={"written": _written(row)})
        for place, task in enumerate(row["tasks"]):
            linked = task["task_id"] in row["linked"]
            envelope = self._envelope(
                row, task, None if linked else thumbnail, bare if linked else facts
            )
            if not linked:
                thumbnail, facts = None, bare
            yield {
                "resource_key": row["resource_key"],
                "task_id": task["task_id"],
                "fence": task["fence"],
                "envelope": envelope.model_dump_json(by_alias=True).encode(),
                "images": int(place == 0),
                "bytes_read": row["bytes_read"] if place == 0 else 0,
                "modelled": int(modelled and place == 0),
            }

    def _envelope(
        self,
        row: dict[str, Any],
        task: dict[str, Any],
        thumbnail: bytes | None,
        facts: ImageFacts | None,
    ) -> ResultEnvelope:
        linked = task["task_id"] in row["linked"]
        error = None if linked else _error_of(row, task["task_type"])
        outputs = Outputs()
        if error is None and not linked:
            outputs = _outputs(row, TaskType(task["task_type"]), thumbnail)
        return ResultEnvelope.seal(
            tenant_id=row["tenant_id"],
            task_id=task["task_id"],
            task_type=task["task_type"],
            transform=task["transform"],
            run_id=self.run_id,
            worker_id=self.worker_id,
            attempt=task["attempt"],
            fence=task["fence"],
            resource_fingerprint=ResourceFingerprint(
                uri=row["uri"],
                content_hash=row["content_hash"],
                size=row["size"],
                mtime_ns=row["mtime_ns"],
                etag=row["etag"],
            ),
            image=facts,
            linked=linked,
            outputs=outputs,
            telemetry=_telemetry(row, TaskType(task["task_type"])),
            status=EnvelopeStatus.FAILED if error else EnvelopeStatus.SUCCESS,
            error=error,
            observed_at=time.time(),
        )


def _error_of(row: dict[str, Any], task_type: str) -> EnvelopeError | None:
    """The failure of the whole resource or of this task type; a missing output is one too."""
    if row["error"] is not None:
        return EnvelopeError.model_validate(row["error"])
    for mark in row.get("model_errors") or ():
        if mark["task_type"] == task_type:
            return EnvelopeError.model_validate(mark["error"])
    kind = TaskType(task_type)
    column = _WORD_COLUMNS[kind] if kind in _WORD_COLUMNS else _VECTOR_COLUMNS[kind][1]
    if row.get(column) is None:
        return RowFailure(
            ErrorClass.INTERNAL,
            "envelope.missing_output",
            "envelope",
            f"no stage produced {column} for this image",
        ).contract()
    return None


def _outputs(row: dict[str, Any], kind: TaskType, thumbnail: bytes | None) -> Outputs:
    if kind is TaskType.VISION:
        caption = row["caption"]
        return Outputs.model_validate(
            {
                "caption": None if caption is None else text_statement(caption),
                "tags": tuple(LabelStatement(**tag) for tag in row["tags"]),
                "classification": tuple(LabelStatement(**c) for c in row["classification"]),
                "ocr": _read(row.get("visible_text")),
                "thumbnail": _base64(thumbnail),
            }
        )
    if kind is TaskType.OCR:
        return Outputs(ocr=_read(row["ocr"]), thumbnail=_base64(thumbnail))
    space, column = _VECTOR_COLUMNS[kind]
    values = np.asarray(row[column]["values"], dtype=np.float32)
    vector = VectorStatement.of(space, values, row[column]["norm"])
    return Outputs(vectors=(vector,), thumbnail=_base64(thumbnail))


def _read(lines: Sequence[Mapping[str, Any]] | None) -> tuple[TextStatement, ...]:
    """Lines of text that were read in the picture, in their order."""
    return tuple(text_statement(line) for line in lines or ())


def _base64(data: bytes | None) -> bytes | None:
    """Base64Bytes fields are validated from encoded bytes."""
    return None if data is None else base64.b64encode(data)


def _facts(row: dict[str, Any]) -> ImageFacts | None:
    if row["width"] is None:
        return None
    return ImageFacts(
        width=row["width"],
        height=row["height"],
        format=row["format"],
        orientation=row["orientation"],
        frames=row["frames"],
    )


def _written(row: dict[str, Any]) -> tuple[Written, ...]:
    """What stands in the file; a block of an earlier worker says nothing of it."""
    return tuple(Written.model_validate(said) for said in row.get("written") or ())


def _telemetry(row: dict[str, Any], kind: TaskType) -> Telemetry:
    times = {name: row[name] for name in _TIMES if row.get(name) is not None}
    own = row.get(f"{kind.value}_ms")
    times |= {} if own is None else {OWN_MS: own}
    counts = _counts(row["effort"]) if kind is TaskType.VISION and row.get("effort") else {}
    batch = row.get("model_ms_batch") or 0
    return Telemetry(latency_ms=times, batch_size=batch, counts=counts)


def _counts(effort: dict[str, Any]) -> dict[str, float]:
    """What an answer took, in numbers that add up over images."""
    told = {name: float(value) for name, value in effort.items() if name != "finish_reason"}
    reason = re.sub(r"[^a-z_]", "_", effort["finish_reason"].lower())[:32] or "none"
    return {"captioned": 1.0, f"finish_{reason}": 1.0, **told}
