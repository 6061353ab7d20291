"""Calls of a service as values: what is sent, how the answer is read, what a refusal is.

Shared by the blocking and the asynchronous client, which only send. Every call may be sent again:
searches change nothing, and events of feedback bear ids. Knows HTTP's words; opens no connection.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from ecm.client.asking import Found, Question, Who
from ecm.client.errors import CLASS_OF_STATUS, ClientError, Failed, Garbled, NoAnswer
from ecm.client.views import (
    Asset,
    Health,
    History,
    JobProgress,
    Outcomes,
    ProblemSaid,
    Snapshot,
)
from ecm.contracts.feedback import FeedbackEvent, FeedbackReceipt, FeedbackReport
from ecm.contracts.search import SearchResponse
from ecm.errors import ConfigError

REQUEST_ID = "X-Request-Id"
JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request. `request_id` is what it is called however often it is sent; `patient`: it is
    sent again where the service says that it cannot now. `who` are headers that say who asks.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    body: bytes | None = None
    patient: bool = True
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    who: Mapping[str, str] = field(default_factory=dict)

    def headers(self) -> Mapping[str, str]:
        """Of this request, beside those of every one."""
        named = {REQUEST_ID: self.request_id, **self.who}
        return named if self.body is None else {**named, **JSON}


def search_call(question: Question, who: Who) -> Call[Found]:
    """POST /v1/search. Raises ConfigError for a name that no header can hold."""
    name = uuid.uuid4().hex

    def read(response: httpx.Response) -> Found:
        return _found(_model(SearchResponse, response), response.headers.get(REQUEST_ID, name))

    asked, by = _json(question), _who_headers(who)
    return Call("POST", "/v1/search", read, asked, request_id=name, who=by)


def batch_call(questions: Sequence[Question], who: Who) -> Call[tuple[Found | ClientError, ...]]:
    """POST /v1/search/batch. Raises ConfigError for a name that no header can hold."""
    name = uuid.uuid4().hex
    body = b'{"questions":[' + b",".join(map(_json, questions)) + b"]}"

    def read(response: httpx.Response) -> tuple[Found | ClientError, ...]:
        own = response.headers.get(REQUEST_ID, name)
        outcomes: list[Found | ClientError] = []
        for each in _model(Outcomes, response).answers:
            if each.response is not None:
                outcomes.append(_found(each.response, own))
            elif each.problem is not None:
                outcomes.append(_error(each.problem, None))
        if len(outcomes) != len(questions):
            raise Garbled("not as many answers as questions", request_id=own)
        return tuple(outcomes)

    by = _who_headers(who)
    return Call("POST", "/v1/search/batch", read, body, request_id=name, who=by)


def feedback_call(events: Sequence[FeedbackEvent]) -> Call[FeedbackReceipt]:
    """POST /v1/feedback. Events that bear no id are given one, so that each is stored once."""
    named = tuple(
        event
        if event.event_id is not None
        else event.model_copy(update={"event_id": uuid.uuid4().hex})
        for event in events
    )
    body = FeedbackReport(events=named).model_dump_json(exclude_none=True).encode()
    return Call("POST", "/v1/feedback", lambda found: _model(FeedbackReceipt, found), body)


def asset_call(asset_id: str) -> Call[Asset]:
    """GET /v1/assets/{id}."""
    return _get(f"/v1/assets/{_part(asset_id)}", Asset)


def history_call(asset_id: str) -> Call[History]:
    """GET /v1/assets/{id}/history."""
    return _get(f"/v1/assets/{_part(asset_id)}/history", History)


def thumbnail_call(asset_id: str) -> Call[bytes]:
    """GET /v1/assets/{id}/thumbnail."""
    return Call("GET", f"/v1/assets/{_part(asset_id)}/thumbnail", lambda found: found.content)


def original_call(asset_id: str) -> Call[bytes]:
    """GET /v1/assets/{id}/original: bytes whose sha256 is the asset's id."""

    def read(response: httpx.Response) -> bytes:
        if hashlib.sha256(response.content).hexdigest() != asset_id:
            raise Garbled("the bytes are not those of this asset", "client.not_the_original")
        return response.content

    return Call("GET", f"/v1/assets/{_part(asset_id)}/original", read)


def snapshot_call() -> Call[Snapshot]:
    """GET /v1/snapshot."""
    return _get("/v1/snapshot", Snapshot)


def health_call() -> Call[Health]:
    """GET /v1/health/ready, once: who asks wants to know how it is now."""
    return Call("GET", "/v1/health/ready", lambda found: _model(Health, found), patient=False)


def job_call(job_id: str) -> Call[JobProgress]:
    """GET /v1/jobs/{id}."""
    return _get(f"/v1/jobs/{_part(job_id)}", JobProgress)


def checked_url(url: str) -> str:
    """The address of a service. Raises ConfigError for one that is none, or has a password."""
    try:
        parts = urlsplit(url)
        wrong = parts.port == 0 or not url.isprintable()
    except ValueError:  # no number for a port, or brackets that do not end
        wrong = True
    if wrong or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError("give the address of a service, as http://host:8000", "client.url")
    if parts.username or parts.password:
        raise ConfigError(
            "no name or password in the address", "client.url", "give the key as api_key"
        )
    if parts.query or parts.fragment:
        raise ConfigError("no query or fragment in the address", "client.url")
    return url.rstrip("/")


def common_headers(api_key: str | None, tenant: str | None, who: Who) -> dict[str, str]:
    """Of every request. Raises ConfigError for a name that no header can hold."""
    headers = {"Accept": "application/json, image/*, */*;q=0.1"}
    for name, value in (("X-API-Key", api_key), ("X-Tenant", tenant)):
        if value is not None:
            headers[name] = _held(name, value)
    return {**headers, **_who_headers(who)}


def _who_headers(who: Who) -> dict[str, str]:
    """Raises ConfigError."""
    said = (("X-Ecm-Unit", who.get("unit")), ("X-Ecm-Session", who.get("session")))
    return {name: _held(name, value) for name, value in said if value is not None}


def _held(name: str, value: str) -> str:
    if not value or not value.isascii() or not value.isprintable():
        raise ConfigError(f"nothing that {name} could hold", "client.header")
    return value


def refusal_of(response: httpx.Response) -> ClientError:
    """The error that an answer other than success is; its body has been read."""
    if response.headers.get("content-type", "").startswith(PROBLEM):
        try:
            said = _model(ProblemSaid, response)
        except Garbled as error:
            return error
        said = said.model_copy(update={"status": response.status_code})
        return _error(said, response.headers.get("retry-after"))
    own = response.headers.get(REQUEST_ID, "")
    status = response.status_code
    if response.is_redirect:
        elsewhere = "this address leads elsewhere, where no key of yours is sent"
        return Failed(
            elsewhere, "client.redirect", "give the address it leads to", status, None, own
        )
    wait = _seconds(response.headers.get("retry-after"))
    kind = CLASS_OF_STATUS.get(status, Failed)
    return kind(f"the service answered {status}", "client.http", "", status, wait, own)


def no_answer(error: httpx.HTTPError, call: Call[Answer]) -> NoAnswer:
    """The error that a failed connection is."""
    what = str(error) or type(error).__name__
    late = isinstance(error, httpx.TimeoutException)
    code = "client.timeout" if late else ""
    return NoAnswer(f"no answer from the service: {what}", code, request_id=call.request_id)


def _get(path: str, model: type[Model]) -> Call[Model]:
    return Call("GET", path, lambda found: _model(model, found))


def _found(response: SearchResponse, query_id: str) -> Found:
    # Checked already; only the name of the question is new.
    values = {name: getattr(response, name) for name in SearchResponse.model_fields}
    return Found.model_construct(**values, query_id=query_id)


def _model(model: type[Model], response: httpx.Response) -> Model:
    """What a newer service says beside what is known here is left out. Raises Garbled."""
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        own = response.headers.get(REQUEST_ID, "")
        raise Garbled(
            f"not an answer that is understood here: {where}: {first['msg']}",
            hint="is this the address of the service, and as new as this client?",
            status=response.status_code,
            request_id=own,
        ) from error


def _error(said: ProblemSaid, retry_after: str | None) -> ClientError:
    kind = CLASS_OF_STATUS.get(said.status, Failed)
    return kind(
        said.detail,
        said.code,
        said.hint,
        said.status,
        _seconds(retry_after),
        said.request_id,
    )


def _seconds(said: str | None) -> float | None:
    """Of Retry-After; dates are not understood, and a service of ours sends none."""
    text = (said or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None


def _json(question: Question) -> bytes:
    return question.model_dump_json(exclude_defaults=True).encode()


def _part(name: str) -> str:
    """One part of a path, whatever is in the name."""
    part = quote(name, safe="")
    return part if part.strip(".") else quote(part).replace(".", "%2E") or "%20"
