"""The queue as Prometheus metrics. Pure: a status in, text out.

Everything is a gauge of one moment, since another process may answer the next time, except what the
ledger itself counts from its beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from ecm.ledger.records import LiveHolder
from ecm.ledger.reports import LedgerStatus
from ecm.ledger.states import COMMITTED

__all__ = ["CONTENT_TYPE_LATEST", "exposition", "text_of"]


def exposition(status: LedgerStatus, holders: Sequence[LiveHolder]) -> str:
    """Prometheus text (version 0.0.4) of a status and the incarnations that hold leases.

    Times in seconds, rates over the ledger's window before now. What is not known is left out.
    """
    return text_of([*_queue(status), *_work(status), *_holders(holders)])


def text_of(metrics: Sequence[Metric]) -> str:
    """Prometheus text (version 0.0.4) of metrics that were made before."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(metrics))
    return generate_latest(registry).decode()


class _Once(Collector):
    """Metrics that were made before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _queue(status: LedgerStatus) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "ecm_queue_depth",
        "Tasks that are not committed, by state, tenant and priority.",
        labels=["state", "tenant", "priority"],
    )
    for part in status.depth:
        depth.add_metric([part.state.value, part.tenant_id, str(part.priority)], part.tasks)
    yield depth
    committed = GaugeMetricFamily(
        "ecm_committed_tasks",
        "Tasks whose evidence is stored: persisted, or done when the audit balanced.",
        labels=["state"],
    )
    for state in sorted(COMMITTED):
        committed.add_metric([state.value], status.states[state])
    yield committed
    if status.oldest_lease_seconds is not None:
        yield GaugeMetricFamily(
            "ecm_oldest_lease_seconds",
            "Since the oldest task that is still held was claimed.",
            value=status.oldest_lease_seconds,
        )
    dead = GaugeMetricFamily("ecm_dead_letters", "Tasks given up.", labels=["class"])
    for kind, tasks in status.dead_letters.items():
        dead.add_metric([kind.value], tasks)
    yield dead


def _work(status: LedgerStatus) -> Iterator[Metric]:
    latency = GaugeMetricFamily(
        "ecm_task_latency_seconds", "From claim to commit, lately.", labels=["quantile"]
    )
    times = status.latency_ms
    for quantile, value in (("0.5", times.p50), ("0.95", times.p95), ("0.99", times.p99)):
        if value is not None:
            latency.add_metric([quantile], value / 1000.0)
    yield latency
    yield GaugeMetricFamily(
        "ecm_task_throughput", "Tasks taken in per second, lately.", value=status.throughput_per_s
    )
    reported = GaugeMetricFamily(
        "ecm_attempts_reported", "Attempts that gave a result, lately.", labels=["worker"]
    )
    failed = GaugeMetricFamily(
        "ecm_attempts_failed", "Attempts that failed, lately.", labels=["worker", "class"]
    )
    expired = GaugeMetricFamily(
        "ecm_attempts_expired",
        "Attempts whose worker was not heard of, lately.",
        labels=["worker"],
    )
    rate = GaugeMetricFamily(
        "ecm_failure_rate", "Attempts that failed or expired by all, lately.", labels=["worker"]
    )
    for worker in status.workers:
        reported.add_metric([worker.worker], worker.reported)
        expired.add_metric([worker.worker], worker.expired)
        rate.add_metric([worker.worker], worker.failure_rate)
        for kind, attempts in worker.failed.items():
            failed.add_metric([worker.worker, kind.value], attempts)
    yield from (reported, failed, expired, rate)
    yield CounterMetricFamily(
        "ecm_stale_results",
        "Results refused because of their fence, since the ledger's beginning.",
        value=status.stale,
    )


def _holders(holders: Sequence[LiveHolder]) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "ecm_held_tasks", "Tasks under leases in force, by incarnation.", labels=["holder"]
    )
    progress = GaugeMetricFamily(
        "ecm_holder_progress", "Tasks a holder has finished, as it says.", labels=["holder"]
    )
    for holder in holders:
        held.add_metric([holder.holder], holder.tasks)
        progress.add_metric([holder.holder], holder.progress)
    yield from (held, progress)
