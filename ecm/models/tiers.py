"""Tiers: which models go together on which kind of machine, and what they ask of its GPUs.

A tier is a YAML file that names a manifest per role; what it needs is what its manifests say. Knows
manifests; loads no model and asks no device.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from ecm.contracts.identity import Contract
from ecm.errors import ConfigError
from ecm.models.manifest import ModelManifest, Name, load_manifest

TIERS = "tiers"
"""Folder of the tiers inside that of the manifests."""


class Tier(Contract):
    """One tier. A role without a model is null."""

    name: Name
    description: str = Field(min_length=1, max_length=400)
    vision: Name | None
    vv: Name | None
    x: Name | None
    mv: Name | None
    ocr: Name | None

    def roles(self) -> dict[str, str | None]:
        """Manifest names by role."""
        return self.model_dump(exclude={"name", "description"})

    def manifests(self, folders: Sequence[Path]) -> dict[str, ModelManifest]:
        """The manifests of the tier by name, of the first folder that has one. Raises
        ManifestError.
        """
        names = sorted(filter(None, self.roles().values()))
        return {name: load_manifest(name, folders) for name in names}


@dataclass(frozen=True, slots=True)
class Demand:
    """What models ask for with one actor each: GPUs, and memory in GiB of them all together and of
    the GPU that has to hold most.
    """

    gpus: int
    gpu_memory_gib: float
    largest_gib: float


def demand(manifests: Mapping[str, ModelManifest]) -> Demand:
    """What manifests ask for together."""
    needs = [each.needs for each in manifests.values() if each.needs.gpus]
    return Demand(
        sum(each.gpus for each in needs),
        round(sum(each.gpus * each.gpu_memory_gib for each in needs), 1),
        max((each.gpu_memory_gib for each in needs), default=0.0),
    )


def load_tier(name: str, folder: Path) -> Tier:
    """The tier of a name in the folder of manifests.

    Raises ConfigError for an unknown name, with the nearest known one, and for a wrong file.
    """
    path = folder / TIERS / f"{name}.yaml"
    if not path.is_file():
        known = [each.stem for each in sorted((folder / TIERS).glob("*.yaml"))]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
        raise ConfigError(f"no tier of models is called {name}", code="config.tier", hint=hint)
    return _read(path)


def list_tiers(folder: Path) -> tuple[Tier, ...]:
    """Every tier in the folder of manifests, the least demanding first. Raises as `load_tier`."""
    found = [_read(path) for path in sorted((folder / TIERS).glob("*.yaml"))]
    return tuple(sorted(found, key=lambda tier: demand(tier.manifests([folder])).gpu_memory_gib))


def _read(path: Path) -> Tier:
    try:
        return Tier.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read tier {path}: {reason}", code="config.tier") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "whole"
        raise ConfigError(f"tier {path}: {where}: {first['msg']}", code="config.tier") from error
