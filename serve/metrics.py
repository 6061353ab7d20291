"""Counts and times of HTTP requests for Prometheus, at /metrics of each ingress replica.

Knows routes by their templates, so that no asset id or query becomes a label.
"""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/metrics"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Measured:
    """Middleware that measures every request and answers `PATH` itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "ecm_http_requests", "Requests.", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "ecm_http_seconds",
            "Time to answer.",
            ["route"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._running = Gauge("ecm_http_running", "Requests in work.", registry=self._registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] == PATH:
            text = Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
            await text(scope, receive, send)
            return
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        with self._running.track_inprogress():
            try:
                await self._app(scope, receive, noted)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                self._requests.labels(route, str(status)).inc()
                self._seconds.labels(route).observe(time.perf_counter() - started)
