"""The pipeline of an indexing pass as a Ray Data plan: claim → prepare → image models → text →
envelope.

`build` describes, it runs nothing. Whole blocks go through every stage (`batch_size=None`),
because a stage that held rows back would deadlock with the credit window.
"""

from __future__ import annotations

import os
import socket
import warnings
import weakref
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset
from ray.util.annotations import RayDeprecationWarning

from ecm.config import PipelineConfig
from ecm.contracts.quarantine import QuarantineNotice
from ecm.errors import ConfigError
from ecm.models.devices import check_here
from ecm.models.manifest import ModelManifest
from ecm.stages.assembly import (
    SEAL,
    CaptionPart,
    Part,
    Seal,
    StageSettings,
    image_parts,
    open_captions,
    open_part,
    open_prepare,
    watch_of,
)
from ecm.stages.columns import ENVELOPE_SCHEMA
from ecm.stages.plan import TransformPlan
from ecm.stages.prepare import AdmitDecision, AdmitRequest
from ecm.stages.vigil import Tell
from jobs.source import LedgerSource


@dataclass(frozen=True)
class PipelineSettings:
    """How a pass is spread, and what its stages are told; small, picklable, no connections."""

    pipeline: PipelineConfig
    stages: StageSettings


def build(feeder: Any, settings: PipelineSettings, blocks: int, first: int) -> Dataset:
    """A pass over `blocks` lease blocks, the first of which has number `first`."""
    config = settings.pipeline
    images = ray.data.read_datasource(
        LedgerSource(feeder, blocks, first),
        override_num_blocks=blocks,
        concurrency=min(blocks, config.decode_workers + 1),
        num_cpus=0.05,
    ).map_batches(
        _prepare,
        fn_args=(feeder, settings),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=config.decode_cpus,
        concurrency=config.decode_workers,
    )
    for pool in _pools(settings):
        images = _mapped(images, pool, settings, feeder)
    return images


def _mapped(images: Dataset, pool: Pool, settings: PipelineSettings, feeder: Any) -> Dataset:
    with warnings.catch_warnings():
        # The only way to say how many blocks an actor works on at once, until Ray has another.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        return images.map_batches(
            pool.actor,
            fn_constructor_args=(pool.parts, settings, feeder),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            compute=ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=pool.blocks),
            **({"max_concurrency": pool.blocks} if pool.actor is CaptionActor else {}),
        )


@dataclass(frozen=True)
class Pool:
    """Actors that hold the same parts. CPUs and GPUs are per actor, `blocks` are on their way in or
    in work at each.
    """

    actor: type
    parts: tuple[Part, ...]
    actors: int
    cpus: float
    gpus: float
    blocks: int = 2


def _pools(settings: PipelineSettings) -> Iterator[Pool]:
    """The actor pools in their order; with no text actors the seal joins the last model.

    Raises ConfigError when a captioner is to have more blocks at once than there can be.
    """
    config = settings.pipeline
    parts: list[Part] = [*image_parts(settings.stages.plan)]
    joined = bool(parts) and not isinstance(parts[-1], CaptionPart) and config.text_actors == 0
    for part in parts:
        together = (part, SEAL) if joined and part is parts[-1] else (part,)
        if isinstance(part, CaptionPart):
            if config.caption_blocks > config.window_blocks:
                raise ConfigError(
                    f"pipeline.caption_blocks: {config.caption_blocks} blocks never come together "
                    f"while {config.window_blocks} are let ahead of commits",
                    hint="raise pipeline.window_blocks",
                )
            yield Pool(
                CaptionActor,
                together,
                config.caption_actors,
                config.caption_cpus,
                config.caption_gpus,
                config.caption_blocks,
            )
        else:
            yield Pool(
                ModelActor, together, config.model_actors, config.model_cpus, config.model_gpus
            )
    if not joined:
        yield Pool(
            ModelActor,
            (SEAL,),
            max(1, config.text_actors),
            config.text_cpus,
            config.text_gpus,
        )


class ModelActor:
    """Holds the models of its parts for as long as a pass."""

    def __init__(self, parts: tuple[Part, ...], settings: PipelineSettings, feeder: Any) -> None:
        check_here(manifests_of(parts, settings.stages.plan))
        me = worker_id()
        watch = watch_of(settings.stages, me, _telling(feeder))
        self._stages = [s for part in parts for s in open_part(part, settings.stages, me, watch)]
        self._empty = ENVELOPE_SCHEMA.empty_table() if parts[-1] is SEAL else None

    def __call__(self, block: pa.Table) -> pa.Table:
        if block.num_rows == 0:
            return block if self._empty is None else self._empty
        for stage in self._stages:
            block = stage(block)
        return block


class CaptionActor:
    """Holds one captioner for as long as a pass; several blocks share its engine."""

    def __init__(self, parts: tuple[CaptionPart], settings: PipelineSettings, feeder: Any) -> None:
        check_here(manifests_of(parts, settings.stages.plan))
        watch = watch_of(settings.stages, worker_id(), _telling(feeder))
        self._stage = open_captions(parts[0], settings.stages, watch)
        # Ray lets go of the object when the actor ends; an engine is a process of its own.
        weakref.finalize(self, self._stage.close)

    async def __call__(self, block: pa.Table) -> AsyncIterator[pa.Table]:
        yield await self._stage.run(block) if block.num_rows else block


def _telling(feeder: Any) -> Tell:
    """Notices go to the feeder, which has the store; it answers when they are durable."""

    def tell(notice: QuarantineNotice) -> None:
        ray.get(feeder.quarantine.remote(notice))

    return tell


def manifests_of(parts: Sequence[Part], plan: TransformPlan) -> Iterator[ModelManifest]:
    """The manifests whose models an actor with these parts holds."""
    for part in parts:
        if not isinstance(part, Seal):
            yield part.manifest
        elif (text := plan.text_model()) is not None:
            yield text


def worker_id() -> str:
    """Host, process and Ray node of the worker that sealed an envelope."""
    node = ray.get_runtime_context().get_node_id()
    return f"{socket.gethostname()}/{os.getpid()}/{node[:12]}"


def _prepare(block: pa.Table, feeder: Any, settings: PipelineSettings) -> pa.Table:
    def admit(requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
        decisions: Sequence[AdmitDecision] = ray.get(feeder.admit.remote(requests))
        return decisions

    with open_prepare(settings.stages, admit) as stage:
        return stage(block) if block.num_rows else stage.schema().empty_table()
