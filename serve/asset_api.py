"""Assets, the snapshot that answers, and the health of the service over HTTP.

Knows routes and who may see what; asks the deployment that holds the snapshot. No annotation here
is a string: Serve copies what it serves.
"""

import asyncio
import re
from collections.abc import Callable

from fastapi import APIRouter, Request
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.delivery.letters import given_up
from ecm.errors import QueryError
from ecm.evidence.story import AssetHistory, GivenUp
from ecm.search.assets import AssetView
from serve.access import Caller
from serve.api import PROBLEMS, Failed, Live
from serve.calls import Calls
from serve.candidates import Readiness, SnapshotView
from serve.door import Door
from serve.problem import problem_of
from serve.shared import Shared

JSON = "application/json"
THUMBNAIL = 0.05
"""Of a request: a page of hits asks for dozens at once, and each is in memory or one row."""
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


class Showing:
    """What routes show of the snapshot. `handle` is the deployment that holds it."""

    def __init__(self, door: Door, calls: Calls, handle: DeploymentHandle) -> None:
        self.door = door
        self.calls = calls
        self.handle = handle
        self._looking = Shared(self._readiness)

    async def readiness(self) -> Readiness:
        """Whether a snapshot is served. Raises Failed."""
        return await self._looking.outcome()

    async def _readiness(self) -> Readiness:
        return await self.calls.ask(self.handle.ready.remote)

    async def asset(self, tenant_id: str, asset_id: str) -> AssetView:
        """An asset of a tenant. Raises Failed."""
        name = checked(asset_id)
        return await self.calls.ask(lambda: self.handle.asset.remote(tenant_id, name))

    async def dead_letters(self, caller: Caller, story: AssetHistory) -> tuple[GivenUp, ...] | None:
        """What was given up at the places of an asset; None when the ledger does not answer."""
        uris = {event.uri for event in story.events}
        tenant = caller.tenant
        letters = self.door.do(caller, lambda told: given_up(told, tenant, story.asset_id, uris))
        try:
            found: tuple[GivenUp, ...] = await asyncio.wait_for(letters, self.calls.seconds)
        except (Failed, TimeoutError):
            return None
        return found


def checked(asset_id: str) -> str:
    """The id, if it can be one. Raises Failed with 404."""
    if not _DIGEST.match(asset_id):
        raise Failed(problem_of(QueryError("no such asset", "query.asset_unknown")))
    return asset_id


def asset_routes(showing_of: Callable[[Request], Showing]) -> APIRouter:
    """The routes; `showing_of` finds what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS)

    @router.get("/v1/assets/{asset_id}", response_model=AssetView, tags=["assets"])
    async def asset(request: Request, asset_id: str) -> Response:
        """Facts, places and all evidence of an asset, of every run."""
        showing = showing_of(request)
        tenant = showing.door.caller(request, Scope.SEARCH).tenant
        view = await showing.asset(tenant, asset_id)
        return Response(view.model_dump_json(), media_type=JSON)

    @router.get("/v1/assets/{asset_id}/history", response_model=AssetHistory, tags=["assets"])
    async def history(request: Request, asset_id: str) -> Response:
        """The whole story of an asset: places, what every run said, snapshots that show it.

        The first 8 or more digits of the id will do where they are the start of no other. Dead
        letters are null when the ledger does not answer.
        """
        showing = showing_of(request)
        caller = showing.door.caller(request, Scope.SEARCH)
        story: AssetHistory = await showing.calls.ask(
            lambda: showing.handle.history.remote(caller.tenant, asset_id)
        )
        letters = await showing.dead_letters(caller, story)
        whole = story.model_copy(update={"dead_letters": letters})
        return Response(whole.model_dump_json(), media_type=JSON)

    @router.get(
        "/v1/assets/{asset_id}/thumbnail",
        response_class=Response,
        tags=["assets"],
        responses={200: {"description": "a JPEG", "content": {"image/jpeg": {}}}},
    )
    async def thumbnail(request: Request, asset_id: str) -> Response:
        """A small JPEG of an asset."""
        showing = showing_of(request)
        tenant = showing.door.caller(request, Scope.SEARCH, cost=THUMBNAIL).tenant
        name = checked(asset_id)
        jpeg: bytes = await showing.calls.ask(lambda: showing.handle.thumbnail.remote(tenant, name))
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(jpeg, headers=headers, media_type="image/jpeg")

    @router.get("/v1/snapshot", response_model=SnapshotView, tags=["service"])
    async def snapshot(request: Request) -> Response:
        """The snapshot that answers: transforms, dimensions, number of assets."""
        showing = showing_of(request)
        tenant = showing.door.caller(request, Scope.SEARCH).tenant
        view: SnapshotView = await showing.calls.ask(lambda: showing.handle.snapshot.remote(tenant))
        return Response(view.model_dump_json(), media_type=JSON)

    @router.get("/v1/health/live", response_model=Live, tags=["service"])
    async def live() -> Response:
        """200 while this replica runs."""
        return Response(Live().model_dump_json(), media_type=JSON)

    @router.get("/v1/health/ready", response_model=Readiness, tags=["service"])
    async def ready(request: Request) -> Response:
        """200 when a snapshot is served and its models have answered; `degraded`: lost axes."""
        showing = showing_of(request)
        readiness = await showing.readiness()
        trouble = "; ".join(filter(None, (readiness.trouble, showing.door.trouble())))
        readiness = readiness.model_copy(update={"trouble": trouble})
        return Response(readiness.model_dump_json(), media_type=JSON)

    return router
