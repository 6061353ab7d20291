"""What a checkpoint says must be done to pixels, in the words of a manifest.

Reads `preprocessor_config.json` as transformers writes it. What it does not say is not guessed.
Knows no model library.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from ecm.errors import ManifestError, ManifestMismatch
from ecm.models.manifest import ModelManifest, Preprocessing

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""Where a processor is declared: alone, or beside that of texts as `image_processor`."""

SHADE = 0.01
"""How far means and deviations may be from each other, on the 0-255 scale."""

# PIL's numbers, which the configurations of transformers hold
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}


def declared_preprocessing(folder: Path) -> Preprocessing:
    """The preprocessing that the checkpoint in `folder` declares. Raises ManifestError."""
    path, config = _read(folder)
    resize_shorter, crop, geometry = _geometry(path, config)
    try:
        filter_name = _FILTERS[int(_said(path, config, "resample"))]
        scale = _scale(config)
        mean: tuple[float, ...] = (0.0, 0.0, 0.0)
        std: tuple[float, ...] = (1.0, 1.0, 1.0)
        if _does(config, "do_normalize"):
            mean, std = (_channels(path, config, key) for key in ("image_mean", "image_std"))
        return Preprocessing.model_validate(
            {
                "resize_shorter": resize_shorter,
                "crop": crop,
                "geometry": geometry,
                "interpolation": filter_name,
                "mean": tuple(value / scale for value in mean),
                "std": tuple(value / scale for value in std),
            }
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError, ValidationError) as error:
        raise ManifestError(f"{path} declares what cannot be done here: {error}") from error


def check_preprocessing(manifest: ModelManifest, folder: Path) -> Preprocessing:
    """The manifest's preprocessing, which agrees with that of the checkpoint in `folder`.

    Raises ManifestMismatch that names the file and what differs, ManifestError when the manifest
    has none or the checkpoint's cannot be read.
    """
    ours = manifest.preprocessing
    if ours is None:
        raise ManifestError(f"manifest {manifest.name}: says nothing of preprocessing")
    theirs = declared_preprocessing(folder)
    for key in Preprocessing.model_fields:
        mine, declared = getattr(ours, key), getattr(theirs, key)
        if key in {"mean", "std"}:
            same = all(abs(a - b) <= SHADE for a, b in zip(mine, declared, strict=True))
        else:
            same = mine == declared
        if not same:
            raise ManifestMismatch(
                f"manifest {manifest.name}: preprocessing.{key} is {mine}, but "
                f"{_read(folder)[0]} says {declared}",
                hint="correct the manifest: vectors of other pixels are other vectors",
            )
    return ours


def _read(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    for name in PROCESSOR_FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            config = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ManifestError(f"cannot read {path}: {error}") from error
        if isinstance(config, dict) and name == PROCESSOR_FILES[1]:
            config = config.get("image_processor")
        if isinstance(config, dict):
            return path, config
    raise ManifestError(f"{folder} has no {PROCESSOR_FILES[0]} that says how pixels are prepared")


def _scale(config: Mapping[str, Any]) -> float:
    """What 0-255 is multiplied with before mean and deviation."""
    return float(config.get("rescale_factor") or 1 / 255) if _does(config, "do_rescale") else 1.0


def _does(config: Mapping[str, Any], step: str) -> bool:
    """Whether a step is done; null, which releases of transformers write, and silence say yes."""
    return config.get(step) is not False


def _geometry(path: Path, config: Mapping[str, Any]) -> tuple[int, int, Literal["crop", "squash"]]:
    """Shorter side, side of the cut, and how they come about."""
    if not _does(config, "do_resize"):
        raise ManifestError(f"{path} does not resize: pictures of any size are not supported here")
    size = _said(path, config, "size")
    crops = bool(config.get("do_center_crop", False))
    if isinstance(size, Mapping) and set(size) == {"height", "width"} and not crops:
        return *_equal(path, size), "squash"
    shorter = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if isinstance(shorter, int) and crops:
        crop = _said(path, config, "crop_size")
        side = _equal(path, crop)[0] if isinstance(crop, Mapping) else crop
        return shorter, side, "crop"
    if isinstance(size, int):
        return size, size, "squash"
    raise ManifestError(f"{path}: size {size} is neither one square nor cut from a shorter side")


def _equal(path: Path, size: Mapping[str, Any]) -> tuple[int, int]:
    sides = size.get("height"), size.get("width")
    if not isinstance(sides[0], int) or sides[0] != sides[1]:
        raise ManifestError(f"{path}: {sides[0]} x {sides[1]} is not a square")
    return sides[0], sides[0]


def _channels(path: Path, config: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = _said(path, config, key)
    if not isinstance(values, list) or len(values) != 3:
        raise ManifestError(f"{path}: {key} is not three numbers")
    return tuple(float(value) for value in values)


def _said(path: Path, config: Mapping[str, Any], key: str) -> Any:
    if config.get(key) is None:
        raise ManifestError(f"{path} does not say {key}")
    return config[key]
