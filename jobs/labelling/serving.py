"""Starting the labelling page, and saying where it is: one address for each labeler."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import uvicorn

from ecm.errors import ConfigError
from ecm.evaluation.labels.sitting import Sitting
from jobs.labelling.app import COOKIE, Labelling, labelling_app
from jobs.labelling.guard import LOOPBACK, new_token
from jobs.labelling.pictures import Pictures

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - named here, chosen by whoever starts it


@dataclass(frozen=True)
class Where:
    """Where the page listens. Port 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = 8765

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK


def serve(
    sittings: Sequence[Sitting],
    pictures: Pictures,
    where: Where,
    told: Callable[[Mapping[str, str]], None],
) -> None:
    """Serve the page until interrupted. `told` gets the address of every labeler once it listens.

    Raises ConfigError where the port is taken.
    """
    listening = _listening(where)
    port = listening.getsockname()[1]
    tokens = {new_token(): sitting for sitting in sittings}
    app = labelling_app(
        Labelling(tokens, pictures, cookie=f"{COOKIE}-{port}"),
        LOOPBACK if where.is_loopback else None,
    )
    host = socket.gethostname() if where.host in EVERYWHERE else where.host
    name = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    with listening:
        told({s.labeler: f"http://{name}:{port}/?token={token}" for token, s in tokens.items()})
        uvicorn.Server(config).run(sockets=[listening])


def _listening(where: Where) -> socket.socket:
    family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((where.host, where.port))
        made.listen()
    except OSError as error:
        made.close()
        raise ConfigError(
            f"cannot listen at {where.host}, port {where.port}: {error.strerror}",
            "labels.port",
            "give another --port, or 0 for any that is free",
        ) from error
    return made
