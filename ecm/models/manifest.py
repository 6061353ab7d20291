"""Model manifests: which files, preprocessing and parameters make a transform, and its fingerprint.

Knows YAML and folders of manifests. Knows no model library and reads no model's files: whether they
are the declared ones is `ecm.models.attestation`'s to say. Every error is a ManifestError that
names the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from ecm.contracts.identity import Contract, Digest, digest
from ecm.contracts.result import Space
from ecm.contracts.task import ModelSpec, TaskType
from ecm.errors import ManifestError
from ecm.models.meaning import MEANING_VERSION

Scalar = str | int | float | bool
Params = TypeVar("Params", bound=Contract)
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]

_SPACE_OF = {
    TaskType.VV_EMBED: Space.VV,
    TaskType.X_EMBED: Space.X,
    TaskType.MV_EMBED: Space.MV,
}


class ModelFile(Contract):
    """One file a model reads, in an installed package (`package` + `resource`) or at a `path`.

    `tasks` says whose outputs the file changes; empty means all. A relative `path` is relative to
    the folder of the manifest and is made absolute by `load_manifest`.
    """

    name: Name
    package: str | None = None
    resource: str | None = None
    path: str | None = None
    sha256: Digest
    bytes: int = Field(ge=0)
    tasks: tuple[TaskType, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> ModelFile:
        if (self.path is None) != (self.package is not None and self.resource is not None):
            raise ValueError("give either path, or package and resource")
        return self


class Preprocessing(Contract):
    """Pixels before the first layer, then (v - mean) / std.

    `crop`: the shorter side is scaled to `resize_shorter`, then the centre is cut. `squash`: both
    sides are scaled to `crop`, whatever becomes of the proportions. Sides are in pixels; mean and
    std are per channel R, G, B on the 0-255 scale.
    """

    resize_shorter: int = Field(ge=1, le=4096)
    crop: int = Field(ge=1, le=4096)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bicubic"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    geometry: Literal["crop", "squash"] = "crop"

    @model_validator(mode="after")
    def _cut_fits(self) -> Preprocessing:
        if self.crop > self.resize_shorter:
            raise ValueError(
                f"crop {self.crop} is larger than resize_shorter {self.resize_shorter}"
            )
        if min(self.std) <= 0:
            raise ValueError("std must be positive")
        return self


class PixelBounds(Contract):
    """Least and most pixels, in all, of pictures given to a model in their own proportions."""

    min_pixels: int = Field(ge=1, le=2**26)
    max_pixels: int = Field(ge=1, le=2**26)

    @model_validator(mode="after")
    def _in_order(self) -> PixelBounds:
        if self.min_pixels > self.max_pixels:
            raise ValueError("min_pixels is above max_pixels")
        return self


class Needs(Contract):
    """What the model asks of a machine: GPUs, and memory of each in GiB with the settings given."""

    gpus: int = Field(default=0, ge=0, le=64)
    gpu_memory_gib: float = Field(default=0.0, ge=0, le=4096)


class Checkpoint(Contract):
    """Where the files come from: a repository of the model hub, at a commit."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", max_length=200)
    revision: str = Field(min_length=1, max_length=64)


class ModelManifest(Contract):
    """One model as it is used: back end, weights by digest, what it provides and in which
    dimensions.

    `params` change every output; `task_params` only those of their task, so that a new tag
    threshold does not throw away vectors. `query_encoder` names the manifest whose encoder brings
    texts into this manifest's vv space (empty: texts cannot reach it); it changes no stored output.
    Nor do `serving` (how the model is run: memory, concurrency), `needs`, `checkpoint`, `engines`
    (versions of the libraries it was pinned with) and `probes`, a file of what it said then.
    `bounds` take the place of `preprocessing` for models that see pictures in their proportions.
    """

    name: Name
    backend: Name
    model_id: str = Field(min_length=1, max_length=256)
    revision: str = Field(min_length=1, max_length=128)
    dtype: str = Field(default="float32", max_length=32)
    quantization: str = Field(default="none", max_length=32)
    licence: str = Field(min_length=1, max_length=400)
    files: tuple[ModelFile, ...] = ()
    provides: tuple[TaskType, ...] = ()
    dims: dict[Space, Annotated[int, Field(ge=1, le=16384)]] = Field(default_factory=dict)
    preprocessing: Preprocessing | None = None
    params: dict[str, Scalar] = Field(default_factory=dict)
    task_params: dict[TaskType, dict[str, Scalar]] = Field(default_factory=dict)
    query_encoder: Name | Literal[""] = ""
    bounds: PixelBounds | None = None
    serving: dict[str, Scalar] = Field(default_factory=dict)
    needs: Needs = Needs()
    checkpoint: Checkpoint | None = None
    engines: dict[str, str] = Field(default_factory=dict)
    probes: ModelFile | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ModelManifest:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("file names are not unique")
        for task, space in _SPACE_OF.items():
            if task in self.provides and space not in self.dims:
                raise ValueError(f"provides {task.value} but dims has no {space.value}")
        return self

    def model_spec(self) -> ModelSpec:
        """What a task asks of the worker that may lease it."""
        return ModelSpec(
            backend=self.backend,
            model_id=self.model_id,
            revision=self.revision,
            dtype=self.dtype,
            quantization=self.quantization,
        )

    def space_dim(self, space: Space) -> int:
        """Dimension of the vectors in `space`. Raises ManifestError when the model has none
        there.
        """
        if space not in self.dims:
            raise ManifestError(f"manifest {self.name} has no {space.value} vectors")
        return self.dims[space]

    def params_as(self, model: type[Params], task_type: TaskType | None = None) -> Params:
        """`params`, or the `task_params` of one task, as the back end's own type.

        Raises ManifestError that names the key which is wrong or unknown.
        """
        raw = self.params if task_type is None else self.task_params.get(task_type, {})
        return self._settings(model, raw, "params")

    def serving_as(self, model: type[Params]) -> Params:
        """`serving` as the back end's own type. Raises ManifestError as `params_as`."""
        return self._settings(model, self.serving, "serving")

    def _settings(self, model: type[Params], raw: dict[str, Scalar], where: str) -> Params:
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            cause = _first_cause(error)
            raise ManifestError(f"manifest {self.name}: {where}: {cause}") from error

    def fingerprint(self, task_type: TaskType, upstream: Sequence[str] = ()) -> Digest:
        """Digest of everything that can change what this model says for `task_type`.

        `upstream` are fingerprints of the transforms whose output is the input here (the tagger's
        for mv) and versions of code outside the manifest. For mv the version of the text builder is
        included. Raises ManifestError when the manifest does not provide the task type.
        """
        if task_type not in self.provides:
            raise ManifestError(f"manifest {self.name} does not provide {task_type.value}")
        return self._digest(task_type, upstream)

    def encoder_fingerprint(self, reaches: Digest) -> Digest:
        """Digest of this manifest as a query encoder into the vv transform `reaches`."""
        return self._digest(None, (reaches,))

    def _digest(self, task_type: TaskType | None, upstream: Sequence[str]) -> Digest:
        files = sorted(
            (file.name, file.sha256)
            for file in self.files
            if task_type is None or not file.tasks or task_type in file.tasks
        )
        own = self.task_params.get(task_type, {}) if task_type is not None else {}
        meaning = [MEANING_VERSION] if task_type is TaskType.MV_EMBED else []
        return digest(
            {
                "task_type": task_type.value if task_type is not None else "query",
                "model": self.model_spec().model_dump(mode="json"),
                "files": [list(entry) for entry in files],
                "dims": {space.value: dim for space, dim in self.dims.items()},
                "preprocessing": _pixels(self.preprocessing, self.bounds),
                "params": self.params,
                "task_params": own,
                "upstream": [*upstream, *meaning],
            }
        )


def _pixels(cut: Preprocessing | None, bounds: PixelBounds | None) -> object:
    """What is done to pixels; said as it was before there were geometries and bounds."""
    if bounds is not None:
        return bounds.model_dump(mode="json")
    if cut is None:
        return None
    told = cut.model_dump(mode="json")
    return told if cut.geometry != "crop" else {k: v for k, v in told.items() if k != "geometry"}


@dataclass(frozen=True)
class VerifiedFiles:
    """Paths of files whose sha256 is the declared one, by their names in the manifest."""

    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        """The path of the file called `name`. Raises ManifestError when the manifest has none."""
        if name not in self.paths:
            raise ManifestError(f"the manifest declares no file called {name!r}")
        return self.paths[name]


def load_manifest(name_or_path: str | Path, folders: Sequence[Path] = ()) -> ModelManifest:
    """The manifest at a path, or `<name>.yaml` in the first of `folders` that has it.

    Raises ManifestError when it is not there or is wrong.
    """
    path = _manifest_path(str(name_or_path), folders)
    try:
        raw = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"cannot read manifest {path}: {error}") from error
    try:
        manifest = ModelManifest.model_validate(raw)
    except ValidationError as error:
        raise ManifestError(f"manifest {path}: {_first_cause(error)}") from error
    here = path.parent.absolute()
    files = tuple(_placed(file, here) for file in manifest.files)
    probes = manifest.probes and _placed(manifest.probes, here)
    return manifest.model_copy(update={"files": files, "probes": probes})


def _placed(file: ModelFile, folder: Path) -> ModelFile:
    if file.path is None:
        return file
    return file.model_copy(update={"path": str(folder / file.path)})


def list_manifests(folder: Path, pinned: Path | None = None) -> tuple[ModelManifest, ...]:
    """Every manifest in `folder`, and in `pinned` where that is there, which goes before; by name.

    Raises ManifestError when the folder or one of them is wrong.
    """
    if not folder.is_dir():
        raise ManifestError(f"no folder of manifests at {folder}")
    paths = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if pinned is not None:
        paths |= {path.stem: path for path in sorted(pinned.glob("*.yaml"))}
    found = [load_manifest(path) for path in paths.values()]
    return tuple(sorted(found, key=lambda manifest: manifest.name))


def _first_cause(error: ValidationError) -> str:
    """The first thing wrong, in one line."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "whole"
    return f"{where}: {first['msg']}"


def _manifest_path(given: str, folders: Sequence[Path]) -> Path:
    if given.endswith((".yaml", ".yml")) or "/" in given:
        return Path(given)
    for folder in folders:
        candidate = folder / f"{given}.yaml"
        if candidate.is_file():
            return candidate
    places = ", ".join(str(folder) for folder in folders) or "no folder given"
    raise ManifestError(f"no manifest {given}.yaml in {places}", hint="ecm models list shows them")
