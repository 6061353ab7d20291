"""Golden probes of a model that nobody has opened yet: recorded when it is pinned, run when asked.

Knows which kind of model a manifest's back end is. Knows no block and no ledger.
"""

from __future__ import annotations

import asyncio

from ecm.errors import ManifestError
from ecm.models.attestation import probes_of
from ecm.models.captioner import Captioner
from ecm.models.manifest import ModelManifest
from ecm.models.probe_files import ProbeSet, read_probes
from ecm.models.probes import (
    ProbeVerdict,
    probe_captioner,
    probe_image_model,
    probe_text_embedder,
    record_captioner,
    record_image_model,
    record_text_embedder,
)
from ecm.models.registry import (
    CAPTIONERS,
    IMAGE_MODELS,
    TEXT_EMBEDDERS,
    open_captioner,
    open_image_model,
    open_text_embedder,
)
from ecm.stages.looks import look_of


def record(manifest: ModelManifest, threads: int) -> ProbeSet:
    """What the model of a manifest says about the probe inputs. Opens it, and closes it again.

    Raises ManifestError for a model that has no probes, such as a query encoder, and whatever
    opening and asking it raise.
    """
    if manifest.backend in IMAGE_MODELS:
        image = open_image_model(manifest, threads=threads)
        return record_image_model(image, look_of(manifest))
    if manifest.backend in TEXT_EMBEDDERS:
        return record_text_embedder(open_text_embedder(manifest, threads=threads))
    if manifest.backend in CAPTIONERS:
        captioner = open_captioner(manifest, threads=threads)
        return asyncio.run(_recorded(captioner, manifest))
    raise ManifestError(f"manifest {manifest.name}: back end {manifest.backend} has no probes")


def verdict(manifest: ModelManifest, threads: int) -> ProbeVerdict | None:
    """Opens the model of a manifest and runs its probes; None when it has none.

    Raises what opening it raises, and EngineDied when its engine does not live through them.
    """
    path = probes_of(manifest, None)
    if path is None:
        return None
    probes = read_probes(path)
    if manifest.backend in IMAGE_MODELS:
        image = open_image_model(manifest, threads=threads)
        return probe_image_model(image, probes, look_of(manifest))
    if manifest.backend in TEXT_EMBEDDERS:
        return probe_text_embedder(open_text_embedder(manifest, threads=threads), probes)
    captioner = open_captioner(manifest, threads=threads)
    return asyncio.run(_probed(captioner, probes, manifest))


async def _recorded(captioner: Captioner, manifest: ModelManifest) -> ProbeSet:
    try:
        return await record_captioner(captioner, look_of(manifest))
    finally:
        captioner.close()


async def _probed(captioner: Captioner, probes: ProbeSet, manifest: ModelManifest) -> ProbeVerdict:
    try:
        return await probe_captioner(captioner, probes, look_of(manifest))
    finally:
        captioner.close()
