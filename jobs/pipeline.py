"""The pipeline of an indexing pass as a Ray Data plan: claim → prepare → image models → text →
envelope.

`build` describes, it runs nothing. Whole blocks go through every stage (`batch_size=None`),
because a stage that held rows back would deadlock with the credit window.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, assert_never

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, Dataset

from ecm.config import PipelineConfig
from ecm.contracts.task import TaskType
from ecm.images.cuts import Cut
from ecm.images.limits import ImageLimits
from ecm.models.manifest import ModelManifest
from ecm.models.registry import open_image_model, open_text_embedder
from ecm.stages.analyse import BatchSettings, ImageModelStage, TextModelStage
from ecm.stages.columns import ENVELOPE_SCHEMA
from ecm.stages.envelope import EnvelopeStage
from ecm.stages.plan import TransformPlan
from ecm.stages.prepare import AdmitDecision, AdmitRequest, PrepareSettings, PrepareStage
from jobs.source import LedgerSource

TEXTS = 4
"""Texts per model call for each image: short ones, and equal ones among many are embedded once."""


@dataclass(frozen=True)
class PipelineSettings:
    """Everything a stage's worker needs; small, picklable and without connections."""

    plan: TransformPlan
    limits: ImageLimits
    pipeline: PipelineConfig
    run_id: str
    scratch: Path


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
    for parts, actors, cpus in _pools(settings):
        images = images.map_batches(
            ModelActor,
            fn_constructor_args=(parts, settings),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=cpus,
            num_gpus=config.model_gpus if parts[0] is not SEAL else 0.0,
            compute=ActorPoolStrategy(size=actors),
        )
    return images


@dataclass(frozen=True)
class ImagePart:
    """An image model and the task types it serves."""

    manifest: ModelManifest
    kinds: frozenset[TaskType]


class Seal(Enum):
    """The last part of every pipeline: meaning vectors, then envelopes."""

    SEAL = "seal"


SEAL = Seal.SEAL
Part = ImagePart | Seal
Stage = Callable[[pa.Table], pa.Table]


def _pools(settings: PipelineSettings) -> Iterator[tuple[tuple[Part, ...], int, float]]:
    """Parts, actors and CPUs of each actor pool; with no text actors the seal joins the models."""
    config = settings.pipeline
    images: list[Part] = [ImagePart(*served) for served in settings.plan.image_models()]
    if images and config.text_actors == 0:
        images, last = images[:-1], images[-1]
        yield from (((part,), config.model_actors, config.model_cpus) for part in images)
        yield (last, SEAL), config.model_actors, config.model_cpus
        return
    yield from (((part,), config.model_actors, config.model_cpus) for part in images)
    yield (SEAL,), max(1, config.text_actors), config.text_cpus


class ModelActor:
    """Holds the models of its parts for as long as a pass."""

    def __init__(self, parts: tuple[Part, ...], settings: PipelineSettings) -> None:
        self._stages = [stage for part in parts for stage in _open(part, settings)]
        self._empty = ENVELOPE_SCHEMA.empty_table() if parts[-1] is SEAL else None

    def __call__(self, block: pa.Table) -> pa.Table:
        if block.num_rows == 0:
            return block if self._empty is None else self._empty
        for stage in self._stages:
            block = stage(block)
        return block


def _open(part: Part, settings: PipelineSettings) -> Iterator[Stage]:
    threads = settings.pipeline.threads
    batches = BatchSettings(settings.pipeline.batch_size, settings.scratch)
    match part:
        case ImagePart(manifest=manifest, kinds=kinds):
            yield ImageModelStage(open_image_model(manifest, threads=threads), kinds, batches)
        case Seal():
            text = settings.plan.text_model()
            if text is not None:
                model = open_text_embedder(text, threads=threads)
                yield TextModelStage(model, replace(batches, batch_size=TEXTS * batches.batch_size))
            yield EnvelopeStage(settings.run_id, worker_id())
        case _:
            assert_never(part)


def worker_id() -> str:
    """Host, process and Ray node of the worker that sealed an envelope."""
    node = ray.get_runtime_context().get_node_id()
    return f"{socket.gethostname()}/{os.getpid()}/{node[:12]}"


def cuts_of(plan: TransformPlan) -> dict[str, Cut]:
    """The pixel cut each image model of the plan wants, by manifest name."""
    return {
        manifest.name: Cut(
            name=manifest.name,
            resize_shorter=manifest.preprocessing.resize_shorter,
            crop=manifest.preprocessing.crop,
            interpolation=manifest.preprocessing.interpolation,
        )
        for manifest, _ in plan.image_models()
    }


def _prepare(block: pa.Table, feeder: Any, settings: PipelineSettings) -> pa.Table:
    def admit(requests: Sequence[AdmitRequest]) -> Sequence[AdmitDecision]:
        decisions: Sequence[AdmitDecision] = ray.get(feeder.admit.remote(requests))
        return decisions

    prepare = PrepareSettings(
        limits=settings.limits, cuts=cuts_of(settings.plan), scratch=settings.scratch
    )
    with PrepareStage(prepare, admit) as stage:
        return stage(block) if block.num_rows else stage.schema().empty_table()
