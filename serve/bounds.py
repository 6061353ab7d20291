"""How much the edge does at once and for how long: above and beyond that it says so itself.

Serve's own answers to overload and lateness are bare text; what is refused here is a problem with
its code and a time to come again. So Serve's bounds lie above these. Knows no route.
"""

import asyncio
import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ecm.errors import Overloaded
from serve.access import Access
from serve.access_log import AccessLog
from serve.metrics import HttpMeters
from serve.problem import RETRY_SECONDS, Problem, problem_of, problem_of_call

log = logging.getLogger("ray.serve")

ALWAYS = ("/v1/health/live", "/metrics")
"""Answered however much there is to do: who watches is to see that."""


@dataclass
class Edge:
    """What the middleware of one ingress replica shares.

    `at_once` requests are answered at a time, each begins to be within `seconds`. `access` tells
    who is somebody here; None: the routes alone do.
    """

    at_once: int = 256
    seconds: float = 27.0
    log: AccessLog = field(default_factory=AccessLog)
    meters: HttpMeters = field(default_factory=HttpMeters)
    running: int = 0
    access: Access | None = None


class Bounded:
    """Middleware that refuses what is too much, ends what takes too long, and answers what no
    route foresaw. `edge_of` finds the edge of this replica.
    """

    def __init__(self, app: ASGIApp, edge_of: Callable[[], Edge]) -> None:
        self._app = app
        self._edge_of = edge_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        edge = self._edge_of()
        if edge.running >= edge.at_once:
            edge.meters.refused()
            full = Overloaded("this service has too much to do", retry_after=RETRY_SECONDS)
            await problem_of(full).response()(scope, receive, send)
            return
        edge.running += 1
        try:
            await self._within(edge.seconds, scope, receive, send)
        finally:
            edge.running -= 1

    async def _within(self, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        problem: Problem | None = None

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if not begun:
                begun = True
                limit.reschedule(None)  # how long a stream may take is its own business
            await send(message)

        try:
            async with asyncio.timeout(seconds) as limit:
                await self._app(scope, receive, noted)
        except ClientDisconnect:
            return
        except TimeoutError as error:
            problem = problem_of_call(error)
        except Exception as error:
            log.exception("a request failed as no route foresaw")
            if begun:
                raise
            problem = problem_of_call(error)
        if problem is not None and not begun:
            await problem.response()(scope, receive, send)
