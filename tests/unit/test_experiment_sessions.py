"""Sessions out of events: what was useful, what was asked again, whose click it was."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.experiment import Arm, Definition, Exposure, Method, OnlineMetric
from ecm.contracts.feedback import FeedbackKind, Shown, StoredEvent
from ecm.evaluation.online.assignment import arm_of
from ecm.evaluation.online.click_models import Cascade
from ecm.evaluation.online.played import World, played, unit_of
from ecm.evaluation.online.sessions import Session, sessions_of

NOW = 1_790_000_000.0
LATER = NOW + 86_400
SPLIT = Definition(id="one", treatment="new", method=Method.SPLIT, stages=(50,))
TURNS = Definition(id="one", treatment="new", interleaved_pct=100)
WORLD = World.made(np.random.default_rng(0), 0.5, 1.5, questions=20)
ASSETS = [f"{n}" * 64 for n in range(1, 7)]
UNIT = next(unit_of(n) for n in range(99) if arm_of(SPLIT, 0, unit_of(n)) is Arm.TREATMENT)


def asked(
    number: int,
    at: float,
    question: str = "a",
    definition: Definition = SPLIT,
    teams: str | None = None,
    tenant: str = "t",
) -> StoredEvent:
    arm = arm_of(definition, 0, UNIT)
    return StoredEvent(
        tenant_id=tenant,
        event_id=f"shown-in-{number}",
        kind=FeedbackKind.IMPRESSION,
        at=NOW + at,
        query_id=f"q{number}",
        session="5" * 32,
        query_digest=question * 64,
        shown=tuple(Shown(asset_id=a, rank=n) for n, a in enumerate(ASSETS, start=1)),
        experiment=Exposure(id=definition.id, arm=arm, stage=0, unit=UNIT, teams=teams),
    )


def click(number: int, at: float, asset: int = 0) -> StoredEvent:
    return StoredEvent(
        tenant_id="t",
        event_id=f"click-{number}-{asset}-{at}",
        kind=FeedbackKind.CLICK,
        at=NOW + at,
        query_id=f"q{number}",
        asset_id=ASSETS[asset],
        rank=asset + 1,
    )


def dwell(number: int, at: float, seconds: float, asset: int = 0) -> StoredEvent:
    return StoredEvent(
        tenant_id="t",
        event_id=f"dwell-{number}-{asset}-{at}",
        kind=FeedbackKind.DWELL,
        at=NOW + at,
        query_id=f"q{number}",
        asset_id=ASSETS[asset],
        seconds=seconds,
    )


def only(*events: StoredEvent, definition: Definition = SPLIT) -> Session:
    (session,) = sessions_of(definition, events, LATER).over
    return session


@pytest.mark.parametrize(
    ("seconds", "success", "spent"), [(30.0, 1.0, 20.0), (9.0, 0.0, 120.0), (10.0, 1.0, 40.0)]
)
def test_what_was_looked_at_for_long_enough_was_useful_since_it_was_opened(
    seconds: float, success: float, spent: float
) -> None:
    session = only(asked(1, 0), click(1, 20), dwell(1, 50, seconds))
    assert session.values[OnlineMetric.SUCCESS] == success
    assert session.values[OnlineMetric.TIME_TO_USEFUL] == spent


@pytest.mark.parametrize(
    ("events", "share"),
    [
        ([asked(1, 0), asked(2, 20, "b")], 0.5),
        ([asked(1, 0), asked(2, 61, "b")], 0.0),  # too late to be the same need
        ([asked(1, 0), asked(2, 20, "a")], 0.0),  # its second page
        ([asked(1, 0), dwell(1, 15, 12), asked(2, 20, "b")], 0.0),  # it was answered
        ([asked(1, 0), asked(2, 20, "b"), asked(3, 40, "c")], 2 / 3),
    ],
)
def test_a_question_was_asked_again_in_other_words_soon_with_nothing_useful_between(
    events: list[StoredEvent], share: float
) -> None:
    assert only(*events).values[OnlineMetric.REFORMULATION] == pytest.approx(share)


@pytest.mark.parametrize(
    ("clicked", "preference"), [([0], 0), ([1], -1), ([2], 1), ([1, 2], 0), ([2, 2, 4], 1), ([], 0)]
)
def test_a_click_counts_for_whose_hit_it_is(clicked: list[int], preference: float) -> None:
    events = [click(1, 5.0 + n, asset) for n, asset in enumerate(clicked)]
    session = only(asked(1, 0, definition=TURNS, teams="-ctctc"), *events, definition=TURNS)
    assert session.values == {OnlineMetric.PREFERENCE: preference}


def test_a_pause_ends_a_session_and_one_that_goes_on_is_not_counted() -> None:
    events = [asked(1, 0), asked(2, 1700, "b"), asked(3, 1700 + 1800, "c")]
    found = sessions_of(SPLIT, events, NOW + 1700 + 1800 + 10)
    assert [one.questions for one in found.over] == [2]
    assert (found.running, found.units) == ({0: 1}, {(0, Arm.TREATMENT): 1})


def test_answers_of_other_experiments_and_of_none_are_no_part_of_it() -> None:
    other = asked(1, 0)
    assert other.experiment is not None
    foreign = other.experiment.model_copy(update={"id": "two"})
    events = [
        other.model_copy(update={"experiment": None}),
        other.model_copy(update={"experiment": foreign}),
    ]
    assert sessions_of(SPLIT, events, LATER).over == ()


def test_the_same_request_id_in_two_tenants_is_two_searches() -> None:
    events = [asked(1, 0), asked(1, 0, tenant="u"), dwell(1, 30, 20)]
    found = sessions_of(SPLIT, events, LATER)
    assert sum(one.questions for one in found.over) == 1  # one session mark, one question twice
    assert found.over[0].values[OnlineMetric.SUCCESS] == 1.0


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_law_the_order_of_events_and_their_repetition_do_not_matter(
    dice: random.Random, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    events = list(played(TURNS, 0, WORLD, Cascade(), range(6), rng, NOW))
    mixed = [*events, *events[::3]]
    dice.shuffle(mixed)
    assert sessions_of(TURNS, mixed, LATER) == sessions_of(TURNS, events, LATER)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 5), st.floats(0, 4000))
def test_law_every_unit_is_over_running_or_left_out(seed: int, later: float) -> None:
    rng = np.random.default_rng(seed)
    events = list(played(SPLIT, 0, WORLD, Cascade(), range(20), rng, NOW))
    found = sessions_of(SPLIT, events, NOW + 200 + later)
    assert len(found.over) + sum(found.running.values()) == 20
    assert sum(found.units.values()) == 20
    for one in found.over:
        assert 0 <= one.values[OnlineMetric.REFORMULATION] < 1
        assert 0 <= one.values[OnlineMetric.TIME_TO_USEFUL] <= SPLIT.useful.cap
