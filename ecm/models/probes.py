"""Golden probes: inputs drawn in code, what a model says about them, and whether it still does.

A model whose files are the declared ones can speak differently all the same: another library,
another kernel, memory that fails. It is asked the same as when it was pinned. Knows protocols of
models. Opens none, and cuts no pixels: how a picture becomes what the model sees is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.quarantine import Drift
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.errors import EcmError, EngineDied, ManifestMismatch
from ecm.models.base import ImageModel, Pixels, TextEmbedder, Vectors
from ecm.models.caption_ladder import FALLBACK
from ecm.models.captioner import Captioner, Description
from ecm.models.checkpoint import content_revision
from ecm.models.manifest import ModelManifest
from ecm.models.probe_files import CaptionProbe, ProbeSet, VectorProbe

INPUTS: Final = "1"
"""Version of the inputs below: probes of another version cannot be run."""

LEAST_COSINE: Final = 0.999

Look = Callable[[Pixels], Pixels]
"""A picture uint8 (h, w, 3) as the model of a manifest sees it."""

_Said = Mapping[tuple[str, Space], Vectors]
_HEIGHT, _WIDTH = 336, 448
_TEXTS: Final = {
    "plain": "A red bicycle leans against a white wall.",
    "labels": "lakeside, alp, valley; boat; mountain tent",
    "cased": "NASA's 2nd Mars rover — Überraschung, 3,5 km, n° 42!",
    "script": "猫が窓辺で眠っている。 Кот спит у окна.",
    "long": "A street in the evening with people, shops and trams. " * 60,
}
_SPACE_OF: Final = {TaskType.VV_EMBED: Space.VV, TaskType.X_EMBED: Space.X}


@dataclass(frozen=True)
class ProbeVerdict:
    """How many probes were run, which of them failed, and the least cosine that was seen."""

    run: int
    faults: tuple[Drift, ...] = ()
    least_cosine: float = 1.0

    @property
    def passed(self) -> bool:
        return not self.faults

    @property
    def first(self) -> Drift | None:
        """The first probe that failed."""
        return next(iter(self.faults), None)

    def check(self, manifest: ModelManifest) -> None:
        """Raises ManifestMismatch that names the manifest, the first probe that failed, and why."""
        if self.faults:
            first = self.faults[0]
            raise ManifestMismatch(
                f"manifest {manifest.name}: probe {first.probe}: {first.said}",
                hint="give this machine the declared model and libraries, or pin the model again",
            )


def pictures() -> Mapping[str, Pixels]:
    """The probe pictures, uint8 RGB (336, 448, 3), drawn in whole numbers: equal everywhere.

    Fine and coarse, smooth and sharp: another filter, another cut or another scale shows.
    """
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.uint32)
    rings = ((y - 168) ** 2 + (x - 224) ** 2) // 700
    grain = ((y * _WIDTH + x) * 2654435761 ^ (x * 40503)) >> 9
    return {
        "waves": _rgb(_wave(x * 3), _wave(y * 2 + x), 255 - _wave(y * 3)),
        "tiles": _rgb((x // 5 + y // 5) % 2 * 255, x // 64 * 36, y // 48 * 36),
        "rings": _rgb(_wave(rings * 40), (rings % 3) * 120, x // 2),
        "grain": _rgb(grain & 255, (grain >> 7) & 255, 200 - (y // 3)),
    }


def texts() -> Mapping[str, str]:
    """The probe texts."""
    return _TEXTS


def record_image_model(model: ImageModel, look: Look) -> ProbeSet:
    """What an image model says about the pictures. Raises what the model raises."""
    return _vectors(model.manifest, _seen(model, look))


def record_text_embedder(model: TextEmbedder) -> ProbeSet:
    """What a text embedder says about the texts, as texts and as queries."""
    return _vectors(model.manifest, _read(model))


async def record_captioner(model: Captioner, look: Look) -> ProbeSet:
    """How the captions of the pictures begin. Raises ManifestMismatch when an answer is none: a
    model that cannot fill its schema on pictures without a fault is not fit to be pinned.
    """
    captions = []
    for name, picture in pictures().items():
        word = _first_word(await _described(model, name, look(picture)))
        if not word:
            ProbeVerdict(1, (_fault(name, "no caption by the schema"),)).check(model.manifest)
        captions.append(CaptionProbe(input=name, first_word=word[:200]))
    return _blank(model.manifest).model_copy(update={"captions": tuple(captions)})


def probe_image_model(model: ImageModel, probes: ProbeSet, look: Look) -> ProbeVerdict:
    """Runs the probes of an image model: one call of its network."""
    return _judged(probes, lambda: _seen(model, look))


def probe_text_embedder(model: TextEmbedder, probes: ProbeSet) -> ProbeVerdict:
    """Runs the probes of a text embedder."""
    return _judged(probes, lambda: _read(model))


async def probe_captioner(model: Captioner, probes: ProbeSet, look: Look) -> ProbeVerdict:
    """Runs the probes of a captioner: an answer by its schema whose caption begins as it did.

    Raises EngineDied: another picture in the same engine may have killed it.
    """
    if probes.inputs != INPUTS:
        return _other_inputs(probes)
    faults = []
    drawn = pictures()
    for probe in probes.captions:
        try:
            said = await _described(model, probe.input, look(drawn[probe.input]))
        except EngineDied:
            raise
        except EcmError as error:
            faults.append(_fault(probe.input, f"no answer: {error.message}"))
            continue
        word = _first_word(said)
        if word != probe.first_word:
            told = f"the caption begins with {word!r}" if word else "no caption by the schema"
            faults.append(_fault(probe.input, f"{told}, expected {probe.first_word!r}"))
    return ProbeVerdict(len(probes.captions), tuple(faults))


def _judged(probes: ProbeSet, say: Callable[[], _Said]) -> ProbeVerdict:
    if probes.inputs != INPUTS:
        return _other_inputs(probes)
    if not probes.vectors:
        return ProbeVerdict(0)
    try:
        said = say()
    except EcmError as error:
        return ProbeVerdict(1, (_fault(probes.vectors[0].input, f"no vectors: {error}"),), -1)
    faults = []
    least = 1.0
    for probe in probes.vectors:
        wanted, found = probe.vector(), said.get((probe.input, probe.space))
        if found is None or found.shape != wanted.shape:
            size = "none" if found is None else str(len(found))
            told = f"{size} {probe.space.value} dimensions, expected {len(wanted)}"
            faults.append(_fault(probe.input, told))
            continue
        cosine = float(found.astype(np.float64) @ wanted.astype(np.float64))
        least = min(least, cosine)
        if not cosine >= LEAST_COSINE:
            told = f"{probe.space.value} cosine {cosine:.6f}, expected at least {LEAST_COSINE}"
            drift = Drift(
                probe=probe.input,
                measured=cosine if np.isfinite(cosine) else None,
                needed=LEAST_COSINE,
                said=told,
            )
            faults.append(drift)
    return ProbeVerdict(len(probes.vectors), tuple(faults), least)


def _other_inputs(probes: ProbeSet) -> ProbeVerdict:
    told = f"made with inputs {probes.inputs}, this ecm has {INPUTS}"
    return ProbeVerdict(1, (_fault("inputs", told),))


def _fault(probe: str, told: str) -> Drift:
    return Drift(probe=probe, said=told[:1000])


def _seen(model: ImageModel, look: Look) -> _Said:
    """What the model says about all pictures, in one call."""
    wanted = frozenset(_SPACE_OF) & frozenset(model.manifest.provides)
    if not wanted:
        return {}
    drawn = pictures()
    vectors = model.analyse(np.stack([look(p) for p in drawn.values()]), wanted).vectors
    spaces = sorted(_SPACE_OF[task] for task in wanted)
    return {(n, s): row for s in spaces for n, row in zip(drawn, vectors[s].vectors, strict=True)}


def _read(model: TextEmbedder) -> _Said:
    """What the model says about all texts, as texts and as queries."""
    said = list(_TEXTS.values())
    names = [*_TEXTS, *(f"query-{name}" for name in _TEXTS)]
    rows = [*model.embed_texts(said), *model.embed_queries(said)]
    return {(name, Space.MV): row for name, row in zip(names, rows, strict=True)}


async def _described(model: Captioner, name: str, pixels: Pixels) -> Description:
    return await model.describe(f"probe-{name}", pixels, lambda: None)


def _first_word(said: Description) -> str:
    """The first word of a caption that the schema gave; "" when there is none."""
    if said.caption is None or said.caption.scheme == FALLBACK:
        return ""
    return next(iter(said.caption.text.split()), "")


def _vectors(manifest: ModelManifest, said: _Said) -> ProbeSet:
    probes = tuple(VectorProbe.of(name, space, row) for (name, space), row in said.items())
    return _blank(manifest).model_copy(update={"vectors": probes})


def _blank(manifest: ModelManifest) -> ProbeSet:
    return ProbeSet(
        inputs=INPUTS,
        model=manifest.model_spec(),
        files=content_revision(manifest.files),
        dims=manifest.dims,
        preprocessing=manifest.preprocessing,
        bounds=manifest.bounds,
    )


def _wave(steps: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """A triangle between 0 and 255."""
    folded = steps % 510
    return np.minimum(folded, 510 - folded)


def _rgb(*channels: npt.NDArray[np.uint32]) -> Pixels:
    return np.stack([channel.astype(np.uint8) for channel in channels], axis=-1)
