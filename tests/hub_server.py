"""A model hub on the loopback that speaks the few endpoints that downloading a repository needs."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(repository: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serves the files of `folder` as a repository whose branch `main` is at COMMIT.

    Gives the address, and the list of paths that were asked for.
    """
    asked: list[str] = []
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            asked.append(path)
            for revision in ("main", COMMIT):
                if path == f"api/models/{repository}/revision/{revision}":
                    return self._said(self._info(), with_body)
                if path == f"api/models/{repository}/tree/{revision}":
                    return self._said([self._entry(name) for name in names], with_body)
                prefix = f"{repository}/resolve/{revision}/"
                if path.startswith(prefix) and path.removeprefix(prefix) in names:
                    return self._file(folder / path.removeprefix(prefix), with_body)
            return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, with_body)

        def _info(self) -> object:
            files = [{"rfilename": name} for name in names]
            return {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": files}

        def _entry(self, name: str) -> object:
            data = (folder / name).read_bytes()
            oid = hashlib.sha1(data).hexdigest()
            return {"type": "file", "path": name, "size": len(data), "oid": oid}

        def _said(self, value: object, with_body: bool) -> None:
            kind = {"Content-Type": "application/json"}
            self._send(200, json.dumps(value).encode(), kind, with_body)

        def _file(self, path: Path, with_body: bool) -> None:
            data = path.read_bytes()
            marks = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            self._send(200, data, marks, with_body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if with_body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
