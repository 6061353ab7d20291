"""Which stages a plan needs, in their order, opened for one process.

A pipeline spreads the parts over actor pools, a worker runs them one after the other; both get the
same stages from here. Knows no Ray and no ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import assert_never

import pyarrow as pa

from ecm.contracts.task import TaskType
from ecm.images.cuts import Bounded, Cut
from ecm.images.limits import ImageLimits
from ecm.models.manifest import ModelManifest
from ecm.models.registry import CAPTIONERS, open_captioner, open_image_model, open_text_embedder
from ecm.stages.analyse import BatchSettings, ImageModelStage, TextModelStage
from ecm.stages.caption import CaptionSettings, CaptionStage
from ecm.stages.envelope import EnvelopeStage
from ecm.stages.looks import bounds_of, cut_of
from ecm.stages.plan import TransformPlan
from ecm.stages.prepare import Admission, PrepareSettings, PrepareStage
from ecm.stages.probing import image_probing, text_probing
from ecm.stages.vigil import Probing, Tell, Vigil, Watch, Watched, WatchedStage
from ecm.stages.watched_captions import WatchedCaptions

TEXTS = 4
"""Texts per model call for each image: short ones, and equal ones among many are embedded once."""

Stage = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True)
class StageSettings:
    """What every stage of a run is told; small, picklable and without connections.

    `batch_size` is images per model call, `threads` those of one model. Crash markers lie in
    `scratch`, which must survive a worker process and not the run; None: no crash protection.
    Models are probed before the first image and after every `probe_images`; 0: only before.
    `memory` is where digests of model files are remembered; None: every file is read.
    """

    plan: TransformPlan
    limits: ImageLimits
    run_id: str
    batch_size: int
    threads: int
    scratch: Path | None
    probe_images: int = 0
    memory: Path | None = None


@dataclass(frozen=True)
class ImagePart:
    """An image model and the task types it serves."""

    manifest: ModelManifest
    kinds: frozenset[TaskType]


@dataclass(frozen=True)
class CaptionPart:
    """A captioner: it serves the vision task, of several blocks at once where it is awaited."""

    manifest: ModelManifest


class Seal(Enum):
    """The last part of every pipeline: meaning vectors, then envelopes."""

    SEAL = "seal"


SEAL = Seal.SEAL
Part = ImagePart | CaptionPart | Seal


def image_parts(plan: TransformPlan) -> list[ImagePart | CaptionPart]:
    """The models of a plan that look at pixels, in the order in which they see a block."""
    return [_part(*served) for served in plan.image_models()]


def _part(manifest: ModelManifest, kinds: frozenset[TaskType]) -> ImagePart | CaptionPart:
    if manifest.backend in CAPTIONERS:
        return CaptionPart(manifest)
    return ImagePart(manifest, kinds)


def open_captions(
    part: CaptionPart, settings: StageSettings, watch: Watch | None
) -> CaptionStage | WatchedCaptions:
    """The stage of a captioner, with its model. To be closed. Raises as `open_part`."""
    captioner = open_captioner(part.manifest, threads=settings.threads, memory=settings.memory)
    stage = CaptionStage(captioner, CaptionSettings.of(part.manifest, settings.scratch))
    return stage if watch is None else WatchedCaptions(stage, captioner, watch)


def watch_of(settings: StageSettings, worker_id: str, tell: Tell) -> Watch:
    """How the models of a run are watched by a worker."""
    return Watch(settings.run_id, worker_id, settings.probe_images, tell)


def open_part(
    part: Part, settings: StageSettings, worker_id: str, watch: Watch | None = None
) -> Iterator[Stage]:
    """The stages of one part, with their models. Raises ManifestError, BackendMissing.

    Under `watch` a model that ships with golden probes is probed, and the stage raises
    ModelDrifted from the first probe on that fails.
    """
    batches = BatchSettings(settings.batch_size, settings.scratch)
    match part:
        case ImagePart(manifest=manifest, kinds=kinds):
            model = open_image_model(manifest, threads=settings.threads, memory=settings.memory)
            stage = ImageModelStage(model, kinds, batches)
            yield _watched(
                stage,
                Watched(manifest.name, kinds, True),
                image_probing(model, settings.memory),
                watch,
            )
        case CaptionPart():
            yield open_captions(part, settings, watch)
        case Seal():
            text = settings.plan.text_model()
            if text is not None:
                embedder = open_text_embedder(
                    text, threads=settings.threads, memory=settings.memory
                )
                texts = replace(batches, batch_size=TEXTS * batches.batch_size)
                words = Watched(text.name, frozenset({TaskType.MV_EMBED}), False)
                said = TextModelStage(embedder, texts)
                yield _watched(said, words, text_probing(embedder, settings.memory), watch)
            yield EnvelopeStage(settings.run_id, worker_id)
        case _:
            assert_never(part)


def _watched(stage: Stage, model: Watched, probing: Probing | None, watch: Watch | None) -> Stage:
    if watch is None or probing is None:
        return stage
    return WatchedStage(stage, Vigil(model, probing, watch))


def open_prepare(settings: StageSettings, admission: Admission) -> PrepareStage:
    """The first stage: read, admit, decode, cut. To be closed."""
    plan = settings.plan
    served = frozenset(kind for _, kinds in plan.image_models() for kind in kinds)
    prepare = PrepareSettings(
        limits=settings.limits,
        cuts=cuts_of(plan),
        bounds=pictures_of(plan),
        looks=served,
        described=frozenset(kind for kind in plan.by_type if plan.computes_structure(kind)),
        scratch=settings.scratch,
    )
    return PrepareStage(prepare, admission)


def cuts_of(plan: TransformPlan) -> dict[str, Cut]:
    """The pixel cut each image model of the plan wants, by manifest name."""
    cuts = {manifest.name: cut_of(manifest) for manifest, _ in plan.image_models()}
    return {name: spec for name, spec in cuts.items() if spec is not None}


def pictures_of(plan: TransformPlan) -> dict[str, Bounded]:
    """The bounds of pictures that models of the plan see in their proportions, by manifest name."""
    bounds = {manifest.name: bounds_of(manifest) for manifest, _ in plan.image_models()}
    return {name: spec for name, spec in bounds.items() if spec is not None}
