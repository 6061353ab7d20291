"""What an ingress replica counts of each arm, and what it does when an arm is bad for the service.

Counts are written to the records now and then, so that every replica and `ecm experiment status`
see those of all; guards are judged on their sum. The abort is an event like anybody's: whoever is
first writes it. Knows no route.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ecm.contracts.experiment import Arm, ArmTally, ReplicaTally
from ecm.errors import EcmError, LeaseLost
from ecm.evaluation.online.experiment import breach_of
from ecm.evaluation.online.latencies import bucket_of
from ecm.evidence.experiments import (
    Experiment,
    ExperimentEvent,
    ExperimentState,
    append,
    put_tally,
    tallies,
)
from ecm.evidence.feedback import FeedbackStore
from ecm.evidence.storage import Storage
from serve.experiments import Drawn, FollowedExperiments
from serve.meters import SECONDS

log = logging.getLogger("ray.serve")

TALLY_SECONDS = 2.0
"""How often counts are written and guards are judged, while there is something new."""

Key = tuple[int, Arm]


@dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    latencies: dict[int, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class _Book:
    """The counts of one experiment."""

    arms: dict[Key, _Counts] = field(default_factory=lambda: defaultdict(_Counts))
    unassigned: int = 0
    untried: int = 0
    trouble: str = ""
    new: bool = False


class Counting:
    """What runs, and the counts of one replica.

    Args:
        replica: what it is called.
        storage_of: where records lie; blocks, raises EcmError.
        poll: seconds between two looks at the records.
        registry: gets the metrics for Prometheus.
        wall: Unix seconds.
    """

    def __init__(
        self,
        replica: str,
        storage_of: Callable[[], Storage],
        poll: float,
        registry: CollectorRegistry,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._replica = replica
        self._storage_of = storage_of
        # A unit can be marked, or there is no experiment.
        self.experiments = FollowedExperiments(self._store, poll, self._warm, wall)
        self._wall = wall
        self._books: dict[str, _Book] = {}
        self._storage: Storage | None = None
        self._feedback: FeedbackStore | None = None
        self._task: asyncio.Task[None] | None = None
        names = ["experiment", "arm"]
        self._requests = Counter(
            "ecm_experiment_requests",
            "Searches answered or failed by an arm.",
            [*names, "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "ecm_experiment_seconds",
            "Time of a search of an arm.",
            names,
            buckets=SECONDS,
            registry=registry,
        )
        self._without = Counter(
            "ecm_experiment_control_instead",
            "Searches that control answered though an experiment runs.",
            ["experiment", "why"],
            registry=registry,
        )
        self._stage = Gauge(
            "ecm_experiment_stage",
            "Stage of an experiment that runs, from 0.",
            ["experiment"],
            registry=registry,
        )
        self._trouble = Gauge(
            "ecm_experiment_trouble",
            "1 while control answers everything because experiments cannot be followed.",
            registry=registry,
        )

    @property
    def feedback(self) -> FeedbackStore:
        """Marks units as events of feedback are marked. Raises EcmError."""
        if self._feedback is None:
            self._feedback = FeedbackStore(self._store())
        return self._feedback

    def answered(self, experiment: Experiment, drawn: Drawn, milliseconds: float) -> None:
        """A search that an arm has answered."""
        counts = self._counts(experiment, drawn)
        counts.requests += 1
        counts.latencies[bucket_of(milliseconds)] += 1
        self._requests.labels(experiment.id, drawn.arm.value, "answered").inc()
        self._seconds.labels(experiment.id, drawn.arm.value).observe(milliseconds / 1000.0)

    def failed(self, experiment: Experiment, drawn: Drawn) -> None:
        """A search that an arm has failed."""
        counts = self._counts(experiment, drawn)
        counts.requests += 1
        counts.errors += 1
        self._requests.labels(experiment.id, drawn.arm.value, "failed").inc()

    def unassigned(self, experiment: Experiment) -> None:
        """A search that names no unit."""
        book = self._book(experiment)
        book.unassigned += 1
        self._without.labels(experiment.id, "no_unit").inc()

    def untried(self, experiment: Experiment, trouble: str) -> None:
        """A search that control answered in place of an arm, for some trouble; without any, a page
        of a search that began in another arm.
        """
        book = self._book(experiment)
        book.untried += 1
        book.trouble = trouble or book.trouble
        self._without.labels(experiment.id, "trouble" if trouble else "other_arm").inc()

    def gauges(self) -> None:
        """Bring what is told of this moment up to date."""
        self._trouble.set(bool(self.experiments.trouble))
        self._stage.clear()
        for one in self.experiments.running():
            self._stage.labels(one.id).set(one.stage)

    def go_on(self) -> None:
        """Follow, write and judge in the running event loop, unless that goes on already."""
        self.experiments.follow()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def close(self) -> None:
        """Write what is new, once more; blocks."""
        self.experiments.close()
        if self._task is not None:
            self._task.cancel()
        self.settle()

    def settle(self) -> None:
        """Write what is new of every experiment that runs, and judge it by its guards; blocks."""
        for experiment in self.experiments.running():
            book = self._books.get(experiment.id)
            if book is None or not book.new:
                continue
            try:
                book.new = False
                put_tally(self._store(), experiment, self._tally(book))
                self._judge(experiment)
            except LeaseLost:
                log.info("experiment %s was changed by somebody else meanwhile", experiment.id)
            except EcmError as error:
                book.new = True
                log.warning("counts of experiment %s are not written: %s", experiment.id, error)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(TALLY_SECONDS)
            await asyncio.to_thread(self.settle)

    def _warm(self, experiment: Experiment) -> None:
        """Whatever marking a unit reads is read before anybody waits for it. Raises EcmError."""
        self.feedback.mark("-", experiment.definition.unit.value, "")

    def _judge(self, experiment: Experiment) -> None:
        """Raises LeaseLost, EcmError."""
        told = tallies(self._store(), experiment)
        arms = [arm for one in told for arm in one.arms if arm.stage == experiment.stage]
        found = breach_of(experiment.definition, experiment.stage, arms)
        if found is None:
            return
        cause, reason = found
        event = ExperimentEvent(
            number=0,
            state=ExperimentState.ABORTED,
            stage=experiment.stage,
            at=self._wall(),
            by=f"service {self._replica}",
            reason=reason,
            cause=cause,
        )
        append(self._store(), experiment, event)
        log.warning("experiment %s is aborted: %s", experiment.id, reason)

    def _tally(self, book: _Book) -> ReplicaTally:
        arms = [
            ArmTally(
                stage=stage,
                arm=arm,
                requests=counts.requests,
                errors=counts.errors,
                latencies=dict(counts.latencies),
            )
            for (stage, arm), counts in list(book.arms.items())
        ]
        return ReplicaTally(
            replica=self._replica,
            at=self._wall(),
            arms=tuple(arms),
            unassigned=book.unassigned,
            untried=book.untried,
            trouble=book.trouble[:1024],
        )

    def _counts(self, experiment: Experiment, drawn: Drawn) -> _Counts:
        return self._book(experiment).arms[drawn.stage, drawn.arm]

    def _book(self, experiment: Experiment) -> _Book:
        book = self._books.setdefault(experiment.id, _Book())
        book.new = True
        return book

    def _store(self) -> Storage:
        if self._storage is None:
            self._storage = self._storage_of()
        return self._storage
