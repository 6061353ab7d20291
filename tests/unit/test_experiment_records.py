"""Experiments on record, and replicas that follow them: whoever is first decides, nothing that is
damaged or out of reach is an experiment.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ecm.contracts.experiment import Arm, Definition, Guards, Method, ReplicaTally
from ecm.errors import ConfigError, LeaseLost, StoreCorrupt, StoreUnavailable
from ecm.evaluation.online.assignment import arm_of
from ecm.evidence.experiments import (
    Cause,
    Experiment,
    ExperimentEvent,
    ExperimentRecords,
    ExperimentState,
    all_experiments,
    append,
    begin,
    named,
    put_tally,
    tallies,
)
from ecm.evidence.storage import STORE_HEADER, LocalStorage
from tests.experiments import SOMEBODY, terms_of

with warnings.catch_warnings():  # Ray Serve's own schemas use what pydantic has given up
    warnings.simplefilter("ignore", DeprecationWarning)
    from serve.counting import Counting
    from serve.experiments import STALE_SECONDS, Drawn, FollowedExperiments

NOW = 1_790_000_000.0


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path)
    made.put(STORE_HEADER, b"{}")
    return made


def defined(name: str = "one", tenant: str | None = None, **said: object) -> Definition:
    return Definition.model_validate({"id": name, "treatment": "new", "tenant_id": tenant, **said})


def started(storage: LocalStorage, name: str = "one", tenant: str | None = None) -> Experiment:
    return begin(storage, terms_of(defined(name, tenant)), NOW, SOMEBODY)


def event(state: ExperimentState, stage: int = 0) -> ExperimentEvent:
    return ExperimentEvent(number=0, state=state, stage=stage, at=NOW + 1, by=SOMEBODY, reason="r")


class Away(LocalStorage):
    """A storage that can be cut off."""

    cut = False

    def children(self, name: str) -> tuple[str, ...]:
        if self.cut:
            raise StoreUnavailable("the store cannot be reached")
        return super().children(name)


def test_what_is_begun_is_read_back_with_all_that_happens_to_it(storage: LocalStorage) -> None:
    first = started(storage)
    later = append(storage, first, event(ExperimentState.RUNNING, 1))
    done = append(storage, later, event(ExperimentState.STOPPED, 1))
    assert all_experiments(storage) == (done,)
    assert named(storage, None) == named(storage, "one") == done
    assert [each.state.value for each in done.events] == ["running", "running", "stopped"]
    assert (done.open, later.open, later.step.pct) == (False, True, 10)
    with pytest.raises(ConfigError, match="there are: one"):
        named(storage, "two")


def test_of_two_that_change_an_experiment_one_is_refused(storage: LocalStorage) -> None:
    first = started(storage)
    append(storage, first, event(ExperimentState.PAUSED))
    with pytest.raises(LeaseLost):
        append(storage, first, event(ExperimentState.STOPPED))


@pytest.mark.parametrize(
    ("running", "wanted", "refused"),
    [(None, None, True), (None, "a", True), ("a", None, True), ("a", "a", True), ("a", "b", False)],
)
def test_one_experiment_runs_for_a_tenant(
    storage: LocalStorage, running: str | None, wanted: str | None, refused: bool
) -> None:
    before = started(storage, "one", running)
    if refused:
        with pytest.raises(ConfigError, match="same tenant"):
            started(storage, "two", wanted)
        append(storage, before, event(ExperimentState.STOPPED))
    assert started(storage, "two", wanted).record == "e-0002"


def test_an_id_is_used_once(storage: LocalStorage) -> None:
    append(storage, started(storage), event(ExperimentState.STOPPED))
    with pytest.raises(ConfigError, match="before"):
        started(storage)


@pytest.mark.parametrize("damage", [b"", b"{}", None])
def test_damaged_records_are_no_experiment(storage: LocalStorage, damage: bytes | None) -> None:
    append(storage, started(storage), event(ExperimentState.RUNNING, 1))
    name = "experiments/e-0001/0000.json"
    if damage is None:
        storage.remove(name)
    else:
        storage.put(name, damage)
    with pytest.raises(StoreCorrupt):
        all_experiments(storage)
    followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: NOW)
    followed.refresh()
    assert followed.of("t") is None
    assert "damaged" in followed.trouble


def test_records_that_are_known_are_not_read_again(storage: LocalStorage, tmp_path: Path) -> None:
    first = started(storage)
    records = ExperimentRecords(storage)
    records.all()
    (tmp_path / "experiments/e-0001/0000.json").write_bytes(b"gone")
    append(storage, first, event(ExperimentState.PAUSED))
    (found,) = records.all()
    assert found.last.state is ExperimentState.PAUSED


def test_a_replica_follows_start_stage_pause_and_end(storage: LocalStorage) -> None:
    followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: NOW + 10)
    followed.refresh()
    assert followed.of("t") is None
    now = started(storage, "one", "t")
    for state, stage, runs in (
        (ExperimentState.RUNNING, 1, True),
        (ExperimentState.PAUSED, 1, False),
        (ExperimentState.RUNNING, 1, True),
        (ExperimentState.ABORTED, 1, False),
    ):
        now = append(storage, now, event(state, stage))
        followed.refresh()
        found = followed.of("t")
        assert (found is not None) is runs
        assert found is None or found.stage == stage
        assert followed.of("other") is None
    assert followed.trouble == ""


def test_a_store_out_of_reach_leaves_control_at_once_and_comes_back(tmp_path: Path) -> None:
    storage = Away(tmp_path)
    storage.put(STORE_HEADER, b"{}")
    started(storage)
    followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: NOW)
    followed.refresh()
    assert followed.of("t") is not None
    storage.cut = True
    followed.refresh()
    assert followed.of("t") is None
    assert "cannot be reached" in followed.trouble
    storage.cut = False
    followed.refresh()
    assert followed.of("t") is not None
    assert followed.trouble == ""


def test_records_that_nobody_looked_at_for_long_are_not_trusted(storage: LocalStorage) -> None:
    clock = [NOW]
    started(storage)
    followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: clock[0])
    followed.refresh()
    clock[0] += STALE_SECONDS + 1
    assert followed.of("t") is None
    assert followed.trouble
    followed.refresh()
    assert followed.of("t") is not None


def test_it_ends_with_its_time(storage: LocalStorage) -> None:
    now = started(storage)
    clock = [now.ends_at - 1]
    followed = FollowedExperiments(lambda: storage, 0.5, wall=lambda: clock[0])
    followed.refresh()
    assert followed.of("t") is not None
    clock[0] = now.ends_at
    followed.refresh()
    assert followed.of("t") is None


def test_a_replica_that_sees_too_many_errors_ends_it_for_all(storage: LocalStorage) -> None:
    split = defined(method=Method.SPLIT, stages=(50,), guards=Guards(min_requests=50))
    begin(storage, terms_of(split), NOW, SOMEBODY)
    replicas = [
        Counting(name, lambda: storage, 0.5, CollectorRegistry(), lambda: NOW)
        for name in ("one", "two")
    ]
    for number in range(600):
        counting = replicas[number % 2]
        if number < 2:
            counting.experiments.refresh()
        experiment = counting.experiments.of("t")
        assert experiment is not None
        unit = counting.feedback.mark("t", "session", f"s-{number}")
        drawn = Drawn("one", arm_of(split, 0, unit), 0, unit)
        if drawn.arm is Arm.TREATMENT and number % 4 < 2:
            counting.failed(experiment, drawn)
        else:
            counting.answered(experiment, drawn, 12.0)
    for counting in replicas:
        counting.settle()
    (ended,) = all_experiments(storage)
    assert (ended.last.state, ended.last.cause) == (ExperimentState.ABORTED, Cause.ERRORS)
    assert ended.last.by in ("service one", "service two")
    assert sum(arm.requests for one in tallies(storage, ended) for arm in one.arms) == 600
    for counting in replicas:
        counting.experiments.refresh()
        assert counting.experiments.of("t") is None


def test_a_tally_takes_the_place_of_the_one_before(storage: LocalStorage) -> None:
    now = started(storage)
    for requests in (1, 2):
        put_tally(storage, now, ReplicaTally(replica="r", at=NOW, unassigned=requests))
    assert [one.unassigned for one in tallies(storage, now)] == [2]
