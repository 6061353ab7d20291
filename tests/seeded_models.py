"""Two models that describe the same invented scenes in words of their own: for trying rollouts
without pixels and without Ray.

Every scene has a colour, a thing and a place. The old model and the new one (`fake-new`) put them
in different words, err now and then, and leave some captions empty, each by its own seed. Envelopes
go the way of the committer; store, ledger, snapshots and everything that compares are the product.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ecm.config import conf_folder, load_profile
from ecm.contracts.identity import ContentIdentity, digest, evidence_key
from ecm.contracts.result import (
    EnvelopeStatus,
    ImageFacts,
    LabelStatement,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    TextStatement,
    VectorStatement,
)
from ecm.contracts.task import TaskType
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.refs import published_ref
from ecm.evidence.rollouts import Rollout
from ecm.evidence.store import EvidenceStore
from ecm.models.base import normalised
from ecm.models.fakes import COLOURS
from ecm.models.registry import open_text_embedder
from ecm.opening import plan_of
from ecm.publishing import materialize
from ecm.stages.plan import TransformPlan
from jobs.trialling import PipelineTrial

THINGS = ("bicycle", "house", "kettle", "guitar", "ladder", "umbrella", "sailboat", "violin")
PLACES = ("street", "garden", "kitchen", "harbour", "meadow", "station", "library", "market")
NEW_WORDS = "photograph showing"
"""Every caption of the new model has them, and none of the old one's."""
UNSPOKEN = 10
"""The old model was never asked about every so many-th scene: a gap that another could fill."""
ERRS = 0.05
START = 1_790_000_000.0


class SeededStore(PipelineTrial):
    """A store with `assets` scenes that the old model has described, published; a `Trialling`.

    `noise` and `empty` are the shares of captions that the old and the new model leave empty. The
    `journal` has a line for every statement that was computed. A folder that has a store goes on.
    """

    def __init__(self, folder: Path, seed: int, assets: int, noise: float, empty: float) -> None:
        models, before = folder / "conf" / "models", (folder / "conf").exists()
        if not before:
            shutil.copytree(conf_folder({}), folder / "conf")
            text = (models / "fake-image.yaml").read_text()
            text = text.replace("name: fake-image", "name: fake-new")
            (models / "fake-new.yaml").write_text(text.replace('"1"', f'"{seed + 2}"'))
        self.profile = load_profile(
            None,
            home=folder / "home",
            overrides=(
                "models.vision=fake-image", "models.vv=fake-image", "models.x=null",
                "models.mv=fake-text", "tenant=t", f"models_folder={models}",
                f"gates={folder / 'conf' / 'gates.yaml'}",
            ),
            environ={},
        )  # fmt: skip
        self.store = EvidenceStore.create(self.profile.evidence, START)
        super().__init__(self.profile, self.store, Console(file=io.StringIO()))
        self._empty = {"old": noise, "new": empty}
        self._seed = seed
        self.journal = folder / "journal"
        plan = plan_of(self.profile)
        self._embedder = open_text_embedder(plan.by_type[TaskType.MV_EMBED].manifest, threads=1)
        if not before:
            places = [_place(n) for n in range(assets)]
            self._commit(plan, "old", places, frozenset(plan.by_type))
            materialize(self.store, plan)

    def compute(
        self,
        rollout: Rollout,
        plan: TransformPlan,
        pct: int,
        sampled: Mapping[str, Sequence[ContentIdentity]],
    ) -> None:
        """What the new model says of these places, but for what it has said before."""
        for places in sampled.values():
            self._commit(plan, "new", places, frozenset(rollout.terms.after))

    def visible(self) -> int:
        """Rows with the new model's words or vectors in a snapshot as a run would publish now."""
        materialize(self.store, plan_of(self.profile))
        ref = published_ref(self.store)
        assert ref is not None
        dataset = self.store.open_lance(ref.table, ref.version)
        captions = dataset.to_table(columns=["caption"])["caption"].to_pylist()
        old = set(plan_of(self.profile).fingerprints)
        strangers = {mark for marks in ref.transforms.values() for mark in marks} - old
        return sum(NEW_WORDS in (caption or "") for caption in captions) + len(strangers)

    def _commit(
        self,
        plan: TransformPlan,
        side: str,
        places: Sequence[ContentIdentity],
        kinds: frozenset[TaskType],
    ) -> None:
        said = {_key(e): e for place in places for e in self._envelopes(plan, side, place, kinds)}
        keys = sorted(said.keys() - self.store.evidence_keys_present(said))
        if keys:
            fresh = [said[key] for key in keys]
            EvidenceCommitter(self.store).append(digest(["batch", *keys]), fresh)
            with self.journal.open("a") as journal:
                journal.writelines(f"{key}\n" for key in keys)

    def _envelopes(
        self,
        plan: TransformPlan,
        side: str,
        place: ContentIdentity,
        kinds: frozenset[TaskType],
    ) -> Iterator[ResultEnvelope]:
        number = int(place.uri.rpartition("-")[2].removesuffix(".png"))
        asset = hashlib.sha256(f"{self._seed} {number}".encode()).hexdigest()
        words = _words(side, number, self._seed, self._empty[side])
        for kind, said in self._said(words, number).items():
            gap = side == "old" and not number % UNSPOKEN and kind is not TaskType.VV_EMBED
            if kind in kinds and not gap:
                yield _sealed(kind, plan.by_type[kind].fingerprint, said, asset, place)

    def _said(self, words: Outputs, number: int) -> dict[TaskType, Outputs]:
        caption = words.caption.text if words.caption else ""
        text = " ".join([caption, *(tag.label for tag in words.tags)])
        near = np.full((1, 8), 0.05) + np.eye(8)[number % 8]
        return {
            TaskType.VISION: words,
            TaskType.VV_EMBED: _vector(Space.VV, normalised(near).vectors[0]),
            TaskType.MV_EMBED: _vector(Space.MV, self._embedder.embed_texts([text])[0]),
        }


def _words(side: str, number: int, seed: int, empty: float) -> Outputs:
    name = hashlib.sha256(f"{side} {seed} {number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(name[:8]))
    parts = []
    for options, truth in ((list(COLOURS), number), (THINGS, number // 8), (PLACES, number // 64)):
        wrong = rng.random() < ERRS
        parts.append(options[int(rng.integers(8)) if wrong else truth % 8])
    colour, thing, place = parts
    caption = f"a {colour} {thing} near the {place} {number}"
    if side == "new":
        caption = f"{NEW_WORDS} {thing}, {colour}, at {place} {number}"
    said = rng.random() >= empty
    return Outputs(
        caption=TextStatement(text=caption, confidence=0.9) if said else None,
        tags=tuple(LabelStatement(label=p, confidence=0.8, scheme="seeded") for p in parts),
    )


def _place(number: int) -> ContentIdentity:
    return ContentIdentity(uri=f"file:///photos/scene-{number}.png", size=number + 1, mtime_ns=1)


def _key(envelope: ResultEnvelope) -> str:
    asset = envelope.resource_fingerprint.content_hash
    assert asset is not None
    return evidence_key("t", asset, envelope.task_type, envelope.transform)


def _vector(space: Space, values: np.ndarray[Any, np.dtype[np.float32]]) -> Outputs:
    return Outputs(vectors=(VectorStatement.of(space, values),))


def _sealed(
    kind: TaskType, transform: str, said: Outputs, asset: str, place: ContentIdentity
) -> ResultEnvelope:
    fields: dict[str, Any] = {
        "tenant_id": "t",
        "task_id": digest([place.uri, kind.value, transform]),
        "task_type": kind.value,
        "transform": transform,
        "run_id": "run-seeded",
        "worker_id": "seeded",
        "attempt": 1,
        "fence": 1,
        "resource_fingerprint": ResourceFingerprint(
            uri=place.uri, content_hash=asset, size=place.size, mtime_ns=1
        ),
        "image": ImageFacts(width=64, height=64, format="PNG"),
        "outputs": said,
        "status": EnvelopeStatus.SUCCESS,
        "observed_at": START,
    }
    return ResultEnvelope.seal(**fields)
