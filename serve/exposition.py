"""The metrics of all replicas as one Prometheus text, each sample with the replica it is of.

Every replica is asked each time: whichever ingress replica answers tells all of them, so counters
never run backwards between two scrapes. Counts nothing itself. No annotation here is a string:
Serve copies what it serves.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from starlette.responses import Response

from ecm.ledger.exposition import text_of
from serve.meters import Meters
from serve.shared import Shared

log = logging.getLogger("ray.serve")

PATH = "/metrics"
SECONDS = 3.0
"""A replica that does not tell by then is left out, and counted as such."""


@dataclass(frozen=True)
class Told:
    """What one replica tells of itself."""

    replica: str
    metrics: tuple[Metric, ...]


def told(meters: Meters) -> Told:
    """The metrics of this replica, under its name."""
    own = serve.get_replica_context()
    return Told(f"{own.deployment}#{own.replica_id.unique_id}", tuple(meters.collected()))


class Counted:
    """All replicas of the deployments behind some handles."""

    def __init__(self, handles: Sequence[DeploymentHandle]) -> None:
        self._handles = tuple(handles)
        self._telling = Shared(self._told)

    async def text(self) -> str:
        """Prometheus text of what every replica tells in time."""
        return await self._telling.outcome()

    async def _told(self) -> str:
        answers = await asyncio.gather(*(self._of(handle) for handle in self._handles))
        up = GaugeMetricFamily(
            "ecm_replicas", "Replicas that tell their metrics.", labels=["deployment"]
        )
        for handle, replicas in zip(self._handles, answers, strict=True):
            up.add_metric([handle.deployment_name], len(replicas))
        every = [each for replicas in answers for each in replicas]
        return exposition(((each.replica, each.metrics) for each in every), [up])

    async def _of(self, handle: DeploymentHandle) -> list[Told]:
        """None of a deployment that is being restarted: the gauge of replicas says so."""
        try:
            answers = await handle.broadcast("metrics").results_async(
                timeout_s=SECONDS, return_exceptions=True
            )
        except (RayError, RayServeException, TimeoutError) as error:
            log.warning("no metrics of %s: %s", handle.deployment_name, error)
            return []
        return [answer for answer in answers if isinstance(answer, Told)]


def metrics_routes(counted_of: Callable[[Request], Counted]) -> APIRouter:
    """The route of Prometheus; `counted_of` finds what belongs to the replica that is asked."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    async def metrics(request: Request) -> Response:
        return Response(await counted_of(request).text(), media_type=CONTENT_TYPE_LATEST)

    return router


def exposition(
    replicas: Iterable[tuple[str, Sequence[Metric]]], others: Sequence[Metric] = ()
) -> str:
    """Prometheus text (version 0.0.4) of metrics by replica, to which the label `replica` is added,
    and of others.
    """
    merged: dict[str, Metric] = {}
    for replica, metrics in replicas:
        for metric in metrics:
            known = merged.setdefault(
                metric.name, Metric(metric.name, metric.documentation, metric.type, metric.unit)
            )
            for sample in metric.samples:
                labels: Mapping[str, str] = {**sample.labels, "replica": replica}
                known.add_sample(
                    sample.name, dict(labels), sample.value, sample.timestamp, sample.exemplar
                )
    return text_of([*(merged[name] for name in sorted(merged)), *others])
