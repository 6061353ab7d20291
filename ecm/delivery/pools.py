"""Which pool of actors computes a task type, by the settings. Starts nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ecm.config import PipelineConfig
from ecm.contracts.task import TaskType
from ecm.models.registry import CAPTIONERS
from ecm.stages.plan import TransformPlan


@dataclass(frozen=True, slots=True)
class PoolShare:
    """Actors of a pool, GPUs of each, and the setting (of `pipeline`) that says how many GPUs."""

    actors: int
    gpus: float
    setting: str


def pool_of(config: PipelineConfig, plan: TransformPlan, kind: TaskType) -> PoolShare:
    """The pool in which a run of `plan` computes a task type."""
    if plan.computes_structure(kind):
        return PoolShare(config.decode_workers, 0.0, "model_gpus")
    seen_last = [manifest.backend for manifest, _ in plan.image_models()][-1:]
    apart = config.text_actors or not seen_last or seen_last[0] in CAPTIONERS
    if kind is TaskType.MV_EMBED and apart:
        return PoolShare(max(1, config.text_actors), config.text_gpus, "text_gpus")
    if plan.by_type[kind].manifest.backend in CAPTIONERS:
        return PoolShare(config.caption_actors, config.caption_gpus, "caption_gpus")
    return PoolShare(config.model_actors, config.model_gpus, "model_gpus")
