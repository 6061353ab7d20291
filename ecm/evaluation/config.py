"""What a build must hold up to, and one that is promoted: section `evaluation` of conf/gates.yaml.

Knows thresholds and the file; how they are held against what was measured is known to `gates` and
`promotion`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ecm.contracts.identity import Contract
from ecm.evidence.gate_file import read_section


class Gate(Contract):
    """One threshold.

    `most` is how much worse it may become. `breach` is what more than that does. `unsure` is what
    an estimate within `most` is worth whose interval reaches beyond it. `beyond` is what an
    estimate must be to breach: surely worse; or beyond `most` at all, where no other queries are
    meant than these and the same build answers them the same, so that no chance is in it.
    """

    most: float = Field(ge=0, allow_inf_nan=False)
    breach: Literal["block", "warn"] = "block"
    unsure: Literal["inconclusive", "pass"] = "inconclusive"
    beyond: Literal["surely", "at_all"] = "surely"


class GateSet(Contract):
    """Thresholds by what is measured, of shares or relative; null: it decides nothing."""

    ndcg_10: Gate | None = Gate(most=0.01)
    recall_50: Gate | None = Gate(most=0.02)
    zero_results: Gate | None = Gate(most=0.02, unsure="pass")
    error_rate: Gate | None = Gate(most=0.005, unsure="pass")
    degraded_rate: Gate | None = Gate(most=0.05, breach="warn", unsure="pass")
    p95_latency: Gate | None = Gate(most=0.2, unsure="pass")
    cost_per_1k: Gate | None = Gate(most=0.25, breach="warn", unsure="pass")


class Promotion(Contract):
    """What a candidate must show before it takes another's place: all of it, surely."""

    ndcg_10_gain: float = Field(default=0.08, ge=0, description="relative")
    recall_20_most: float = Field(default=0.01, ge=0, description="drop that must be excluded")
    p95_latency_most: float = Field(default=0.2, ge=0, description="relative")
    hardest_most: float = Field(default=0.02, ge=0, description="drop that must be excluded")


class EvaluationGates(Contract):
    """Section `evaluation`."""

    confidence: float = Field(default=0.95, ge=0.5, lt=1, description="of two-sided intervals")
    resamples: int = Field(default=10_000, ge=1_000, le=100_000)
    min_queries: int = Field(default=20, ge=2, description="below it nothing can be told")
    max_unjudged_apart: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="by which the sides' shares of first tens without a label may differ",
    )
    max_left_out: float = Field(
        default=0.1, ge=0, le=1, description="share of queries that the baseline may fail"
    )
    gates: GateSet = GateSet()
    promotion: Promotion = Promotion()

    @property
    def surely(self) -> float:
        """The two-sided confidence with which something is worse when it is surely so.

        Gates that block share a chance of `1 - confidence` to block a build that is as good
        (Bonferroni), and no gate errs more than one side of its interval does.
        """
        kept = (getattr(self.gates, name) for name in GateSet.model_fields)
        blocking: int = sum(
            gate is not None and gate.breach == "block" and gate.beyond == "surely" for gate in kept
        )
        return 1 - (1 - self.confidence) * min(1.0, 2 / max(blocking, 1))


def load_gates(path: Path) -> EvaluationGates:
    """The gates of a file. Raises ConfigError (code `config.gates`) that names the key."""
    return read_section(path, "evaluation", EvaluationGates)
