"""A search within an experiment: by the arm that a unit was dealt, or by control where that fails.

Knows the order of the stages of an interleaved search: its question is encoded and the axes are
asked once, only merging and reranking happen twice. How a stage is done is the deployment's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from ecm.contracts.experiment import Arm
from ecm.contracts.search import SearchRequest, SearchResponse
from ecm.errors import ConfigError
from ecm.search.cursor import Cursor
from ecm.search.encoders import EncodedQuery
from ecm.search.engine import SearchEngine
from ecm.search.ordered import Gathered, NotReranked
from ecm.search.plan import Plan
from ecm.search.profile import RankingProfile
from ecm.search.rerank import Reranked
from serve.arms import Side, Trial, Trials, check_whole, interleaved
from serve.experiments import ArmAnswer, Drawn, FollowedExperiments

Answer = TypeVar("Answer")


class Stages(Protocol):
    """How the deployment does what a search needs."""

    async def in_thread(self, work: Callable[..., Answer], *given: object) -> Answer: ...

    async def encoded(self, engine: SearchEngine, plan: Plan) -> list[EncodedQuery]: ...

    async def reranked(
        self, plan: Plan, gathered: Gathered, ranking: RankingProfile | None = None
    ) -> Reranked | NotReranked | None: ...

    async def found(
        self, engine: SearchEngine, request: SearchRequest, ranking: RankingProfile | None = None
    ) -> tuple[SearchResponse, Gathered]: ...


class Trying:
    """The searches of one replica that belong to an experiment."""

    def __init__(self, experiments: FollowedExperiments, stages: Stages) -> None:
        self._experiments = experiments
        self._stages = stages
        self._trials = Trials()
        self.trouble = ""

    async def answer(
        self, engine: SearchEngine, request: SearchRequest, drawn: Drawn
    ) -> tuple[SearchResponse, Gathered, ArmAnswer]:
        """The answer, what it was made of, and what it is to be counted as (without its body).

        `request` has the time that is left. Raises as `SearchEngine.search` does.
        """
        try:
            trial = self._trial(engine, request.tenant_id, drawn)
            self.trouble = ""
        except ConfigError as error:
            self.trouble = str(error)
            response, gathered = await self._stages.found(engine, request)
            return response, gathered, ArmAnswer.of(response, b"", trouble=self.trouble)
        cursor = Cursor.opened(request.cursor) if request.cursor is not None else None
        arm = trial.arm_for(drawn, cursor)
        exposed = drawn.assigned() if arm is drawn.arm else None
        teams: str | None = None
        trouble = ""
        match arm:
            case Arm.CONTROL:
                response, gathered = await self._stages.found(engine, request)
            case Arm.TREATMENT:
                treatment = trial.treatment
                response, gathered = await self._stages.found(treatment, request, treatment.ranking)
            case Arm.INTERLEAVED:
                response, gathered, teams, trouble = await self._interleaved(
                    trial, request, drawn, cursor
                )
                exposed = None if trouble else exposed
        told = response.model_copy(update={"experiment": exposed})
        return told, gathered, ArmAnswer.of(told, b"", teams, trouble)

    def _trial(self, engine: SearchEngine, tenant_id: str, drawn: Drawn) -> Trial:
        """Raises ConfigError where this replica cannot answer by that experiment."""
        found = self._experiments.of(tenant_id)
        if found is None or found.id != drawn.experiment:
            raise ConfigError(
                self._experiments.trouble or f"experiment {drawn.experiment} does not run here now",
                "experiment.unknown",
            )
        return self._trials.on(engine, found)

    async def _interleaved(
        self, trial: Trial, request: SearchRequest, drawn: Drawn, cursor: Cursor | None
    ) -> tuple[SearchResponse, Gathered, str | None, str]:
        """The answer of both, the letters of its hits, and why it is control's alone after all."""
        stages, first = self._stages, request.model_copy(update={"cursor": None})
        engines = (trial.control, trial.treatment)
        plans = [await stages.in_thread(engine.plan, first) for engine in engines]
        # A ranking that is remembered needs no encoding; the other one may.
        asks = next((plan for plan in plans if plan.encodings), plans[0])
        encoded = await stages.encoded(trial.control, asks)
        own = await stages.in_thread(trial.control.gather, plans[0], encoded)
        if trial.shares_axes:
            other = await stages.in_thread(trial.treatment.gather_again, plans[1], encoded, own)
        else:
            other = await stages.in_thread(trial.treatment.gather, plans[1], encoded)
        seconds = plans[0].deadline - time.perf_counter()
        own, other = _patient(own, cursor, seconds), _patient(other, cursor, seconds)
        ranked = await asyncio.gather(
            stages.reranked(plans[0], own, trial.control.ranking),
            stages.reranked(plans[1], other, trial.treatment.ranking),
        )
        for outcome in ranked:
            if isinstance(outcome, NotReranked):
                check_whole(outcome.reason, cursor)
                alone = await stages.in_thread(trial.control.answer, plans[0], own, ranked[0])
                return alone, own, None, f"one of two rankings is not whole: {outcome.reason}"

        def both() -> tuple[SearchResponse, str]:
            sides = [
                Side(engine, plan, engine.order(plan, gathered, outcome))
                for engine, plan, gathered, outcome in zip(
                    engines, plans, (own, other), ranked, strict=True
                )
            ]
            return interleaved(trial, drawn, (sides[0], sides[1]), cursor, own.laps)

        response, teams = await stages.in_thread(both)
        return response, own, teams, ""


def _patient(gathered: Gathered, cursor: Cursor | None, seconds: float) -> Gathered:
    """A later page is ranked as the first one was: reranking is waited for until the deadline."""
    if cursor is None:
        return gathered
    return replace(gathered, budget_ms=max(gathered.budget_ms, seconds * 1000.0))
