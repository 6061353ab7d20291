"""From a query set and its labels to a ranking profile with provenance, step by step.

Knows the order of the steps; the profile in force is read and never changed. Held-out queries come
in after everything is learned, and only to be ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np

from ecm.evaluation.shelf import Labels, Queries
from ecm.search.engine import SearchEngine
from ecm.search.learned import Learned, SetUsed
from ecm.search.profile import RankingProfile
from ecm.tuning.choosing import STRONGEST
from ecm.tuning.examples import ROWS, Example
from ecm.tuning.factors import round_to
from ecm.tuning.gathering import gathered
from ecm.tuning.judging import Judged, held_out_of, judged, scores_of
from ecm.tuning.learning import Learnt, learnt
from ecm.tuning.tables import profile_of
from ecm.tuning.training import TrainingSet
from ecm.tuning.writing import RANKING, code_version, with_provenance

Kind = Literal["global", "per_type", "per_query"]
BASELINES: Final = ("in_force", "global", "per_type")


@dataclass(frozen=True)
class Terms:
    """What is asked for. `wanted`: how far weights may differ; `version`: name of the outcome."""

    version: str
    wanted: Kind
    seed: int
    folds: int
    code: str
    command: str


class Progress(Protocol):
    """What is told while it goes on."""

    def step(self, name: str, total: int | None) -> None: ...

    def done(self) -> None: ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was learned. `profile` None: nothing that was tried showed as better than what is in
    force. `candidates` by kind of weights; `held_out` None: the set has no such queries.
    """

    kind: Kind
    profile: RankingProfile | None
    candidates: Mapping[str, RankingProfile]
    learnt: Learnt
    training: int
    held_out: Judged | None


def made(
    engine: SearchEngine,
    queries: Queries,
    labels: Labels,
    terms: Terms,
    folder: Path,
    progress: Progress,
) -> Outcome:
    """Learn, judge on what is held out, and put together.

    `folder` keeps what is gathered. Raises ConfigError (labels of other queries, too few of them,
    a profile that does not rerank) and as a search does.
    """
    training, in_force = TrainingSet.of(queries, labels), engine.ranking
    progress.step("gathering training queries", len(training.queries))
    examples: list[Example] = []
    for example in gathered(engine, training, folder, code_version(RANKING)):
        examples.append(example)
        progress.done()
    found = learnt(
        examples,
        in_force,
        seed=terms.seed,
        folds=terms.folds,
        per_query=terms.wanted == "per_query",
        said=lambda name: progress.step(f"learning {name}", None),
    )
    candidates = candidates_of(found, in_force, terms.version)
    held = _judged(engine, queries, labels, {"in_force": in_force, **candidates}, progress)
    kind = _kind_of(found, terms.wanted)
    moved = any(
        strength != STRONGEST
        for name, strength in found.regularisers.items()
        if name.startswith("per_type.")
    )
    unmoved = kind == "per_type" and not moved
    provenance = _provenance(engine, training, terms, found, kind, len(examples), held)
    learned = with_provenance(candidates[kind], provenance)
    return Outcome(kind, None if unmoved else learned, candidates, found, len(examples), held)


def candidates_of(
    found: Learnt, in_force: RankingProfile, version: str
) -> dict[str, RankingProfile]:
    """A profile per kind of weights that was learned, without provenance."""
    alike = np.repeat(found.one[None], len(ROWS), axis=0)
    profiles = {
        "global": profile_of(alike, in_force, version),
        "per_type": profile_of(found.rows, in_force, version),
    }
    if found.per_query is not None:
        own = {"per_query": found.per_query}
        profiles["per_query"] = profiles["per_type"].model_copy(update=own)
    return profiles


def _kind_of(found: Learnt, wanted: Kind) -> Kind:
    if wanted == "per_query" and found.per_query is None:
        return "per_type"
    return wanted


def _judged(
    engine: SearchEngine,
    queries: Queries,
    labels: Labels,
    profiles: Mapping[str, RankingProfile],
    progress: Progress,
) -> Judged | None:
    held = held_out_of(queries, labels)
    if not held:
        return None
    progress.step("ranking held-out queries", len(held))
    scored = []
    for one in scores_of(engine, queries.head.tenant_id, held, labels, profiles):
        scored.append(one)
        progress.done()
    return judged(scored)


def _provenance(
    engine: SearchEngine,
    training: TrainingSet,
    terms: Terms,
    found: Learnt,
    kind: Kind,
    examples: int,
    held: Judged | None,
) -> Learned:
    ref, asked, told = engine.reader.ref, training.query_set, training.label_set
    profile = candidates_of(found, engine.ranking, terms.version)[kind]
    return Learned(
        kind=kind,
        tenant_id=asked.tenant_id,
        query_set=SetUsed(name=asked.name, version=asked.version, digest=asked.digest),
        label_set=SetUsed(name=told.name, version=told.label_version, digest=told.digest),
        queries=examples,
        snapshot_id=ref.snapshot_id,
        fingerprints={axis.value: ",".join(marks) for axis, marks in ref.transforms.items()},
        base=engine.ranking.version,
        base_digest=engine.ranking.digest(),
        code=terms.code,
        seed=terms.seed,
        folds=terms.folds,
        regularisers={name: _finite(value) for name, value in found.regularisers.items()},
        cv_ndcg_10={name: round_to(float(own.mean())) for name, own in found.scores.items()},
        held_out=held.summary(kind, BASELINES, terms.seed) if held is not None else None,
        command=terms.command,
        numbers=profile.digest(),
    )


def _finite(regulariser: float) -> float | None:
    """None: nothing was let move."""
    return None if regulariser == STRONGEST else regulariser
