"""Reads conf/gates.yaml. Knows the file; what its bounds mean is known to `ecm.evidence`."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from ecm.errors import ConfigError
from ecm.evidence.trial_gates import Gates


def load_gates(path: Path) -> Gates:
    """The gates of a file. Raises ConfigError (code `config.gates`) that names the key."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"gates {path} cannot be read: {error.strerror}", "config.gates", "see the key gates"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"gates {path} is not YAML", "config.gates") from error
    try:
        return Gates.model_validate(raw or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        reason = "unknown key" if unknown else " ".join(str(first["msg"]).split())
        raise ConfigError(f"gates {path}: {where}: {reason}", "config.gates") from error
