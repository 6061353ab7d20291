"""One line of JSON for every request: which, by whom, what became of it, how long it took.

Knows routes by their templates and keys by their ids: no query, no path of an asset and no secret
is written down.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from starlette.types import Scope

from serve.access import Caller

WRITTEN = "ecm.access"


class AccessLog:
    """Writes to a file that may be moved away at any time, or to the log of the replica.

    Args:
        path: lines are appended to it, its folder made; None: standard error, which Ray keeps.
        wall: Unix seconds.
    """

    def __init__(self, path: Path | None = None, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._logger = logging.Logger(WRITTEN, logging.INFO)
        if path is None:
            handler: logging.Handler = logging.StreamHandler(sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            handler = WatchedFileHandler(path, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._logger.addHandler(handler)

    def write(self, scope: Scope, status: int, milliseconds: float) -> None:
        """The line of a request that was answered with `status`; 499: its caller went away."""
        state = scope.get("state", {})
        caller: Caller | None = state.get("caller")
        line: dict[str, Any] = {
            "at": round(self._wall(), 3),
            "id": state.get("request_id", ""),
            "method": scope["method"],
            "route": route_of(scope),
            "status": status,
            "ms": round(milliseconds, 1),
            "tenant": caller.tenant if caller is not None else None,
            "key": caller.key_id if caller is not None else None,
        }
        self._logger.info(json.dumps(line, ensure_ascii=False))


def route_of(scope: Scope) -> str:
    """The template of the route that answered, or `other`."""
    return str(getattr(scope.get("route"), "path", "other"))
