"""The HTTP interface: routes under /v1, health.

Knows which routes there are and what each of them needs; what they do is theirs. Serve copies the
class, with the globals its code uses, when it is decorated: so its functions stand above it, and
annotations are no strings here.
"""

from collections.abc import Callable, Sequence

from fastapi import Request
from ray import serve
from ray.serve.handle import DeploymentHandle

from ecm.config import ModelChoice, Profile
from ecm.delivery.rollout_metrics import rollout_exposition
from ecm.errors import ConfigError, TransientError
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.rollouts import all_rollouts
from ecm.evidence.storage import open_storage
from ecm.opening import effective, plan_of
from ecm.stages.plan import TransformPlan
from serve.access_log import AccessLog
from serve.admin_api import Shelf, admin_routes
from serve.api import new_api
from serve.asset_api import Showing, asset_routes
from serve.bounds import Edge
from serve.calls import Calls
from serve.counting import Counting
from serve.door import Door, door_of
from serve.experimenting import Experimenting
from serve.exposition import Counted, Told, metrics_routes, told
from serve.feedback_api import ImpressionsKept, feedback_routes
from serve.feedback_writing import FeedbackWriter
from serve.ledger_api import ledger_routes
from serve.originals import Originals, original_routes
from serve.page import page_routes
from serve.queue_api import queue_routes
from serve.records_api import Records, record_routes
from serve.search_api import Searching, search_routes
from serve.submission import Producer
from serve.work_api import WorkDesk, work_routes

_SHARE_OF_TIMEOUT = 0.9
"""Of the time after which Serve itself would answer."""


def _edge() -> Edge:
    edge: Edge = serve.get_replica_context().servable_object.edge
    return edge


def _searching(request: Request) -> Searching:
    searching: Searching = serve.get_replica_context().servable_object.searching
    return searching.heard(request)


def _records(_: Request) -> Records:
    records: Records = serve.get_replica_context().servable_object.records
    return records


def _showing(_: Request) -> Showing:
    showing: Showing = serve.get_replica_context().servable_object.showing
    return showing


def _counted(_: Request) -> Counted:
    counted: Counted = serve.get_replica_context().servable_object.counted
    return counted


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


def _shelf(_: Request) -> Shelf:
    shelf: Shelf = serve.get_replica_context().servable_object.shelf
    return shelf


def _originals(_: Request) -> Originals:
    originals: Originals = serve.get_replica_context().servable_object.originals
    return originals


def _feedback(_: Request) -> FeedbackWriter:
    feedback: FeedbackWriter = serve.get_replica_context().servable_object.feedback
    return feedback


api = new_api(_edge)
api.include_router(search_routes(_searching))
api.include_router(asset_routes(_showing))
api.include_router(metrics_routes(_counted))
api.include_router(ledger_routes(_door))
api.include_router(queue_routes(_door, _producer, _rollouts))
api.include_router(record_routes(_door, _records))
api.include_router(work_routes(_door, _desk))
api.include_router(page_routes())
api.include_router(admin_routes(_door, _shelf))
api.include_router(original_routes(_door, _originals))
api.include_router(feedback_routes(_door, _feedback))


@serve.deployment
@serve.ingress(api)
class Ingress:
    """The edge of the service. Holds no model and no snapshot."""

    def __init__(
        self,
        profile: Profile,
        candidates: DeploymentHandle,
        others: Sequence[DeploymentHandle],
        desk: DeploymentHandle,
    ) -> None:
        seconds = profile.serve.request_timeout_seconds * _SHARE_OF_TIMEOUT
        self.door = door_of(profile)
        self.shelf = Shelf(profile.evidence)
        self.records = Records(profile.evidence)
        served = profile.serve
        self.originals = Originals(
            self._places,
            self.door.roots,
            profile.images,
            served.original_bytes,
            served.originals_at_once,
        )
        self._profile = profile
        self._plan: tuple[ModelChoice, TransformPlan] | None = None
        self.producer = Producer(self._plan_in_force, self.door.roots.confine)
        self.desk = WorkDesk(desk, seconds)
        self._calls = Calls(candidates, seconds)
        self.feedback = FeedbackWriter(self._feedback_store, served.feedback_days)
        asked = (self.door, self._calls, candidates, served.batch_at_once)
        self.searching = (
            ImpressionsKept(*asked, self.feedback) if served.log_impressions else Searching(*asked)
        )
        self.counting: Counting | None = None
        self.showing = Showing(self.door, self._calls, candidates)
        own = serve.get_replica_context()
        myself = serve.get_deployment_handle(own.deployment, own.app_name)
        self.counted = Counted((myself, candidates, *others))
        log = AccessLog(served.access_log)
        self.edge = Edge(served.ingress.ongoing, seconds, log, access=self.door.access)
        if served.experiments:
            self.counting = Counting(
                own.replica_id.unique_id,
                lambda: open_storage(profile.evidence),
                served.snapshot_poll_seconds,
                self.edge.meters.registry,
            )
            self.counting.experiments.refresh()
            words = served.log_impressions
            self.searching = Experimenting(
                *asked, self.searching, self.counting, self.feedback, words
            )

    def __del__(self) -> None:
        """Called by Serve when a replica ends in order: what has not been written yet is."""
        for name in ("counting", "feedback"):
            part = getattr(self, name, None)  # none where it could not be made
            if part is not None:
                part.close()

    def _feedback_store(self) -> FeedbackStore:
        return FeedbackStore(open_storage(self._profile.evidence))

    async def _places(self, tenant: str, asset_id: str) -> Sequence[str]:
        return (await self.showing.asset(tenant, asset_id)).uris

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

    async def metrics(self) -> Told:
        """What this replica has counted."""
        self.edge.meters.awaited(self._calls.reach)
        if self.counting is not None:
            self.counting.gauges()
        return told(self.edge.meters)

    async def check_health(self) -> None:
        """Asked by Serve from time to time: experiments are followed even when nobody searches."""
        if self.counting is not None:
            self.counting.go_on()
