"""Watching a model while it works: golden probes after every so many images.

Remembers what was said since a probe last passed. When one fails, that is told at once, the block
in hand is not passed on, and every further one is refused: what a drifted model says is not
evidence. Knows keys and columns; what a probe is, and where a notice goes, are arguments.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import Drift, QuarantineNotice, in_parts
from ecm.contracts.task import TaskType
from ecm.errors import ModelDrifted

Probing = Callable[[], Drift | None]
"""Runs the golden probes of an opened model: the first that fails, or None."""

Tell = Callable[[QuarantineNotice], None]
"""Makes a notice durable before it returns; may raise TransientError."""

HINT = "see `ecm quarantine list`; give this machine the declared model, then `ecm quarantine redo`"


@dataclass(frozen=True)
class Watch:
    """Who watches, how often, and who hears of it.

    `every` is images between two probes; 0: none but the first.
    """

    run_id: str
    worker_id: str
    every: int
    tell: Tell


@dataclass(frozen=True)
class Watched:
    """A model and the task types whose evidence depends on what it says."""

    manifest: str
    kinds: frozenset[TaskType]
    sees_pixels: bool


class Vigil:
    """One model's watch. Thread-safe; `clock` tells Unix seconds."""

    def __init__(
        self,
        model: Watched,
        probing: Probing,
        watch: Watch,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._model = model
        self._probing = probing
        self._watch = watch
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = False
        self._images = 0
        self._since = clock()
        self._said: defaultdict[str, set[str]] = defaultdict(set)
        self._transforms: set[str] = set()
        self._fault: ModelDrifted | None = None
        self._untold: list[QuarantineNotice] = []

    def begin(self, block: pa.Table) -> None:
        """Before the model sees a block: it is probed before its first one.

        Raises ModelDrifted once a probe has failed, after telling what is still untold. A model
        that has never passed has said nothing: its notices name no keys, but the transforms whose
        tasks are blocked.
        """
        with self._lock:
            if not self._begun:
                for tenant_id in set(block["tenant_id"].to_pylist()):
                    self._said[tenant_id].update(())
                self._transforms.update(mark for *_, mark in said_of(block, self._model))
                self._probe()
                self._begun = True
            self._raise_fault()

    def watch(self, block: pa.Table) -> None:
        """What the model has just said of a block; probes when enough has come together.

        Raises ModelDrifted when a probe fails now or has failed: then the block must not go on, and
        since nothing of it is stored by anybody, it needs no notice of its own.
        """
        with self._lock:
            if self._fault is None and self._watch.every:  # 0: what is said is not judged again
                self._remember(block)
                if self._watch.every <= self._images:
                    self._probe()
            self._raise_fault()

    def close(self) -> None:
        """Probe what has been said since the last time, at the end of a model's life.

        Raises ModelDrifted when the probe fails.
        """
        with self._lock:
            if self._fault is None and self._images and self._watch.every:
                self._probe()
                self._raise_fault()

    def _probe(self) -> None:
        drift = self._probing()
        now = self._clock()
        if drift is None:
            self._forget(now)
            return
        self._untold = list(self._notices(drift, now))
        self._fault = ModelDrifted(
            f"model {self._model.manifest}: {drift.said}; what it said since the last probe that "
            f"passed is quarantined",
            hint=HINT,
        )

    def _forget(self, now: float) -> None:
        self._said.clear()
        self._transforms.clear()
        self._images, self._since = 0, now

    def _notices(self, drift: Drift, now: float) -> Iterator[QuarantineNotice]:
        for tenant_id, keys in sorted(self._said.items()):
            for part in in_parts(keys):
                yield QuarantineNotice(
                    tenant_id=tenant_id,
                    manifest=self._model.manifest,
                    transforms=tuple(sorted(self._transforms)),
                    run_id=self._watch.run_id,
                    worker_id=self._watch.worker_id,
                    drift=drift,
                    since=self._since,
                    until=now,
                    keys=part,
                )

    def _remember(self, block: pa.Table) -> None:
        looked_at = set()
        for row, tenant_id, key, transform in said_of(block, self._model):
            looked_at.add(row)
            self._said[tenant_id].add(key)
            self._transforms.add(transform)
        self._images += len(looked_at)

    def _raise_fault(self) -> None:
        if self._fault is not None:
            self._tell_all()
            raise self._fault

    def _tell_all(self) -> None:
        """A notice leaves the list when it is durable: one that could not be told is told again
        with the next block.
        """
        while self._untold:
            self._watch.tell(self._untold[0])
            del self._untold[0]


@dataclass(frozen=True)
class WatchedStage:
    """A stage of a model under a vigil."""

    stage: Callable[[pa.Table], pa.Table]
    vigil: Vigil

    def __call__(self, block: pa.Table) -> pa.Table:
        """As the stage. Raises ModelDrifted as the vigil does."""
        self.vigil.begin(block)
        said = self.stage(block)
        self.vigil.watch(said)
        return said

    def last_word(self) -> None:
        """See `Vigil.close`."""
        self.vigil.close()


def said_of(block: pa.Table, model: Watched) -> Iterator[tuple[int, str, str, str]]:
    """Row, tenant, evidence key and transform of all that rests on what the model said of a block.

    A meaning vector rests on the models that gave its words, unless these were known before.
    """
    words = {TaskType.VISION: "known_text", TaskType.OCR: "known_read"}
    spoken = [words[kind] for kind in model.kinds if kind in words]
    names = ["tenant_id", "content_hash", "tasks", "linked", "error", *spoken]
    names += ["model_errors"] if "model_errors" in block.column_names else []
    kinds = {kind.value for kind in model.kinds}
    if model.sees_pixels and model.kinds & {TaskType.VISION, TaskType.OCR}:
        kinds.add(TaskType.MV_EMBED.value)
    for place, row in enumerate(block.select(names).to_pylist()):
        if row["error"] is not None:
            continue
        failed = {mark["task_type"] for mark in row.get("model_errors") or ()}
        known = model.sees_pixels and all(row[column] is not None for column in spoken)
        for task in row["tasks"]:
            kind, transform = task["task_type"], task["transform"]
            if kind not in kinds or kind in failed or task["task_id"] in row["linked"]:
                continue
            if known and kind == TaskType.MV_EMBED:
                continue
            tenant_id = row["tenant_id"]
            key = evidence_key(tenant_id, row["content_hash"], kind, transform)
            yield place, tenant_id, key, transform
