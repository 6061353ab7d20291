"""Ask a captioner about every row of a block that needs it; several blocks at once, if need be.

A picture that kills the engine fails alone and is never asked about again; the others that were in
the engine are asked about anew. Knows the captioner protocol, no engine; knows no ledger or Ray.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ecm.contracts.result import ErrorClass
from ecm.contracts.task import TaskType
from ecm.errors import ContractError, EcmError, EngineDied, ResourceExhausted
from ecm.models.caption_ladder import FALLBACK
from ecm.models.captioner import Captioner, Description
from ecm.models.manifest import ModelManifest
from ecm.stages.analyse import (
    Failures,
    Pictures,
    keys_of,
    mark,
    merge,
    rows_needing,
    tidy_labels,
    tidy_text,
    timed,
)
from ecm.stages.columns import EFFORT, RowFailure, pixels_column, with_column
from ecm.stages.gate import Gate, Visit
from ecm.stages.looks import look_of
from ecm.stages.marks import Marks

_DEATHS: Final = 8
"""Deaths of the engine that one request lives through before its row is given back."""

_IN_A_ROW: Final = 3
"""Deaths without an answer between, after which the engine has to prove that it can live."""

_PROOF: Final = np.full((64, 64, 3), 128, dtype=np.uint8)

_SHORTAGES: Final = 8
"""Times that the device has no memory for one request before its row is given back."""

_NEEDS: Final = frozenset({TaskType.VISION.value, TaskType.MV_EMBED.value})


@dataclass(frozen=True)
class CaptionSettings:
    """How many requests are in the engine at once, and how many of them unanswered (0: any).

    `scratch` is where marks lie of what the engine was looking at; it must survive the process.
    """

    requests: int = 64
    window: int = 1
    scratch: Path | None = None

    @classmethod
    def of(cls, manifest: ModelManifest, scratch: Path | None) -> CaptionSettings:
        """As the manifest's `serving` says: `max_num_seqs` and `prefill_window`."""
        told = manifest.serving
        requests = int(told.get("max_num_seqs", cls.requests))
        return cls(requests, int(told.get("prefill_window", cls.window)), scratch)


@dataclass
class _Said:
    """What has been said about the rows of one block so far."""

    descriptions: dict[int, Description] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    blocks: dict[int, int] = field(default_factory=dict)


class CaptionStage:
    """Adds what a captioner says: caption, tags, classification, visible text.

    One event loop for all calls: either `run` is awaited in the caller's, or `__call__` brings its
    own. A context manager: leaving it ends the engine.
    """

    def __init__(self, captioner: Captioner, settings: CaptionSettings) -> None:
        self._captioner = captioner
        self._settings = settings
        self._name = captioner.manifest.name
        self._column = pixels_column(self._name)
        self._gate = Gate(settings.requests, settings.window)
        self._mending = asyncio.Lock()
        self._runner: asyncio.Runner | None = None
        self._asks = self._blocks = self._in_a_row = 0
        self._broken: EcmError | None = None

    def __enter__(self) -> CaptionStage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the engine, and the event loop that `__call__` brought."""
        self._captioner.close()
        if self._runner is not None:
            self._runner.close()

    def __call__(self, table: pa.Table) -> pa.Table:
        """As `run`, for callers without an event loop."""
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner.run(self.run(table))

    async def run(self, table: pa.Table) -> pa.Table:
        """The block with the columns of the vision task; its rows share the engine with others'.

        Raises EcmError when the engine dies of whatever it is asked: no picture is at fault then.
        """
        if table.num_rows == 0:
            return table
        self._blocks += 1
        try:
            return await self._captioned(table)
        finally:
            self._blocks -= 1

    async def _captioned(self, table: pa.Table) -> pa.Table:
        started = time.perf_counter()
        rows = rows_needing(table, _NEEDS)
        pictures = Pictures(table.column(self._column), rows)
        keys = keys_of(table, rows)
        said = _Said()
        await asyncio.gather(
            *(self._row(place, keys[place], pictures, said) for place in range(len(rows)))
        )
        columns: dict[str, list[Any]] = {
            name: [None] * table.num_rows
            for name in ("caption", "tags", "classification", "visible_text")
        }
        efforts: list[Any] = [None] * table.num_rows
        for place, description in said.descriptions.items():
            row = rows[place]
            columns["caption"][row] = tidy_text(description.caption)
            columns["tags"][row] = tidy_labels(description.tags)
            columns["classification"][row] = tidy_labels(description.classification)
            columns["visible_text"][row] = [line.model_dump() for line in description.ocr]
            caption = description.caption
            efforts[row] = {
                **vars(description.effort),
                "fallback": caption is not None and caption.scheme == FALLBACK,
                "blocks": said.blocks[place],
            }
        table = merge(table.drop_columns([self._column]), columns)
        table = with_column(table, "effort", efforts, EFFORT)
        table = mark(table, {rows[i]: failure for i, failure in said.failures.items()}, _NEEDS)
        # An engine's time is shared by the blocks in it; sums over blocks must not exceed it.
        now = time.perf_counter()
        at_once = fmean(said.blocks.values()) if said.blocks else 1.0
        began = now - (now - started) / at_once
        table = timed(table, f"{TaskType.VISION.value}_ms", began, len(rows))
        return timed(table, "model_ms", began, len(rows))

    async def _row(self, place: int, key: str, pictures: Pictures, said: _Said) -> None:
        outcome = await self._asked(key, pictures, place)
        match outcome:
            case Description():
                said.descriptions[place] = outcome
                said.blocks[place] = self._blocks
            case RowFailure():
                said.failures[place] = outcome

    async def _asked(self, key: str, pictures: Pictures, place: int) -> Description | RowFailure:
        marks = Marks(self._settings.scratch, self._stage, key)
        if marks.refused():
            return self._culprit("the model's worker or engine died of this image")
        if marks.suspected():
            self._gate.suspect(key)
        deaths = shortages = 0
        while True:
            try:
                return await self._visit(key, pictures, place, marks)
            except ContractError as error:
                return self._failure(ErrorClass.MODEL, error.code, error.message)
            except ResourceExhausted as error:
                shortages += 1
                if shortages == _SHORTAGES:
                    return self._failure(ErrorClass.RESOURCE, error.code, error.message)
            except _KilledEngine as killed:
                marks.convict()
                return self._culprit(killed.message)
            except EngineDied as error:
                deaths += 1
                if deaths == _DEATHS:
                    return self._failure(ErrorClass.RESOURCE, error.code, error.message)
            except EcmError:
                raise  # the engine or the model is at fault, no picture
            except Exception as error:  # noqa: BLE001 - any library's error becomes this row's
                return self._failure(
                    ErrorClass.MODEL, "model.failed", f"{type(error).__name__}: {error}"
                )

    async def _visit(self, key: str, pictures: Pictures, place: int, marks: Marks) -> Description:
        """One try. Raises what `describe` raises, and _KilledEngine when this picture did it."""
        async with self._gate.visit(key) as visit:
            if self._broken is not None:
                raise self._broken
            marks.enter(alone=visit.alone)

            def looked() -> None:
                self._gate.looked(visit)
                marks.leave()

            try:
                request = f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{self._number()}"
                said = await self._captioner.describe(request, pictures.one(place), looked)
                self._in_a_row = 0
                return said
            except ResourceExhausted:
                self._gate.narrow(visit)
                raise
            except EngineDied as error:
                if await self._killed(visit):
                    raise _KilledEngine(f"this image killed the engine: {error.message}") from error
                raise
            finally:
                marks.leave()

    async def _killed(self, visit: Visit) -> bool:
        """Whether the request of `visit`, and no other, can have killed the engine; there is a new
        one then, one for each death.
        """
        suspects = self._gate.died(visit)
        async with self._mending:
            if self._gate.mended < self._gate.deaths:
                self._in_a_row += 1
                await self._begin_anew()
                self._gate.mend()  # or whoever waits would wait for ever; they are told inside
        if self._broken is not None:
            raise self._broken
        return suspects == {visit.key}

    async def _begin_anew(self) -> None:
        """Another engine in place of the dead one; `_broken` says when there is none."""
        try:
            await self._captioner.restart()
        except EcmError as error:
            self._broken = EcmError(
                f"the engine of {self._name} died and does not start again: {error.message}",
                "model.engine",
                hint=error.hint or "look at the device and at the log of the engine",
            )
            return
        if self._in_a_row >= _IN_A_ROW and self._broken is None:
            await self._prove()

    async def _prove(self) -> None:
        """Ask the engine about a plain grey picture: one that dies of that is broken."""
        look = look_of(self._captioner.manifest)
        try:
            await self._captioner.describe(f"proof-{self._number()}", look(_PROOF), lambda: None)
        except EngineDied as error:
            self._broken = EcmError(
                f"the engine of {self._name} died {self._in_a_row} times in a row, and of a plain "
                f"picture: {error.message}",
                "model.engine",
                hint="look at the device and at the log of the engine",
            )
        except (ContractError, ResourceExhausted):
            return  # it lives; what it says does not matter here

    def _number(self) -> int:
        self._asks += 1
        return self._asks

    @property
    def _stage(self) -> str:
        return f"model-{self._name}"[:32]

    def _culprit(self, message: str) -> RowFailure:
        return self._failure(ErrorClass.INPUT, "model.kills_engine", message)

    def _failure(self, kind: ErrorClass, code: str, message: str) -> RowFailure:
        return RowFailure(kind, code[:64], self._stage, message)


class _KilledEngine(EngineDied):
    default_code = "model.kills_engine"
