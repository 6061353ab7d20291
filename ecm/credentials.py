"""The secret of a local Ray: one token per home, readable by its owner alone.

Ray's servers listen on every interface, and whoever may talk to them may run code. Knows files and
the names of Ray's variables; starts nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - the name of a variable
TOKEN_NAME = "ray-token"  # noqa: S105 - the name of a file


def local_ray_environment(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables a Ray on this machine needs besides `environ`; creates the token on first use.

    Empty when the caller has chosen a mode of authentication or a token already.
    """
    if any(environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", TOKEN_PATH)):
        return {}
    path = home / TOKEN_NAME
    home.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    # Ray turns tokens on by itself where no mode is set; setting it here would come too late for a
    # process that has imported Ray already.
    return {TOKEN_PATH: str(path)}
