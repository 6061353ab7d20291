"""Serves a recorded contract on this machine, to whoever has the key of this run.

Knows sockets; knows no contract. Listens on 127.0.0.1 at a port that is free, for as long as it is
open.
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from ecm.evaluation.engines.azure_contract import (
    MOST_BODY_BYTES,
    ContractReply,
    ContractRequest,
)
from ecm.evaluation.engines.faults import Contract

_IDLE_SECONDS: Final = 30.0
_CUT_BYTES: Final = 10


class Loopback:
    """A server of one contract; a context manager."""

    def __init__(self, contract: Contract) -> None:
        self._closing = threading.Event()
        self._server = _Server(contract, self._closing)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="loopback",
            daemon=True,
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and let nobody wait any longer. May be called again."""
        if not self._closing.is_set():
            self._closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, contract: Contract, closing: threading.Event) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contract = contract
        self.closing = closing


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    wbufsize = -1  # headers and body leave together: apart, the second waits for the first
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = self.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True
            self._send(ContractReply(413, b""))
            return
        parts = urlsplit(self.path)
        request = ContractRequest(
            method=self.command,
            path=unquote(parts.path),
            params=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(length)),
        )
        reply = self.server.contract.answer(request)
        if reply.waits:
            self.server.closing.wait(reply.waits)
        self._send(reply)

    def _send(self, reply: ContractReply) -> None:
        try:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[:_CUT_BYTES] if reply.cut else reply.body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # who asked has gone
        self.close_connection |= reply.cut

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are told of by whoever asks."""
