"""The queue over HTTP for people and producers: jobs, tasks, dead letters, status, metrics.

Knows routes; what they do is known to `serve.submission` and the ledger. Everything is done in the
ledger of the caller's tenant, so that nothing of another's is there to be seen. No annotation here
is a string: Serve copies what it serves.
"""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, TypeAdapter
from starlette.responses import PlainTextResponse, Response

from ecm.access.scopes import Scope
from ecm.contracts.result import ErrorClass
from ecm.errors import ContractError
from ecm.ledger.exposition import CONTENT_TYPE_LATEST, exposition
from ecm.ledger.ledger import Ledger
from ecm.ledger.records import Redrive
from ecm.ledger.reports import TaskHistory
from serve.access import Caller
from serve.api import PROBLEMS
from serve.door import Door
from serve.ledger_api import JSON
from serve.queue_views import Cancelled, DeadLetters, JobView, QueueView, Redriven
from serve.submission import NewJob, Producer, Selection, Submission, Submitted

MAX_LETTERS = 1000
JOB_EXAMPLES: dict[str, Any] = {
    "all models of the profile": {"value": {"source": "camera 7"}},
    "some task types, own id": {
        "value": {"job_id": "camera-7-2026-11", "task_types": ["vision", "vv_embed"]}
    },
}
TASK_EXAMPLES: dict[str, Any] = {
    "a job of its own": {
        "value": {
            "resources": [
                {"uri": "file:///photos/a.jpg", "size": 51234, "mtime_ns": 1790000000000000000}
            ],
            "priority": 5,
        }
    },
    "into an open job": {
        "value": {
            "job_id": "camera-7-2026-11",
            "resources": [{"uri": "s3://bucket/b.jpg", "size": 9876, "etag": "9b2cf5"}],
        }
    },
}
REDRIVE_EXAMPLES: dict[str, Any] = {
    "one task": {"value": {"task_ids": ["0" * 64]}},
    "all of a cause": {"value": {"class": "network", "code": "read.timeout"}},
}

_HISTORY = TypeAdapter(TaskHistory)

JobName = Annotated[str, Path(pattern=r"^[^\x00]{1,128}$")]
TaskId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str | None, Query(pattern=r"^[^\x00]*$", max_length=256)]


def _said(value: BaseModel, status: int = 200) -> Response:
    return Response(value.model_dump_json(by_alias=True), status, media_type=JSON)


def _job_view(ledger: Ledger, job_id: str, counts: bool) -> JobView:
    job = ledger.job(job_id)
    if job is None:
        raise ContractError(f"no job {job_id} in this ledger", "ledger.job_unknown")
    books = ledger.job_counts(job_id) if counts else None
    return JobView.of(job, books.open_tasks if books else ledger.open_tasks(job_id), books)


def _redrive(caller: Caller, chosen: Selection) -> Redrive:
    return Redrive(
        job_id=chosen.job_id,
        tenant_id=caller.sees,
        transform=chosen.transform,
        error_class=chosen.error_class,
        code=chosen.code,
        text=chosen.text,
        task_ids=chosen.task_ids,
    )


def queue_routes(
    door_of: Callable[[Request], Door],
    producer_of: Callable[[Request], Producer],
    rollouts_of: Callable[[Request], Callable[[], str]],
) -> APIRouter:
    """The routes; the arguments find what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS, tags=["queue"])

    @router.post("/v1/jobs", status_code=201, response_model=JobView)
    async def open_job(
        request: Request, body: Annotated[NewJob, Body(openapi_examples=JOB_EXAMPLES)]
    ) -> Response:
        """Make a job, whose listing is open: submit tasks to it, then close it."""
        door, producer = door_of(request), producer_of(request)
        caller = door.caller(request, Scope.INGEST, body.tenant_id)

        def work(ledger: Ledger) -> JobView:
            made = producer.open_job(ledger, caller.tenant, body, door.now(ledger))
            return _job_view(ledger, made.record.job_id, counts=False)

        return _said(await door.do(caller, work), 201)

    @router.get("/v1/jobs/{job_id}", response_model=JobView)
    async def job(request: Request, job_id: JobName, counts: bool = False) -> Response:
        """A job's state, its open tasks and, with `counts`, its books (a pass over the job)."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)
        return _said(await door.do(caller, lambda ledger: _job_view(ledger, job_id, counts)))

    @router.post("/v1/jobs/{job_id}/close", response_model=JobView)
    async def close_job(request: Request, job_id: JobName) -> Response:
        """No more tasks will come for this job. Closing twice is harmless."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)

        def work(ledger: Ledger) -> JobView:
            ledger.close_listing(job_id, door.now(ledger))
            return _job_view(ledger, job_id, counts=False)

        return _said(await door.do(caller, work))

    @router.post("/v1/jobs/{job_id}/cancel", response_model=Cancelled)
    async def cancel_job(request: Request, job_id: JobName) -> Response:
        """Stop a job: what waits or runs is cancelled unless another open job wants it too."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)
        stopped = await door.do(caller, lambda ledger: ledger.cancel_job(job_id, door.now(ledger)))
        return _said(Cancelled(cancelled=stopped))

    @router.post("/v1/tasks", status_code=202, response_model=Submitted)
    async def submit(
        request: Request, body: Annotated[Submission, Body(openapi_examples=TASK_EXAMPLES)]
    ) -> Response:
        """Have resources analysed. Sending the same again adds nothing and says the same.

        429 with Retry-After: the queue is too deep for this priority. 202 with Retry-After: it is
        taken, and the queue is so deep that the next should wait.
        """
        door, producer = door_of(request), producer_of(request)
        caller = door.caller(request, Scope.INGEST, body.tenant_id)
        said: Submitted = await door.do(
            caller, lambda ledger: producer.submit(ledger, caller.tenant, body, door.now(ledger))
        )
        answer = _said(said, 202)
        if said.throttle_seconds:
            answer.headers["Retry-After"] = str(max(1, round(said.throttle_seconds)))
        return answer

    @router.get("/v1/tasks/{task_id}", response_model=TaskHistory)
    async def task(request: Request, task_id: TaskId) -> Response:
        """Everything the ledger remembers of a task, oldest first."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)
        history = await door.do(caller, lambda ledger: ledger.task_history(task_id))
        return Response(_HISTORY.dump_json(history, by_alias=True), media_type=JSON)

    @router.get("/v1/queue", response_model=QueueView)
    async def queue(request: Request) -> Response:
        """Depth by state, tenant and priority; leases, latency, throughput, failures by worker."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)
        status = await door.do(caller, lambda ledger: ledger.status(door.now(ledger)))
        return _said(QueueView.of(status))

    @router.get("/v1/queue/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """The queue for Prometheus, which sends a key as `authorization: credentials`."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)

        def work(ledger: Ledger) -> str:
            now = door.now(ledger)
            told = exposition(ledger.status(now), ledger.live_holders(now))
            return told + rollouts_of(request)()

        return Response(await door.do(caller, work), media_type=CONTENT_TYPE_LATEST)

    @router.get("/v1/dead-letters", response_model=DeadLetters)
    async def dead_letters(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_LETTERS)] = 100,
        job: Text = None,
        error_class: Annotated[ErrorClass | None, Query(alias="class")] = None,
        code: Text = None,
        text: Text = None,
    ) -> Response:
        """Tasks given up, latest first; `text` is looked for in URI, message and cause."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)
        letters = await door.do(
            caller,
            lambda ledger: ledger.dead_letters(
                limit, job_id=job, error_class=error_class, code=code, text=text
            ),
        )
        return _said(DeadLetters.of(letters))

    @router.post("/v1/dead-letters/redrive", response_model=Redriven)
    async def redrive(
        request: Request, body: Annotated[Selection, Body(openapi_examples=REDRIVE_EXAMPLES)]
    ) -> Response:
        """Try dead letters and tasks blocked by a model mismatch again, with a clean slate."""
        door = door_of(request)
        caller = door.caller(request, Scope.ADMIN)
        said = body.model_dump_json(by_alias=True, exclude_defaults=True)

        def work(ledger: Ledger) -> int:
            return door.recorded(
                request,
                caller,
                "dead_letters.redrive",
                said,
                lambda: ledger.redrive(_redrive(caller, body), door.now(ledger)),
            )

        tried = await door.do(caller, work)
        return _said(Redriven(redriven=tried))

    return router
