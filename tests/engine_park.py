"""Every engine of an evaluation on one small store, for the suite that all of them must pass.

A tenant of the local service is asked over its routes, by our engine in this process, by
qdrant-edge and by the recorded contract of a product; a scripted fake stands beside them.
"""

from __future__ import annotations

from pathlib import Path

import httpx
from starlette.testclient import TestClient

from ecm.client import Client, Retries
from ecm.config import Profile
from ecm.contracts.measured import EngineFacts, EngineKind
from ecm.evaluation.engines.fake import FakeBackend
from ecm.evaluation.engines.internal import HttpService
from ecm.evaluation.engines.patient import Patience, Patient
from jobs.engines import open_engines
from tests.engine_queries import asked
from tests.local_service import LocalService

__all__ = ["ONCE", "TENANT", "Park", "Through", "asked", "facts_of"]

TENANT = "ann"
ONCE = Patience(retries=0, gives_up_after=100)


class Through(httpx.BaseTransport):
    """Sends what a client sends to routes in this process."""

    def __init__(self, app: TestClient) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        found = self._app.request(
            request.method,
            str(request.url),
            content=request.read(),
            headers=dict(request.headers),
        )
        kept = {n: v for n, v in found.headers.items() if n.lower() != "content-encoding"}
        return httpx.Response(found.status_code, headers=kept, content=found.content)


class Park:
    """The engines by name, opened when first asked for. Close it after use."""

    def __init__(self, home: Path) -> None:
        self.service = LocalService(home)
        self.profile: Profile = self.service.indexer.profile.model_copy(update={"tenant": TENANT})
        self.ids = sorted(self.service.owns[TENANT].ids)
        self._opened: dict[str, Patient] = {}
        self._app = self.service.client(TENANT)
        self._app.__enter__()

    def engine(self, name: str) -> Patient:
        if name not in self._opened:
            self._opened[name] = self.new(name)
        return self._opened[name]

    def new(self, name: str) -> Patient:
        match name:
            case "fake":
                return Patient(self._fake())
            case "internal over HTTP":
                return Patient(HttpService(facts_of("internal"), self.client()), ONCE)
            case _:
                return open_engines([name], self.profile, environ={})[0]

    def client(self, transport: httpx.BaseTransport | None = None) -> Client:
        """A client of the local service, or of whatever a transport leads to."""
        way = transport or Through(self._app)
        return Client("http://localhost", f"key-of-{TENANT}", transport=way, retries=Retries(0))

    def close(self) -> None:
        for engine in self._opened.values():
            engine.close()
        self._app.__exit__()
        self.service.close()

    def _fake(self) -> FakeBackend:
        return FakeBackend(always=self.ids)


def facts_of(name: str, price: float = 0.0) -> EngineFacts:
    """Facts of an engine as its file would say them."""
    return EngineFacts(
        engine_id=name,
        kind=EngineKind.INTERNAL,
        description="of a test",
        cost_per_1k_usd=price,
    )
