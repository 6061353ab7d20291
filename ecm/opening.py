"""What a profile opens: the transforms of its models, its search. For jobs and serve alike.

The only module besides them that sees a whole profile; it hands every package its own part.
"""

from __future__ import annotations

from collections.abc import Mapping

from ecm.config import Profile
from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.delivery.desk import DeskSettings
from ecm.delivery.fingerprints import known_transforms, note_of
from ecm.delivery.scrutiny import SPACE_OF
from ecm.evidence.bundle import ModelNote
from ecm.models.manifest import list_manifests, load_manifest
from ecm.search.engine import SearchEngine
from ecm.search.opening import SearchParts
from ecm.search.opening import open_engine as open_engine_of
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


def model_notes(profile: Profile) -> dict[str, ModelNote]:
    """The model behind every transform that a manifest of the profile's folder makes, by its
    fingerprint. Raises ManifestError or ConfigError.
    """
    known = known_transforms(plan_of(profile), list_manifests(profile.models_folder))
    return {fingerprint: note_of(transform) for fingerprint, transform in known.items()}


def axis_transforms(plan: TransformPlan) -> dict[Axis, str]:
    """Fingerprints of the plan by the axis they serve: what a searcher's models must agree with."""
    return {
        AXIS_OF[kind]: transform.fingerprint
        for kind, transform in plan.by_type.items()
        if kind in AXIS_OF
    }


def search_parts(profile: Profile) -> SearchParts:
    """The parts of a profile that search needs. Raises ManifestError or ConfigError."""
    plan = plan_of(profile)
    return SearchParts(
        evidence=profile.evidence,
        search=profile.search,
        limits=profile.images,
        ranking_folder=profile.ranking_folder,
        models_folder=profile.models_folder,
        manifests={
            AXIS_OF[kind]: transform.manifest
            for kind, transform in plan.by_type.items()
            if kind in AXIS_OF and kind is not TaskType.VISION
        },
        transforms=axis_transforms(plan),
        image_speaks=profile.models.vision == profile.models.vv and profile.models.ocr is None,
    )


def open_engine(profile: Profile) -> SearchEngine:
    """A search engine in this process on the published snapshot. Raises as `ecm.search.opening`."""
    return open_engine_of(search_parts(profile))


def desk_settings(profile: Profile) -> DeskSettings:
    """The parts of a profile that taking results in needs. Raises ManifestError or ConfigError."""
    plan = plan_of(profile)
    return DeskSettings(
        ledger=profile.ledger,
        evidence=profile.evidence,
        spool=profile.spool,
        envelopes=profile.pipeline.commit_envelopes,
        seconds=profile.pipeline.commit_seconds,
        idle_seconds=profile.serve.desk_idle_seconds,
        busy_seconds=profile.serve.desk_busy_seconds,
        dimensions=tuple(
            (SPACE_OF[kind], transform.fingerprint, transform.manifest.space_dim(SPACE_OF[kind]))
            for kind, transform in plan.by_type.items()
            if kind in SPACE_OF
        ),
    )
