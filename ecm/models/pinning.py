"""Pinning: from a checkpoint folder to a manifest that names every file of it by digest.

What the checkpoint says of itself (dimensions, preprocessing, number format, revision) is read from
its own configuration, not guessed. Loads no model and executes no code of the folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ecm.contracts.task import TaskType
from ecm.errors import ManifestError
from ecm.models.agreement import KINDS, Config, Kind, Tree
from ecm.models.attestation import hash_file
from ecm.models.checkpoint import (
    CONFIG,
    PICKLES,
    content_revision,
    folder_revision,
    loadable,
    read_json,
)
from ecm.models.manifest import ModelFile, ModelManifest, Scalar

ENGINES: Final = ("torch", "transformers", "tokenizers", "safetensors", "vllm", "rapidocr")
"""Libraries whose versions a manifest records, where they are installed."""


@dataclass(frozen=True)
class PinRequest:
    """What to pin, and what the checkpoint does not say.

    `settings` are dotted keys of the manifest (`params.max_tokens`), `base` what is known already:
    a recipe, or nothing.
    """

    folder: Path
    name: str
    backend: str
    prompt: Path | None = None
    revision: str = ""
    provides: tuple[TaskType, ...] = ()
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    base: Mapping[str, Any] = field(default_factory=dict)


def pin(request: PinRequest) -> ModelManifest:
    """The manifest of a checkpoint folder; file paths are absolute.

    Raises ManifestError that names the file or key: no configuration, no weights, pickled weights,
    code that would have to be executed, a setting that is none.
    """
    kind = KINDS.get(request.backend)
    if kind is None:
        raise ManifestError(
            f"a checkpoint cannot be pinned for back end {request.backend!r}",
            hint=f"there are {', '.join(sorted(KINDS))}",
        )
    folder = request.folder.absolute()
    if not (folder / CONFIG).is_file():
        raise ManifestError(f"{folder} is no checkpoint: it has no {CONFIG}")
    config = read_json(folder / CONFIG)
    files = _files(request, folder, config, kind)
    tree: Tree = {
        "model_id": request.name,
        "licence": "unknown (see the model card)",
        "dtype": _dtype(config),
        **request.base,
        "name": request.name,
        "backend": request.backend,
        "engines": engine_versions(),
    }
    tree.setdefault("provides", [task.value for task in request.provides or kind.provides])
    for key, value in request.settings.items():
        _set(tree, key, value)
    tree["files"] = [file.model_dump(mode="json", exclude_defaults=True) for file in files]
    tree["revision"] = _revision(request, folder, files)
    if tree.get("checkpoint"):
        tree["checkpoint"] = {**tree["checkpoint"], "revision": tree["revision"]}
    told = kind.says(folder, config, tree)
    tree = {**told, **tree}
    tree["dims"] = {**told.get("dims", {}), **tree.get("dims", {})}
    try:
        return ModelManifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "whole"
        raise ManifestError(f"manifest {request.name}: {where}: {first['msg']}") from error


def engine_versions() -> dict[str, str]:
    """Installed versions of the libraries that models are run with."""
    found = {}
    for name in ENGINES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _files(request: PinRequest, folder: Path, config: Config, kind: Kind) -> list[ModelFile]:
    paths = list(loadable(folder))
    for path in paths:
        if path.suffix.lower() in PICKLES:
            raise ManifestError(
                f"{path} is pickled: reading it could execute anything",
                hint="use a revision with .safetensors, and remove this file",
            )
    _refuse_needed_code(config, folder, kind)
    if not any(path.suffix == ".safetensors" for path in paths):
        raise ManifestError(f"{folder} has no weights in .safetensors files")
    files = [_file(_called(path, folder, kind), path) for path in paths]
    if request.prompt is not None:
        files.append(_file("prompt", request.prompt.absolute()))
    elif request.backend == "vllm":
        kept = [file for file in request.base.get("files", ()) if file["name"] == "prompt"]
        if not kept:
            raise ManifestError(
                f"manifest {request.name}: a captioner needs a prompt file", hint="--prompt FILE"
            )
        files.append(ModelFile.model_validate(kept[0]))
    return files


def _refuse_needed_code(config: Config, folder: Path, kind: Kind) -> None:
    """Code in the folder is named and never run; where it would have to be, nothing is pinned."""
    model_type = config.get("model_type")
    if kind.types and model_type not in kind.types:
        raise ManifestError(
            f"{folder / CONFIG}: model_type {model_type!r} is not one this back end knows",
            hint=f"there are {', '.join(sorted(kind.types))}",
        )
    if "auto_map" in config and not kind.types:
        raise ManifestError(
            f"{folder / CONFIG}: auto_map asks for code of the checkpoint to be executed",
            hint="use a checkpoint whose architecture the libraries know",
        )


def _called(path: Path, folder: Path, kind: Kind) -> str:
    """The name of a file in the manifest: its own, with dots for what a name cannot hold."""
    own = path.relative_to(folder).as_posix()
    plain = re.sub(r"[^a-z0-9._-]", ".", own.lower()).lstrip("._-")
    return kind.names.get(own, plain[-63:].lstrip("._-"))


def _file(name: str, path: Path) -> ModelFile:
    try:
        sha256, size = hash_file(path)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from error
    return ModelFile(name=name, path=str(path), sha256=sha256, bytes=size)


def _revision(request: PinRequest, folder: Path, files: list[ModelFile]) -> str:
    """What the folder says, else what was given, else the digest over the files.

    Raises ManifestError when the folder says another one than was given.
    """
    said = folder_revision(folder)
    if said is None:
        return request.revision or content_revision(files)
    if request.revision not in ("", said[0]):
        raise ManifestError(f"{said[1]} says revision {said[0]}, not {request.revision}")
    return said[0]


def _dtype(config: Config) -> str:
    said = config.get("dtype") or config.get("torch_dtype")
    texts = config.get("text_config")
    if said is None and isinstance(texts, Mapping):
        said = texts.get("dtype") or texts.get("torch_dtype")
    return said if isinstance(said, str) else "float32"


def _set(tree: Tree, key: str, value: Scalar) -> None:
    *above, last = key.split(".")
    for name in above:
        inner = tree.get(name) or {}
        tree[name] = dict(inner)
        tree = tree[name]
    tree[last] = value
