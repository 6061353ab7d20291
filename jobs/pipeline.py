"""The pipeline of an indexing pass as a Ray Data plan: claim → prepare → image models → text →
envelope.

`build` describes, it runs nothing. Whole blocks go through every stage (`batch_size=None`),
because a stage that held rows back would deadlock with the credit window.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        concurrency=min(blocks, 2 * config.decode_workers + 2),
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
    for manifest, kinds in settings.plan.image_models():
        images = images.map_batches(
            ImageActor,
            fn_constructor_args=(manifest, kinds, settings),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=config.model_cpus,
            num_gpus=config.model_gpus,
            compute=ActorPoolStrategy(size=config.model_actors),
        )
    return images.map_batches(
        TextActor,
        fn_constructor_args=(settings,),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=config.text_cpus,
        compute=ActorPoolStrategy(size=config.text_actors),
    )


class ImageActor:
    """Holds one image model for as long as a pass."""

    def __init__(
        self, manifest: ModelManifest, kinds: frozenset[TaskType], settings: PipelineSettings
    ) -> None:
        model = open_image_model(manifest, threads=settings.pipeline.threads)
        self._stage = ImageModelStage(model, kinds, _batches(settings))

    def __call__(self, block: pa.Table) -> pa.Table:
        return self._stage(block) if block.num_rows else block


class TextActor:
    """Holds the text model, and seals the envelopes, the last step before the committer."""

    def __init__(self, settings: PipelineSettings) -> None:
        manifest = settings.plan.text_model()
        self._stage = None
        if manifest is not None:
            model = open_text_embedder(manifest, threads=settings.pipeline.threads)
            self._stage = TextModelStage(model, _batches(settings))
        self._seal = EnvelopeStage(settings.run_id, worker_id())

    def __call__(self, block: pa.Table) -> pa.Table:
        if block.num_rows == 0:
            return ENVELOPE_SCHEMA.empty_table()
        return self._seal(self._stage(block) if self._stage else block)


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


def _batches(settings: PipelineSettings) -> BatchSettings:
    return BatchSettings(settings.pipeline.batch_size, settings.scratch)
