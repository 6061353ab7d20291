"""Small indexed stores for tests of search and serving: pictures in, published snapshot out.

Goes the way of the pipeline (decode, cut, models, sealed envelopes, committer, snapshot) in one
process, without ledger and Ray. With the fake models it takes milliseconds per picture.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ecm.config import Profile, load_profile
from ecm.contracts.identity import digest
from ecm.contracts.result import (
    EnvelopeStatus,
    ImageFacts,
    Outputs,
    ResourceFingerprint,
    ResultEnvelope,
    Space,
    VectorStatement,
)
from ecm.contracts.task import TaskType
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from ecm.images.cuts import Cut, cut, thumbnail_jpeg
from ecm.images.decode import DecodedImage, decode
from ecm.images.structure import structure_descriptor
from ecm.models.base import normalised
from ecm.models.meaning import meaning_text
from ecm.models.registry import open_image_model, open_text_embedder
from ecm.opening import axis_transforms, plan_of

START = 1_790_000_000.0
FAKE_MODELS = (
    "models.vision=fake-image",
    "models.vv=fake-image",
    "models.mv=fake-text",
    "tenant=t",
)
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (40, 70, 210),
    "yellow": (235, 220, 50),
    "black": (15, 15, 15),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "brown": (120, 75, 40),
}


def fake_profile(home: Path, *overrides: str) -> Profile:
    """A profile on the fake models whose store lies in `home`."""
    return load_profile(None, home=home, overrides=[*FAKE_MODELS, *overrides], environ={})


def picture(colour: str, mark: int = 0, size: tuple[int, int] = (320, 240)) -> bytes:
    """A PNG that is mostly one colour, with stripes that make each `mark` another content."""
    image = Image.new("RGB", size, COLOURS[colour])
    draw = ImageDraw.Draw(image)
    for stripe in range(mark):
        draw.line([(stripe * 9 % size[0], 0), (size[0] - 1, size[1] // 3)], (255, 255, 255))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def gallery(per_colour: int = 3) -> dict[str, bytes]:
    """A few pictures of every colour by file name."""
    return {
        f"{colour}-{mark}.png": picture(colour, mark)
        for colour in COLOURS
        for mark in range(per_colour)
    }


def asset_id(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Indexer:
    """Indexes pictures into the store of a profile and publishes snapshots of it."""

    profile: Profile
    now: float = START
    batches: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.store = EvidenceStore.create(self.profile.evidence, self.now)
        self.plan = plan_of(self.profile)
        vision = self.plan.by_type[TaskType.VISION].manifest
        self._image_model = open_image_model(vision, threads=2)
        self._text_model = open_text_embedder(
            self.plan.by_type[TaskType.MV_EMBED].manifest, threads=2
        )
        cuts = vision.preprocessing
        assert cuts is not None
        self._cut = Cut(
            name=vision.name,
            resize_shorter=cuts.resize_shorter,
            crop=cuts.crop,
            interpolation=cuts.interpolation,
        )

    def add(
        self,
        pictures: Mapping[str, bytes],
        *,
        tenant: str = "t",
        run_id: str = "run-1",
        without: Iterable[TaskType] = (),
    ) -> list[str]:
        """Commit what the models say about pictures by name; their asset ids in order."""
        envelopes = []
        for name, data in pictures.items():
            envelopes += self._envelopes(name, data, tenant, run_id, frozenset(without))
        self.batches += 1
        EvidenceCommitter(self.store).append(digest(["batch", tenant, self.batches]), envelopes)
        return [asset_id(data) for data in pictures.values()]

    def publish(self) -> SnapshotRef:
        """Build a snapshot of everything committed so far and publish it."""
        self.now += 1.0
        marks = axis_transforms(self.plan)
        policy = SnapshotPolicy(transforms={axis: (mark,) for axis, mark in marks.items()})
        snapshots = SnapshotStore(self.store)
        return snapshots.publish(snapshots.build(policy, self.now).snapshot_id, self.now)

    def _envelopes(
        self, name: str, data: bytes, tenant: str, run_id: str, without: frozenset[TaskType]
    ) -> list[ResultEnvelope]:
        image = decode(data, self.profile.images, max(256, self._cut.resize_shorter))
        said = self._said(image)
        return [
            self._sealed(kind, said[kind], image, (name, data), (tenant, run_id))
            for kind in said
            if kind not in without
        ]

    def _said(self, image: DecodedImage) -> dict[TaskType, Outputs]:
        wanted = frozenset({TaskType.VISION, TaskType.VV_EMBED})
        pixels = cut(image.pixels, self._cut)
        seen = self._image_model.analyse(pixels[None], wanted)
        caption, tags, classes = seen.captions[0], seen.tags[0], seen.classification[0]
        text = meaning_text(caption, tags, classes, ())
        raw = structure_descriptor(image.pixels, image.width, image.height)
        return {
            TaskType.VISION: Outputs(
                caption=caption,
                tags=tags,
                classification=classes,
                thumbnail=base64.b64encode(thumbnail_jpeg(image.pixels)),
            ),
            TaskType.VV_EMBED: _vector(Space.VV, seen.vectors[Space.VV].vectors[0]),
            TaskType.X_EMBED: _vector(Space.X, normalised(raw[None]).vectors[0]),
            TaskType.MV_EMBED: _vector(Space.MV, self._text_model.embed_texts([text])[0]),
        }

    def _sealed(
        self,
        kind: TaskType,
        said: Outputs,
        image: DecodedImage,
        named: tuple[str, bytes],
        origin: tuple[str, str],
    ) -> ResultEnvelope:
        name, data = named
        uri = name if "://" in name else f"file:///photos/{name}"
        transform = self.plan.by_type[kind].fingerprint
        fields: dict[str, Any] = {
            "tenant_id": origin[0],
            "task_id": digest([origin[0], uri, kind.value, transform]),
            "task_type": kind.value,
            "transform": transform,
            "run_id": origin[1],
            "worker_id": "factory",
            "attempt": 1,
            "fence": 1,
            "resource_fingerprint": ResourceFingerprint(
                uri=uri, content_hash=asset_id(data), size=len(data), mtime_ns=1
            ),
            "image": ImageFacts(width=image.width, height=image.height, format=image.format),
            "outputs": said,
            "status": EnvelopeStatus.SUCCESS,
            "observed_at": self.now,
        }
        return ResultEnvelope.seal(**fields)


def _vector(space: Space, values: np.ndarray[Any, np.dtype[np.float32]]) -> Outputs:
    return Outputs(vectors=(VectorStatement.of(space, values),))
