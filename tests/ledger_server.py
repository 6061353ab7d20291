"""A real HTTP server for conformance suites: the routes of the service over ledgers on this disk.

    python -m tests.ledger_server [PORT]

prints its port, which is a free one unless it is given. The first part of a path names a ledger by
its settings (see `address`), which is opened when it is first asked for; `DELETE` of it closes it.
Every caller is an operator with KEY, and the clock is what the caller says, as in the other back
ends under test.
"""

import atexit
import base64
import functools
import hashlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from ecm.ledger.config import LedgerConfig

KEY = "operator of the test ledgers"
REPO = Path(__file__).resolve().parents[1]


class LedgerServer:
    """A server in a process of its own; `port` 0 is any that is free."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ledger_server", str(port)],
            cwd=REPO,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"
        self._client = httpx.Client(trust_env=False)

    def address(self, config: LedgerConfig) -> str:
        """Where this server serves the ledger of these settings."""
        name = base64.urlsafe_b64encode(config.model_dump_json(exclude_defaults=True).encode())
        return f"{self.url}/{name.decode()}"

    def forget(self, address: str) -> None:
        """Close a ledger before its file is taken away."""
        self._client.delete(address).raise_for_status()

    def kill(self) -> None:
        """As SIGKILL does: without a word to anybody."""
        self._process.kill()
        self.stop()

    def stop(self) -> None:
        self._client.close()
        self._process.communicate(timeout=30)


@functools.cache
def server() -> LedgerServer:
    """Started for the first test that asks, stopped with the session."""
    started = LedgerServer()
    atexit.register(started.stop)
    return started


def _serve(port: int) -> None:
    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    from serve.access import Access
    from serve.api import new_api
    from serve.confine import Roots
    from serve.door import Door
    from serve.ledger_api import ledger_routes

    access = Access({}, "default", [hashlib.sha256(KEY.encode()).hexdigest()])
    doors: dict[str, Door] = {}

    def door_of(request: Request) -> Door:
        name = request.scope["ledger"]
        if name not in doors:
            config = LedgerConfig.model_validate_json(base64.urlsafe_b64decode(name))
            doors[name] = Door(config, access, Roots((), lambda: False), clock=lambda said: said)
        return doors[name]

    api = new_api()
    api.include_router(ledger_routes(door_of))

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await api(scope, receive, send)
            return
        name, _, rest = scope["path"].lstrip("/").partition("/")
        if scope["method"] == "DELETE":
            if name in doors:
                doors.pop(name).close()
            await Response()(scope, receive, send)
            return
        path = f"/{rest}"
        await api({**scope, "path": path, "raw_path": path.encode(), "ledger": name}, receive, send)

    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    made = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))

    def end_with_the_session() -> None:
        sys.stdin.read()
        made.should_exit = True

    threading.Thread(target=end_with_the_session, daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    made.run([listener])
    for door in doors.values():
        door.close()


if __name__ == "__main__":
    _serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
