"""Experiments on a service: one ranking against another, by those who search.

What an experiment is about, which arm an answer belongs to, and what is said of it in the end.
Knows no formula, no store and no clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ecm.contracts.identity import Contract, Digest, TenantId

BUCKETS: Final = 10_000
"""Units are dealt into so many; a stage takes the first of them."""
DAY_SECONDS: Final = 86_400.0

ExperimentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
UnitMark = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""The keyed hash of a unit: its name is nowhere stored."""


class Arm(StrEnum):
    """Whose answer it was. `interleaved`: both rankings took turns in it."""

    CONTROL = "control"
    TREATMENT = "treatment"
    INTERLEAVED = "interleaved"


class Method(StrEnum):
    """How two rankings meet those who search: both in one answer, or one each."""

    INTERLEAVING = "interleaving"
    SPLIT = "split"


class UnitKind(StrEnum):
    """What is assigned to an arm: a session, a person (`unit`), or an API key."""

    SESSION = "session"
    UNIT = "unit"
    KEY = "key"


class OnlineMetric(StrEnum):
    """What is measured of a session.

    `session_success`: whether something useful was found. `reformulation`: the share of its
    questions that were asked again in other words, with nothing useful found between.
    `time_to_useful`: seconds until something useful was found, those without counted as `cap`.
    `preference`: whose hits were opened more often in interleaved answers, -1 to 1.
    """

    SUCCESS = "session_success"
    REFORMULATION = "reformulation"
    TIME_TO_USEFUL = "time_to_useful"
    PREFERENCE = "preference"


LOWER_IS_BETTER: Final = frozenset({OnlineMetric.REFORMULATION, OnlineMetric.TIME_TO_USEFUL})


class Stage(Contract):
    """One step: by what method, for which per cent of the units."""

    method: Method
    pct: int = Field(ge=1, le=100)


class Useful(Contract):
    """What sessions are judged by. All in seconds.

    A hit was useful when it was looked at for `dwell` at least. A question was asked again when
    another one came within `reformulated`. A session is over after `idle` without any event; one
    without anything useful counts as `cap`.
    """

    dwell: float = Field(default=10.0, gt=0, le=3600)
    reformulated: float = Field(default=60.0, gt=0, le=3600)
    idle: float = Field(default=1800.0, gt=0, le=86_400)
    cap: float = Field(default=120.0, gt=0, le=3600)


class Guards(Contract):
    """What ends an experiment whatever anybody finds useful.

    `error_rate` is by how much the share of failed requests may be higher than control's, and
    `p95_ratio` by what factor the 95th percentile of latency (twice that where both rankings are in
    one answer). Latency is not judged before either arm has `min_requests`; failures are at once.
    """

    error_rate: float = Field(default=0.01, ge=0, le=1)
    p95_ratio: float = Field(default=1.2, gt=1, le=100)
    min_requests: int = Field(default=200, ge=1, le=10_000_000)


class Definition(Contract):
    """What an experiment file says.

    `treatment` is a ranking profile by name or file; control is the one in force. With the method
    interleaving the first stage interleaves for `interleaved_pct` of the units, then the stages of
    a split follow; a stage has all units of those before it. `alpha` bounds the chance that
    anything at all is said though nothing differs: metrics and stages share it. `margin`: a change
    of the first metric within it is none (a share of the range of the metric).
    """

    schema_version: Literal[1] = 1
    id: ExperimentId
    treatment: str = Field(min_length=1, max_length=4096)
    tenant_id: TenantId | None = Field(default=None, description="null: all tenants")
    unit: UnitKind = UnitKind.SESSION
    salt: str = Field(default="", max_length=64)
    method: Method = Method.INTERLEAVING
    interleaved_pct: int = Field(default=10, ge=1, le=100)
    stages: tuple[Annotated[int, Field(ge=1, le=50)], ...] = Field(
        default=(10, 25, 50), min_length=1, max_length=10
    )
    metrics: tuple[OnlineMetric, ...] = Field(
        default=(OnlineMetric.SUCCESS, OnlineMetric.REFORMULATION, OnlineMetric.TIME_TO_USEFUL),
        min_length=1,
        description="the first decides",
    )
    useful: Useful = Useful()
    guards: Guards = Guards()
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    ratio_alpha: float = Field(
        default=0.02, gt=0, lt=0.5, description="below this the arms are not what was dealt"
    )
    margin: float = Field(default=0.02, gt=0, lt=1)
    min_units: int = Field(default=100, ge=2, le=10_000_000, description="per arm, to be judged")
    max_days: float = Field(default=28.0, gt=0, le=366)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if any(a >= b for a, b in zip(self.stages, self.stages[1:], strict=False)):
            raise ValueError("stages must rise")
        if OnlineMetric.PREFERENCE in self.metrics:
            raise ValueError("preference is what interleaving measures; name those of sessions")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError("a metric is named twice")
        return self

    def steps(self) -> tuple[Stage, ...]:
        """All stages in their order."""
        split = tuple(Stage(method=Method.SPLIT, pct=pct) for pct in self.stages)
        if self.method is Method.SPLIT:
            return split
        return (Stage(method=Method.INTERLEAVING, pct=self.interleaved_pct), *split)

    def metrics_of(self, method: Method) -> tuple[OnlineMetric, ...]:
        """What a stage of a method is judged by, the deciding one first."""
        return self.metrics if method is Method.SPLIT else (OnlineMetric.PREFERENCE,)

    def share_of_alpha(self, stage: int) -> float:
        """What each interval of a stage may err by, so that all together err by `alpha`."""
        steps = self.steps()
        return self.alpha / len(steps) / len(self.metrics_of(steps[stage].method))


class RankingOnRecord(Contract):
    """A ranking profile as it was when the experiment began; `body` is its JSON."""

    version: str = Field(min_length=1, max_length=64)
    digest: Digest
    body: str = Field(min_length=2, max_length=4_000_000)


class ExperimentTerms(Contract):
    """What is fixed when an experiment begins."""

    definition: Definition
    control: RankingOnRecord
    treatment: RankingOnRecord

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.control.digest == self.treatment.digest:
            raise ValueError("control and treatment are the same ranking")
        return self


class Assigned(Contract):
    """Which arm of which experiment an answer is of; `stage` counts from 0."""

    id: ExperimentId
    arm: Arm
    stage: int = Field(ge=0, le=10)


class Exposure(Assigned):
    """The same as it is stored with what was shown.

    `teams` has a letter for each asset shown, in order: c or t for whose it is, - for a place where
    both rankings have the same.
    """

    unit: UnitMark
    teams: str | None = Field(default=None, pattern=r"^[ct-]{0,200}$")


class ArmTally(Contract):
    """What one replica counted of an arm in a stage: `latencies` by bucket (see guards)."""

    stage: int = Field(ge=0, le=10)
    arm: Arm
    requests: int = Field(default=0, ge=0)
    errors: int = Field(default=0, ge=0)
    latencies: dict[int, int] = Field(default_factory=dict)


class ReplicaTally(Contract):
    """The counts of one ingress replica, written over from time to time.

    `unassigned` requests named no unit and got control. `untried` were to be answered by an arm and
    got control all the same, for what `trouble` says.
    """

    format_version: Literal[1] = 1
    replica: str = Field(min_length=1, max_length=256)
    at: float
    arms: tuple[ArmTally, ...] = ()
    unassigned: int = Field(default=0, ge=0)
    untried: int = Field(default=0, ge=0)
    trouble: str = Field(default="", max_length=1024)


class OnlineVerdict(StrEnum):
    """What can be said. `go_on`: nothing yet. `broken`: the arms are not what was dealt, so that
    nothing that is measured means anything.
    """

    BETTER = "better"
    EQUIVALENT = "equivalent"
    WORSE = "worse"
    GO_ON = "go_on"
    BROKEN = "broken"


class OnlineFigures(Contract):
    """A metric of a stage: means of the arms, their difference with its always-valid interval.

    Of `preference` there is only the difference. `verdict` is about treatment, whichever direction
    is better.
    """

    metric: OnlineMetric
    control: float | None
    treatment: float | None
    change: float | None
    lower: float | None
    upper: float | None
    confidence: float
    units: int = Field(ge=0, description="that it rests on")
    verdict: OnlineVerdict


class ArmCounts(Contract):
    """How many of an arm were seen in a stage: from feedback, and from what replicas counted."""

    arm: Arm
    units: int = Field(ge=0)
    sessions: int = Field(ge=0, description="over")
    requests: int = Field(ge=0)
    errors: int = Field(ge=0)
    p95_ms: float | None


class GuardFigures(Contract):
    """One guard: treatment's value against control's, and whether it was surely breached."""

    guard: Literal["error_rate", "p95_ratio"]
    control: float | None
    treatment: float | None
    limit: float
    breached: bool
    reason: str = ""


class StageReport(Contract):
    """What is known of one stage.

    `crossed` sessions saw more than one arm or stage and are left out; `misassigned` were given an
    arm that their unit does not have. `ratio_p` is that of the sample-ratio check.
    """

    stage: int
    method: Method
    pct: int
    arms: tuple[ArmCounts, ...]
    crossed: int = Field(ge=0)
    misassigned: int = Field(ge=0)
    running: int = Field(ge=0, description="sessions that are not over yet")
    ratio_p: float | None
    guards: tuple[GuardFigures, ...]
    metrics: tuple[OnlineFigures, ...]
    verdict: OnlineVerdict
    reason: str = ""
