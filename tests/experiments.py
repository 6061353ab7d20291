"""Experiments for tests: records without a store, and rankings that differ."""

from __future__ import annotations

from ecm.contracts.experiment import Definition, ExperimentTerms, RankingOnRecord
from ecm.evidence.experiments import Experiment, ExperimentEvent, ExperimentState
from ecm.search.profile import RankingProfile

SOMEBODY = "somebody"


def terms_of(definition: Definition) -> ExperimentTerms:
    """Terms whose rankings nobody reads."""
    sides = [RankingOnRecord(version=name, digest=name * 64, body="{}") for name in "ab"]
    return ExperimentTerms(definition=definition, control=sides[0], treatment=sides[1])


def at_stage(definition: Definition, stage: int, at: float = 0.0) -> Experiment:
    """An experiment that has come to a stage, all at one moment."""
    terms = terms_of(definition)
    events = tuple(
        ExperimentEvent(
            number=number,
            state=ExperimentState.RUNNING,
            stage=number,
            at=at,
            by=SOMEBODY,
            terms=terms if number == 0 else None,
        )
        for number in range(stage + 1)
    )
    return Experiment("e-0001", terms, events)


def on_record(ranking: RankingProfile) -> RankingOnRecord:
    """A ranking as an experiment keeps it."""
    return RankingOnRecord(
        version=ranking.version, digest=ranking.digest(), body=ranking.model_dump_json()
    )


def changed(ranking: RankingProfile, version: str = "changed") -> RankingProfile:
    """The same ranking but for what look counts in every kind of text."""
    weights = ranking.weights.model_copy(
        update={
            kind: getattr(ranking.weights, kind).model_copy(update={"vv": 0.1, "fts": 3.0})
            for kind in ("keyword", "semantic", "visual", "mixed")
        }
    )
    return ranking.model_copy(update={"version": version, "weights": weights, "rerank": None})
