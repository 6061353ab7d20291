"""Which transforms a run applies, and which manifest computes each.

Knows how fingerprints depend on each other (meaning vectors on the texts they embed). Opens no
model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ecm.contracts.result import Space
from ecm.contracts.task import ModelSpec, TaskType
from ecm.errors import ConfigError
from ecm.images.decode import DECODE_VERSION
from ecm.images.structure import STRUCTURE_DIM, STRUCTURE_VERSION
from ecm.models.manifest import ModelManifest
from ecm.models.registry import STRUCTURE_BACKEND


@dataclass(frozen=True)
class Transform:
    """One task type as computed by one manifest; `fingerprint` is the transform's identity."""

    task_type: TaskType
    fingerprint: str
    model: ModelSpec
    manifest: ModelManifest


@dataclass(frozen=True)
class TransformPlan:
    """The transforms of a run by task type."""

    by_type: Mapping[TaskType, Transform]

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(t.fingerprint for t in self.by_type.values())

    def image_models(self) -> tuple[tuple[ModelManifest, frozenset[TaskType]], ...]:
        """Manifests that look at pixels through a network, each with the task types it serves."""
        served: dict[str, tuple[ModelManifest, set[TaskType]]] = {}
        for kind in (TaskType.VISION, TaskType.OCR, TaskType.VV_EMBED, TaskType.X_EMBED):
            if kind in self.by_type and not self.computes_structure(kind):
                manifest = self.by_type[kind].manifest
                served.setdefault(manifest.name, (manifest, set()))[1].add(kind)
        return tuple((manifest, frozenset(kinds)) for manifest, kinds in served.values())

    def computes_structure(self, kind: TaskType) -> bool:
        """Whether a task type of the plan is computed from pixels without a network."""
        return self.by_type[kind].manifest.backend == STRUCTURE_BACKEND

    def text_model(self) -> ModelManifest | None:
        """The manifest that embeds meaning, if the run has one."""
        transform = self.by_type.get(TaskType.MV_EMBED)
        return transform.manifest if transform else None


def plan_transforms(manifests: Mapping[TaskType, ModelManifest]) -> TransformPlan:
    """The plan for one manifest per task type.

    Raises ConfigError when a manifest does not provide what it is named for, or meaning vectors are
    asked for without the vision transform whose texts they embed.
    """
    for kind, manifest in manifests.items():
        if kind not in manifest.provides:
            raise ConfigError(
                f"model '{manifest.name}' does not provide {kind.value}",
                hint="it provides " + ", ".join(t.value for t in manifest.provides),
            )
    if TaskType.MV_EMBED in manifests and TaskType.VISION not in manifests:
        raise ConfigError("mv needs a vision model: meaning vectors embed its captions and tags")
    transforms: dict[TaskType, Transform] = {}
    for kind in sorted(manifests, key=list(TaskType).index):
        manifest = manifests[kind]
        if manifest.backend == STRUCTURE_BACKEND and manifest.dims.get(Space.X) != STRUCTURE_DIM:
            raise ConfigError(
                f"model '{manifest.name}' declares x with {manifest.dims.get(Space.X)} dimensions",
                hint=f"this release computes {STRUCTURE_DIM}",
            )
        upstream = _upstream(kind, manifest, transforms)
        transforms[kind] = Transform(
            kind, manifest.fingerprint(kind, upstream), manifest.model_spec(), manifest
        )
    return TransformPlan(transforms)


def _upstream(
    kind: TaskType, manifest: ModelManifest, done: Mapping[TaskType, Transform]
) -> tuple[str, ...]:
    if kind is TaskType.MV_EMBED:
        sources = (TaskType.VISION, TaskType.OCR)
        return tuple(done[source].fingerprint for source in sources if source in done)
    if manifest.backend == STRUCTURE_BACKEND:
        return (f"decode:{DECODE_VERSION}", f"structure:{STRUCTURE_VERSION}")
    return (f"decode:{DECODE_VERSION}",)
