"""What a profile opens: the transforms of its models, its search. For jobs and serve alike.

The only module besides them that sees a whole profile; it hands every package its own part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ecm.config import ModelChoice, Profile
from ecm.contracts.search import Axis
from ecm.contracts.task import TaskType
from ecm.delivery.desk import DeskSettings
from ecm.delivery.fingerprints import known_transforms, note_of
from ecm.delivery.replacing import ROLES, manifests_of
from ecm.delivery.scrutiny import SPACE_OF
from ecm.errors import ManifestMismatch
from ecm.evidence.bundle import ModelNote
from ecm.evidence.rollouts import Rollout, all_rollouts, in_force, roles_after
from ecm.evidence.storage import open_storage
from ecm.models.manifest import list_manifests
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


def effective(profile: Profile) -> Profile:
    """The profile with the models that rollouts of its store have promoted in their roles.

    Raises StoreCorrupt or StoreUnavailable where the store's rollouts cannot be read.
    """
    found = all_rollouts(open_storage(profile.evidence))
    roles = roles_after(profile.models.model_dump(), found)
    if not roles:
        return profile
    return profile.model_copy(update={"models": profile.models.model_copy(update=roles)})


def plan_of(profile: Profile) -> TransformPlan:
    """The manifests the profile names, or what was promoted in their place, as a plan.

    Raises ManifestError or ConfigError; ManifestMismatch when a promoted manifest is another one
    than was tried; and as `effective` does.
    """
    storage = open_storage(profile.evidence)
    found = all_rollouts(storage)
    roles = roles_after(profile.models.model_dump(), found)
    plan = plan_for(profile.models.model_copy(update=roles), profile.manifest_folders)
    for rollout in in_force(found):
        for role in rollout.terms.roles:
            if roles.get(role) == rollout.terms.new:
                _check_promoted(rollout, ROLES[role], plan)
    return plan


def plan_for(models: ModelChoice, folders: Sequence[Path]) -> TransformPlan:
    """The plan of manifests by role, whatever was promoted. Raises as `plan_transforms`."""
    return plan_transforms(manifests_of(models, folders))


def _check_promoted(rollout: Rollout, kind: TaskType, plan: TransformPlan) -> None:
    """What was promoted is a transform, not a file name. Meaning depends on other models, too."""
    tried = rollout.terms.after.get(kind)
    if kind is not TaskType.MV_EMBED and plan.by_type[kind].fingerprint != tried:
        raise ManifestMismatch(
            f"model '{rollout.terms.new}' is not what rollout {rollout.rollout_id} promoted: "
            f"{kind.value} has another fingerprint",
            hint="restore its manifest, roll back, or name another model in the profile",
        )


def model_notes(profile: Profile) -> dict[str, ModelNote]:
    """The model behind every transform that a manifest of the profile's folder makes, by its
    fingerprint. Raises ManifestError or ConfigError.
    """
    known = known_transforms(
        plan_of(profile), list_manifests(profile.models_folder, profile.pinned_models)
    )
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
    by_kind = {kind: transform.manifest for kind, transform in plan.by_type.items()}
    seen, said = by_kind.get(TaskType.VV_EMBED), by_kind.get(TaskType.VISION)
    return SearchParts(
        evidence=profile.evidence,
        search=profile.search,
        limits=profile.images,
        ranking_folder=profile.ranking_folder,
        manifest_folders=profile.manifest_folders,
        manifests={
            AXIS_OF[kind]: manifest
            for kind, manifest in by_kind.items()
            if kind in AXIS_OF and kind is not TaskType.VISION
        },
        transforms=axis_transforms(plan),
        image_speaks=seen == said and TaskType.OCR not in by_kind,
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
