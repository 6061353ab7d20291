"""All stages of a plan for one worker: in its own process, or in a child that may die.

An image can kill whoever decodes it or looks at it. The child is then started again, and the
marks it left (`ecm.stages.journal`) lead to the image, which becomes a dead letter; the worker and
its lease live on. Knows stages and processes; knows no ledger.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from ecm.contracts.quarantine import QuarantineNotice
from ecm.errors import EcmError, ResourceExhausted
from ecm.stages.assembly import (
    SEAL,
    Stage,
    StageSettings,
    image_parts,
    open_part,
    open_prepare,
    watch_of,
)
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from ecm.stages.vigil import Tell, WatchedStage
from ecm.stages.watched_captions import WatchedCaptions

DEATHS = 64
"""Deaths over one block after which something else than an image must be at fault."""

END_SECONDS = 5.0
LAST_SECONDS = 60.0
"""The longest wait for the golden probes at the end of a child's life."""

Admit = Callable[[Sequence[AdmitRequest]], Sequence[AdmitDecision]]


class LeaseGone(Exception):
    """The block in hand belongs to somebody else now. Raised by admission, passed on by stages."""


class Analyst:
    """All stages of a plan in this process, with their models open. A context manager.

    `tell` hears of golden probes that failed.
    """

    def __init__(self, settings: StageSettings, worker_id: str, admit: Admit, tell: Tell) -> None:
        self._prepare = open_prepare(settings, admit)
        parts = [*image_parts(settings.plan), SEAL]
        watch = watch_of(settings, worker_id, tell)
        self._open = ExitStack()
        self._open.enter_context(self._prepare)
        self._stages: list[Stage] = []
        for part in parts:
            for stage in open_part(part, settings, worker_id, watch):
                if isinstance(stage, AbstractContextManager):
                    self._open.enter_context(stage)
                self._stages.append(stage)

    def __call__(self, block: pa.Table) -> pa.Table:
        """ENVELOPE_SCHEMA rows for CLAIM_SCHEMA rows. Raises ModelDrifted."""
        block = self._prepare(block)
        for stage in self._stages:
            block = stage(block)
        return block

    def last_word(self) -> None:
        """Probe what has been said since the probes last passed. Raises ModelDrifted."""
        for stage in self._stages:
            if isinstance(stage, WatchedStage | WatchedCaptions):
                stage.last_word()

    def __enter__(self) -> Analyst:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()


class IsolatedAnalyst:
    """An Analyst in a child process, started again when it dies. A context manager.

    `settings.scratch` is where the marks of what the child was at lie; it is removed at the end,
    because the death of the worker itself says nothing about an image.
    """

    def __init__(self, settings: StageSettings, worker_id: str, admit: Admit, tell: Tell) -> None:
        if settings.scratch is None:
            raise ValueError("a child needs a folder for its marks")
        self._settings = replace(settings, scratch=settings.scratch / settings.run_id)
        self._worker_id = worker_id
        self._admit = admit
        self._tell = tell
        self._child: tuple[Any, Connection] | None = None
        self._busy = False

    def __enter__(self) -> IsolatedAnalyst:
        """Open the models. Raises what their opening raises."""
        self._started()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the child. Raises ModelDrifted when its models do not pass their probes then."""
        try:
            if kind is None and self._child is not None and not self._busy:
                self._last_word(self._child[1])
        finally:
            self._end()
            if self._settings.scratch is not None:
                shutil.rmtree(self._settings.scratch, ignore_errors=True)

    def _last_word(self, pipe: Connection) -> None:
        try:
            pipe.send(None)
            while pipe.poll(LAST_SECONDS):
                match pipe.recv():
                    case ("quarantine", notice):
                        self._tell(notice)
                        pipe.send("told")
                    case ("failed", error):
                        raise error
                    case _:
                        return
        except (EOFError, ConnectionError):
            return  # a child that is gone has no models that could be asked

    def __call__(self, block: pa.Table) -> pa.Table:
        """ENVELOPE_SCHEMA rows for CLAIM_SCHEMA rows. Raises LeaseGone, ModelDrifted."""
        for _ in range(DEATHS):
            try:
                return self._asked(block)
            except (EOFError, ConnectionError):
                code = self._end()
                sys.stderr.write(
                    f"ecm: the process of the models died ({code}); it is started again\n"
                )
        raise ResourceExhausted(
            f"the process of the models died {DEATHS} times over one block", "worker.child"
        )

    def _asked(self, block: pa.Table) -> pa.Table:
        pipe = self._started()
        self._busy = True
        pipe.send(block)
        while True:
            match pipe.recv():
                case ("admit", requests):
                    pipe.send(self._admitted(requests))
                case ("quarantine", notice):
                    self._tell(notice)
                    pipe.send("told")
                case ("sealed", sealed):
                    self._busy = False
                    return sealed
                case ("gone",):
                    self._busy = False
                    raise LeaseGone
                case ("failed", error):
                    self._busy = False
                    raise error
                case other:
                    raise ValueError(f"the child said {other!r}")

    def _admitted(self, requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision] | None:
        try:
            return self._admit(requests)
        except LeaseGone:
            return None

    def _started(self) -> Connection:
        if self._child is not None:
            return self._child[1]
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_serve, args=(theirs, self._settings, self._worker_id), name="models"
        )
        child.start()
        theirs.close()
        self._child = (child, ours)
        try:
            said = ours.recv()
        except EOFError as error:
            code = self._end()
            raise ResourceExhausted(
                f"the process of the models does not start ({code})", "worker.child"
            ) from error
        if said != ("ready",):
            self._end()
            raise said[1]
        return ours

    def _end(self) -> int | None:
        """End the child at once, whatever it is at; its exit code."""
        if self._child is None:
            return None
        child, pipe = self._child
        self._child, self._busy = None, False
        pipe.close()
        child.kill()
        child.join(END_SECONDS)
        code: int | None = child.exitcode
        return code


def _serve(pipe: Connection, settings: StageSettings, worker_id: str) -> None:
    """The child: blocks in, results out, until the worker closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Analyst(
            settings,
            worker_id,
            lambda requests: _ask(pipe, requests),
            lambda notice: _tell(pipe, notice),
        ) as analyst:
            pipe.send(("ready",))
            while True:
                pipe.send(_answer(analyst, pipe.recv()))
    except (EOFError, ConnectionError):
        os._exit(0)
    except EcmError as error:
        pipe.send(("failed", error))


def _ask(pipe: Connection, requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
    pipe.send(("admit", requests))
    decisions: Sequence[AdmitDecision] | None = pipe.recv()
    if decisions is None:
        raise LeaseGone
    return decisions


def _tell(pipe: Connection, notice: QuarantineNotice) -> None:
    """Returns when the worker has made the notice durable."""
    pipe.send(("quarantine", notice))
    pipe.recv()


def _answer(analyst: Analyst, block: pa.Table | None) -> tuple[Any, ...]:
    """The result of a block; of none, the last word."""
    try:
        if block is None:
            analyst.last_word()
            return ("ended",)
        return "sealed", analyst(block)
    except LeaseGone:
        return ("gone",)
    except (EOFError, ConnectionError):
        raise
    except Exception as error:  # noqa: BLE001 - raised again where it can be told
        known = isinstance(error, EcmError)
        return "failed", error if known else EcmError(f"{type(error).__name__}: {error}", "worker")
