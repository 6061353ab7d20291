"""The `evaluation` part of a profile: what is asked of whom when nothing else is said.

Knows names and bounds; opens nothing. Thresholds of gates are in conf/gates.yaml.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ecm.contracts.measured import MAX_RESULTS, Schedule
from ecm.evaluation.drawing import Part

Snapshots = Literal["same", "any"]
SetName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(@[1-9][0-9]{0,5})?$")
]
"""NAME, the newest version, or NAME@VERSION."""


class Asked(BaseModel):
    """How much a schedule asks, and what it compares with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int | None = Field(default=None, ge=1, le=100_000, description="queries; null: all")
    split: Part = Field(default="held_out", description="held_out, learn or all")
    rounds: int = Field(default=1, ge=1, le=100, description="the first is judged, all are timed")
    compare: Literal["last", "last_good"] = Field(
        default="last",
        description="with the last run of the schedule, or the last that passed or was accepted",
    )
    snapshots: Snapshots = Field(
        default="same", description="any: another snapshot than the baseline's makes no gate unsure"
    )


class EvaluationConfig(BaseModel):
    """The `evaluation` part of a profile; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    queries: SetName | None = Field(default=None, description="NAME or NAME@VERSION")
    labels: SetName | None = Field(default=None, description="NAME or NAME@VERSION")
    engines: tuple[str, ...] = Field(default=("internal",), min_length=1)
    depth: int = Field(default=50, ge=1, le=MAX_RESULTS, description="results asked for")
    concurrency: int = Field(default=1, ge=1, le=256, description="queries asked at once")
    warm_up: int = Field(default=10, ge=0, le=10_000, description="queries that are not counted")
    budget_usd: float | None = Field(
        default=10.0, ge=0, description="of all engines of a run together; null: any amount"
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    nightly: Asked = Asked(count=500, snapshots="any")
    release: Asked = Asked(rounds=3, compare="last_good")

    def asked(self, schedule: Schedule) -> Asked:
        """What a schedule asks; a run without one asks once, all that is held out."""
        match schedule:
            case Schedule.NIGHTLY:
                return self.nightly
            case Schedule.RELEASE:
                return self.release
            case Schedule.SMOKE | Schedule.RUN:
                return Asked()
