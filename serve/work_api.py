"""What workers outside the cluster ask over HTTP: admission of bytes, delivery of results.

Leases, claims and heartbeats go through the ledger's own routes. Knows HTTP, limits and whose
results they may be; the desk knows the rest. No annotation here is a string: Serve copies what it
serves.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Request
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.contracts.quarantine import QuarantineNotice
from ecm.delivery.receipts import AdmitAnswer, AdmitQuestion, Receipt, WorkerRun
from ecm.delivery.remote import (
    ADMIT_PATH,
    QUARANTINES_PATH,
    RESULTS_PATH,
    RESULTS_TYPE,
    RUNS_PATH,
)
from ecm.delivery.scrutiny import parse_results
from ecm.errors import EcmError
from serve.access import Caller
from serve.api import PROBLEMS, Failed
from serve.door import Door
from serve.ledger_api import JSON
from serve.problem import Problem, ledger_problem, problem_of_call

Answer = TypeVar("Answer")


class WorkDesk:
    """The desk as routes reach it: its deployment, and how many seconds it is waited for."""

    def __init__(self, desk: DeploymentHandle, seconds: float) -> None:
        self.desk = desk
        self._seconds = seconds

    async def asked(self, answer: Awaitable[Answer]) -> Answer:
        """The answer of the desk. Raises Failed."""
        try:
            return await asyncio.wait_for(answer, self._seconds)
        except (EcmError, RayError, RayServeException, TimeoutError) as error:
            cause = error.cause if isinstance(error, RayTaskError) else error
            problem = ledger_problem(cause) if isinstance(cause, EcmError) else None
            raise Failed(problem or problem_of_call(error)) from error


def work_routes(
    door_of: Callable[[Request], Door], desk_of: Callable[[Request], WorkDesk]
) -> APIRouter:
    """The routes of workers; `door_of` and `desk_of` find those of the replica that is asked."""
    router = APIRouter(tags=["work"])

    @router.post(ADMIT_PATH, response_model=AdmitAnswer, responses=PROBLEMS)
    async def admit(request: Request, question: Annotated[AdmitQuestion, Body()]) -> Response:
        """Which bytes are to be analysed, and which are linked to evidence that exists or that
        another worker is making now. One answer for each, in order.
        """
        caller = door_of(request).caller(request, Scope.INGEST)
        for tenant in {wanted.tenant_id for wanted in question.wanted}:
            _own(caller, tenant)
        desk = desk_of(request)
        answer = await desk.asked(desk.desk.admit.remote(question))
        return Response(answer.model_dump_json(), media_type=JSON)

    @router.post(
        RESULTS_PATH,
        response_model=Receipt,
        responses=PROBLEMS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {RESULTS_TYPE: {}, JSON: {}},
            }
        },
    )
    async def results(request: Request) -> Response:
        """ResultEnvelopes, one a line or as one JSON list; answered when they are committed.

        May be sent again after any failure: what is committed already is said to be committed. A
        503 with Retry-After means that another run commits to the store just now.
        """
        caller = door_of(request).caller(request, Scope.INGEST)
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind not in (RESULTS_TYPE, JSON):
            raise Failed(Problem(415, "request.type", f"the body must be {RESULTS_TYPE} or {JSON}"))
        body = await request.body()
        try:
            envelopes = await asyncio.to_thread(parse_results, body, caller.sees)
        except EcmError as error:
            raise Failed(ledger_problem(error)) from error
        desk = desk_of(request)
        receipt = await desk.asked(desk.desk.deliver.remote(envelopes))
        return Response(receipt.model_dump_json(), media_type=JSON)

    @router.post(RUNS_PATH, responses=PROBLEMS, status_code=204)
    async def runs(request: Request, run: Annotated[WorkerRun, Body()]) -> Response:
        """A worker begins or ends: a row for its run, which its evidence refers to."""
        caller = door_of(request).caller(request, Scope.INGEST)
        desk = desk_of(request)
        await desk.asked(desk.desk.record.remote(run, caller.tenant))
        return Response(status_code=204)

    @router.post(QUARANTINES_PATH, responses=PROBLEMS, status_code=204)
    async def quarantines(
        request: Request, notice: Annotated[QuarantineNotice, Body()]
    ) -> Response:
        """A golden probe of a worker's model has failed: the evidence it names by key and run is
        shown by no snapshot that is built from now on. May be sent again.
        """
        caller = door_of(request).caller(request, Scope.INGEST)
        _own(caller, notice.tenant_id)
        desk = desk_of(request)
        await desk.asked(desk.desk.quarantine.remote(notice))
        return Response(status_code=204)

    return router


def _own(caller: Caller, tenant: str) -> None:
    if caller.sees is not None and tenant != caller.sees:
        raise Failed(Problem(403, "access.tenant", f"this caller may not ask tenant {tenant!r}"))
