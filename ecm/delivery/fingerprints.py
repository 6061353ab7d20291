"""Which models stand behind fingerprints, and whether those of a bundle are those of a profile.

Knows manifests and plans; reads no weights and no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ecm.contracts.task import TaskType
from ecm.errors import ConfigError, ManifestMismatch
from ecm.evidence.bundle import BundleTransform, ModelNote, WeightFile
from ecm.models.manifest import ModelManifest
from ecm.stages.plan import Transform, TransformPlan, plan_transforms

_UPSTREAM = (TaskType.VISION, TaskType.OCR)


def note_of(transform: Transform) -> ModelNote:
    """What a bundle says of the model behind a transform: every file that changes its outputs."""
    manifest, kind = transform.manifest, transform.task_type
    files = tuple(
        WeightFile(name=file.name, bytes=file.bytes, sha256=file.sha256)
        for file in manifest.files
        if not file.tasks or kind in file.tasks
    )
    return ModelNote(name=manifest.name, spec=manifest.model_spec(), files=files)


def known_transforms(
    plan: TransformPlan, manifests: Sequence[ModelManifest]
) -> dict[str, Transform]:
    """Every transform that the plan or any of the manifests makes, by fingerprint.

    Meaning vectors depend on whose texts they embed: every combination of the manifests counts.
    """
    found = {each.fingerprint: each for each in plan.by_type.values()}
    for wanted in _plans(manifests):
        try:
            made = plan_transforms(wanted)
        except ConfigError:
            continue  # a manifest that this release cannot carry out has made no evidence here
        for transform in made.by_type.values():
            found.setdefault(transform.fingerprint, transform)
    return found


def _plans(manifests: Sequence[ModelManifest]) -> Iterator[dict[TaskType, ModelManifest]]:
    for manifest in manifests:
        for kind in manifest.provides:
            if kind is not TaskType.MV_EMBED:
                yield {kind: manifest}
    speaking = {
        kind: [manifest for manifest in manifests if kind in manifest.provides]
        for kind in (*_UPSTREAM, TaskType.MV_EMBED)
    }
    for meaning in speaking[TaskType.MV_EMBED]:
        for vision in speaking[TaskType.VISION]:
            both = {TaskType.MV_EMBED: meaning, TaskType.VISION: vision}
            yield both
            for ocr in speaking[TaskType.OCR]:
                yield {**both, TaskType.OCR: ocr}


@dataclass(frozen=True)
class Mismatch:
    """A transform of a bundle that must not be taken for one of the profile's."""

    theirs: BundleTransform
    ours: Transform
    why: str

    def __str__(self) -> str:
        other = self.theirs.model or "an unknown model"
        return (
            f"its {'/'.join(self.theirs.task_types)} is of {other}, fingerprint "
            f"{self.theirs.fingerprint[:12]}; this profile has {note_of(self.ours)}, fingerprint "
            f"{self.ours.fingerprint[:12]}: {self.why}"
        )


def mismatches(theirs: Iterable[BundleTransform], ours: TransformPlan) -> tuple[Mismatch, ...]:
    """What an import has to refuse, or to keep apart.

    The same model by name, or by id and revision, is another one when its weights differ. Where
    the weights are the same, the fingerprint may differ as long as the profile's own is in the
    bundle as well: then it is an earlier setting's history. A transform of which the bundle does
    not say whose it is cannot be told from the profile's own. Everything else is another model,
    whose evidence lies beside by its fingerprint. What others depend on comes first.

    Raises ManifestMismatch when a fingerprint is the profile's but the weights it states are not:
    no honest exporter writes that.
    """
    known = {each.fingerprint: each for each in ours.by_type.values()}
    bundled = {transform.fingerprint: transform for transform in theirs}
    found = []
    for fingerprint, transform in bundled.items():
        if fingerprint in known:
            _check_weights(transform, known[fingerprint])
            continue
        for name in transform.task_types:
            own = ours.by_type.get(TaskType(name))
            if own is None:
                continue
            why = _difference(transform, own, own.fingerprint in bundled)
            if why:
                found.append(Mismatch(transform, own, why))
    return tuple(sorted(found, key=lambda each: list(TaskType).index(each.ours.task_type)))


def _difference(theirs: BundleTransform, ours: Transform, both: bool) -> str:
    note, own = theirs.model, note_of(ours)
    if note is None:
        return "the bundle does not know whose it is"
    same = note.name == own.name or (
        (note.spec.model_id, note.spec.revision) == (own.spec.model_id, own.spec.revision)
    )
    if not same:
        return ""
    changed = _other_files(note, own)
    if changed:
        return changed
    return "" if both else "the weights are the same, but not what is done before or after them"


def _other_files(note: ModelNote, own: ModelNote) -> str:
    mine = {file.name: file.sha256 for file in own.files}
    for file in note.files:
        stated = mine.get(file.name)
        if stated is not None and stated != file.sha256:
            return f"{file.name} is {file.sha256[:12]} there and {stated[:12]} here"
    if {file.name for file in note.files} != set(mine):
        return "they read other files"
    return ""


def _check_weights(theirs: BundleTransform, ours: Transform) -> None:
    if theirs.model is None:
        return
    changed = _other_files(theirs.model, note_of(ours))
    if changed:
        raise ManifestMismatch(
            f"the bundle states fingerprint {theirs.fingerprint[:12]}, which is {note_of(ours)} "
            f"here, with other weights: {changed}",
            code="bundle.forged",
            hint="do not import it",
        )
