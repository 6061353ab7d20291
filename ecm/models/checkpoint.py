"""Checkpoint folders: what a loader could pick up there, and what revision the folder says it is.

A folder is a checkpoint's when a manifest names a `config.json` in it by path. Knows file names,
and the names hub snapshots have. Knows no model library and hashes nothing.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ecm.contracts.identity import digest
from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.manifest import ModelFile, ModelManifest, VerifiedFiles

CONFIG = "config.json"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
CONTENT_PREFIX = "files-"
"""Revisions that say nothing but the digest over the files begin so."""

_LOADED = PICKLES | {
    *(".safetensors", ".json", ".jinja", ".jinja2", ".py", ".so", ".model", ".txt", ".tiktoken"),
    *(".gguf", ".h5", ".msgpack", ".onnx", ".npz", ".npy", ".spm", ".vocab", ".bpe", ".merges"),
}
_DOCUMENTS = re.compile(r"^(readme|license|licence|notice|copying|use_policy|changelog)", re.I)
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def loadable(folder: Path) -> Iterator[Path]:
    """Files of a checkpoint folder that a loader could pick up, hidden folders left out, by name.

    Weights, configurations, tokenizers, templates, pickles and code; no documentation.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if suffix in _LOADED and not _DOCUMENTS.match(name):
                yield Path(place) / name


def checkpoint_folders(manifest: ModelManifest) -> tuple[Path, ...]:
    """The checkpoint folders of a manifest."""
    return tuple(
        Path(file.path).parent
        for file in manifest.files
        if file.path is not None and Path(file.path).name == CONFIG
    )


def is_recipe(manifest: ModelManifest) -> bool:
    """Whether a manifest says where a checkpoint comes from, and names none of its files yet."""
    return manifest.checkpoint is not None and not checkpoint_folders(manifest)


def check_checkpoint(manifest: ModelManifest, files: VerifiedFiles) -> None:
    """Raises ManifestMismatch when a checkpoint folder has a file that a loader could pick up and
    the manifest does not name, or says it is of another revision.
    """
    named = {os.path.abspath(path) for path in files.paths.values()}
    if manifest.probes is not None and manifest.probes.path is not None:
        named.add(os.path.abspath(manifest.probes.path))
    told = content_revision(manifest.files)
    if manifest.revision.startswith(CONTENT_PREFIX) and manifest.revision != told:
        raise ManifestMismatch(
            f"manifest {manifest.name}: revision is {manifest.revision}, but its files are {told}",
            hint="ecm models pin writes a manifest of the files that are there",
        )
    folders = checkpoint_folders(manifest)
    for folder in folders:
        if folder.parent in folders:
            continue  # seen with the folder it lies in
        for path in loadable(folder):
            if os.path.abspath(path) not in named:
                raise ManifestMismatch(
                    f"manifest {manifest.name}: {path} is not declared, and a loader could use it",
                    hint="remove it from the checkpoint folder, or pin the checkpoint again",
                )
        _check_revision(manifest, folder)


def _check_revision(manifest: ModelManifest, folder: Path) -> None:
    found = folder_revision(folder)
    if found is None:
        return
    revision, source = found
    declared = {"revision": manifest.revision}
    if manifest.checkpoint is not None:
        declared["checkpoint.revision"] = manifest.checkpoint.revision
    for key, value in declared.items():
        if value != revision:
            raise ManifestMismatch(
                f"manifest {manifest.name}: {key} is {value}, but {source} says {revision}",
                hint="fetch the declared revision, or pin this one",
            )


def folder_revision(folder: Path) -> tuple[str, Path] | None:
    """The commit a checkpoint folder says it is, and what says so: its name, or its configuration.

    None when neither says anything. Raises ManifestError when the configuration cannot be read.
    """
    absolute = folder.absolute()
    if _COMMIT.match(absolute.name):
        return absolute.name, folder
    commit = read_json(folder / CONFIG).get("_commit_hash")
    return (commit, folder / CONFIG) if isinstance(commit, str) and commit else None


def content_revision(files: Iterable[ModelFile]) -> str:
    """The revision of files that nobody gave one: the digest over their names and digests."""
    told = sorted([file.name, file.sha256] for file in files)
    return CONTENT_PREFIX + digest(told)[:24]


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file of a checkpoint. Raises ManifestError that names the file."""
    try:
        raw = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ManifestError(f"{path} holds no object")
    return raw
