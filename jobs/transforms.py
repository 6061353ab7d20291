"""From a profile's choice of models to the transforms of a run."""

from __future__ import annotations

from ecm.config import Profile
from ecm.contracts.task import TaskType
from ecm.models.manifest import load_manifest
from ecm.stages.plan import TransformPlan, plan_transforms


def plan_of(profile: Profile) -> TransformPlan:
    """The manifests the profile names, as a plan. Raises ManifestError or ConfigError."""
    roles = {
        TaskType.VISION: profile.models.vision,
        TaskType.OCR: profile.models.ocr,
        TaskType.VV_EMBED: profile.models.vv,
        TaskType.X_EMBED: profile.models.x,
        TaskType.MV_EMBED: profile.models.mv,
    }
    return plan_transforms(
        {
            kind: load_manifest(name, [profile.models_folder])
            for kind, name in roles.items()
            if name is not None
        }
    )
