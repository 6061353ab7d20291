"""Experiments that simulated users play through the real code: what is said in the end, and when
nothing may be said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from ecm.contracts.experiment import (
    Arm,
    ArmTally,
    Definition,
    Exposure,
    Method,
    OnlineMetric,
    OnlineVerdict,
    ReplicaTally,
    StageReport,
)
from ecm.contracts.feedback import FeedbackKind, StoredEvent
from ecm.evaluation.online.assignment import arm_of
from ecm.evaluation.online.click_models import Cascade, ClickModel, PositionBased
from ecm.evaluation.online.experiment import advice_on, stage_reports
from ecm.evaluation.online.latencies import bucket_of
from ecm.evaluation.online.played import World, played, unit_of
from ecm.evidence.experiments import Cause, ExperimentState
from tests.experiments import at_stage

START = 1_790_000_000.0
LATER = START + 30 * 86_400
DEFINITION = Definition(
    id="one", treatment="new", interleaved_pct=100, stages=(50,), metrics=(OnlineMetric.SUCCESS,)
)
WORSE = World.made(np.random.default_rng(3), 0.4, 3.0, questions=80)
MODELS = (PositionBased(), Cascade())


def symmetric(world: World) -> World:
    """Each question twice, the second time with the rankings changed: nobody is better."""
    turned = [replace(q, control=q.treatment, treatment=q.control) for q in world.questions]
    return World((*world.questions, *turned))


def report(
    stage: int, events: Sequence[StoredEvent], counted: Sequence[ReplicaTally] = ()
) -> StageReport:
    return stage_reports(at_stage(DEFINITION, stage, START), events, counted, LATER)[stage]


def play(
    world: World, stage: int, sessions: int, model: ClickModel, seed: int = 0
) -> list[StoredEvent]:
    rng = np.random.default_rng(seed)
    return list(played(DEFINITION, stage, world, model, range(sessions), rng, START))


@pytest.mark.parametrize("model", MODELS)
def test_a_clearly_worse_ranking_is_found_out_and_aborted(model: ClickModel) -> None:
    for stage, sessions in ((0, 300), (1, 1500)):
        found = report(stage, play(WORSE, stage, sessions, model))
        assert found.verdict is OnlineVerdict.WORSE, found
        event = advice_on(at_stage(DEFINITION, stage, START), found, START + 3600)
        assert event is not None
        assert (event.state, event.cause) == (ExperimentState.ABORTED, Cause.LOSS)


def test_the_other_way_round_it_is_better_and_goes_on() -> None:
    better = World(
        tuple(replace(q, control=q.treatment, treatment=q.control) for q in WORSE.questions)
    )
    for stage, sessions in ((0, 300), (1, 1500)):
        found = report(stage, play(better, stage, sessions, Cascade()))
        assert found.verdict is OnlineVerdict.BETTER, found
        assert advice_on(at_stage(DEFINITION, stage, START), found, START + 3600) is None


def test_where_nobody_is_better_next_to_nothing_is_said() -> None:
    """Peeked at ten times each; the statistics themselves are simulated in benchmarks."""
    world, said = symmetric(World.made(np.random.default_rng(5), 0.5, 1.5, questions=40)), 0
    for seed in range(12):
        events = play(world, 0, 200, Cascade(), seed)
        ends = range(len(events) // 10, len(events) + 1, len(events) // 10)
        verdicts = {report(0, events[:end]).verdict for end in ends}
        said += bool(verdicts & {OnlineVerdict.BETTER, OnlineVerdict.WORSE})
    assert said <= 1


def test_interleaving_needs_fewer_sessions_than_a_split() -> None:
    found = report(0, play(WORSE, 0, 150, Cascade()))
    split = report(1, play(WORSE, 1, 150, Cascade()))
    assert (found.verdict, split.verdict) == (OnlineVerdict.WORSE, OnlineVerdict.GO_ON)


def impressions(control: int, treatment: int) -> Iterator[StoredEvent]:
    """One search of each session, of so many sessions of each arm."""
    wanted = {Arm.CONTROL: control, Arm.TREATMENT: treatment}
    for number in count():
        unit = unit_of(number)
        arm = arm_of(DEFINITION, 1, unit)
        if not any(wanted.values()):
            return
        if not wanted[arm]:
            continue
        wanted[arm] -= 1
        yield StoredEvent(
            tenant_id="t",
            event_id=f"shown-to-{number}",
            kind=FeedbackKind.IMPRESSION,
            at=START + number,
            query_id=f"q-{number}",
            session=unit,
            experiment=Exposure(id="one", arm=arm, stage=1, unit=unit),
        )


def test_arms_that_lose_units_are_not_judged() -> None:
    """49 to 51 of 20,000 sessions, where half and half were dealt."""
    whole = report(1, list(impressions(10_040, 9_960)))
    broken = report(1, list(impressions(10_200, 9_800)))
    assert whole.verdict is not OnlineVerdict.BROKEN
    assert broken.verdict is OnlineVerdict.BROKEN
    assert broken.ratio_p is not None
    assert broken.ratio_p < DEFINITION.ratio_alpha < (whole.ratio_p or 0)
    assert advice_on(at_stage(DEFINITION, 1, START), broken, START + 3600) is None


def test_nothing_is_carried_over_from_a_stage_to_the_next() -> None:
    """Whatever was found while it was interleaved, the split is judged by its own sessions."""
    first = play(WORSE, 0, 300, Cascade())
    same = World(tuple(replace(q, treatment=q.control) for q in WORSE.questions))
    rng = np.random.default_rng(1)
    later = START + 86_400
    second = list(played(DEFINITION, 1, same, Cascade(), range(400), rng, later))
    found = stage_reports(at_stage(DEFINITION, 1, START), [*first, *second], (), LATER)
    assert found[0].verdict is OnlineVerdict.WORSE
    assert found[1].verdict is not OnlineVerdict.WORSE
    assert found[1].crossed == 0
    assert sum(arm.sessions for arm in found[1].arms) == 400


def test_a_session_that_saw_two_arms_is_left_out_and_one_that_was_never_dealt_so() -> None:
    first = play(WORSE, 0, 10, Cascade())
    second = list(
        played(DEFINITION, 1, WORSE, Cascade(), range(10), np.random.default_rng(1), START + 60)
    )
    found = stage_reports(at_stage(DEFINITION, 1, START), [*first, *second], (), LATER)
    assert found[1].crossed == 10
    assert not any(arm.sessions for one in found for arm in one.arms)
    forged = [
        event.model_copy(
            update={"experiment": event.experiment.model_copy(update={"arm": Arm.CONTROL})}
        )
        for event in first
        if event.experiment is not None
    ]
    assert report(0, forged).misassigned == 10


def tallied(requests: int, errors: int, slower: float) -> list[ReplicaTally]:
    """Two replicas that counted the same: errors and latencies of treatment are its own."""
    rng = np.random.default_rng(2)
    milliseconds = rng.lognormal(3.0, 0.4, requests)
    arms = []
    for arm, failed, factor in ((Arm.CONTROL, 0, 1.0), (Arm.TREATMENT, errors, slower)):
        latencies: dict[int, int] = {}
        for value in milliseconds:
            bucket = bucket_of(float(value) * factor)
            latencies[bucket] = latencies.get(bucket, 0) + 1
        arms.append(
            ArmTally(
                stage=1, arm=arm, requests=requests + failed, errors=failed, latencies=latencies
            )
        )
    return [ReplicaTally(replica=name, at=START, arms=tuple(arms)) for name in ("one", "two")]


@pytest.mark.parametrize(
    ("errors", "slower", "cause"),
    [(0, 1.0, None), (1, 1.1, None), (60, 1.0, Cause.ERRORS), (0, 1.5, Cause.LATENCY)],
)
def test_errors_and_slowness_end_an_experiment(
    errors: int, slower: float, cause: Cause | None
) -> None:
    found = report(1, [], tallied(400, errors, slower))
    event = advice_on(at_stage(DEFINITION, 1, START), found, START + 3600)
    assert (event.cause if event is not None else None) is cause
    few = report(1, [], tallied(50, 0, slower))
    assert advice_on(at_stage(DEFINITION, 1, START), few, START + 3600) is None


def test_an_arm_that_fails_altogether_is_ended_after_a_few_requests() -> None:
    for failed, ends in ((2, False), (20, True)):
        event = advice_on(
            at_stage(DEFINITION, 1, START), report(1, [], tallied(20, failed, 1.0)), START + 60
        )
        assert (event is not None) is ends


def test_an_arm_that_fails_is_ended_where_nobody_has_control() -> None:
    """Of few units, keys say, all may have the arm that is tried."""
    for requests, failed, ends in ((40, 3, False), (40, 30, True)):
        alone = ArmTally(stage=1, arm=Arm.TREATMENT, requests=requests, errors=failed)
        counted = [ReplicaTally(replica="one", at=START, arms=(alone,))]
        event = advice_on(at_stage(DEFINITION, 1, START), report(1, [], counted), START + 60)
        assert (event.cause if event is not None else None) is (Cause.ERRORS if ends else None)


def test_its_time_is_over_whatever_is_known() -> None:
    experiment = at_stage(DEFINITION, 1, START)
    event = advice_on(experiment, report(1, []), experiment.ends_at)
    assert event is not None
    assert (event.state, event.cause) == (ExperimentState.STOPPED, Cause.TIME)
    assert not experiment.deals(experiment.ends_at)


def test_a_split_has_what_sessions_are_measured_by() -> None:
    definition = Definition(id="one", treatment="new", method=Method.SPLIT, min_units=20)
    rng = np.random.default_rng(0)
    events = list(played(definition, 2, WORSE, Cascade(), range(800), rng, START))
    found = stage_reports(at_stage(definition, 2, START), events, (), LATER)[2]
    by_name = {one.metric: one for one in found.metrics}
    assert list(by_name) == list(definition.metrics)
    for one in by_name.values():
        assert one.lower is not None
        assert one.upper is not None
        assert one.change is not None
        assert one.lower <= one.change <= one.upper
    assert (by_name[OnlineMetric.SUCCESS].change or 0) < 0
    assert (by_name[OnlineMetric.TIME_TO_USEFUL].change or 0) > 0
    assert (by_name[OnlineMetric.REFORMULATION].change or 0) > 0
