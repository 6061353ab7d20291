"""The HTTP interface: routes under /v1, the search page at /, health.

Knows HTTP; asks the searcher for everything else. Serve copies the class, with the globals its code
uses, when it is decorated: so its functions stand above it, and annotations are no strings here.
"""

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Annotated, TypeVar

from fastapi import Body, File, Form, Query, Request, UploadFile
from pydantic import ValidationError
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.config import ModelChoice, Profile
from ecm.contracts.search import MAX_IMAGE_BYTES, Axis, SearchRequest, SearchResponse
from ecm.delivery.letters import given_up
from ecm.delivery.rollout_metrics import rollout_exposition
from ecm.errors import ConfigError, EcmError, ImageError, QueryError, TransientError
from ecm.evidence.rollouts import all_rollouts
from ecm.evidence.storage import open_storage
from ecm.evidence.story import AssetHistory, GivenUp
from ecm.opening import effective, plan_of
from ecm.search.assets import AssetView
from ecm.stages.plan import TransformPlan
from serve.access import Caller, asked_by
from serve.api import EXAMPLES, PROBLEMS, Failed, SearchBody, invalid, new_api
from serve.door import Door, door_of
from serve.edge import too_large
from serve.ledger_api import ledger_routes
from serve.problem import Problem, problem_of, problem_of_call
from serve.queue_api import queue_routes
from serve.searcher import Readiness, SnapshotView
from serve.submission import Producer
from serve.work_api import WorkDesk, work_routes

FILES = {
    "page.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
ANSWERED = (EcmError, RayError, RayServeException, TimeoutError)
"""What a call of another deployment raises: ours, Ray's, Serve's, or too slow."""

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
_SHARE_OF_TIMEOUT = 0.9

Answer = TypeVar("Answer")

api = new_api()


def _question(fields: dict[str, object]) -> SearchBody:
    try:
        return SearchBody.model_validate(fields)
    except ValidationError as error:
        raise Failed(invalid(error.errors()[0])) from error


def _checked(asset_id: str) -> str:
    if not _DIGEST.match(asset_id):
        raise Failed(problem_of(QueryError("no such asset", "query.asset_unknown")))
    return asset_id


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _door(_: Request) -> Door:
    door: Door = serve.get_replica_context().servable_object.door
    return door


def _producer(_: Request) -> Producer:
    producer: Producer = serve.get_replica_context().servable_object.producer
    return producer


def _rollouts(_: Request) -> Callable[[], str]:
    told: Callable[[], str] = serve.get_replica_context().servable_object.rollouts
    return told


def _desk(_: Request) -> WorkDesk:
    desk: WorkDesk = serve.get_replica_context().servable_object.desk
    return desk


api.include_router(ledger_routes(_door))
api.include_router(queue_routes(_door, _producer, _rollouts))
api.include_router(work_routes(_door, _desk))


@serve.deployment
@serve.ingress(api)
class Ingress:
    """The edge of the service. Holds no model and no snapshot."""

    def __init__(
        self, profile: Profile, searcher: DeploymentHandle, desk: DeploymentHandle
    ) -> None:
        self._searcher = searcher
        self.door = door_of(profile)
        self._profile = profile
        self._plan: tuple[ModelChoice, TransformPlan] | None = None
        self.producer = Producer(self._plan_in_force, self.door.roots.confine)
        self._seconds = profile.serve.request_timeout_seconds * _SHARE_OF_TIMEOUT
        self.desk = WorkDesk(desk, self._seconds)
        folder = resources.files("serve") / "ui"
        self._page = (folder / "index.html").read_bytes()
        self._files = {name: (folder / name).read_bytes() for name in FILES}

    def rollouts(self) -> str:
        """The newest rollout of the store for Prometheus; nothing while the store is out of reach,
        so that the ledger's metrics are told all the same.
        """
        try:
            return rollout_exposition(all_rollouts(open_storage(self._profile.evidence)))
        except (ConfigError, TransientError):
            return ""

    def _plan_in_force(self) -> TransformPlan:
        """Manifests are read once for each set of models that rollouts have given the roles."""
        models = effective(self._profile).models
        if self._plan is None or self._plan[0] != models:
            self._plan = models, plan_of(self._profile)
        return self._plan[1]

    @api.post("/v1/search", response_model=SearchResponse, responses=PROBLEMS, tags=["search"])
    async def search(
        self, request: Request, body: Annotated[SearchBody, Body(openapi_examples=EXAMPLES)]
    ) -> Response:
        """Search by text, by a base64 image, by an asset id, or by text with one of these."""
        caller = self.door.caller(request, Scope.SEARCH, body.tenant_id)
        return await self._search(caller, body)

    @api.get("/v1/search", response_model=SearchResponse, responses=PROBLEMS, tags=["search"])
    async def search_text(
        self,
        request: Request,
        q: str,
        limit: int = 20,
        cursor: str | None = None,
        axes: Annotated[list[Axis] | None, Query()] = None,
    ) -> Response:
        """Search by text."""
        caller = self.door.caller(request, Scope.SEARCH)
        fields = {"text": q, "limit": limit, "cursor": cursor, "axes": axes}
        return await self._search(caller, _question(fields))

    @api.post(
        "/v1/search/image", response_model=SearchResponse, responses=PROBLEMS, tags=["search"]
    )
    async def search_image(
        self,
        request: Request,
        image: Annotated[UploadFile, File(description="an image file")],
        text: Annotated[str | None, Form()] = None,
        limit: Annotated[int, Form()] = 20,
        cursor: Annotated[str | None, Form()] = None,
    ) -> Response:
        """Search by an image, alone or with text."""
        caller = self.door.caller(request, Scope.SEARCH)
        data = await image.read()
        if not data:
            raise Failed(problem_of(ImageError("the uploaded image has 0 bytes", "decode.empty")))
        if len(data) > MAX_IMAGE_BYTES:
            raise Failed(too_large(MAX_IMAGE_BYTES))
        fields = {"text": text or None, "limit": limit, "cursor": cursor}
        return await self._search(caller, _question({**fields, "image": base64.b64encode(data)}))

    @api.get("/v1/assets/{asset_id}", response_model=AssetView, responses=PROBLEMS, tags=["assets"])
    async def asset(self, request: Request, asset_id: str) -> Response:
        """Facts, places and all evidence of an asset, of every run."""
        tenant = self.door.caller(request, Scope.SEARCH).tenant
        view = await self._call(self._searcher.asset.remote(tenant, _checked(asset_id)))
        return _json(view.model_dump_json())

    @api.get(
        "/v1/assets/{asset_id}/history",
        response_model=AssetHistory,
        responses=PROBLEMS,
        tags=["assets"],
    )
    async def history(self, request: Request, asset_id: str) -> Response:
        """The whole story of an asset: places, what every run said, snapshots that show it.

        The first 8 or more digits of the id will do where they are the start of no other. Dead
        letters are null when the ledger does not answer.
        """
        caller = self.door.caller(request, Scope.SEARCH)
        story = await self._call(self._searcher.history.remote(caller.tenant, asset_id))
        letters = await self._dead_letters(caller, story)
        return _json(story.model_copy(update={"dead_letters": letters}).model_dump_json())

    @api.get("/v1/assets/{asset_id}/thumbnail", response_class=Response, tags=["assets"])
    async def thumbnail(self, request: Request, asset_id: str) -> Response:
        """A small JPEG of an asset."""
        tenant = self.door.caller(request, Scope.SEARCH).tenant
        jpeg = await self._call(self._searcher.thumbnail.remote(tenant, _checked(asset_id)))
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return Response(jpeg, headers=headers, media_type="image/jpeg")

    @api.get("/v1/snapshot", response_model=SnapshotView, responses=PROBLEMS, tags=["service"])
    async def snapshot(self, request: Request) -> Response:
        """The snapshot that answers: transforms, dimensions, number of assets."""
        tenant = self.door.caller(request, Scope.SEARCH).tenant
        view = await self._call(self._searcher.snapshot.remote(tenant))
        return _json(view.model_dump_json())

    @api.get("/v1/health/live", tags=["service"])
    async def live(self) -> Response:
        """200 while this replica runs."""
        return _json('{"status":"live"}')

    @api.get("/v1/health/ready", response_model=Readiness, responses=PROBLEMS, tags=["service"])
    async def ready(self) -> Response:
        """200 when a snapshot is served and the query models are loaded, else 503."""
        readiness = await self._call(self._searcher.ready.remote())
        return _json(readiness.model_dump_json())

    @api.get("/", include_in_schema=False)
    async def page(self) -> Response:
        return Response(
            self._page, headers={"Cache-Control": "no-cache"}, media_type="text/html; charset=utf-8"
        )

    @api.get("/ui/{name}", include_in_schema=False)
    async def file(self, name: str) -> Response:
        if name not in self._files:
            raise Failed(Problem(404, "http.not_found", "no such file"))
        headers = {"Cache-Control": "no-cache"}
        return Response(self._files[name], headers=headers, media_type=FILES[name])

    async def _dead_letters(
        self, caller: Caller, story: AssetHistory
    ) -> tuple[GivenUp, ...] | None:
        """What was given up at the places of an asset; None when the ledger does not answer."""
        uris = {event.uri for event in story.events}
        tenant = caller.tenant
        letters = self.door.do(caller, lambda told: given_up(told, tenant, story.asset_id, uris))
        try:
            found: tuple[GivenUp, ...] = await asyncio.wait_for(letters, self._seconds)
        except (Failed, TimeoutError):
            return None
        return found

    async def _search(self, caller: Caller, question: SearchRequest) -> Response:
        answer = await self._call(self._searcher.search.remote(asked_by(caller, question)))
        return _json(answer.model_dump_json())

    async def _call(self, answer: Awaitable[Answer]) -> Answer:
        try:
            return await asyncio.wait_for(answer, self._seconds)
        except ANSWERED as error:
            raise Failed(problem_of_call(error)) from error
