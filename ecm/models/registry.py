"""From a manifest to a working model: verifies the files, then constructs the back end it names.

Knows the table of back ends and which library each needs. Imports none of them before it is asked
for.
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ecm.errors import BackendMissing, ManifestError, ManifestMismatch
from ecm.models.attestation import attested
from ecm.models.base import ImageModel, PairScorer, TextEmbedder, VisualQueryEncoder
from ecm.models.captioner import Captioner
from ecm.models.manifest import ModelManifest


@dataclass(frozen=True)
class Backend:
    """Where a back end lives (`module:Class`) and what to install when its library is missing.

    `remembers`: it keeps what it measured in the profile's cache, and is told where.
    """

    target: str
    install: str
    remembers: bool = False


STRUCTURE_BACKEND = "structure"
"""Computed from pixels without a network, by `ecm.images.structure`: no model is opened for it."""

TRANSFORMERS = "pip install torch 'transformers>=5,<6'"
IMAGE_MODELS = {
    "efficientnet-lite0": Backend("ecm.models.efficientnet:EfficientNetLite0", "pip install torch"),
    "dual-encoder": Backend("ecm.models.dual_encoder:DualEncoder", TRANSFORMERS, remembers=True),
    "dino": Backend("ecm.models.dino:Dino", TRANSFORMERS, remembers=True),
    "fake-image": Backend("ecm.models.fakes:FakeImageModel", "pip install ecm"),
    "fake-ocr": Backend("ecm.models.fake_ocr:FakeOcr", "pip install ecm"),
    "rapidocr": Backend("ecm.models.rapid_ocr:RapidOcr", "pip install 'ecm[ocr]'"),
}
CAPTIONERS = {
    "vllm": Backend("ecm.models.vllm_captioner:vllm_captioner", "pip install 'ecm[gpu]'"),
    "fake-captioner": Backend("ecm.models.fake_engine:fake_captioner", "pip install ecm"),
}
TEXT_EMBEDDERS = {
    "minilm": Backend("ecm.models.minilm:MiniLM", "pip install torch tokenizers safetensors"),
    "qwen-embedding": Backend(
        "ecm.models.qwen_embedding:QwenEmbedding", TRANSFORMERS, remembers=True
    ),
    "fake-text": Backend("ecm.models.fakes:FakeTextEmbedder", "pip install ecm"),
}
QUERY_ENCODERS = {
    "class-bridge": Backend(
        "ecm.models.bridge:ClassBridge", "pip install torch tokenizers safetensors"
    ),
    "dual-encoder": Backend(
        "ecm.models.dual_encoder:dual_query_encoder", TRANSFORMERS, remembers=True
    ),
    "fake-query": Backend("ecm.models.fakes:FakeQueryEncoder", "pip install ecm"),
}

PAIR_SCORERS = {
    "cross-encoder": Backend("ecm.models.cross_encoder:CrossEncoder", TRANSFORMERS),
    "fake-cross": Backend("ecm.models.fake_cross:FakeCrossEncoder", "pip install ecm"),
}


def open_image_model(
    manifest: ModelManifest, *, threads: int, memory: Path | None = None
) -> ImageModel:
    """The image model of `manifest`, computing with `threads` CPU threads.

    `memory` is where digests of files are remembered; None: every file is read.
    Raises ManifestMismatch, ManifestError or BackendMissing before any weight is used.
    """
    model: ImageModel = _opened(IMAGE_MODELS, "image model", manifest, threads, memory)
    return model


def open_captioner(
    manifest: ModelManifest, *, threads: int, memory: Path | None = None
) -> Captioner:
    """The captioner of `manifest`; errors as for `open_image_model`."""
    captioner: Captioner = _opened(CAPTIONERS, "captioner", manifest, threads, memory)
    return captioner


def open_text_embedder(
    manifest: ModelManifest, *, threads: int, memory: Path | None = None
) -> TextEmbedder:
    """The text embedder of `manifest`; errors as for `open_image_model`."""
    embedder: TextEmbedder = _opened(TEXT_EMBEDDERS, "text embedder", manifest, threads, memory)
    return embedder


def open_pair_scorer(
    manifest: ModelManifest, *, threads: int, memory: Path | None = None
) -> PairScorer:
    """The reader of queries and texts of `manifest`; errors as for `open_image_model`."""
    scorer: PairScorer = _opened(PAIR_SCORERS, "cross-encoder", manifest, threads, memory)
    return scorer


def open_query_encoder(
    manifest: ModelManifest, *, reaches: ModelManifest, threads: int, memory: Path | None = None
) -> VisualQueryEncoder:
    """The encoder of query texts into the vv space of the manifest `reaches`.

    Raises ManifestMismatch when a file that both manifests name is not the same in both: the
    encoder would speak of other vectors than the model's.
    """
    theirs = {file.name: file.sha256 for file in reaches.files}
    for file in manifest.files:
        if theirs.get(file.name, file.sha256) != file.sha256:
            raise ManifestMismatch(
                f"query encoder {manifest.name} uses file {file.name} {file.sha256}, but "
                f"{reaches.name} was made with expected {theirs[file.name]}"
            )
    encoder: VisualQueryEncoder = _opened(
        QUERY_ENCODERS, "query encoder", manifest, threads, memory, reaches=reaches
    )
    return encoder


def _opened(
    table: dict[str, Backend],
    kind: str,
    manifest: ModelManifest,
    threads: int,
    memory: Path | None,
    **more: ModelManifest,
) -> Any:
    build = _backend(table, manifest, kind, memory)
    with attested(manifest, memory) as files:
        return build(manifest, files, threads=threads, **more)


def _backend(
    table: dict[str, Backend], manifest: ModelManifest, kind: str, memory: Path | None
) -> Any:
    if manifest.backend not in table:
        raise ManifestError(
            f"manifest {manifest.name}: no {kind} back end called {manifest.backend!r}",
            hint=f"there are {', '.join(sorted(table))}",
        )
    backend = table[manifest.backend]
    module, _, name = backend.target.partition(":")
    if "torch" not in sys.modules:
        # Threads that spin while they wait take the cores from decoding and from other actors: on a
        # busy machine one query took 650 ms instead of 20. Read when torch is loaded, never after.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        build = getattr(importlib.import_module(module), name)
        return partial(build, memory=memory) if backend.remembers else build
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"back end {manifest.backend} needs {error.name}, which is not installed",
            hint=backend.install,
        ) from error
