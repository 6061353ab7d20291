"""What `ecm experiment` does: begins, changes and judges experiments of a store.

Knows records, feedback and rankings together; knows no command line. Who does what is on record.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ecm.config import Profile
from ecm.contracts.experiment import (
    ExperimentTerms,
    OnlineVerdict,
    RankingOnRecord,
    ReplicaTally,
    StageReport,
)
from ecm.contracts.feedback import StoredEvent
from ecm.errors import ConfigError
from ecm.evaluation.online.definition import load_definition
from ecm.evaluation.online.experiment import advice_on, stage_reports
from ecm.evidence.experiments import (
    Experiment,
    ExperimentEvent,
    ExperimentState,
    all_experiments,
    append,
    begin,
    named,
    tallies,
)
from ecm.evidence.feedback import DamagedBatch, FeedbackStore
from ecm.evidence.storage import STORE_HEADER, Storage, open_storage
from ecm.search.profile import RankingProfile, load_ranking_profile

_FROM: Final = {
    ExperimentState.PAUSED: (ExperimentState.RUNNING,),
    ExperimentState.RUNNING: (ExperimentState.PAUSED,),
    ExperimentState.STOPPED: (ExperimentState.RUNNING, ExperimentState.PAUSED),
    ExperimentState.ABORTED: (ExperimentState.RUNNING, ExperimentState.PAUSED),
}
"""From which state each one can be reached."""


def somebody() -> str:
    """Who runs this process, for the record."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@dataclass(frozen=True)
class Desk:
    """The experiments of a store, and who works on them."""

    settings: Profile
    storage: Storage
    by: str

    @classmethod
    def opened(cls, settings: Profile, by: str) -> Desk:
        """Raises ConfigError when there is no store."""
        storage = open_storage(settings.evidence)
        if storage.read(STORE_HEADER) is None:
            raise ConfigError(
                f"no evidence store at {storage.root}",
                "config.no_store",
                "index something first, or check the path",
            )
        return cls(settings, storage, by)

    def all(self) -> tuple[Experiment, ...]:
        return all_experiments(self.storage)

    def named(self, experiment_id: str | None) -> Experiment:
        """Raises ConfigError."""
        return named(self.storage, experiment_id)


@dataclass(frozen=True)
class Known:
    """All that is known of an experiment at a moment (`at`, Unix seconds).

    Control answered `unassigned` requests that named no unit, and `untried` ones in place of an
    arm, for what `troubles` say. `damaged` names batches of feedback that are not what was written.
    """

    experiment: Experiment
    at: float
    stages: tuple[StageReport, ...]
    unassigned: int
    untried: int
    troubles: tuple[str, ...]
    damaged: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        """Whether its time has passed though nobody has ended it."""
        return self.experiment.open and self.at >= self.experiment.ends_at

    @property
    def verdict(self) -> OnlineVerdict:
        """Of the newest stage."""
        return self.stages[-1].verdict

    @property
    def is_broken(self) -> bool:
        return self.verdict is OnlineVerdict.BROKEN


def begun(desk: Desk, file: Path, now: float) -> Experiment:
    """Begin the experiment of a file. Raises ConfigError, LeaseLost."""
    definition = load_definition(file)
    settings = desk.settings
    folder = settings.ranking_folder
    control = load_ranking_profile(settings.search.ranking, folder)
    treatment = load_ranking_profile(definition.treatment, folder)
    if control.digest() == treatment.digest():
        raise ConfigError(
            f"{definition.treatment} ranks as {control.version} does, which is in force",
            "experiment.same",
            "name another ranking profile as treatment",
        )
    terms = ExperimentTerms(
        definition=definition, control=_on_record(control), treatment=_on_record(treatment)
    )
    return begin(desk.storage, terms, now, desk.by)


def advanced(desk: Desk, found: Experiment, reason: str, now: float) -> Experiment:
    """The next stage. Raises ConfigError where there is none, LeaseLost."""
    if not found.deals(now):
        raise _not_so(found, "go on to another stage")
    stage = found.stage + 1
    if stage >= len(found.definition.steps()):
        raise ConfigError(
            f"experiment {found.id} is at its last stage",
            "experiment.last_stage",
            "see: ecm experiment status; end it with: ecm experiment stop",
        )
    return _appended(desk, found, ExperimentState.RUNNING, stage, reason, now)


def check_may_advance(known: Known) -> None:
    """Raises ConfigError where the present stage is worse, or broken."""
    if known.verdict in (OnlineVerdict.WORSE, OnlineVerdict.BROKEN):
        found = known.experiment
        raise ConfigError(
            f"stage {found.stage + 1} of experiment {found.id} is {known.verdict.value}: "
            f"{known.stages[-1].reason}",
            "experiment.verdict",
            "end it with: ecm experiment stop; or give --anyway",
        )


def changed(
    desk: Desk, found: Experiment, state: ExperimentState, reason: str, now: float
) -> Experiment:
    """Paused, gone on with, or ended. Raises ConfigError where that is not possible, LeaseLost."""
    if found.last.state not in _FROM[state]:
        raise _not_so(found, f"become {state.value}")
    return _appended(desk, found, state, found.stage, reason, now)


def known_of(desk: Desk, found: Experiment, now: float) -> Known:
    """What is known of an experiment. Raises StoreCorrupt, StoreUnavailable."""
    damaged: list[str] = []
    counted = tallies(desk.storage, found)
    stages = stage_reports(found, _events(desk, found, damaged), counted, now)
    return Known(
        experiment=found,
        at=now,
        stages=stages,
        unassigned=sum(one.unassigned for one in counted),
        untried=sum(one.untried for one in counted),
        troubles=_troubles(counted),
        damaged=tuple(damaged),
    )


def checked(desk: Desk, found: Experiment, now: float) -> Known:
    """What is known of an experiment, which has been ended where it must. Raises LeaseLost."""
    known = known_of(desk, found, now)
    event = advice_on(found, known.stages[-1], now)
    if event is None:
        return known
    ended = append(desk.storage, found, event.model_copy(update={"by": desk.by}))
    return replace(known, experiment=ended)


def _events(desk: Desk, found: Experiment, damaged: list[str]) -> Iterator[StoredEvent]:
    store, own = FeedbackStore(desk.storage), found.definition.tenant_id
    for tenant_id in store.tenants() if own is None else (own,):
        for event in store.events(tenant_id, found.started_at):
            if isinstance(event, DamagedBatch):
                damaged.append(event.name)
            else:
                yield event


def _troubles(counted: tuple[ReplicaTally, ...]) -> tuple[str, ...]:
    return tuple(sorted({one.trouble for one in counted if one.trouble}))


def _on_record(ranking: RankingProfile) -> RankingOnRecord:
    return RankingOnRecord(
        version=ranking.version, digest=ranking.digest(), body=ranking.model_dump_json()
    )


def _appended(
    desk: Desk, found: Experiment, state: ExperimentState, stage: int, reason: str, now: float
) -> Experiment:
    event = ExperimentEvent(
        number=0, state=state, stage=stage, at=now, by=desk.by, reason=reason[:4096]
    )
    return append(desk.storage, found, event)


def _not_so(found: Experiment, what: str) -> ConfigError:
    return ConfigError(
        f"experiment {found.id} is {found.last.state.value} and cannot {what}",
        "experiment.state",
        "see: ecm experiment status",
    )
