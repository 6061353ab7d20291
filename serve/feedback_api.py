"""Feedback over HTTP: events that callers tell, and impressions that searches leave by themselves.

Knows who may tell what of whom, and how an answer is told as an impression; how it is stored is the
writer's. No annotation here is a string: Serve copies what it serves.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.contracts.feedback import (
    MAX_RANK,
    MAX_SHOWN,
    FeedbackReceipt,
    FeedbackReport,
    Impression,
    Shown,
)
from ecm.contracts.search import SearchResponse
from ecm.errors import EcmError
from ecm.search.cursor import query_digest
from serve.access import Caller, asked_by
from serve.api import PROBLEMS, Failed, SearchBody
from serve.calls import Calls
from serve.door import Door
from serve.feedback_writing import FeedbackWriter
from serve.problem import problem_of
from serve.request_id import current_id
from serve.search_api import Searching

ACCEPTED = 202
ASSET = "0" * 64
REPORTS: dict[str, Any] = {
    "shown, and opened": {
        "value": {
            "events": [
                {
                    "kind": "impression",
                    "at": 1790000000.0,
                    "query_id": "7d0c5f0a-5f0e-4c55-9a3e-0d7c7f2f7a11",
                    "snapshot_id": "s-20260921T134640Z-0badcafe",
                    "ranking": "0123456789abcdef",
                    "query": "a dog on the beach",
                    "shown": [{"asset_id": ASSET, "rank": 1}],
                },
                {
                    "kind": "click",
                    "event_id": "click-20260921-1",
                    "at": 1790000004.5,
                    "query_id": "7d0c5f0a-5f0e-4c55-9a3e-0d7c7f2f7a11",
                    "session": "of your own making: stored as a keyed hash",
                    "asset_id": ASSET,
                    "rank": 1,
                },
            ]
        }
    },
    "looked at": {
        "value": {
            "events": [
                {
                    "kind": "dwell",
                    "at": 1790000030.0,
                    "query_id": "7d0c5f0a-5f0e-4c55-9a3e-0d7c7f2f7a11",
                    "asset_id": ASSET,
                    "seconds": 25.5,
                }
            ]
        }
    },
}


class ImpressionsKept(Searching):
    """Searches that leave an impression each, once they are answered."""

    def __init__(
        self,
        door: Door,
        calls: Calls,
        handle: DeploymentHandle,
        batch_at_once: int,
        writer: FeedbackWriter,
        wall: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(door, calls, handle, batch_at_once, wall)
        self._writer = writer
        self._now = wall

    async def answer(self, caller: Caller, question: SearchBody) -> bytes:
        """The same as without; the impression is on its way when it returns. Raises Failed."""
        found = await super().answer(caller, question)
        shown = impression_of(caller, question, found, current_id(), self._now())
        if shown is not None:
            await self._writer.note(caller.tenant, shown)
        return found


def impression_of(
    caller: Caller, question: SearchBody, answer: bytes, query_id: str, now: float
) -> Impression | None:
    """What a search has shown; None where that was nothing that feedback has a place for."""
    response = SearchResponse.model_validate_json(answer)
    shown = tuple(
        Shown(asset_id=hit.asset_id, rank=hit.rank)
        for hit in response.hits[:MAX_SHOWN]
        if hit.rank <= MAX_RANK
    )
    if not shown:
        return None
    return Impression(
        at=now,
        query_id=query_id,
        snapshot_id=response.snapshot_id,
        ranking=response.ranking.digest,
        query_digest=query_digest(asked_by(caller, question)),
        query=question.text,
        shown=shown,
    )


def feedback_routes(
    door_of: Callable[[Request], Door], writer_of: Callable[[Request], FeedbackWriter]
) -> APIRouter:
    """The route; the arguments find what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS, tags=["search"])

    @router.post("/v1/feedback", status_code=ACCEPTED, response_model=FeedbackReceipt)
    async def feedback(
        request: Request, report: Annotated[FeedbackReport, Body(openapi_examples=REPORTS)]
    ) -> Response:
        """Impressions, clicks and looks at the caller's own hits, to evaluate the search by.

        The answer comes when they are durable, which takes up to a second. Sending the same again
        adds nothing: an event is known by its `event_id`, or by all it says where it has none.
        """
        caller = door_of(request).caller(request, Scope.SEARCH)
        try:
            receipt = await writer_of(request).add(caller.tenant, report.events)
        except EcmError as error:
            raise Failed(problem_of(error)) from error
        return Response(receipt.model_dump_json(), ACCEPTED, media_type="application/json")

    return router
