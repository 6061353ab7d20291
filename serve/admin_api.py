"""What administrators ask over HTTP: who am I, which snapshot is served, who did what.

Knows routes and who may switch what a store shows; how a snapshot is published is known to
`ecm.evidence`. No annotation here is a string: Serve copies what it serves.
"""

import asyncio
import functools
import time
from collections import deque
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from ecm.access.scopes import Scope
from ecm.access.trail import DamagedLine, TrailEntry
from ecm.contracts.identity import Contract, TenantId
from ecm.errors import EcmError, Forbidden, SnapshotNotFound, SnapshotRejected
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.publication import publish, rollback
from ecm.evidence.refs import SnapshotRef, is_snapshot_id, read_published, read_ref, refs_and_damage
from ecm.evidence.store import EvidenceStore
from serve.access import Caller
from serve.api import PROBLEMS, Failed
from serve.door import Door
from serve.kept_store import KeptStore
from serve.ledger_api import JSON
from serve.problem import Problem, ledger_problem

MAX_ENTRIES = 1000
_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"

SnapshotName = Annotated[str, Path(pattern=_ID)]
Answer = TypeVar("Answer")


class AccessView(Contract):
    """What a caller is here. `tenant_id` is whose things it makes and searches."""

    open: bool = Field(description="this service asks for no key")
    key_id: str
    tenant_id: TenantId
    all_tenants: bool = Field(description="an operator's key, which sees every tenant")
    scopes: tuple[Scope, ...] = Field(description="all it may do")


class SnapshotItem(Contract):
    """A snapshot of the store; `assets` are those that the caller sees."""

    snapshot_id: str
    published: bool
    created_at: float = Field(description="Unix seconds (UTC)")
    assets: int
    shortfalls: tuple[str, ...] = Field(description="why it does not measure up")


class SnapshotItems(Contract):
    """All snapshots, newest first. `may_switch`: this caller may have another one served."""

    published: str | None
    may_switch: bool
    items: tuple[SnapshotItem, ...]
    damaged: tuple[str, ...] = Field(description="ids of those that cannot be read")


class Rollback(Contract):
    """Which snapshot to go back to; null: the one before the present one."""

    to: Annotated[str, Field(pattern=_ID)] | None = None


class Switched(Contract):
    """What is served from now on; searchers follow within seconds."""

    published: str


class TrailView(Contract):
    """What administrators did on the machine that answers, newest first."""

    items: tuple[TrailEntry, ...]
    damaged_lines: int


class Shelf:
    """The snapshots of a store, which is opened when they are first asked for."""

    def __init__(self, config: EvidenceConfig, clock: Callable[[], float] = time.time) -> None:
        self._store = KeptStore(config)
        self._clock = clock

    def listed(self, caller: Caller) -> SnapshotItems:
        """All snapshots as a caller sees them; blocks. Raises StoreUnavailable, StoreCorrupt."""
        store = self._store.opened()
        published = read_published(store)
        refs, damaged = refs_and_damage(store)
        now = published.current.snapshot_id if published else None
        return SnapshotItems(
            published=now,
            may_switch=all(_owns(caller, ref) for ref in refs),
            items=tuple(
                SnapshotItem(
                    snapshot_id=ref.snapshot_id,
                    published=ref.snapshot_id == now,
                    created_at=ref.created_at,
                    assets=_seen(caller, ref),
                    shortfalls=tuple(s.message for s in ref.measurements.shortfalls),
                )
                for ref in refs
            ),
            damaged=tuple(sorted(damaged)),
        )

    def publish(self, caller: Caller, snapshot_id: str) -> Switched:
        """Have a snapshot served. Raises Forbidden, and as `ecm.evidence.publication` does."""
        store = self._store.opened()
        if not is_snapshot_id(snapshot_id):
            raise SnapshotNotFound(f"no snapshot {snapshot_id!r}")
        self._check(caller, store, read_ref(store, snapshot_id))
        return Switched(published=publish(store, snapshot_id, self._clock()).snapshot_id)

    def rollback(self, caller: Caller, to: str | None) -> Switched:
        """Have an earlier one served. Raises as `publish` does."""
        store = self._store.opened()
        self._check(caller, store, *refs_and_damage(store)[0])
        return Switched(published=rollback(store, self._clock(), to).snapshot_id)

    def _check(self, caller: Caller, store: EvidenceStore, *wanted: SnapshotRef) -> None:
        """A snapshot is of all tenants: who switches it must speak for all that are in it."""
        published = read_published(store)
        before = [read_ref(store, published.current.snapshot_id)] if published else []
        if not all(_owns(caller, ref) for ref in (*before, *wanted)):
            raise Forbidden(
                "snapshots of this store are not this tenant's alone",
                "access.operator",
                "an operator's key may switch them",
            )


def admin_routes(
    door_of: Callable[[Request], Door], shelf_of: Callable[[Request], Shelf]
) -> APIRouter:
    """The routes; the arguments find what belongs to the replica that is asked."""
    router = APIRouter(responses=PROBLEMS, tags=["admin"])

    async def switched(
        request: Request, caller: Caller, action: str, target: str, change: Callable[[], Switched]
    ) -> Response:
        """An administrator's change of what is served, on record before it is made."""
        door = door_of(request)
        return _said(await _done(lambda: door.recorded(request, caller, action, target, change)))

    @router.get("/v1/access", response_model=AccessView)
    async def access(request: Request) -> Response:
        """What the caller's key is good for."""
        door = door_of(request)
        caller = door.caller(request, None)
        view = AccessView(
            open=door.access.open,
            key_id=caller.key_id,
            tenant_id=caller.tenant,
            all_tenants=caller.sees is None,
            scopes=tuple(sorted(caller.scopes)),
        )
        return _said(view)

    @router.get("/v1/snapshots", response_model=SnapshotItems)
    async def snapshots(request: Request) -> Response:
        """All snapshots of the store: which one is served, and which could be."""
        caller = door_of(request).caller(request, Scope.ADMIN)
        return _said(await _done(lambda: shelf_of(request).listed(caller)))

    @router.post("/v1/snapshots/rollback", response_model=Switched)
    async def go_back(
        request: Request,
        body: Annotated[Rollback, Body(openapi_examples={"the one before": {"value": {}}})],
    ) -> Response:
        """Serve what was published before the present snapshot; again goes back further."""
        caller = door_of(request).caller(request, Scope.ADMIN)
        change = functools.partial(shelf_of(request).rollback, caller, body.to)
        return await switched(request, caller, "snapshots.rollback", body.to or "", change)

    @router.post("/v1/snapshots/{snapshot_id}/publish", response_model=Switched)
    async def switch(request: Request, snapshot_id: SnapshotName) -> Response:
        """Serve this snapshot from now on; nothing is built and no request fails."""
        caller = door_of(request).caller(request, Scope.ADMIN)
        change = functools.partial(shelf_of(request).publish, caller, snapshot_id)
        return await switched(request, caller, "snapshots.publish", snapshot_id, change)

    @router.get("/v1/admin-log", response_model=TrailView)
    async def trail(
        request: Request,
        since: Annotated[float, Query(ge=0, allow_inf_nan=False)] = 0.0,
        limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 100,
    ) -> Response:
        """What administrators did, newest first: of the caller's tenant, or all for an operator."""
        door = door_of(request)
        caller = door.caller(request, Scope.ADMIN)
        return _said(await _done(lambda: _trail(door, caller, since, limit)))

    return router


def _trail(door: Door, caller: Caller, since: float, limit: int) -> TrailView:
    latest: deque[TrailEntry] = deque(maxlen=limit)
    damaged = 0
    for entry in door.trail(since):
        if isinstance(entry, DamagedLine):
            damaged += 1
        elif caller.sees is None or entry.tenant_id == caller.sees:
            latest.append(entry)
    return TrailView(items=tuple(reversed(latest)), damaged_lines=damaged)


def _owns(caller: Caller, ref: SnapshotRef) -> bool:
    return caller.operator or set(ref.tenants) <= {caller.sees}


def _seen(caller: Caller, ref: SnapshotRef) -> int:
    return ref.assets if caller.sees is None else ref.tenants.get(caller.sees, 0)


async def _done(work: Callable[[], Answer]) -> Answer:
    """The result of blocking work. Raises Failed."""
    try:
        return await asyncio.to_thread(work)
    except SnapshotNotFound as error:
        raise Failed(Problem(404, error.code, error.message, error.hint)) from error
    except SnapshotRejected as error:
        raise Failed(Problem(409, error.code, error.message, error.hint)) from error
    except EcmError as error:
        raise Failed(ledger_problem(error)) from error


def _said(value: Contract) -> Response:
    return Response(value.model_dump_json(), media_type=JSON)
