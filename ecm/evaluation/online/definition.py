"""Reads what an experiment is from its file. Knows YAML; knows no ranking and no record."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from ecm.contracts.experiment import Definition
from ecm.errors import ConfigError


def load_definition(path: Path) -> Definition:
    """The definition in a file. A treatment that is a YAML file may lie beside it.

    Raises ConfigError: no such file, not YAML, an unknown key or a value out of bounds.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"experiment {path} cannot be read: {error.strerror}", "experiment.file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"experiment {path} is not YAML", "experiment.file") from error
    try:
        found = Definition.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"experiment {path}: {where or 'file'}: {first['msg']}", "experiment.file"
        ) from error
    beside = path.parent / found.treatment
    if found.treatment.endswith((".yaml", ".yml")) and beside.is_file():
        return found.model_copy(update={"treatment": str(beside)})
    return found
