"""Which model takes which role when a new one is tried: names by task type, and what they replace.

Knows manifests and roles; reads no weights and no table.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecm.config import ModelChoice
from ecm.contracts.task import TaskType
from ecm.errors import ConfigError
from ecm.models.manifest import ModelManifest, load_manifest

ROLES: Mapping[str, TaskType] = {
    "vision": TaskType.VISION,
    "vv": TaskType.VV_EMBED,
    "x": TaskType.X_EMBED,
    "mv": TaskType.MV_EMBED,
    "ocr": TaskType.OCR,
}
"""The task type that a model of each role of a profile carries out."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """A role whose model is another one than the profile's; `before` is None where it had none."""

    role: str
    before: str | None
    after: str


def manifests_of(models: ModelChoice, folders: Sequence[Path]) -> dict[TaskType, ModelManifest]:
    """The manifests that play a role, by its task type. Raises ManifestError."""
    return {
        kind: load_manifest(name, folders)
        for role, kind in ROLES.items()
        if (name := getattr(models, role)) is not None
    }


def replaced(
    models: ModelChoice, news: Sequence[str], roles: Sequence[str], folders: Sequence[Path]
) -> tuple[ModelChoice, tuple[Replacement, ...]]:
    """The models of a profile with new ones in their roles, and what became another one.

    Args:
        models: those of the profile.
        news: manifests by name or path, each for every role it provides and `models` has a model
            for, or, where there is none, for every role it provides.
        roles: ``role=manifest`` each, for one role; these win.
        folders: where names are looked up, the first that has one wins.

    Raises:
        ConfigError: an unknown role, or a manifest that does not provide what it is named for.
        ManifestError: no such manifest, or a wrong one.
    """
    wanted: dict[str, str] = {}
    for name in news:
        manifest = load_manifest(name, folders)
        wanted |= dict.fromkeys(_roles_of(manifest, models), name)
    for text in roles:
        role, equals, name = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--role {text}: write it as vision=MANIFEST", code="plan.role")
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(ROLES)}"
            raise ConfigError(f"no role is called {role}", code="plan.role", hint=hint)
        if ROLES[role] not in load_manifest(name, folders).provides:
            raise ConfigError(f"model '{name}' does not provide {role}", code="plan.role")
        wanted[role] = name
    changes = tuple(
        Replacement(role, getattr(models, role), name)
        for role, name in wanted.items()
        if getattr(models, role) != name
    )
    return models.model_copy(update=wanted), changes


def _roles_of(manifest: ModelManifest, models: ModelChoice) -> list[str]:
    provided = [role for role, kind in ROLES.items() if kind in manifest.provides]
    if not provided:
        raise ConfigError(
            f"model '{manifest.name}' plays no role", code="plan.role", hint="it provides nothing"
        )
    taken = [role for role in provided if getattr(models, role) is not None]
    return taken or provided
