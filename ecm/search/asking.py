"""Asks all axes of a plan at once, for as long as it lets them, and puts together what they found.

Knows threads and time, and which question goes to which axis; knows no weights. An axis that did
not answer in time, or may not answer, is a `Lost` with its cause.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field

from ecm.contracts.search import Axis, LostReason
from ecm.evidence.allowed import Allowed
from ecm.search.blending import QueryVectors
from ecm.search.candidates import Candidates, Lost, Ranking, Scope
from ecm.search.encoders import AxisVector
from ecm.search.laps import Laps
from ecm.search.plan import Plan

Clock = Callable[[], float]
Answer = Future[tuple[Ranking | Lost, float]]
"""What an axis will have found, and in how many milliseconds."""


@dataclass(frozen=True)
class Found:
    """What the axes answered, and which were lost. `late`: some for want of time."""

    rankings: dict[Axis, Ranking] = field(default_factory=dict)
    lost: dict[Axis, Lost] = field(default_factory=dict)
    milliseconds: dict[Axis, float] = field(default_factory=dict)

    @property
    def late(self) -> bool:
        return any(lost.code is LostReason.TIMEOUT for lost in self.lost.values())

    @property
    def in_vain(self) -> bool:
        """Whether no axis answered, and some for another reason than want of time."""
        late = all(lost.code is LostReason.TIMEOUT for lost in self.lost.values())
        return not self.rankings and not late

    def answering(self) -> tuple[Axis, ...]:
        """The axes that answered, in their order."""
        return tuple(axis for axis in Axis if axis in self.rankings)


@dataclass(frozen=True)
class Begun:
    """What has been begun while the question is encoded: assets that pass the filter (None: all
    do), and words, which need no vector.
    """

    allowed: Allowed | None
    words: Answer | None
    laps: Laps


def begin_words(
    plan: Plan, candidates: Candidates, allowed: Allowed | None, threads: Executor, clock: Clock
) -> Answer | None:
    """Ask the words of a plan that waits for vectors; None where it has no words or no time."""
    if Axis.FTS not in plan.question.axes or not plan.encodings or clock() > plan.axes_until:
        return None
    if plan.cursor is not None and Axis.FTS not in plan.cursor.axes:
        return None
    if candidates.gate(Axis.FTS, None) is not None:
        return None
    question = _question(Axis.FTS, None, plan, candidates, _scope(plan, allowed))
    return threads.submit(_timed, question, clock)


def ask_axes(
    plan: Plan,
    vectors: QueryVectors,
    candidates: Candidates,
    begun: Begun,
    threads: Executor,
    clock: Clock,
) -> Found:
    """Every axis the plan calls for, concurrently. Errors of ecm become `Lost`; others rise."""
    scope = _scope(plan, begun.allowed)
    found, asked = Found(), dict[Axis, Answer]()
    for axis in plan.question.axes:
        if axis is Axis.FTS and begun.words is not None:
            asked[axis] = begun.words
            continue
        vector = vectors.wanted.get(axis)
        lost = _unfit(axis, vectors, candidates)
        if plan.cursor is not None and axis not in plan.cursor.axes:
            lost = Lost(axis, LostReason.FIRST_PAGE, "it did not answer on the first page")
        if lost is None and clock() > plan.axes_until:
            lost = _too_late(axis, plan)
        if lost is not None:
            found.lost[axis] = lost
        else:
            question = _question(axis, vector, plan, candidates, scope)
            asked[axis] = threads.submit(_timed, question, clock)
    if asked:
        wait(asked.values(), timeout=max(0.0, plan.axes_until - clock()))
    for axis, answer in asked.items():
        if not answer.done():
            answer.cancel()
            found.lost[axis] = _too_late(axis, plan)
            continue
        outcome, found.milliseconds[axis] = answer.result()
        match outcome:
            case Ranking():
                found.rankings[axis] = outcome
            case Lost():
                found.lost[axis] = outcome
    return found


def _scope(plan: Plan, allowed: Allowed | None) -> Scope:
    return Scope(plan.request.tenant_id, plan.request.candidates, plan.excluded, allowed)


def _question(
    axis: Axis, vector: AxisVector | None, plan: Plan, candidates: Candidates, scope: Scope
) -> Callable[[], Ranking | Lost]:
    text, layout = plan.question.text, plan.question.layout
    if axis is Axis.FTS:
        assert text is not None
        return lambda: candidates.by_text(text, scope)
    assert vector is not None
    if axis is Axis.X and layout is not None and not plan.by_example:
        return lambda: candidates.by_layout(layout, scope)
    return lambda: candidates.by_vector(axis, vector, scope)


def _unfit(axis: Axis, vectors: QueryVectors, candidates: Candidates) -> Lost | None:
    """Why an axis may not be asked, or held against what is not wanted: what failed before tells
    more than that there is no vector.
    """
    for vector in (vectors.wanted.get(axis), *vectors.unwanted.get(axis, ())):
        gate = candidates.gate(axis, vector)
        if gate is not None and gate.code is LostReason.NO_VECTOR:
            return vectors.lost.get(axis, gate)
        if gate is not None:
            return gate
    return None


def _too_late(axis: Axis, plan: Plan) -> Lost:
    limit = (plan.deadline - plan.started) * 1000.0
    return Lost(axis, LostReason.TIMEOUT, f"the time ceiling of {limit:.0f} ms was reached")


def _timed(question: Callable[[], Ranking | Lost], clock: Clock) -> tuple[Ranking | Lost, float]:
    started = clock()
    return question(), (clock() - started) * 1000.0
