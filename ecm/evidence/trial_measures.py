"""The measures of a rollout's step, by name: from values per asset to verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ecm.contracts.task import TaskType
from ecm.evidence.intervals import Interval, Surety, mean, ratio, share, share_difference
from ecm.evidence.trial import Trial, chance_corrected
from ecm.evidence.trial_gates import Bounds, Measured, RolloutGates, judged


@dataclass(frozen=True)
class Pace:
    """Images through models and the seconds it took, start-up left out; of runs on record."""

    images: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        return self.images / self.seconds if self.images and self.seconds > 0 else None


@dataclass(frozen=True)
class Facts:
    """What is known of a step beside the evidence: its size, what changed, and both paces."""

    sample: int
    population: int
    changed: frozenset[TaskType]
    old: Pace = Pace()
    new: Pace = Pace()


def measures_of(
    trial: Trial, facts: Facts, no_score: str, gates: RolloutGates
) -> tuple[Measured, ...]:
    """Every measure of a step that its change makes sense of, judged by the gates.

    `no_score` says why captions cannot be compared with images, and is empty when they can.
    """
    surety = Surety(gates.confidence, facts.population)
    found: list[Measured] = []
    if TaskType.VISION in facts.changed:
        found += _words(trial, no_score, gates, surety)
    for kind in sorted(facts.changed):
        if kind.value.endswith("_embed"):
            found.append(_neighbours(trial, kind, gates.measures.neighbours, surety))
    missing = facts.sample - trial.complete
    found.append(_share_of("failures", missing, facts.sample, gates.measures.failures, surety))
    found.append(_pace(facts, gates.measures.throughput))
    return tuple(found)


def _words(trial: Trial, no_score: str, gates: RolloutGates, surety: Surety) -> Iterator[Measured]:
    words, bounds = trial.words, gates.measures
    for name, flags, limit in (
        ("empty_captions", words.empty, bounds.empty_captions),
        ("repeated_captions", words.repeated, bounds.repeated_captions),
        ("refusals", words.refused, bounds.refusals),
    ):
        if not words:
            yield Measured(name=name, bounds=limit, note="the two looked at no asset in common")
            continue
        a, b = np.array(flags[0]), np.array(flags[1])
        found = share_difference(a, b, surety)
        yield judged(name, found, limit, float(a.mean()), float(b.mean()))
    yield _length(words.characters, bounds.caption_length, surety)
    beyond = chance_corrected(*words.tags)
    if beyond is None:
        yield Measured(
            name="tag_agreement", bounds=bounds.tag_agreement, note="tags tell no assets apart"
        )
    else:
        yield judged("tag_agreement", mean(beyond, surety), bounds.tag_agreement)
    yield _score(trial, no_score, bounds.image_text_score, surety)


def _length(
    characters: tuple[Sequence[int], Sequence[int]], bounds: Bounds | None, surety: Surety
) -> Measured:
    """Of assets of which both sides have a caption: empty ones have a measure of their own."""
    both = [(a, b) for a, b in zip(*characters, strict=True) if a and b]
    if not both:
        return Measured(name="caption_length", bounds=bounds, note="no captions on both sides")
    a, b = np.array(both, dtype=np.float64).T
    return judged("caption_length", ratio(a, b, surety), bounds, float(a.mean()), float(b.mean()))


def _score(trial: Trial, no_score: str, bounds: Bounds | None, surety: Surety) -> Measured:
    a, b = (np.array(side, dtype=np.float64) for side in trial.scores)
    if not len(a):
        note = no_score or "no captions and images on both sides"
        return Measured(name="image_text_score", bounds=bounds, note=note)
    found = mean(b - a, surety)
    return judged("image_text_score", found, bounds, float(a.mean()), float(b.mean()))


def _neighbours(trial: Trial, kind: TaskType, bounds: Bounds | None, surety: Surety) -> Measured:
    space = kind.value.removesuffix("_embed")
    shares = next((v for s, v in trial.overlaps.items() if s.value == space), [])
    name = f"neighbours.{space}"
    if not shares:
        return Measured(name=name, bounds=bounds, note="too few vectors in common")
    return judged(name, mean(np.array(shares, dtype=np.float64), surety), bounds)


def _share_of(name: str, hits: int, count: int, bounds: Bounds | None, surety: Surety) -> Measured:
    if not count:
        return Measured(name=name, bounds=bounds, note="no assets")
    found = share(hits, count, surety)
    return judged(name, found, bounds, b=found.estimate)


def _pace(facts: Facts, bounds: Bounds | None) -> Measured:
    old, new = facts.old.rate, facts.new.rate
    if old is None or new is None:
        which = "old" if old is None else "new"
        return Measured(
            name="throughput", a=old, b=new, bounds=bounds, note=f"no pace of the {which} model"
        )
    faster = new / old
    found = Interval(facts.new.images, faster, faster, faster)
    return judged("throughput", found, bounds, old, new, "whole runs, whatever else they computed")
