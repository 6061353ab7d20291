"""conf/gates.yaml: reads a section of it, typed. Knows the file and its sections; no measure."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import ValidationError

from ecm.contracts.identity import Contract
from ecm.errors import ConfigError

SECTIONS: Final = ("rollout", "evaluation")
Section = TypeVar("Section", bound=Contract)


def read_section(path: Path, name: str, kind: type[Section]) -> Section:
    """A section of a file of gates; what it leaves out is as in code.

    Raises ConfigError (code `config.gates`) that names the key; a section that is none of
    `SECTIONS` is a wrong key. Other sections are not looked into.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"gates {path} cannot be read: {error.strerror}", "config.gates", "see the key gates"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"gates {path} is not YAML", "config.gates") from error
    sections = {} if raw is None else raw
    if not isinstance(sections, dict):
        raise ConfigError(f"gates {path}: it has sections: {', '.join(SECTIONS)}", "config.gates")
    for key in sections:
        if key not in SECTIONS:
            raise ConfigError(f"gates {path}: {key}: unknown key", "config.gates")
    section = sections.get(name)
    try:
        return kind.model_validate({} if section is None else section)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (name, *first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        reason = "unknown key" if unknown else " ".join(str(first["msg"]).split())
        raise ConfigError(f"gates {path}: {where}: {reason}", "config.gates") from error
