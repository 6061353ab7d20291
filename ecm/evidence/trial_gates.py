"""What a new model must measure up to before it takes another's place: bounds and verdicts.

Typed values of conf/gates.yaml and the judgement of a measurement by them. No I/O, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from ecm.contracts.identity import Contract
from ecm.evidence.intervals import Interval

_HOW: Final = frozenset({"failures", "throughput"})
"""Measures of how a model works, not of what it says."""


class Bounds(Contract):
    """Least and most that is allowed; null: anything on that side."""

    least: float | None = None
    most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.least is None and self.most is None:
            raise ValueError("give least, most or both; null instead takes the measure away")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least is more than most")
        return self

    def hold(self, value: float) -> bool:
        low = -math.inf if self.least is None else self.least
        return low <= value <= (math.inf if self.most is None else self.most)


class MeasureGates(Contract):
    """Bounds by measure; what a measure is stands in conf/gates.yaml. null: it decides nothing."""

    empty_captions: Bounds | None = Bounds(most=0.05)
    repeated_captions: Bounds | None = Bounds(most=0.10)
    refusals: Bounds | None = Bounds(most=0.03)
    caption_length: Bounds | None = Bounds(least=0.3, most=10.0)
    tag_agreement: Bounds | None = Bounds(least=0.05)
    neighbours: Bounds | None = Bounds(least=0.05)
    image_text_score: Bounds | None = Bounds(least=-0.05)
    failures: Bounds | None = Bounds(most=0.02)
    throughput: Bounds | None = Bounds(least=0.1)


class RolloutGates(Contract):
    """How a rollout goes: per cent of the assets by step, and what each must measure up to."""

    steps: tuple[int, ...] = (5, 25, 50, 100)
    min_assets: int = Field(default=100, ge=1, le=1_000_000)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    extensions: int = Field(
        default=3, ge=0, le=20, description="times a sample is doubled before a step is held"
    )
    inconclusive: Literal["continue", "hold"] = "continue"
    measures: MeasureGates = MeasureGates()

    @model_validator(mode="after")
    def _steps_lead_to_all(self) -> Self:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or self.steps[0] < 1 or self.steps[-1] != 100 or not rising:
            raise ValueError("steps must rise from 1 or more to 100")
        return self


class Gates(Contract):
    """conf/gates.yaml."""

    rollout: RolloutGates = RolloutGates()


class Verdict(StrEnum):
    """`passed` and `failed` are sure; `likely` and `doubtful` are estimates within and beyond the
    bounds of which the sample cannot be sure; `unmeasured` has nothing to go by, `unbounded` no
    gate.
    """

    PASSED = "passed"
    LIKELY = "likely"
    DOUBTFUL = "doubtful"
    FAILED = "failed"
    UNMEASURED = "unmeasured"
    UNBOUNDED = "unbounded"


class Measured(Contract):
    """One measure of a step: what either side has, what is judged, and the verdict.

    `estimate` lies between the one-sided bounds `lower` and `upper`; `note` says why there is none.
    """

    name: str
    count: int = Field(default=0, ge=0, description="assets, or for throughput images")
    a: float | None = None
    b: float | None = None
    estimate: float | None = None
    lower: float | None = None
    upper: float | None = None
    bounds: Bounds | None = None
    verdict: Verdict = Verdict.UNMEASURED
    note: str = ""


class Outcome(StrEnum):
    PASSED = "passed"
    HELD = "held"
    FAILED = "failed"


def judged(
    name: str,
    found: Interval,
    bounds: Bounds | None,
    a: float | None = None,
    b: float | None = None,
    note: str = "",
) -> Measured:
    """A measurement with its verdict."""
    return Measured(
        name=name,
        count=found.count,
        a=a,
        b=b,
        estimate=found.estimate,
        lower=found.lower,
        upper=found.upper,
        bounds=bounds,
        verdict=_verdict(found, bounds),
        note=note,
    )


def outcome(measures: Iterable[Measured], gates: RolloutGates) -> Outcome:
    """What becomes of a step. Where nothing that was said could be judged it is held: that nothing
    failed, and how fast, is no news of what it is worth.
    """
    measures = tuple(measures)
    verdicts = {measure.verdict for measure in measures}
    if Verdict.FAILED in verdicts:
        return Outcome.FAILED
    if Verdict.DOUBTFUL in verdicts:
        return Outcome.HELD
    if Verdict.LIKELY in verdicts and gates.inconclusive == "hold":
        return Outcome.HELD
    said = {measure.verdict for measure in measures if measure.name not in _HOW}
    return Outcome.PASSED if said & {Verdict.PASSED, Verdict.LIKELY} else Outcome.HELD


def _verdict(found: Interval, bounds: Bounds | None) -> Verdict:
    if bounds is None:
        return Verdict.UNBOUNDED
    if bounds.hold(found.lower) and bounds.hold(found.upper):
        return Verdict.PASSED
    too_little = bounds.least is not None and found.upper < bounds.least
    too_much = bounds.most is not None and found.lower > bounds.most
    if too_little or too_much:
        return Verdict.FAILED
    return Verdict.LIKELY if bounds.hold(found.estimate) else Verdict.DOUBTFUL
