"""What was done over HTTP: runs, rollouts and the jobs opened last.

Knows routes and who may see what; runs and rollouts are the evidence store's, jobs the ledger's. No
annotation here is a string: Serve copies what it serves.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.errors import EcmError
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.rollouts import Rollout, RolloutState, all_rollouts
from ecm.evidence.runs import ShownRun, ShownState, shown_runs
from ecm.evidence.storage import open_storage
from ecm.ledger.ledger import Ledger
from serve.api import PROBLEMS, Failed
from serve.door import Door
from serve.kept_store import KeptStore
from serve.problem import ledger_problem
from serve.queue_views import JobView

JSON = "application/json"
MOST = 200

Count = Annotated[int, Query(ge=1, le=MOST, description="at most so many, newest first")]


class RunView(Contract):
    """A run as it is seen now: `interrupted` is one that was not heard of for long. Times are Unix
    seconds (UTC).
    """

    run_id: str
    tenant_id: TenantId
    job_id: str
    state: ShownState
    started_at: float
    finished_at: float | None
    last_sign: float = Field(description="when it was last heard of")
    transforms: tuple[Digest, ...]
    code_version: str
    counts: dict[str, int]
    telemetry: dict[str, float]

    @classmethod
    def of(cls, shown: ShownRun) -> Self:
        run = shown.record
        return cls(
            run_id=run.run_id,
            tenant_id=run.tenant_id,
            job_id=run.job_id,
            state=shown.state,
            started_at=run.started_at,
            finished_at=run.finished_at,
            last_sign=shown.last_sign,
            transforms=run.transforms,
            code_version=run.code_version,
            counts=run.counts,
            telemetry=run.telemetry,
        )


class RunItems(Contract):
    """Runs, newest first."""

    items: tuple[RunView, ...]


class RolloutView(Contract):
    """How far another model is on its way into its roles. Times are Unix seconds (UTC)."""

    rollout_id: str
    state: RolloutState
    roles: tuple[str, ...]
    old: str
    new: str
    began_at: float
    changed_at: float
    percent: int = Field(description="of the assets, in the newest step that was begun")
    passed: int = Field(description="of the assets, in the newest step that passed")
    reason: str

    @classmethod
    def of(cls, rollout: Rollout) -> Self:
        return cls(
            rollout_id=rollout.rollout_id,
            state=rollout.state,
            roles=tuple(str(role) for role in rollout.terms.roles),
            old=rollout.terms.old,
            new=rollout.terms.new,
            began_at=rollout.events[0].at,
            changed_at=rollout.last.at,
            percent=rollout.pct,
            passed=rollout.passed,
            reason=rollout.last.reason,
        )


class RolloutItems(Contract):
    """Rollouts, newest first."""

    items: tuple[RolloutView, ...]


class JobItems(Contract):
    """Jobs, the one opened last first."""

    items: tuple[JobView, ...]


class Records:
    """What the evidence store knows of runs and rollouts; opened when first asked for."""

    def __init__(self, evidence: EvidenceConfig, clock: Callable[[], float] = time.time) -> None:
        self._evidence = evidence
        self._clock = clock
        self._store = KeptStore(evidence)

    def runs(self, tenant_id: TenantId | None, limit: int) -> RunItems:
        """Runs of a tenant; None: of all. Raises StoreCorrupt, StoreUnavailable."""
        found = shown_runs(self._store.opened(), self._clock(), tenant_id)
        return RunItems(items=tuple(map(RunView.of, found[:limit])))

    def rollouts(self, limit: int) -> RolloutItems:
        """Rollouts of the store. Raises StoreCorrupt, StoreUnavailable."""
        found = all_rollouts(open_storage(self._evidence))
        return RolloutItems(items=tuple(map(RolloutView.of, found[::-1][:limit])))


def record_routes(
    door_of: Callable[[Request], Door], records_of: Callable[[Request], Records]
) -> APIRouter:
    """The routes; the arguments find what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS)

    @router.get("/v1/runs", response_model=RunItems, tags=["queue"])
    async def runs(request: Request, limit: Count = 20) -> Response:
        """Executions of jobs and workers: what they did, and whether they are still heard of."""
        caller = door_of(request).caller(request, Scope.INGEST)
        records = records_of(request)
        return _said(await _done(lambda: records.runs(caller.sees, limit)))

    @router.get("/v1/rollouts", response_model=RolloutItems, tags=["admin"])
    async def rollouts(request: Request, limit: Count = 20) -> Response:
        """Models on their way into their roles, and those that got there or did not."""
        door_of(request).caller(request, Scope.ADMIN)
        records = records_of(request)
        return _said(await _done(lambda: records.rollouts(limit)))

    @router.get("/v1/jobs", response_model=JobItems, tags=["queue"])
    async def jobs(request: Request, limit: Count = 20) -> Response:
        """The jobs opened last, with how many of their tasks are open."""
        door = door_of(request)
        caller = door.caller(request, Scope.INGEST)

        def listed(ledger: Ledger) -> JobItems:
            found = ledger.jobs(limit, caller.sees)
            views = (JobView.of(job, ledger.open_tasks(job.record.job_id)) for job in found)
            return JobItems(items=tuple(views))

        return _said(await door.do(caller, listed))

    return router


def _said(value: BaseModel) -> Response:
    return Response(value.model_dump_json(), media_type=JSON)


async def _done(work: Callable[[], Any]) -> Any:
    """The result of blocking work on the store. Raises Failed."""
    try:
        return await asyncio.to_thread(work)
    except EcmError as error:
        raise Failed(ledger_problem(error)) from error
