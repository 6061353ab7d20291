"""An HTTP proxy before the S3 server that makes trouble: throttles, fails, cuts and loses answers.

What happens to the n-th request is decided by a function of the test; the server behind it is the
real one, so that what was applied stays applied though its answer never came.
"""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit


class Trouble(StrEnum):
    """What a request meets. The last three reach the server first."""

    SLOW_DOWN = "slow_down"
    SERVER_ERROR = "server_error"
    DENIED = "denied"
    CUT = "cut"
    SILENCE = "silence"
    LOST_ANSWER = "lost_answer"
    FAILED_ANSWER = "failed_answer"
    HALF_ANSWER = "half_answer"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its number from 1 on, method, path with query, and the condition of a put."""

    number: int
    method: str
    path: str
    if_none_match: str


Plan = Callable[[Request], Trouble | None]

_ANSWERS = {
    Trouble.SLOW_DOWN: (503, "SlowDown", "Please reduce your request rate."),
    Trouble.SERVER_ERROR: (500, "InternalError", "We encountered an internal error."),
    Trouble.DENIED: (403, "SignatureDoesNotMatch", "The request signature does not match."),
    Trouble.FAILED_ANSWER: (500, "InternalError", "We encountered an internal error."),
}


def no_trouble(request: Request) -> None:
    """The plan of a quiet day."""


class TroubledServer:
    """Start it with `with`; `endpoint` is its address, `plan` may be changed at any time."""

    def __init__(self, behind: str, plan: Plan = no_trouble) -> None:
        self.plan = plan
        self.met: Counter[Trouble] = Counter()
        self.requests: list[Request] = []
        self.over = threading.Event()
        self._behind = urlsplit(behind).netloc
        self._numbers = itertools.count(1)

    def __enter__(self) -> TroubledServer:
        trouble = self

        class Handler(_Handler):
            server_of_all = trouble

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def meet(self, method: str, path: str, condition: str) -> Trouble | None:
        """Count a request and decide its fate."""
        request = Request(next(self._numbers), method, path, condition)
        self.requests.append(request)
        trouble = self.plan(request)
        if trouble is not None:
            self.met[trouble] += 1
        return trouble

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict, bytes]:
        """The answer of the server behind: status, headers, body."""
        connection = http.client.HTTPConnection(self._behind, timeout=60)
        try:
            connection.putrequest(
                handler.command, handler.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in handler.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_all: TroubledServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        condition = self.headers.get("If-None-Match") or ""
        match self.server_of_all.meet(self.command, self.path, condition):
            case Trouble.CUT:
                self._hang_up()
            case Trouble.SILENCE:
                self.server_of_all.over.wait(60)
                self._hang_up()
            case Trouble.LOST_ANSWER:
                self.server_of_all.forward(self, body)
                self._hang_up()
            case Trouble.HALF_ANSWER:
                status, headers, data = self.server_of_all.forward(self, body)
                self._answer(status, headers, data[: len(data) // 2], len(data))
                self._hang_up()
            case None:
                status, headers, data = self.server_of_all.forward(self, body)
                self._answer(status, headers, data, len(data))
            case Trouble.FAILED_ANSWER as trouble:
                self.server_of_all.forward(self, body)
                self._refuse(trouble)
            case trouble:
                self._refuse(trouble)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle

    def _refuse(self, trouble: Trouble) -> None:
        status, code, message = _ANSWERS[trouble]
        data = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code>'
            f"<Message>{message}</Message><RequestId>1</RequestId></Error>"
        ).encode()
        self._answer(status, {"Content-Type": "application/xml"}, data, len(data))

    def _answer(self, status: int, headers: dict, data: bytes, length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", headers.get("Content-Length", "0"))
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""
