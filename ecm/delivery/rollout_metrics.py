"""Rollouts as Prometheus metrics. Pure: rollouts in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from ecm.evidence.rollouts import Rollout, RolloutState
from ecm.ledger.exposition import text_of


def rollout_exposition(rollouts: Sequence[Rollout]) -> str:
    """Prometheus text (version 0.0.4) of the newest rollout; empty where there was never one."""
    return text_of([*_metrics(rollouts[-1])]) if rollouts else ""


def _metrics(newest: Rollout) -> Iterator[Metric]:
    names = [newest.rollout_id, newest.terms.old, newest.terms.new]
    state = GaugeMetricFamily(
        "ecm_rollout_state",
        "1 for the state that the newest rollout is in.",
        labels=["rollout", "from", "to", "state"],
    )
    for each in RolloutState:
        state.add_metric([*names, each.value], float(newest.state is each))
    yield state
    for name, what, value in (
        ("ecm_rollout_percent", "Per cent of the assets of its newest step.", newest.pct),
        ("ecm_rollout_passed_percent", "Per cent of the newest step that passed.", newest.passed),
        ("ecm_rollout_changed_seconds", "When it last changed (Unix time).", newest.last.at),
    ):
        gauge = GaugeMetricFamily(name, what, labels=["rollout", "from", "to"])
        gauge.add_metric(names, value)
        yield gauge
