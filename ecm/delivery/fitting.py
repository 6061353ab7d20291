"""Whether the models of a plan have the GPUs they need: in the settings of pools, and on a machine.

Knows plans, pools and what manifests need; what GPUs there are is told by whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecm.config import PipelineConfig
from ecm.contracts.task import TaskType
from ecm.delivery.pools import pool_of
from ecm.errors import ConfigError
from ecm.models.devices import Gpu, check_fit
from ecm.models.manifest import ModelManifest
from ecm.stages.plan import TransformPlan


def check_settings(plan: TransformPlan, config: PipelineConfig) -> None:
    """Raises ConfigError `model.gpu_share` when a model that needs a GPU would get none: Ray hides
    them from actors that asked for none.
    """
    for kind, transform in plan.by_type.items():
        pool = pool_of(config, plan, kind)
        if transform.manifest.needs.gpus > 0 >= pool.gpus:
            raise ConfigError(
                f"model {transform.manifest.name} needs a GPU, but pipeline.{pool.setting} is 0",
                code="model.gpu_share",
                hint=f"--set pipeline.{pool.setting}=1, or a share such as 0.5",
            )


def check_machine(
    plan: TransformPlan, config: PipelineConfig, gpus: Callable[[], Sequence[Gpu]]
) -> None:
    """Raises ConfigError `model.gpu_memory` when all actors of a run together do not fit on the
    GPUs of this machine, which are asked for only when a model needs one.
    """
    wanted = demands(plan, config)
    if wanted:
        check_fit(wanted, gpus())


def demands(plan: TransformPlan, config: PipelineConfig) -> list[tuple[ModelManifest, int]]:
    """The models that need a GPU, each once, with how many actors hold one."""
    found: dict[str, tuple[ModelManifest, int]] = {}
    for kind in TaskType:
        if kind in plan.by_type and plan.by_type[kind].manifest.needs.gpus:
            manifest = plan.by_type[kind].manifest
            found[manifest.name] = (manifest, pool_of(config, plan, kind).actors)
    return list(found.values())
