"""The FastAPI application without its routes: limits, headers, measurements, error handlers.

Knows how a failure of any kind becomes a problem; knows no route and no deployment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

import ecm
from ecm.contracts.identity import Contract, TenantId
from ecm.contracts.search import MAX_IMAGE_BYTES, SearchRequest
from ecm.delivery.remote import (
    ADMIT_BYTES,
    ADMIT_PATH,
    QUARANTINES_PATH,
    RESULTS_BYTES,
    RESULTS_PATH,
)
from ecm.ledger.wire import OPERATIONS
from ecm.ledger.wire import PATH as LEDGER_PATH
from serve.bounds import Bounded, Edge
from serve.compression import Compressed
from serve.edge import BodyLimit, SecureHeaders
from serve.keyed import FOR_EVERYBODY, Keyed
from serve.metrics import Measured
from serve.problem import Problem, problem_of_call
from serve.request_id import Named
from serve.submission import REDRIVE_BYTES, SUBMISSION_BYTES

FORM_OVERHEAD = 64 * 2**10
FEEDBACK_BYTES = 4 * 2**20
BODY_LIMITS = {
    "/v1/search/image": MAX_IMAGE_BYTES + FORM_OVERHEAD,
    "/v1/search": MAX_IMAGE_BYTES * 4 // 3 + FORM_OVERHEAD,
    "/v1/search/batch": MAX_IMAGE_BYTES * 4 // 3 + FORM_OVERHEAD,
    "/v1/feedback": FEEDBACK_BYTES,
    "/v1/tasks": SUBMISSION_BYTES,
    ADMIT_PATH: ADMIT_BYTES,
    RESULTS_PATH: RESULTS_BYTES,
    QUARANTINES_PATH: ADMIT_BYTES,
    "/v1/dead-letters/redrive": REDRIVE_BYTES,
    **{f"{LEDGER_PATH}/{name}": each.body_bytes for name, each in OPERATIONS.items()},
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": _PROBLEM}
    for status, text in (
        (400, "not a request that can be read, or not a cursor of this service"),
        (401, "no known API key"),
        (403, "another tenant's name"),
        (404, "not there, or another tenant's"),
        (409, "out of date, or not possible in its present state"),
        (413, "body too large"),
        (415, "not a format that is read here"),
        (422, "cannot be answered as asked"),
        (429, "too much is waiting: come again after Retry-After seconds"),
        (500, "the service failed; its log says how"),
        (503, "come again after Retry-After seconds"),
        (504, "no answer within the time limit"),
    )
}
SECURITY: dict[str, Any] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
"""How a key is sent: either way. A service without keys asks for neither."""

_CODES = {404: "http.not_found", 405: "http.method", 413: "input.too_large"}


class Failed(Exception):
    """A request that ends as a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class SearchBody(SearchRequest):
    """A question. The tenant is the caller's own; naming another one is refused."""

    tenant_id: TenantId | None = None  # type: ignore[assignment]


class ProblemView(BaseModel):
    """What every refusal and failure is told as (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(description="for programs")
    detail: str = Field(description="for people")
    hint: str = Field(description="what to do about it, or empty")
    request_id: str = Field(description="also in the header X-Request-Id and in the log")


class Live(Contract):
    """The replica runs."""

    status: Literal["live"] = "live"


def new_api(edge_of: Callable[[], Edge] | None = None) -> FastAPI:
    """The application; a Ray Serve ingress class adds its routes. `edge_of` finds the edge of the
    replica that is asked; None: the application has one of its own.
    """
    if edge_of is None:
        own = Edge()
        return new_api(lambda: own)
    made = FastAPI(
        title="ecm",
        version=ecm.__version__,
        description="Evidence-centric image search: every hit says which model run put it there.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    # From the inside out.
    made.add_middleware(BodyLimit, limits=BODY_LIMITS, default=FORM_OVERHEAD)
    made.add_middleware(Keyed, access_of=lambda: edge_of().access)
    made.add_middleware(Bounded, edge_of=edge_of)
    made.add_middleware(Compressed)
    made.add_middleware(SecureHeaders)
    made.add_middleware(Measured, edge_of=edge_of)
    made.add_middleware(Named)
    made.add_exception_handler(Failed, _failed)
    made.add_exception_handler(RequestValidationError, _invalid)
    made.add_exception_handler(HTTPException, _refused)
    made.add_exception_handler(Exception, _broken)
    made.openapi = functools.partial(_described, made)  # type: ignore[method-assign]
    return made


def _described(made: FastAPI) -> dict[str, Any]:
    """The document of the interface, with how keys are sent and what needs none."""
    if made.openapi_schema is None:
        document = FastAPI.openapi(made)
        document.setdefault("components", {})["securitySchemes"] = SECURITY
        document["security"] = [{name: []} for name in SECURITY]
        for path in FOR_EVERYBODY & document["paths"].keys():
            for described in document["paths"][path].values():
                described["security"] = []
        made.openapi_schema = document
    return made.openapi_schema


def invalid(first: Any) -> Problem:
    """The problem of a request whose first validation error is `first` (pydantic's mapping)."""
    # Names of fields that nobody knows are somebody's own words: as long as they please.
    where = ".".join(str(part)[:100] for part in first["loc"] if part not in ("body", "query"))
    said = str(first["msg"]).removeprefix("Value error, ")
    code = "query.empty" if "empty query" in said else "request.invalid"
    return Problem(422, code, f"{where}: {said}" if where else said)


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, Failed)
    return error.problem.response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(error.errors()[0]).response()


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, code = error.status_code, _CODES.get(error.status_code, "http")
    return Problem(status, code, str(error.detail), headers=error.headers or {}).response()


async def _broken(_: Request, error: Exception) -> Response:
    return problem_of_call(error).response()
