"""Golden probes of an opened model as a vigil asks for them: a call that says what has drifted.

Which probes there are and what passes is known to `ecm.models`. A manifest without probes is not
watched.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from ecm.contracts.quarantine import Drift
from ecm.errors import EcmError, EngineDied
from ecm.models.attestation import probes_of
from ecm.models.base import ImageModel, TextEmbedder
from ecm.models.captioner import Captioner
from ecm.models.manifest import ModelManifest
from ecm.models.probe_files import ProbeSet, read_probes
from ecm.models.probes import (
    Look,
    ProbeVerdict,
    probe_captioner,
    probe_image_model,
    probe_text_embedder,
)
from ecm.stages.looks import look_of
from ecm.stages.vigil import Probing

_LIVES = 4
"""Engines that may die under the probes: pictures of blocks in work kill them, too."""

_SECONDS = 600.0
"""An engine that has not answered its probes by then is not the one that was pinned."""


def image_probing(model: ImageModel, memory: Path | None = None) -> Probing | None:
    """The probes of an image model, None where it ships with none. Raises ManifestError."""
    probes = _read(model.manifest, memory)
    if probes is None:
        return None
    look = look_of(model.manifest)
    return lambda: _drift(probe_image_model(model, probes, look))


def text_probing(model: TextEmbedder, memory: Path | None = None) -> Probing | None:
    """The probes of a text embedder, None where it ships with none. Raises ManifestError."""
    probes = _read(model.manifest, memory)
    return None if probes is None else lambda: _drift(probe_text_embedder(model, probes))


def caption_probing(
    model: Captioner, loop: asyncio.AbstractEventLoop, memory: Path | None = None
) -> Probing | None:
    """The probes of a captioner whose engine lives in `loop`, to be called from another thread."""
    probes = _read(model.manifest, memory)
    look = look_of(model.manifest)

    def ask(known: ProbeSet) -> Drift | None:
        asked = _outlived(model, known, look)
        try:
            return _drift(asyncio.run_coroutine_threadsafe(asked, loop).result(_SECONDS))
        except TimeoutError:
            return Drift(probe="all", said=f"no answer to the probes in {_SECONDS:g} s")
        except EcmError as error:
            return Drift(probe="all", said=f"no answer to the probes: {error.message}"[:1000])

    return None if probes is None else lambda: ask(probes)


async def _outlived(model: Captioner, known: ProbeSet, look: Look) -> ProbeVerdict:
    """The verdict of an engine that lived through the probes. Raises EngineDied when none did."""
    for _ in range(_LIVES - 1):
        try:
            return await probe_captioner(model, known, look)
        except EngineDied:
            await model.restart()  # does nothing where the stage was first
    return await probe_captioner(model, known, look)


def _read(manifest: ModelManifest, memory: Path | None) -> ProbeSet | None:
    path = probes_of(manifest, memory)
    return None if path is None else read_probes(path)


def _drift(verdict: ProbeVerdict) -> Drift | None:
    """The first probe that failed, in a line that names it."""
    first = verdict.first
    if first is None:
        return None
    return first.model_copy(update={"said": f"probe {first.probe}: {first.said}"[:1000]})
