"""Read, admit and decode: from claimed resources to the pixels every later stage needs.

Works through a block in small groups so that file bytes of a group, not of a block, are in memory.
Knows images and the admission protocol; knows no model, ledger or Ray.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from ecm.contracts.identity import ContentIdentity
from ecm.contracts.result import ErrorClass
from ecm.contracts.task import TaskType
from ecm.errors import EcmError, ImageError, NetworkError, ResourceExhausted, SourceError
from ecm.images.cuts import Bounded, Cut, bounded, cut, thumbnail_jpeg
from ecm.images.decode import DecodedImage, decode
from ecm.images.limits import ImageLimits
from ecm.images.reading import ResourceBytes, read_resource
from ecm.images.structure import structure_descriptor
from ecm.images.written import written
from ecm.models.base import normalised
from ecm.stages.columns import CLAIM_SCHEMA, PICTURE, PREPARED_FIELDS, RowFailure, pixels_column
from ecm.stages.journal import CrashJournal

GROUP_IMAGES = 16
THUMBNAIL_SIDE = 256


@dataclass(frozen=True)
class AdmitRequest:
    """Bytes that were read, and the tasks that want them: (task_id, task type, transform)."""

    tenant_id: str
    content_hash: str
    tasks: tuple[tuple[str, TaskType, str], ...]


@dataclass(frozen=True)
class AdmitDecision:
    """Tasks whose evidence exists or is in flight for the same bytes, and the text already stored.

    `known_text` is what a meaning vector must embed when the vision task itself is linked, but for
    words read in the picture; `known_read` are those that were read before, "" if none were or none
    matter. None: not known, so that the model has to look.
    """

    linked: frozenset[str]
    known_text: str | None = None
    known_read: str | None = ""


Admission = Callable[[Sequence[AdmitRequest]], Sequence[AdmitDecision]]


def admit_everything(requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
    """The admission that knows no earlier work."""
    return [AdmitDecision(frozenset(), known_read=None) for _ in requests]


@dataclass(frozen=True)
class PrepareSettings:
    """What later stages need cut, how much memory an image may take, and where crash markers
    lie.

    `cuts` and `bounds` are for models, by manifest name, which serve the task types of `looks`;
    `described` are those served by the structure descriptor.
    """

    limits: ImageLimits
    cuts: Mapping[str, Cut] = field(default_factory=dict)
    bounds: Mapping[str, Bounded] = field(default_factory=dict)
    looks: frozenset[TaskType] = frozenset({TaskType.VISION, TaskType.VV_EMBED, TaskType.OCR})
    described: frozenset[TaskType] = frozenset({TaskType.X_EMBED})
    thumbnail_side: int = THUMBNAIL_SIDE
    read_threads: int = 4
    scratch: Path | None = None

    @property
    def shorter_side(self) -> int:
        """The smallest shorter side that no cut has to enlarge."""
        sides = [c.resize_shorter for c in self.cuts.values()]
        return max([self.thumbnail_side, *sides, *(b.shorter_side for b in self.bounds.values())])


class PrepareStage:
    """CLAIM_SCHEMA in; adds PREPARED_FIELDS and one pixel column per cut. Failed rows carry
    `error`.

    A context manager: leaving it ends its reader threads.
    """

    def __init__(self, settings: PrepareSettings, admission: Admission = admit_everything) -> None:
        self._settings = settings
        self._admission = admission
        self._readers = ThreadPoolExecutor(settings.read_threads, thread_name_prefix="read")

    def __enter__(self) -> PrepareStage:
        return self

    def __exit__(self, *_: object) -> None:
        self._readers.shutdown()

    def __call__(self, table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        prepared: list[dict[str, Any]] = []
        for start in range(0, len(rows), GROUP_IMAGES):
            prepared += self._group(rows[start : start + GROUP_IMAGES])
        return pa.Table.from_pylist(prepared, schema=self.schema())

    def schema(self) -> pa.Schema:
        """Arrow schema of the output; a pixel column is fixed-size binary of crop² * 3 bytes."""
        pixels = [
            pa.field(pixels_column(name), pa.binary(spec.crop * spec.crop * 3))
            for name, spec in self._settings.cuts.items()
        ]
        pictures = [pa.field(pixels_column(name), PICTURE) for name in self._settings.bounds]
        return pa.schema([*CLAIM_SCHEMA, *PREPARED_FIELDS, *pixels, *pictures])

    def _group(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        reads = list(self._readers.map(self._read, rows))
        self._admit([row for row, read in zip(rows, reads, strict=True) if read is not None], rows)
        self._decode_group(rows, reads)
        return rows

    def _read(self, row: dict[str, Any]) -> ResourceBytes | None:
        started = time.perf_counter()
        row["linked"], row["bytes_read"] = [], 0
        identity = ContentIdentity(
            uri=row["uri"], size=row["size"], mtime_ns=row["mtime_ns"], etag=row["etag"]
        )
        try:
            read = read_resource(identity, self._settings.limits)
        except (EcmError, MemoryError) as error:
            row["error"] = failure_of(error, "read").to_arrow()
            return None
        finally:
            row["read_ms"] = _ms_since(started)
        row["content_hash"], row["bytes_read"] = read.content_hash, len(read.data)
        seen = read.identity
        row["size"], row["mtime_ns"], row["etag"] = seen.size, seen.mtime_ns, seen.etag
        return read

    def _admit(self, admitted: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
        if not admitted:
            return
        requests = [
            AdmitRequest(
                row["tenant_id"],
                row["content_hash"],
                tuple(
                    (t["task_id"], TaskType(t["task_type"]), t["transform"]) for t in row["tasks"]
                ),
            )
            for row in admitted
        ]
        for row, decision in zip(admitted, self._admission(requests), strict=True):
            row["linked"] = sorted(decision.linked)
            row["known_text"] = decision.known_text
            row["known_read"] = decision.known_read

    def _decode_group(
        self, rows: list[dict[str, Any]], reads: Sequence[ResourceBytes | None]
    ) -> None:
        wanted = [
            i
            for i, row in enumerate(rows)
            if reads[i] is not None and len(row["linked"]) < len(row["tasks"])
        ]

        def work(start: int, stop: int) -> list[None]:
            for i in wanted[start:stop]:
                read = reads[i]
                assert read is not None
                self._decode(rows[i], read.data)
            return [None] * (stop - start)

        def refuse(index: int) -> None:
            rows[wanted[index]]["error"] = RowFailure(
                ErrorClass.INPUT, "decode.kills_worker", "decode", "decoding killed its worker"
            ).to_arrow()

        if self._settings.scratch is None:
            work(0, len(wanted))
            return
        journal = CrashJournal(self._settings.scratch, "decode")
        journal.run([rows[i]["resource_key"] for i in wanted], work, refuse)

    def _decode(self, row: dict[str, Any], data: bytes) -> None:
        started = time.perf_counter()
        try:
            image = decode(data, self._settings.limits, self._settings.shorter_side)
            self._describe(row, image)
            row["written"] = [said.model_dump(mode="json") for said in written(data)]
        except (EcmError, MemoryError) as error:
            row["error"] = failure_of(error, "decode").to_arrow()
        row["decode_ms"] = _ms_since(started)

    def _describe(self, row: dict[str, Any], image: DecodedImage) -> None:
        row.update(
            width=image.width,
            height=image.height,
            format=image.format,
            orientation=image.orientation,
            frames=image.frames,
            thumbnail=thumbnail_jpeg(image.pixels, self._settings.thumbnail_side),
        )
        running = {
            TaskType(t["task_type"]) for t in row["tasks"] if t["task_id"] not in row["linked"]
        }
        if running & self._settings.described:
            raw = structure_descriptor(image.pixels, image.width, image.height)
            unit = normalised(raw[None, :])
            row["x"] = {"values": unit.vectors[0], "norm": float(unit.norms[0])}
        if running & self._settings.looks or (
            TaskType.MV_EMBED in running
            and (row["known_text"] is None or row["known_read"] is None)
        ):
            for name, spec in self._settings.cuts.items():
                row[pixels_column(name)] = cut(image.pixels, spec).tobytes()
            for name, bounds in self._settings.bounds.items():
                picture = bounded(image.pixels, bounds)
                height, width = picture.shape[:2]
                row[pixels_column(name)] = {
                    "rgb": picture.tobytes(),
                    "width": width,
                    "height": height,
                }


def failure_of(error: EcmError | MemoryError, stage: str) -> RowFailure:
    """The failed row that an error in `stage` becomes; the error's type decides its class."""
    match error:
        case MemoryError() | ResourceExhausted():
            return RowFailure(ErrorClass.RESOURCE, f"{stage}.out_of_memory", stage, str(error))
        case NetworkError():
            return RowFailure(ErrorClass.NETWORK, error.code, stage, error.message)
        case ImageError() | SourceError():
            return RowFailure(ErrorClass.INPUT, error.code, stage, error.message)
        case _:
            return RowFailure(ErrorClass.INTERNAL, error.code, stage, error.message)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000.0
