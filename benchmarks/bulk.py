"""Large snapshots for benchmarks, written row by row as indexing would leave them.

    python -m benchmarks.bulk --home HOME --tenant big=50000 [--tenant small=500 …]

No picture is analysed: an asset is of one or two classes of the packaged model, whose names are its
tags, with a composed caption, a vector near those of its classes on vv and mv, and the structure
descriptor of one of some thousand drawn scenes. The classes' vectors are what the profile's own
query models make of their names, so that questions in words find what they say. Rows lie in the
table that searching reads, with its indices, and the snapshot is published.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecm.config import Profile, load_profile
from ecm.contracts.identity import digest
from ecm.contracts.search import Axis
from ecm.evidence.generation import create_indices, name_words, search_schema, tag_version
from ecm.evidence.policy import SnapshotPolicy
from ecm.evidence.publication import publish
from ecm.evidence.refs import VECTOR_AXES, SnapshotMeasurements, SnapshotRef, folder_of, write_ref
from ecm.evidence.snapshot_files import write_files
from ecm.evidence.store import EvidenceStore
from ecm.images.structure import structure_descriptor
from ecm.models.vocabulary import ImageClass, load_vocabulary
from ecm.opening import search_parts
from ecm.search.encoders import EncodingRequest, QueryEncoder
from ecm.search.opening import open_encoder

START = 1_700_000_000.0
SCENES = 4000
LABELS = 8
BATCH = 5000
VOCABULARY = Path(__file__).resolve().parents[1] / "ecm" / "models" / "imagenet"

Floats = npt.NDArray[np.float32]


def unit(values: npt.NDArray[Any]) -> Floats:
    """Rows of length 1, float32."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


def drawn_scenes(rng: np.random.Generator) -> Floats:
    """Structure descriptors of scenes: blocks of colour with noise, in usual proportions."""
    rows = []
    for _ in range(SCENES):
        scene = np.empty((32, 32, 3), np.float64)
        scene[:] = rng.integers(0, 256, 3)
        for _ in range(int(rng.integers(1, 4))):
            top, left = rng.integers(0, 24, 2)
            high, wide = rng.integers(6, 32, 2)
            scene[top : top + high, left : left + wide] = rng.integers(0, 256, 3)
        noisy = np.clip(scene + rng.normal(0, 12, scene.shape), 0, 255).astype(np.uint8)
        width, height = rng.choice([(4, 3), (3, 4), (1, 1), (16, 9)])
        rows.append(structure_descriptor(noisy, int(width), int(height)))
    return unit(np.stack(rows))


class Corpus:
    """What assets are drawn from: classes with their vectors, and scenes."""

    def __init__(self, encoder: QueryEncoder, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        tables = sorted(VOCABULARY.glob("*.tsv"))
        named = {table.stem: table for table in tables}
        vocabulary = load_vocabulary(named["classes"], named["ancestors"])
        self.classes: tuple[ImageClass, ...] = vocabulary.classes
        wanted = frozenset({Axis.VV, Axis.MV})
        texts = [f"a photo of a {each.lemmas[0]}" for each in self.classes]
        encoded = encoder.encode([EncodingRequest(wanted, text) for text in texts])
        self.marks = {axis: encoded[0].vectors[axis].transform for axis in wanted}
        self.centres = {
            axis: np.stack([one.vectors[axis].values for one in encoded]) for axis in wanted
        }
        self.centres[Axis.X] = drawn_scenes(self.rng)
        common = self.rng.normal(size=self.centres[Axis.VV].shape[1])
        self.common = unit(common[None])[0]

    def dims(self) -> dict[Axis, int]:
        return {axis: self.centres[axis].shape[1] for axis in VECTOR_AXES}

    def vectors(self, axis: Axis, first: npt.NDArray[np.intp], spread: float) -> Floats:
        """float32 (n, d): near a centre; on vv all share a part, as features of pictures do."""
        centres = self.centres[axis]
        noise = self.rng.normal(size=(len(first), centres.shape[1])) / np.sqrt(centres.shape[1])
        values = centres[first] + spread * noise
        return unit(values + self.common) if axis is Axis.VV else unit(values)

    def batch(
        self, tenant: str, numbers: range, schema: pa.Schema, marks: Mapping[Axis, str]
    ) -> pa.RecordBatch:
        count = len(numbers)
        chosen = self.rng.integers(0, len(self.classes), (count, 2))
        ids = [digest([tenant, number]) for number in numbers]
        uris = [[f"file:///bulk/{tenant}/roll{n // 500}/IMG_{n:07d}.jpg"] for n in numbers]
        labels = [self._labels(pair) for pair in chosen]
        sure = np.sort(self.rng.random((count, LABELS)), axis=1)[:, ::-1]
        columns: dict[str, Any] = {
            "tenant_id": [tenant] * count,
            "asset_id": ids,
            "uris": uris,
            "name": [name_words(one) for one in uris],
            "path": [f"bulk {tenant} roll{n // 500}" for n in numbers],
            "width": self.rng.integers(600, 6000, count),
            "height": self.rng.integers(600, 6000, count),
            "format": self.rng.choice(["JPEG", "PNG", "WEBP"], count),
            "size": self.rng.integers(10_000, 9_000_000, count),
            "taken_at": START - self.rng.random(count) * 3e8,
            "modified_at": START - self.rng.random(count) * 3e8,
            "added_at": np.full(count, START),
            "said_at": np.full(count, START),
            "agreement": [None] * count,
            "caption": [self.caption(pair) for pair in chosen],
            "caption_composed": [True] * count,
            "tags": ["\n".join(said) for said in labels],
            "classification": [said[0] for said in labels],
            "ocr": [f"EXIT {n % 977}" if n % 10 == 0 else None for n in numbers],
            "user": [None] * count,
            "statements": [
                [
                    _statement(asset_id, place, text, float(sure[row, place]), marks[Axis.FTS])
                    for place, text in enumerate(said)
                ]
                for row, (asset_id, said) in enumerate(zip(ids, labels, strict=True))
            ],
        }
        scenes = self.rng.integers(0, SCENES, count)
        for axis in VECTOR_AXES:
            near = scenes if axis is Axis.X else chosen[:, 0]
            vectors = self.vectors(axis, near, 0.02 if axis is Axis.X else 1.0)
            columns[axis.value] = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.ravel()), vectors.shape[1]
            )
            origin = {"run_id": "run-bulk", "transform": marks[axis]}
            columns[f"{axis.value}_evidence"] = [
                {"evidence_id": digest([a, axis.value]), **origin} for a in ids
            ]
        arrays = [pa.array(columns[field.name], field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def caption(self, pair: Sequence[int]) -> str:
        """What is said of an asset of two classes."""
        first, second = (self.classes[place].lemmas[0] for place in pair)
        return f"a photo of a {first}, with a {second}"

    def _labels(self, pair: Sequence[int]) -> list[str]:
        """Names of both classes, the first one's first, at most LABELS."""
        names = [name for place in pair for name in self.classes[place].lemmas]
        return list(dict.fromkeys(names))[:LABELS]


def _statement(asset_id: str, place: int, text: str, sure: float, mark: str) -> dict[str, Any]:
    return {
        "evidence_id": digest([asset_id, "tag", place]),
        "kind": "tag",
        "ordinal": place,
        "run_id": "run-bulk",
        "transform": mark,
        "confidence": sure,
        "text": text,
        "scheme": "imagenet-1k",
        "composed": False,
    }


def make(
    profile: Profile, tenants: Mapping[str, int], seed: int = 7, kind: type[Corpus] = Corpus
) -> SnapshotRef:
    """Write and publish a snapshot in a new store of the profile."""
    parts = search_parts(profile)
    corpus = kind(open_encoder(parts), seed)
    marks = dict(parts.transforms)
    store = EvidenceStore.create(profile.evidence, START)
    snapshot_id = f"s-20231114T221320Z-{digest([*tenants.items(), seed])[:8]}"
    location = f"{folder_of(snapshot_id)}/search_materialized.lance"
    schema = search_schema(corpus.dims())

    def batches() -> Iterator[pa.RecordBatch]:
        for tenant, assets in tenants.items():
            for first in range(0, assets, BATCH):
                yield corpus.batch(tenant, range(first, min(first + BATCH, assets)), schema, marks)

    reader = pa.RecordBatchReader.from_batches(schema, batches())
    dataset = lance.write_dataset(reader, store.storage.location(location), schema=schema)
    create_indices(dataset, VECTOR_AXES, profile.evidence.vector_index_rows)
    tag_version(dataset, snapshot_id)
    policy = SnapshotPolicy(transforms={axis: (mark,) for axis, mark in marks.items()})
    ref = SnapshotRef(
        snapshot_id=snapshot_id,
        store_id=store.header.store_id,
        created_at=START,
        table=location,
        version=int(dataset.version),
        policy=policy,
        policy_digest=policy.digest(),
        transforms={axis: (mark,) for axis, mark in marks.items()},
        dims=corpus.dims(),
        assets=sum(tenants.values()),
        tenants=dict(tenants),
        evidence_versions={},
        files_sha256=write_files(store, snapshot_id, location, dataset, {}),
        measurements=SnapshotMeasurements(
            coverage={}, indexed_rows={}, neighbours={}, superseded=0, seconds=0.0
        ),
    )
    write_ref(store, ref)
    return publish(store, snapshot_id, START)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--tenant", action="append", required=True, metavar="NAME=ASSETS")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    profile = load_profile(
        options.profile, home=options.home, overrides=options.set, environ=os.environ
    )
    tenants = {name: int(count) for name, _, count in (t.partition("=") for t in options.tenant)}
    began = time.perf_counter()
    ref = make(profile, tenants)
    print(f"{ref.assets} assets in {ref.snapshot_id}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
