"""Counts and times of HTTP requests, and the line of each in the access log.

Knows routes by their templates, so that no asset id or query becomes a label.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access_log import route_of
from serve.meters import Meters
from serve.reach import Reach

if TYPE_CHECKING:
    from serve.bounds import Edge

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
GONE = 499
"""Status in log and metrics of a request whose caller did not wait for the answer."""


class HttpMeters(Meters):
    """Of an ingress replica."""

    def __init__(self) -> None:
        super().__init__()
        own = self.registry
        self._requests = Counter(
            "ecm_http_requests", "Requests.", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "ecm_http_seconds", "Time to answer.", ["route"], buckets=BUCKETS, registry=own
        )
        self.running = Gauge("ecm_http_running", "Requests in work.", registry=own)
        self._refused = Counter(
            "ecm_http_refused", "Requests refused because too many were in work.", registry=own
        )

        self._awaited = Gauge(
            "ecm_awaited",
            "Questions that wait for an answer of a deployment.",
            ["of"],
            registry=own,
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self) -> None:
        self._refused.inc()

    def awaited(self, reach: Reach) -> None:
        """What waits for a deployment at this moment."""
        self._awaited.labels(reach.name).set(reach.awaited)


class Measured:
    """Middleware that measures every request and writes its line. `edge_of` finds the edge of this
    replica.
    """

    def __init__(self, app: ASGIApp, edge_of: Callable[[], Edge]) -> None:
        self._app = app
        self._edge_of = edge_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        edge = self._edge_of()
        status = GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        started = time.perf_counter()
        with edge.meters.running.track_inprogress():
            try:
                await self._app(scope, receive, noted)
            finally:
                seconds = time.perf_counter() - started
                edge.meters.answered(route_of(scope), status, seconds)
                edge.log.write(scope, status, seconds * 1000.0)
