"""Random small snapshots for the model of searching, and an encoder that needs no model.

Assets of one to three tenants with texts of a small vocabulary, labels, vectors and drawn pictures,
written as rows of the table that searching reads, with the product's own indices. Ids, texts and
vectors are repeated, within a tenant and across tenants, so that there are ties and neighbours.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from ecm.contracts.identity import digest
from ecm.contracts.search import Axis
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.generation import create_indices, search_schema, tag_version
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.publication import publish
from ecm.evidence.refs import VECTOR_AXES, SnapshotMeasurements, SnapshotRef, folder_of, write_ref
from ecm.evidence.snapshot_files import write_files
from ecm.evidence.store import EvidenceStore
from ecm.images.structure import STRUCTURE_DIM, structure_descriptor
from ecm.models.base import normalised
from ecm.search.encoders import AxisVector, EncodedQuery, EncodingRequest
from ecm.search.layout import read_layout
from tests.search_model_words import FIELDS, STEMS, Asset

TRANSFORM = digest("corpus")
DIMS = {Axis.VV: 6, Axis.X: STRUCTURE_DIM, Axis.MV: 5}
OF_LOOK = ("red", "on", "left", "bright", "symmetrical")
VOCABULARY = [word for word in STEMS if word not in OF_LOOK]
LABELS = ["dog", "Dog", "tiger bear", "houses", "the horse", "lemon", "red", "cat"]
IDS = [hashlib.sha256(f"asset {number}".encode()).hexdigest() for number in range(60)]
TENANTS = ("ann", "ann-b", "bob")


@functools.cache
def unit(axis: Axis, name: str) -> np.ndarray:
    """A vector of an axis by name, float32 of length 1: the same wherever it is asked for."""
    seed = int.from_bytes(hashlib.sha256(f"{axis.value} {name}".encode()).digest()[:8])
    rng = np.random.default_rng(seed)
    if axis is not Axis.X:
        return normalised(rng.normal(size=(1, DIMS[axis])).astype(np.float32)).vectors[0]
    scene = np.empty((32, 32, 3), np.uint8)
    scene[:] = rng.integers(0, 256, 3)
    top, left = rng.integers(0, 24, 2)
    scene[top : top + 14, left : left + 14] = (220, 30, 30) if seed % 2 else rng.integers(0, 256, 3)
    return normalised(structure_descriptor(scene, 32, 24)[None]).vectors[0]


def drawn_assets(seed: int, most: int = 40) -> list[Asset]:
    """The assets of a corpus: 3 to `most` of one to three tenants."""
    rnd = random.Random(seed)
    tenants = TENANTS[: rnd.randint(1, 3)]
    homes = [(rnd.choice(tenants), one) for one in IDS for _ in range(2)]
    chosen = sorted(set(rnd.sample(homes, rnd.choice((rnd.randint(3, 12), most)))))
    rnd.shuffle(chosen)
    kinds, labels = rnd.choice((4, 200)), rnd.choice((LABELS, LABELS[:2]))
    return [_drawn(rnd, tenant, asset_id, kinds, labels) for tenant, asset_id in chosen]


def _drawn(
    rnd: random.Random, tenant: str, asset_id: str, kinds: int, vocabulary: Sequence[str]
) -> Asset:
    def text(most: int) -> str | None:
        return (
            " ".join(rnd.choices(list(STEMS), k=rnd.randint(1, most)))
            if rnd.random() < 0.7
            else None
        )

    def labels(most: int) -> list[tuple[str, float | None]]:
        chosen = rnd.choices(vocabulary, k=rnd.randint(int(rnd.random() < 0.8), most))
        return [(one, rnd.choice((None, 0.1, 0.25, 0.5, rnd.random()))) for one in chosen]

    tags, classes = labels(4), labels(2)
    said = {"tags": tags, "classification": classes}
    texts = {column: text(6) for column in FIELDS if column not in said}
    texts |= {column: "\n".join(one for one, _ in own) or None for column, own in said.items()}
    return Asset(
        tenant=tenant,
        asset_id=asset_id,
        texts=texts | {"name": texts["name"] or "xq7"},
        tags=tags,
        classes=classes,
        vectors={
            axis.value: unit(axis, str(rnd.randrange(kinds)))
            for axis in VECTOR_AXES
            if rnd.random() < 0.9
        },
        width=rnd.choice((100, 200, 300)),
        height=rnd.choice((100, 150)),
        said_at=float(rnd.randrange(5)),
        agreement=rnd.choice((None, 0.2, 0.9)),
    )


def snapshot_of(folder: Path, assets: Sequence[Asset], number: int = 0) -> SnapshotRef:
    """Write and publish a snapshot of the assets; number 0 makes the store of the folder."""
    config = EvidenceConfig(uri=str(folder))
    store = EvidenceStore.open(config) if number else EvidenceStore.create(config, 0.0)
    snapshot_id = f"s-20260101T{number:06d}Z-{digest(number)[:8]}"
    location = f"{folder_of(snapshot_id)}/search_materialized.lance"
    schema = search_schema(DIMS)
    table = pa.Table.from_pylist([_row(one) for one in assets], schema=schema)
    dataset = lance.write_dataset(table, store.storage.location(location), schema=schema)
    create_indices(dataset, VECTOR_AXES, store.config.vector_index_rows)
    tag_version(dataset, snapshot_id)
    marks = dict.fromkeys(Axis, (TRANSFORM,))
    policy = SnapshotPolicy(transforms=marks)
    tenants = {name: sum(one.tenant == name for one in assets) for name in TENANTS}
    ref = SnapshotRef(
        snapshot_id=snapshot_id,
        store_id=store.header.store_id,
        created_at=float(number),
        table=location,
        version=int(dataset.version),
        policy=policy,
        policy_digest=policy.digest(),
        transforms=marks,
        dims=DIMS,
        assets=len(assets),
        tenants={name: count for name, count in tenants.items() if count},
        evidence_versions={},
        files_sha256=write_files(store, snapshot_id, location, dataset, {}),
        measurements=SnapshotMeasurements(
            coverage={}, indexed_rows={}, neighbours={}, superseded=0, seconds=0.0
        ),
    )
    write_ref(store, ref)
    return publish(store, snapshot_id, float(number))


def _row(one: Asset) -> dict[str, Any]:
    said = [("tag", *label) for label in one.tags] + [("classification", *c) for c in one.classes]
    run = f"run-of-{one.tenant}"
    row: dict[str, Any] = {
        "tenant_id": one.tenant,
        "asset_id": one.asset_id,
        "uris": [f"file:///{one.tenant}/{one.asset_id[:8]}.jpg"],
        "width": one.width,
        "height": one.height,
        "format": "JPEG",
        "said_at": one.said_at,
        "agreement": one.agreement,
        "caption_composed": False,
        **one.texts,
        "statements": [
            {
                "evidence_id": digest([one.tenant, one.asset_id, place]),
                "kind": kind,
                "ordinal": place,
                "run_id": run,
                "transform": TRANSFORM,
                "confidence": confidence,
                "text": text,
                "scheme": None,
                "composed": False,
            }
            for place, (kind, text, confidence) in enumerate(said)
        ],
    }
    for axis, vector in one.vectors.items():
        row[axis] = vector.tolist()
        row[f"{axis}_evidence"] = {
            "evidence_id": digest([one.tenant, one.asset_id, axis]),
            "run_id": run,
            "transform": TRANSFORM,
        }
    return row


@dataclass(frozen=True)
class Oracle:
    """A `QueryEncoder`: a text or image has the vectors of its name; `centred` are texts on vv."""

    centred: bool = False
    changes: Mapping[Axis, AxisVector | str] | None = None

    def vectors(self, text: str | None, image: bytes | None) -> dict[Axis, AxisVector]:
        """What a text, or else an image, brings on every axis that it reaches."""
        name = text if image is None else image.decode()
        found = {a: AxisVector(unit(a, name), TRANSFORM) for a in VECTOR_AXES}  # type: ignore[arg-type]
        if image is None and text is not None:
            layout = read_layout(text)
            found[Axis.VV] = AxisVector(unit(Axis.VV, text), TRANSFORM, self.centred)
            del found[Axis.X]
            if layout is not None:
                found[Axis.X] = AxisVector(layout.vector(), TRANSFORM)
        return found

    def encode(self, requests: Sequence[EncodingRequest]) -> list[EncodedQuery]:
        encoded = []
        for one in requests:
            brought: dict[Axis, AxisVector | str] = {**self.vectors(one.text, one.image)}
            brought |= self.changes or {}
            mine = {a: v for a, v in brought.items() if a in one.axes}
            encoded.append(
                EncodedQuery(
                    {a: v for a, v in mine.items() if isinstance(v, AxisVector)},
                    {a: v for a, v in mine.items() if isinstance(v, str)},
                )
            )
        return encoded
