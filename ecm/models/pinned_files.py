"""Writes pinned manifests and golden probes: whole or not at all, and never over other ones.

Knows where they lie and how YAML holds them. Pins and probes nothing itself.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from ecm.errors import ManifestError
from ecm.models.manifest import ModelFile, ModelManifest, load_manifest
from ecm.models.probe_files import ProbeSet
from ecm.whole_files import write_whole


class Standing(Enum):
    """What becomes of another file that stands where one is to be written."""

    KEEP = "keep"
    REPLACE = "replace"


def same_but_probes(manifest: ModelManifest, out: Path, standing: Standing) -> ModelManifest | None:
    """The manifest that stands at `out` already when it says the same, its probes apart.

    None when there is none, or another one that may be replaced. Raises ManifestError when another
    one is to be kept.
    """
    if not out.is_file():
        return None
    before = load_manifest(str(out.absolute()))
    if before.model_copy(update={"probes": None}) == manifest:
        return before
    if standing is Standing.KEEP:
        raise _occupied(out)
    return None


def with_probes(
    manifest: ModelManifest, probes: ProbeSet, out: Path, standing: Standing
) -> ModelManifest:
    """Writes the probes beside the manifest at `out`; the manifest that names them.

    Raises ManifestError as `write_manifest`.
    """
    place = out.with_name(f"{manifest.name}.probes.json")
    raw = (probes.model_dump_json(indent=1) + "\n").encode()
    _write(place, raw, standing)
    file = ModelFile(
        name="probes",
        path=str(place.absolute()),
        sha256=hashlib.sha256(raw).hexdigest(),
        bytes=len(raw),
    )
    return manifest.model_copy(update={"probes": file})


def write_manifest(manifest: ModelManifest, out: Path, standing: Standing) -> bool:
    """Writes the manifest; paths of files in its own folder become relative to it.

    False when it stood there already, byte for byte. Raises ManifestError when another one does and
    `standing` keeps it, or nothing can be written there.
    """
    here = out.absolute().parent
    tree = manifest.model_dump(mode="json", exclude_defaults=True)
    tree["files"] = [_near(entry, here) for entry in tree.get("files", [])]
    if "probes" in tree:
        tree["probes"] = _near(tree["probes"], here)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    return _write(out, text.encode(), standing)


def _near(entry: dict[str, Any], here: Path) -> dict[str, Any]:
    path = entry.get("path")
    if path is None or not Path(path).is_relative_to(here):
        return entry
    return {**entry, "path": str(Path(path).relative_to(here))}


def _write(place: Path, raw: bytes, standing: Standing) -> bool:
    try:
        if place.exists():
            if place.read_bytes() == raw:
                return False
            if standing is Standing.KEEP:
                raise _occupied(place)
        write_whole(place, raw)
    except OSError as error:
        raise ManifestError(f"cannot write {place}: {error.strerror or error}") from error
    return True


def _occupied(place: Path) -> ManifestError:
    hint = "--replace overwrites it"
    return ManifestError(f"{place} is there and says something else", "manifest.exists", hint)
