"""What a profile opens: the transforms of its models. For jobs and serve alike.

The only module besides them that sees a whole profile; it hands every package its own part.
"""

from __future__ import annotations

from collections.abc import Mapping

from ecm.config import Profile
from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.models.manifest import load_manifest
from ecm.stages.plan import TransformPlan, plan_transforms

AXIS_OF: Mapping[TaskType, Axis] = {
    TaskType.VISION: Axis.FTS,
    TaskType.VV_EMBED: Axis.VV,
    TaskType.X_EMBED: Axis.X,
    TaskType.MV_EMBED: Axis.MV,
}
"""The axis that the evidence of a task type is searched on."""


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


def axis_transforms(plan: TransformPlan) -> dict[Axis, str]:
    """Fingerprints of the plan by the axis they serve: what a searcher's models must agree with."""
    return {
        AXIS_OF[kind]: transform.fingerprint
        for kind, transform in plan.by_type.items()
        if kind in AXIS_OF
    }
