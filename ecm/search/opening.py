"""Opens what a search needs: ranking profile, models, published snapshot, engine.

Knows which errors cost one axis and which cost the whole service. Knows no whole profile: the
caller hands over the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ecm.contracts.search import Axis
from ecm.errors import EcmError, SnapshotNotFound
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import published_ref
from ecm.evidence.store import EvidenceStore
from ecm.images.cuts import thumbnail_jpeg
from ecm.images.limits import ImageLimits
from ecm.models.base import ImageModel, VisualQueryEncoder
from ecm.models.manifest import ModelManifest, load_manifest
from ecm.models.registry import (
    STRUCTURE_BACKEND,
    open_image_model,
    open_pair_scorer,
    open_query_encoder,
    open_text_embedder,
)
from ecm.search.config import FEATURES, SearchConfig
from ecm.search.encoders import EncodingRequest, LocalEncoder, QueryModels
from ecm.search.engine import SearchEngine
from ecm.search.profile import RankingProfile, load_ranking_profile
from ecm.search.reading import ReadingReranker
from ecm.search.rerank import FeatureReranker, Reranker

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class SearchParts:
    """The parts of a profile that search needs.

    `manifests` are those of the indexing models by vector axis, `transforms` their fingerprints:
    what a snapshot must have been made with for a query to be comparable. `image_speaks`: the vv
    model is also the tagger, and no other text enters the meaning vectors.
    Digests of model files are remembered in `memory`; None: every file is read.
    """

    evidence: EvidenceConfig
    search: SearchConfig
    limits: ImageLimits
    ranking_folder: Path
    manifest_folders: Sequence[Path]
    manifests: Mapping[Axis, ModelManifest]
    transforms: Mapping[Axis, str]
    image_speaks: bool = False
    memory: Path | None = None


def open_ranking(parts: SearchParts) -> RankingProfile:
    """The ranking profile that is named. Raises ConfigError."""
    return load_ranking_profile(parts.search.ranking, parts.ranking_folder)


def open_encoder(parts: SearchParts) -> LocalEncoder:
    """The query models, verified against their manifests.

    A model that is missing or is not the declared one costs its axis, not the service: every query
    that needs it says why. With `search.warm` each model runs once, so that no user waits for it.
    """
    missing: dict[Axis, str] = {}
    threads = parts.search.threads
    image, visual_text = _open_visual(parts, missing)
    meaning = None
    if manifest := parts.manifests.get(Axis.MV):
        meaning = _opened(
            lambda: open_text_embedder(manifest, threads=threads, memory=parts.memory),
            Axis.MV,
            missing,
        )
    transforms = dict(parts.transforms)
    look = _open_look(parts, missing)
    if look is None and _looks_through_network(parts):
        transforms.pop(Axis.X, None)
    encoder = LocalEncoder(
        QueryModels(image, visual_text, meaning, parts.image_speaks, look),
        transforms,
        parts.limits,
        missing,
    )
    if parts.search.warm:
        _warm(encoder)
    return encoder


def open_snapshot(parts: SearchParts) -> SnapshotReader:
    """The published snapshot. Raises SnapshotNotFound (there is none), ConfigError, StoreCorrupt.

    The reader stays on it when another one is published.
    """
    store = EvidenceStore.open(parts.evidence)
    ref = published_ref(store)
    if ref is None:
        raise SnapshotNotFound(
            "no snapshot is published yet", hint="`ecm index` or `ecm materialize` publishes one"
        )
    return SnapshotReader.open(store, ref)


def open_engine(parts: SearchParts) -> SearchEngine:
    """An engine in this process on the published snapshot. Close it after use."""
    ranking = open_ranking(parts)
    return SearchEngine(
        open_snapshot(parts),
        open_encoder(parts),
        ranking,
        parts.search,
        reranker=open_reranker(parts),
        structure=structure_of(parts),
    )


def open_reranker(parts: SearchParts) -> Reranker:
    """The second stage that the profile names: the features of the ranking profile, or a model that
    reads beside them.

    Raises ConfigError, ManifestError, ManifestMismatch, BackendMissing: it is named, so it must be
    there.
    """
    ranking, name = open_ranking(parts), parts.search.reranker
    if name == FEATURES:
        return FeatureReranker(ranking)
    manifest = load_manifest(name, parts.manifest_folders)
    scorer = open_pair_scorer(manifest, threads=parts.search.threads, memory=parts.memory)
    return ReadingReranker(scorer, ranking)


def structure_of(parts: SearchParts) -> str | None:
    """The fingerprint of the structure descriptor; None where a network makes x."""
    return None if _looks_through_network(parts) else parts.transforms.get(Axis.X)


def _open_visual(
    parts: SearchParts, missing: dict[Axis, str]
) -> tuple[ImageModel | None, VisualQueryEncoder | None]:
    manifest = parts.manifests.get(Axis.VV)
    if manifest is None:
        return None, None
    threads = parts.search.threads
    image = _opened(
        lambda: open_image_model(manifest, threads=threads, memory=parts.memory), Axis.VV, missing
    )
    if image is None or not manifest.query_encoder:
        return image, None

    def bridge() -> VisualQueryEncoder:
        own = manifest
        if manifest.query_encoder != manifest.name:
            own = load_manifest(manifest.query_encoder, parts.manifest_folders)
        elif isinstance(image, VisualQueryEncoder):
            return image  # pictures and texts through the same weights, which are here once
        return open_query_encoder(own, reaches=manifest, threads=threads, memory=parts.memory)

    return image, _opened(bridge, Axis.VV, missing)


def _looks_through_network(parts: SearchParts) -> bool:
    """Whether x is what a network sees, and not the structure descriptor."""
    manifest = parts.manifests.get(Axis.X)
    return manifest is not None and manifest.backend != STRUCTURE_BACKEND


def _open_look(parts: SearchParts, missing: dict[Axis, str]) -> ImageModel | None:
    manifest = parts.manifests.get(Axis.X)
    if manifest is None or not _looks_through_network(parts):
        return None
    threads = parts.search.threads
    return _opened(
        lambda: open_image_model(manifest, threads=threads, memory=parts.memory), Axis.X, missing
    )


def _opened(build: Callable[[], Opened], axis: Axis, missing: dict[Axis, str]) -> Opened | None:
    try:
        return build()
    except EcmError as error:
        missing[axis] = f"the model cannot be used: {error}"
        return None


def _warm(encoder: LocalEncoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    axes = frozenset({Axis.VV, Axis.X, Axis.MV})
    encoder.encode(
        [
            EncodingRequest(axes, text="warm"),
            EncodingRequest(axes, image=thumbnail_jpeg(noise)),
        ]
    )
