"""Traces: what a collector is sent of a search; nothing is imported where there is none."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from ecm.errors import ConfigError
from serve.tracing import open_tracer

STAGES = {"encode": 5.0, "axes": 20.0, "axis.vv": 18.0, "axis.fts": 7.0, "hits": 4.0}
REPO = Path(__file__).resolve().parents[2]


class Collector(HTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Kept)


class _Kept(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def spans(collector: Collector) -> dict[str, Any]:
    import gzip

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = {}
    for body in collector.bodies:
        plain = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        told = ExportTraceServiceRequest.FromString(plain)
        for resource in told.resource_spans:
            for scope in resource.scope_spans:
                found |= {span.name: span for span in scope.spans}
    return found


@pytest.mark.filterwarnings("ignore")  # of the exporter's own
def test_a_search_is_a_span_with_its_stages_and_axes_below_it(collector: Collector) -> None:
    tracer = open_tracer(f"http://127.0.0.1:{collector.server_port}/v1/traces")
    tracer.searched("request-7", 1_790_000_000.0, 31.0, STAGES)
    tracer.close()
    found = spans(collector)
    assert set(found) == {"search", *STAGES}
    root = found["search"]
    assert {span.trace_id for span in found.values()} == {root.trace_id}
    assert found["hits"].parent_span_id == root.span_id
    assert found["axis.vv"].parent_span_id == found["axes"].span_id
    assert found["axes"].start_time_unix_nano == found["encode"].end_time_unix_nano
    took = (root.end_time_unix_nano - root.start_time_unix_nano) / 1e6
    assert took == pytest.approx(31.0, abs=0.01)
    assert [each.value.string_value for each in root.attributes] == ["request-7"]


def test_without_a_collector_nothing_of_it_is_imported() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from serve.tracing import open_tracer; t = open_tracer(None); "
            "t.searched('', 0.0, 1.0, {}); t.close(); "
            "print([m for m in sys.modules if m.startswith('opentelemetry')])",
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="otlp_endpoint"):
        open_tracer("collector:4318")
