"""Run image and text models over a block: tags, captions, visual and meaning vectors.

A batch that a model refuses is halved until the culprit is alone; the culprit's row fails, the
others go on. Knows the model protocols, not a single back end; knows no ledger or Ray.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.contracts.result import Box, ErrorClass, LabelStatement, Space, TextStatement
from ecm.contracts.task import TaskType
from ecm.contracts.tidy import MAX_LABEL, MAX_TEXT, tidy_line
from ecm.errors import ContractError
from ecm.images.cuts import kept_shares
from ecm.models.base import ImageModel, ImageOutputs, TextEmbedder, normalised
from ecm.models.manifest import ModelManifest
from ecm.models.meaning import meaning_text, with_read
from ecm.stages.columns import (
    LABEL,
    MODEL_ERRORS,
    PICTURE,
    TEXT,
    VECTOR,
    RowFailure,
    pixels_column,
    text_statement,
    with_column,
)
from ecm.stages.journal import CrashJournal


@dataclass(frozen=True)
class BatchSettings:
    """Images or texts per forward pass, and where crash markers lie (none: no crash protection)."""

    batch_size: int = 32
    scratch: Path | None = None


Failures = dict[int, RowFailure]

SPACE_COLUMNS = {Space.VV: "vv", Space.X: "x"}
"""Columns of the vectors that models make of pixels."""


class ImageModelStage:
    """Adds what one image model says: caption, tags, classification and vv for the rows that need
    it.
    """

    def __init__(
        self, model: ImageModel, kinds: frozenset[TaskType], settings: BatchSettings
    ) -> None:
        self._model = model
        self._kinds = kinds
        self._settings = settings
        self._column = pixels_column(model.manifest.name)

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return table
        started = time.perf_counter()
        rows = rows_needing(table, self._needs(), unless_known=self._speaks())
        pixels = Pictures(table.column(self._column), rows)
        batches = self._settings if pixels.uniform else replace(self._settings, batch_size=1)
        said: dict[str, list[Any]] = {
            name: [None] * table.num_rows
            for name in ("caption", "tags", "classification", "ocr", *SPACE_COLUMNS.values())
        }

        def forward(start: int, stop: int) -> None:
            outputs = self._model.analyse(pixels.stacked(start, stop), self._kinds)
            for space, unit in outputs.vectors.items():
                check_dimension(unit.vectors, self._model.manifest, space)
            for offset, row in enumerate(rows[start:stop]):
                self._record(said, row, outputs, offset)

        failures = run_batches(
            forward, keys_of(table, rows), batches, f"model-{self._model.manifest.name}"
        )
        if not pixels.uniform:
            sides = table.select(["width", "height"]).to_pylist()
            said["ocr"] = [in_whole(*each) for each in zip(said["ocr"], sides, strict=True)]
        table = merge(table.drop_columns([self._column]), said)
        table = mark(table, {rows[i]: failure for i, failure in failures.items()}, self._needs())
        for kind in sorted(self._kinds):
            table = timed(table, f"{kind.value}_ms", started, len(rows))
        return timed(table, "model_ms", started, len(rows))

    def _needs(self) -> frozenset[str]:
        """Task types whose presence makes a row need this model; mv needs the words of others."""
        needs = {kind.value for kind in self._kinds}
        return frozenset(needs | ({TaskType.MV_EMBED.value} if self._speaks() else set()))

    def _speaks(self) -> tuple[str, ...]:
        """Columns of what this model would say for a meaning vector, where it is known already."""
        known = {TaskType.VISION: "known_text", TaskType.OCR: "known_read"}
        return tuple(column for kind, column in known.items() if kind in self._kinds)

    def _record(
        self, said: dict[str, list[Any]], row: int, outputs: ImageOutputs, offset: int
    ) -> None:
        if TaskType.VISION in self._kinds:
            said["caption"][row] = tidy_text(outputs.captions[offset])
            said["tags"][row] = tidy_labels(outputs.tags[offset])
            said["classification"][row] = tidy_labels(outputs.classification[offset])
        if TaskType.OCR in self._kinds:
            said["ocr"][row] = [line.model_dump() for line in outputs.ocr[offset]]
        for space, unit in outputs.vectors.items():
            said[SPACE_COLUMNS[space]][row] = {
                "values": unit.vectors[offset],
                "norm": float(unit.norms[offset]),
            }


def tidy_text(said: TextStatement | None) -> dict[str, Any] | None:
    """The caption, tidy; None when nothing is left: what follows, mv too, sees what is stored."""
    text = tidy_line(said.text, MAX_TEXT) if said is not None else ""
    return {**said.model_dump(), "text": text} if said is not None and text else None


def in_whole(lines: list[dict[str, Any]] | None, sides: dict[str, int]) -> Any:
    """Lines read in a picture of which strips were cut to their middle, by shares of all of it."""
    if not lines:
        return lines
    across, down = kept_shares(sides["width"], sides["height"])
    if across == down == 1.0:
        return lines
    return [
        {**line, "box": line.get("box") and _of_whole(line["box"], across, down)} for line in lines
    ]


def _of_whole(box: dict[str, float], across: float, down: float) -> dict[str, float]:
    left, top = (1.0 - across) / 2, (1.0 - down) / 2
    return Box(
        left=left + across * box["left"],
        top=top + down * box["top"],
        right=min(1.0, left + across * box["right"]),
        bottom=min(1.0, top + down * box["bottom"]),
    ).model_dump()


def tidy_labels(said: Sequence[LabelStatement]) -> list[dict[str, Any]]:
    """The labels, tidy, without those of which nothing is left."""
    tidy = [{**label.model_dump(), "label": tidy_line(label.label, MAX_LABEL)} for label in said]
    return [label for label in tidy if label["label"]]


class TextModelStage:
    """Adds mv: the meaning vector of the text a row has just been given, or was known to have."""

    def __init__(self, model: TextEmbedder, settings: BatchSettings) -> None:
        self._model = model
        self._settings = settings

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows == 0:
            return table
        started = time.perf_counter()
        rows = rows_needing(table, frozenset({TaskType.MV_EMBED.value}), unless_known=())
        texts = [_text_of(table, row) for row in rows]
        vectors: list[Any] = [None] * table.num_rows

        def forward(start: int, stop: int) -> None:
            unit = normalised(self._model.embed_texts(texts[start:stop]))
            check_dimension(unit.vectors, self._model.manifest, Space.MV)
            for offset, row in enumerate(rows[start:stop]):
                vectors[row] = {
                    "values": unit.vectors[offset],
                    "norm": float(unit.norms[offset]),
                }

        failures = run_batches(
            forward, keys_of(table, rows), self._settings, f"model-{self._model.manifest.name}"
        )
        table = merge(table, {"mv": vectors})
        table = mark(
            table, {rows[i]: failure for i, failure in failures.items()}, frozenset({"mv_embed"})
        )
        return timed(table, "text_ms", started, len(rows))


def check_dimension(
    vectors: npt.NDArray[np.float32], manifest: ModelManifest, space: Space
) -> None:
    """Raises ContractError when vectors (n, d) have not the dimension their manifest declares."""
    declared = manifest.space_dim(space)
    if vectors.shape[1] != declared:
        raise ContractError(
            f"model {manifest.name} gave {vectors.shape[1]} dimensions in {space.value}, "
            f"its manifest declares {declared}",
            "vector.dimension",
        )


def run_batches(forward: Any, keys: Sequence[str], settings: BatchSettings, stage: str) -> Failures:
    """Run `forward(start, stop)` over all rows in batches; the failures by place in `keys`.

    An exception halves the batch down to the row that causes it; so does a worker that died.
    """
    failures: Failures = {}

    def guarded(start: int, stop: int) -> None:
        try:
            forward(start, stop)
        except Exception as error:  # noqa: BLE001 - any library's error becomes this row's typed failure
            if stop - start == 1:
                failures[start] = _model_failure(error, stage)
                return
            middle = (start + stop) // 2
            guarded(start, middle)
            guarded(middle, stop)

    def work(start: int, stop: int) -> list[None]:
        guarded(start, stop)
        return [None] * (stop - start)

    def refuse(index: int) -> None:
        failures[index] = RowFailure(
            ErrorClass.INPUT, "model.kills_worker", stage, "the model's worker died on this image"
        )

    for start in range(0, len(keys), settings.batch_size):
        stop = min(start + settings.batch_size, len(keys))
        if settings.scratch is None:
            work(start, stop)
        else:
            base = start
            CrashJournal(settings.scratch, stage).run(
                keys[start:stop],
                lambda a, b, base=base: work(base + a, base + b),  # type: ignore[misc]
                lambda i, base=base: refuse(base + i),  # type: ignore[misc]
            )
    return failures


def _model_failure(error: Exception, stage: str) -> RowFailure:
    exhausted = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
    kind, code = (
        (ErrorClass.RESOURCE, "model.out_of_memory")
        if exhausted
        else (ErrorClass.MODEL, getattr(error, "code", "model.failed"))
    )
    return RowFailure(kind, code, stage[:32], f"{type(error).__name__}: {error}")


def keys_of(table: pa.Table, rows: Sequence[int]) -> list[str]:
    keys = table.column("resource_key").to_pylist()
    return [keys[row] for row in rows]


def rows_needing(
    table: pa.Table, kinds: frozenset[str], *, unless_known: Sequence[str] = ("known_text",)
) -> list[int]:
    """Rows without an error that have an unlinked task of `kinds`.

    Rows that only miss their meaning vector skip a model when all that it would say for that, in
    the columns `unless_known`, is known.
    """
    names = ["tasks", "linked", "error", *unless_known]
    if "model_errors" in table.column_names:
        names.append("model_errors")
    needing = []
    for place, row in enumerate(table.select(names).to_pylist()):
        if row["error"] is not None:
            continue
        open_kinds = {t["task_type"] for t in row["tasks"] if t["task_id"] not in row["linked"]}
        open_kinds -= {mark["task_type"] for mark in row.get("model_errors") or ()}
        if unless_known and all(row[column] is not None for column in unless_known):
            open_kinds.discard(TaskType.MV_EMBED.value)
        if open_kinds & kinds:
            needing.append(place)
    return needing


class Pictures:
    """The pixels of chosen rows: a uniform array, or single pictures in their own proportions."""

    def __init__(self, column: pa.ChunkedArray, rows: Sequence[int]) -> None:
        array = column.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0)
        self._pictures = array if array.type == PICTURE else None
        self._rows = rows
        if self._pictures is None:
            side = math.isqrt(array.type.byte_width // 3)
            self._cut = _pixels(array, rows, side)

    @property
    def uniform(self) -> bool:
        """Whether all are of one size, so that several fit into an array."""
        return self._pictures is None

    def stacked(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 (n, h, w, 3); of pictures that are not uniform one at a time."""
        if self._pictures is None:
            return self._cut[start:stop]
        return np.stack([self.one(place) for place in range(start, stop)])

    def one(self, place: int) -> npt.NDArray[np.uint8]:
        """uint8 (h, w, 3) of one row."""
        if self._pictures is None:
            whole: npt.NDArray[np.uint8] = self._cut[place]
            return whole
        picture = self._pictures[self._rows[place]]
        size = picture["height"].as_py(), picture["width"].as_py(), 3
        return np.frombuffer(picture["rgb"].as_buffer(), dtype=np.uint8).reshape(size)


def _pixels(array: pa.Array, rows: Sequence[int], side: int) -> npt.NDArray[np.uint8]:
    """uint8 (n, side, side, 3) of the chosen rows, copied once out of the column's buffer."""
    width = side * side * 3
    buffer = np.frombuffer(array.buffers()[1], dtype=np.uint8)
    flat = buffer[array.offset * width :][: len(array) * width].reshape(len(array), width)
    return flat[list(rows)].reshape(len(rows), side, side, 3)


def _text_of(table: pa.Table, row: int) -> str:
    known, known_read = (table.column(c)[row].as_py() for c in ("known_text", "known_read"))
    if known is not None:
        return with_read(known, [line for line in (known_read, *_read(table, row, "ocr")) if line])
    caption = table.column("caption")[row].as_py()
    said = meaning_text(
        text_statement(caption) if caption else None,
        tuple(LabelStatement(**tag) for tag in table.column("tags")[row].as_py() or ()),
        tuple(LabelStatement(**c) for c in table.column("classification")[row].as_py() or ()),
        (),
    )
    read = [*_read(table, row, "visible_text"), known_read, *_read(table, row, "ocr")]
    return with_read(said, [line for line in read if line])


def _read(table: pa.Table, row: int, column: str) -> list[str]:
    """What a model has just read in the picture, line by line."""
    if column not in table.column_names:
        return []
    return [line["text"] for line in table.column(column)[row].as_py() or ()]


_KINDS: dict[str, Any] = {
    "caption": TEXT,
    "tags": pa.list_(LABEL),
    "classification": pa.list_(LABEL),
    "ocr": pa.list_(TEXT),
    "visible_text": pa.list_(TEXT),
    "vv": VECTOR,
    "x": VECTOR,
    "mv": VECTOR,
}


def merge(table: pa.Table, said: dict[str, list[Any]]) -> pa.Table:
    """Add the new columns, keeping what an earlier model said."""
    for name, values in said.items():
        if name in table.column_names:
            earlier = table.column(name).to_pylist()
            values = [
                new if new is not None else old for new, old in zip(values, earlier, strict=True)
            ]
        table = with_column(table, name, values, _KINDS[name])
    return table


def mark(table: pa.Table, failures: Failures, kinds: frozenset[str]) -> pa.Table:
    """Note the failures against the task types of `kinds`; other tasks of the row are unharmed."""
    if "model_errors" in table.column_names:
        marks = table.column("model_errors").to_pylist()
    else:
        marks = [[] for _ in range(table.num_rows)]
    for row, failure in failures.items():
        marks[row] = marks[row] + [
            {"task_type": kind, "error": failure.to_arrow()} for kind in sorted(kinds)
        ]
    return with_column(table, "model_errors", marks, MODEL_ERRORS)


def timed(table: pa.Table, name: str, started: float, images: int) -> pa.Table:
    """Milliseconds per image that this stage took, and how many images it took them for."""
    each = (time.perf_counter() - started) * 1000.0 / max(images, 1)
    table = with_column(table, name, [each] * table.num_rows, pa.float64())
    return with_column(table, f"{name}_batch", [images] * table.num_rows, pa.int32())
