"""What a search did and for how long, for a collector of traces (OpenTelemetry, OTLP over HTTP).

Off, nothing of OpenTelemetry is imported and nothing is measured that would not be anyway. Knows
spans; knows no query: texts, tenants and assets are no attributes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ecm.errors import BackendMissing, ConfigError

SERVICE = "ecm-search"
STAGES = ("encode", "filter", "axes", "fuse", "fill", "facts", "features", "rerank", "order",
          "facets", "hits")  # fmt: skip
"""In the order in which a search goes through them."""

AXIS = "axis."
NANO = 1_000_000_000


class Tracer(Protocol):
    """Takes searches that were answered."""

    def searched(
        self, request_id: str, ended: float, took_ms: float, stages: Mapping[str, float]
    ) -> None:
        """A search that ended at `ended` (Unix seconds), with milliseconds by stage."""
        ...

    def close(self) -> None:
        """Send what has not been sent."""
        ...


class NoTracer:
    """Nobody collects."""

    def searched(
        self, request_id: str, ended: float, took_ms: float, stages: Mapping[str, float]
    ) -> None:
        return

    def close(self) -> None:
        return


class OtlpTracer:
    """Sends spans in batches, from a thread of its own.

    A span for the search, below it one for each stage and, in that of the axes, one for each axis.
    Stages follow each other; where each began is told by how long those before it took.
    """

    def __init__(self, endpoint: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise BackendMissing(
                f"traces cannot be sent: {error}", hint="pip install 'ecm[trace]'"
            ) from error
        if not endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"serve.otlp_endpoint: no HTTP address: {endpoint}")
        resource = Resource.create({"service.name": SERVICE})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=endpoint)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(SERVICE)

    def searched(
        self, request_id: str, ended: float, took_ms: float, stages: Mapping[str, float]
    ) -> None:
        from opentelemetry import trace

        began = ended - took_ms / 1000.0
        root = self._span("search", began, None, {"ecm.request_id": request_id})
        within = trace.set_span_in_context(root)
        at = began
        for stage in STAGES:
            if stage not in stages:
                continue
            seconds = stages[stage] / 1000.0
            span = self._span(stage, at, within, {})
            if stage == "axes":
                self._axes(at, trace.set_span_in_context(span), stages)
            at += seconds
            span.end(_nanoseconds(at))
        root.end(_nanoseconds(ended))

    def close(self) -> None:
        self._provider.shutdown()

    def _axes(self, at: float, within: Any, stages: Mapping[str, float]) -> None:
        """All axes are asked at once."""
        for name, milliseconds in stages.items():
            if name.startswith(AXIS):
                span = self._span(name, at, within, {"ecm.axis": name.removeprefix(AXIS)})
                span.end(_nanoseconds(at + milliseconds / 1000.0))

    def _span(self, name: str, at: float, within: Any, attributes: Mapping[str, str]) -> Any:
        return self._tracer.start_span(
            name, context=within, attributes=dict(attributes), start_time=_nanoseconds(at)
        )


def open_tracer(endpoint: str | None) -> Tracer:
    """The tracer of an endpoint; None: there is none. Raises BackendMissing, ConfigError."""
    return OtlpTracer(endpoint) if endpoint is not None else NoTracer()


def _nanoseconds(at: float) -> int:
    return int(at * NANO)
