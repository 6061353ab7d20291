"""Golden probes as they are kept: what a model said when it was pinned, and which model that was.

Knows the file and what of a manifest it vouches for. Knows no model and runs nothing.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract
from ecm.contracts.result import Space
from ecm.contracts.task import ModelSpec
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.checkpoint import content_revision
from ecm.models.manifest import ModelManifest, PixelBounds, Preprocessing


class VectorProbe(Contract):
    """The vector of one input: little-endian float32 of L2 length 1, in base64."""

    input: str = Field(min_length=1, max_length=64)
    space: Space
    values: str

    @classmethod
    def of(cls, name: str, space: Space, vector: npt.NDArray[np.float32]) -> VectorProbe:
        """The probe of a vector (d,)."""
        raw = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        return cls(input=name, space=space, values=base64.b64encode(raw).decode())

    def vector(self) -> npt.NDArray[np.float32]:
        """float32 (d,). Raises ManifestError when the text is damaged."""
        try:
            raw = base64.b64decode(self.values, validate=True)
            return np.frombuffer(raw, dtype="<f4").astype(np.float32)
        except (binascii.Error, ValueError) as error:
            raise ManifestError(f"probe {self.input}: no vector: {error}") from error


class CaptionProbe(Contract):
    """How the caption of one input began."""

    input: str = Field(min_length=1, max_length=64)
    first_word: str = Field(min_length=1, max_length=200)


class ProbeSet(Contract):
    """What a model said, and of which model, made of which files, looking at which pixels.

    `inputs` is the version of the probe inputs that ship with ecm.
    """

    version: Literal[1] = 1
    inputs: str
    model: ModelSpec
    files: str
    dims: dict[Space, int] = Field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    bounds: PixelBounds | None = None
    vectors: tuple[VectorProbe, ...] = ()
    captions: tuple[CaptionProbe, ...] = ()


def read_probes(path: Path) -> ProbeSet:
    """The probes in a file. Raises ManifestError that names it."""
    try:
        return ProbeSet.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"cannot read probes {path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "whole"
        raise ManifestError(f"probes {path}: {where}: {first['msg']}") from error


def check_probes(manifest: ModelManifest, path: Path) -> None:
    """Raises ManifestMismatch when the probes were made with another model than the manifest's:
    other names, revision or number format, other files, dimensions or preprocessing.
    """
    probes = read_probes(path)
    declared = _vouched(manifest)
    for key, then in _vouched_by(probes).items():
        if declared[key] != then:
            raise ManifestMismatch(
                f"manifest {manifest.name}: {key} is {declared[key]}, but the probes {path} were "
                f"made with {then}",
                hint="correct the manifest, or pin the model again",
            )


def _vouched(manifest: ModelManifest) -> dict[str, str]:
    spec = manifest.model_spec().model_dump(mode="json")
    return {key: str(value) for key, value in spec.items()} | {
        "dims": _dims(manifest.dims),
        "preprocessing": _pixels(manifest.preprocessing),
        "bounds": _pixels(manifest.bounds),
        "files": content_revision(manifest.files),
    }


def _vouched_by(probes: ProbeSet) -> dict[str, str]:
    spec = probes.model.model_dump(mode="json")
    return {key: str(value) for key, value in spec.items()} | {
        "dims": _dims(probes.dims),
        "preprocessing": _pixels(probes.preprocessing),
        "bounds": _pixels(probes.bounds),
        "files": probes.files,
    }


def _dims(dims: dict[Space, int]) -> str:
    return ", ".join(f"{space.value} {dim}" for space, dim in sorted(dims.items())) or "none"


def _pixels(said: Preprocessing | PixelBounds | None) -> str:
    return said.model_dump_json() if said is not None else "none"
