"""Runs of an evaluation: engines, their answers, what is measured of them, what gates say.

Knows no formula, no engine, no file and no clock; queries and labels are `evaluation`'s.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQueryId,
    LabelSet,
    Name,
    QueryKind,
    QuerySet,
)
from ecm.contracts.identity import Contract, Digest, TenantId
from ecm.contracts.search import QueryType

MAX_RESULTS: Final = 1_000
"""Ranked assets of one query that are kept."""

RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class EngineKind(StrEnum):
    """Whose engine it is."""

    INTERNAL = "internal"
    OPEN_SOURCE = "open_source"
    COMMERCIAL = "commercial"


class EngineProblem(StrEnum):
    """Why an engine did not answer a query."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    LIMITED = "limited"
    FAILED = "failed"
    GARBLED = "garbled"
    BUDGET = "budget"


class EngineFacts(Contract):
    """What answered: enough to know whether two runs compare the same things.

    `stands_for`: where a recorded contract stands in for the product that it names.
    """

    engine_id: Name
    kind: EngineKind
    description: str = Field(max_length=512)
    version: str = Field(default="", max_length=128)
    snapshot_id: str | None = None
    ranking_profile: str | None = None
    ranking_digest: str | None = None
    fingerprints: dict[str, str] = Field(default_factory=dict)
    assets: int | None = Field(default=None, ge=0, description="that it searches in")
    cost_per_1k_usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cost_basis: str = Field(default="", max_length=512, description="what that figure rests on")
    stands_for: str | None = Field(default=None, max_length=256)


class RankedAsset(Contract):
    """One result; ranks are from 1 without gaps. `why` is what the engine says of it."""

    asset_id: Digest
    rank: int = Field(ge=1, le=MAX_RESULTS)
    score: float = Field(allow_inf_nan=False)
    why: str = ""


class EngineAnswer(Contract):
    """What one engine said to one query: ranked assets, or why there are none.

    `latency_ms` is that of the attempt that counted, as the one who asked saw it; `attempts` counts
    it and those before it. `degraded` names what did not take part. No result and no error is an
    answer: nothing was found.
    """

    ranked: tuple[RankedAsset, ...] = Field(default=(), max_length=MAX_RESULTS)
    latency_ms: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    error: EngineProblem | None = None
    reason: str = Field(default="", max_length=1024)
    attempts: int = Field(default=1, ge=0)
    cost_usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    degraded: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> EngineAnswer:
        if self.error is not None and self.ranked:
            raise ValueError("an answer is results or an error")
        if [one.rank for one in self.ranked] != list(range(1, len(self.ranked) + 1)):
            raise ValueError("ranks are 1, 2, 3, … in order")
        if len({one.asset_id for one in self.ranked}) < len(self.ranked):
            raise ValueError("an asset is ranked twice")
        return self


class Answered(Contract):
    """One line of `answers.jsonl` of a run: the answer of an engine to a query, in one round."""

    run_id: RunId
    engine_id: Name
    query_id: EvaluationQueryId
    round: int = Field(default=0, ge=0, description="0 is judged; later ones measure latency only")
    answer: EngineAnswer


class Measure(StrEnum):
    """What is measured of each query, in [0, 1]. Higher is better of all but the last two."""

    NDCG_10 = "ndcg@10"
    RECALL_50 = "recall@50"
    RECALL_20 = "recall@20"
    MRR_10 = "mrr@10"
    PRECISION_5 = "p@5"
    ZERO_RESULTS = "zero_results"
    UNJUDGED_10 = "unjudged@10"


class RunState(StrEnum):
    """`partial_failed`: an engine could not go on; `budget_stopped`: the money was used up."""

    COMPLETE = "complete"
    PARTIAL_FAILED = "partial_failed"
    BUDGET_STOPPED = "budget_stopped"


class Schedule(StrEnum):
    """How much is asked, and what a failure stops."""

    SMOKE = "smoke"
    NIGHTLY = "nightly"
    RELEASE = "release"
    RUN = "run"


class Verdict(StrEnum):
    """What a gate says. `inconclusive`: these queries cannot tell."""

    PASS = "pass"  # noqa: S105 - a verdict
    BLOCK = "block"
    WARN = "warn"
    INCONCLUSIVE = "inconclusive"


class RunPlan(Contract):
    """`plan.json`: what is to be asked of whom and how; there before the first answer is."""

    format_version: Literal[1] = 1
    run_id: RunId
    tenant_id: TenantId
    schedule: Schedule
    started_at: float = Field(ge=0)
    query_set: QuerySet
    label_set: LabelSet
    queries: tuple[EvaluationQueryId, ...] = Field(description="asked, in the order of the set")
    engines: tuple[EngineFacts, ...]
    specs: tuple[str, ...] = Field(default=(), description="engines as they were named")
    baseline: str | None = Field(
        default=None, description="RUN:ENGINE, or an engine of this run, that is compared with"
    )
    candidate: Name | None = Field(default=None, description="the engine that is to be judged")
    code_version: str
    seed: int
    depth: int = Field(ge=1, description="results asked for")
    concurrency: int = Field(ge=1)
    rounds: int = Field(ge=1)
    warm_up: int = Field(ge=0, description="queries asked before, and not counted")
    budget_usd: float | None = Field(default=None, ge=0, description="of all engines; null: none")
    snapshots: Literal["same", "any"] = Field(
        default="same", description="any: a baseline of another snapshot makes no gate unsure"
    )
    machine: str = ""


class RunHead(RunPlan):
    """`run.json`: the plan, and how far it was carried out; before any figure.

    `tied`: by engine, the share of judged answers with equal scores among the first ten: their
    ranks, as the engine gave them, decide.
    """

    state: RunState
    finished_at: float = Field(ge=0)
    reason: str = Field(default="", description="why it is not complete")
    spent_usd: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    tied: dict[Name, float] = Field(default_factory=dict)


class Acceptance(Contract):
    """`accepted.json`: who lets a run pass that the gates have not let pass, and why."""

    run_id: RunId
    by: str = Field(min_length=1, max_length=256)
    reason: str = Field(min_length=1, max_length=4096)
    at: float = Field(ge=0, allow_inf_nan=False)
    verdict: Verdict


class GateCheck(Contract):
    """One threshold, held against what was measured.

    `change` is candidate less baseline (relative where `unit` says so), between `lower` and `upper`
    (two-sided, of `confidence`). `detectable` is the smallest true change in the bad direction that
    would be found with a power of 80 %. `wilcoxon_p` is that of the signed-rank test beside it.
    """

    name: str
    baseline: float | None
    candidate: float | None
    change: float | None
    lower: float | None = None
    upper: float | None = None
    threshold: float
    unit: Literal["points", "relative"]
    confidence: float
    detectable: float | None = None
    wilcoxon_p: float | None = None
    queries: int = Field(ge=0)
    verdict: Verdict
    reason: str = ""


class GateReport(Contract):
    """All thresholds of one comparison, and what follows: the worst of them."""

    baseline: str
    candidate: str
    verdict: Verdict
    checks: tuple[GateCheck, ...]
    promotion: tuple[GateCheck, ...] = Field(default=(), description="go or no-go")
    go: bool | None = Field(default=None, description="whether it may be promoted; null: not asked")

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that block."""
        return tuple(check.name for check in self.checks if check.verdict is Verdict.BLOCK)


class Figures(Contract):
    """What one engine measured over some queries.

    `values` are means over the queries that have at least one relevant asset; of zero_results and
    unjudged@10 over all. An error counts as nothing found. Latencies are of answers alone.
    """

    queries: int = Field(ge=0)
    judged: int = Field(ge=0, description="queries with at least one relevant asset")
    values: dict[Measure, float | None]
    p50_ms: float | None
    p95_ms: float | None
    error_rate: float = Field(ge=0, le=1)
    degraded_rate: float = Field(default=0.0, ge=0, le=1)
    cost_per_1k_usd: float = Field(ge=0)


class EngineFigures(Contract):
    """All figures of one engine of a run: of all queries, and by what they are."""

    engine_id: Name
    all: Figures
    by_type: dict[QueryType, Figures] = Field(default_factory=dict)
    by_difficulty: dict[Difficulty, Figures] = Field(default_factory=dict)
    by_kind: dict[QueryKind, Figures] = Field(default_factory=dict)


class QueryMeasured(Contract):
    """One line of `queries.jsonl` of a run: one query of one engine. `values` null: no relevant
    asset is known, so that the measure says nothing.
    """

    engine_id: Name
    query_id: EvaluationQueryId
    values: dict[Measure, float | None]


class Summary(Contract):
    """`summary.json`: what came of a run, for programs. `failed_gate` is the first that blocks."""

    format_version: Literal[1] = 1
    head: RunHead
    figures: tuple[EngineFigures, ...]
    gates: GateReport | None
    verdict: Verdict
    failed_gate: str | None = None
    remarks: tuple[str, ...] = Field(
        default=(), description="what is not the same on both sides of the comparison"
    )
