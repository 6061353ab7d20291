"""Searches over HTTP: by query parameters, by JSON, by an uploaded image, many at once.

Knows how a question is read and how its answer or refusal is said; what a search is, is known to
the deployment that is asked. No annotation here is a string: Serve copies what it serves.
"""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, File, Form, Query, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field, Json, ValidationError
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.contracts.filters import MAX_VALUES, Filter, Label
from ecm.contracts.identity import Contract, Digest
from ecm.contracts.search import (
    MAX_AXES,
    MAX_FACETS,
    MAX_IMAGE_BYTES,
    MAX_QUERY_CHARS,
    Axis,
    FacetField,
    SearchResponse,
    SortOrder,
)
from ecm.errors import ImageError
from serve.access import Caller, asked_by
from serve.api import PROBLEMS, Failed, ProblemView, SearchBody, invalid
from serve.calls import Calls
from serve.door import Door
from serve.edge import too_large
from serve.examples import BATCHES, QUESTIONS
from serve.problem import Problem, problem_of
from serve.request_id import current_id

MAX_BATCH = 32
JSON = "application/json"

IMAGE_FIELDS = frozenset({"image", "asset_id"})


class Asked(BaseModel):
    """A question in query parameters: what is simple to say there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    q: str | None = Field(default=None, max_length=MAX_QUERY_CHARS, description="the text")
    asset_id: Digest | None = Field(default=None, description="more like this asset")
    tag: tuple[Label, ...] = Field(
        default=(), max_length=MAX_VALUES, description="tags that a hit must have, all of them"
    )
    filter: Json[Filter] | None = Field(default=None, description="a filter tree, as JSON")
    facets: tuple[FacetField, ...] = Field(default=(), max_length=MAX_FACETS)
    sort: SortOrder = SortOrder.RELEVANCE
    limit: int = Field(default=20, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=512)
    candidates: int = Field(default=200, ge=1, le=500)
    axes: tuple[Axis, ...] | None = Field(default=None, max_length=MAX_AXES)
    require: tuple[Axis, ...] = Field(default=(), max_length=MAX_AXES)
    rerank: Literal["auto", "off"] = "auto"
    min_relevance: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] | None = None
    timeout_ms: float | None = Field(default=None, gt=0, le=60_000)
    explain: bool = True
    profile: bool = False

    def question(self) -> SearchBody:
        """The same as the contract has it. Raises Failed."""
        fields = self.model_dump(exclude={"q", "tag", "filter"}, exclude_unset=True)
        tags = {"field": "tags", "all": self.tag}
        narrowed: dict[str, Any] | Filter | None = self.filter
        if self.tag:
            own = self.filter.model_dump() if self.filter is not None else {}
            narrowed = {**own, "must": [tags, *own.get("must", ())]}
        return read_question({**fields, "text": self.q, "filter": narrowed})


class Batch(Contract):
    """Questions that are asked at once; each is answered or refused on its own."""

    questions: tuple[Any, ...] = Field(min_length=1, max_length=MAX_BATCH)


class Outcome(Contract):
    """What became of one question: one of the two."""

    response: SearchResponse | None = None
    problem: ProblemView | None = None


class BatchAnswer(Contract):
    """The outcomes in the order of the questions."""

    answers: tuple[Outcome, ...]


class Searching:
    """Searches as routes ask for them.

    Args:
        door: who asks.
        calls: how the deployment is asked.
        handle: the deployment that answers.
        batch_at_once: questions of one batch that are asked at a time.
        wall: Unix seconds.
    """

    def __init__(
        self,
        door: Door,
        calls: Calls,
        handle: DeploymentHandle,
        batch_at_once: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.door = door
        self._calls = calls
        self._handle = handle
        self._batch_at_once = batch_at_once
        self._wall = wall

    def heard(self, request: Request) -> "Searching":
        """The searches of one request, where its headers matter to them."""
        return self

    async def answer(self, caller: Caller, question: SearchBody) -> bytes:
        """The SearchResponse as JSON. Raises Failed."""
        asked, now = asked_by(caller, question), self._wall()
        return await self._calls.ask(lambda: self._handle.search.remote(asked, now, current_id()))

    async def outcomes(self, request: Request, caller: Caller, batch: Batch) -> list[bytes]:
        """The Outcome of every question as JSON, in order."""
        turns = asyncio.Semaphore(self._batch_at_once)

        async def outcome(raw: object) -> bytes:
            async with turns:
                try:
                    question = await asyncio.to_thread(read_question, raw)
                    own = self._caller(request, caller, question)
                    answer = await self.answer(own, question)
                except Failed as error:
                    body = bytes(error.problem.response().body)
                    return b'{"response":null,"problem":' + body + b"}"
                return b'{"response":' + answer + b',"problem":null}'

        return await asyncio.gather(*map(outcome, batch.questions))

    def _caller(self, request: Request, caller: Caller, question: SearchBody) -> Caller:
        """Who asks one question of a batch, which may name a tenant. Raises Failed."""
        if question.tenant_id is None:
            return caller
        found = self.door.access.caller_of(request.headers, question.tenant_id)
        if isinstance(found, Problem):
            raise Failed(found)
        return found


def _read_upload(fields: dict[str, object], image: bytes) -> SearchBody:
    return read_question({**fields, "image": base64.b64encode(image)})


def read_question(raw: object) -> SearchBody:
    """A question that has been sent. Raises Failed with 422."""
    try:
        return SearchBody.model_validate(raw)
    except ValidationError as error:
        raise Failed(invalid(error.errors()[0])) from error


def read_rest(text: str | None, given: dict[str, object]) -> dict[str, object]:
    """The fields of a question beside its image, from a form: those of its own, and JSON.

    Raises Failed with 422 for what is said twice.
    """
    said = {name: value for name, value in given.items() if value is not None}
    if text is None:
        return said
    try:
        rest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failed(Problem(422, "request.invalid", "request: no JSON")) from error
    if not isinstance(rest, dict):
        raise Failed(Problem(422, "request.invalid", "request: not a JSON object"))
    twice = sorted(rest.keys() & (said.keys() | IMAGE_FIELDS))
    if twice:
        raise Failed(Problem(422, "request.invalid", f"request: {twice[0]} is said in the form"))
    return {**rest, **said}


def search_routes(searching_of: Callable[[Request], Searching]) -> APIRouter:
    """The routes; `searching_of` finds what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS, tags=["search"])

    @router.post("/v1/search", response_model=SearchResponse)
    async def search(
        request: Request, body: Annotated[SearchBody, Body(openapi_examples=QUESTIONS)]
    ) -> Response:
        """Search by text, by base64 images, by assets, narrowed by a filter: the whole contract.

        Where an experiment runs, the headers X-Ecm-Session and X-Ecm-Unit say who asks; the answer
        says which arm it is of.
        """
        searching = searching_of(request)
        caller = searching.door.caller(request, Scope.SEARCH, body.tenant_id)
        return Response(await searching.answer(caller, body), media_type=JSON)

    @router.get("/v1/search", response_model=SearchResponse)
    async def search_text(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """Search by text or by an asset: what fits into query parameters."""
        searching = searching_of(request)
        caller = searching.door.caller(request, Scope.SEARCH)
        return Response(await searching.answer(caller, asked.question()), media_type=JSON)

    @router.post("/v1/search/image", response_model=SearchResponse)
    async def search_image(
        request: Request,
        image: Annotated[UploadFile, File(description="an image file")],
        text: Annotated[str | None, Form()] = None,
        limit: Annotated[int | None, Form(ge=1, le=200)] = None,
        cursor: Annotated[str | None, Form()] = None,
        rest: Annotated[
            str | None, Form(alias="request", description="all else of a question, as JSON")
        ] = None,
    ) -> Response:
        """Search by an uploaded image, alone or with text, narrowed as any question."""
        searching = searching_of(request)
        caller = searching.door.caller(request, Scope.SEARCH)
        data = await image.read()
        if not data:
            raise Failed(problem_of(ImageError("the uploaded image has 0 bytes", "decode.empty")))
        if len(data) > MAX_IMAGE_BYTES:
            raise Failed(too_large(MAX_IMAGE_BYTES))
        fields = read_rest(rest, {"text": text or None, "limit": limit, "cursor": cursor})
        # Reading an image of 32 MiB takes a quarter of a second, which nobody else is to wait for.
        question = await asyncio.to_thread(_read_upload, fields, data)
        if question.tenant_id is not None:
            caller = searching.door.caller(request, Scope.SEARCH, question.tenant_id, cost=0)
        return Response(await searching.answer(caller, question), media_type=JSON)

    @router.post("/v1/search/batch", response_model=BatchAnswer)
    async def search_batch(
        request: Request, batch: Annotated[Batch, Body(openapi_examples=BATCHES)]
    ) -> Response:
        """Up to 32 questions, each a body of POST /v1/search, which counts as one request of its
        key. The answer is 200 though some, or all, of them were refused: see each `problem`.
        """
        searching = searching_of(request)
        cost = len(batch.questions)
        caller = searching.door.caller(request, Scope.SEARCH, cost=cost)
        outcomes = await searching.outcomes(request, caller, batch)
        return Response(b'{"answers":[' + b",".join(outcomes) + b"]}", media_type=JSON)

    return router
