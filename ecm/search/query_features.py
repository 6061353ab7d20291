"""What is known of a question before its rankings are merged, as numbers: cheap, and free of I/O.

Pure arithmetic on a plan's question and on what the axes found. Knows no weights and no index.

    words, letters       words asked for: log2(1 + how many), and their mean length
    confidence, look     how sure the type is; how much the words are about look
    names, phrases, unwanted, shown    1 where the question has one
    top.AXIS             the best score: a cosine, a fit, BM25
    lead.AXIS            how far it is ahead of the second, as a share of its lead on place DEEP
    fall.AXIS            the same of its lead on place NEAR
    overlap.AXIS.AXIS    share of the first NEAR of two axes that are the same
    found.fts            assets that have a word, of DEEP

Only the first DEEP of each axis are read, so that it does not matter how many candidates a request
asks for. Features of an axis that the question does not ask are not there; those of one that did
not answer are not either, which is the difference that `missing` tells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Literal, get_args

from ecm.contracts.search import Axis
from ecm.search.asking import Found
from ecm.search.plan import Plan

QueryFeature = Literal[
    "words", "letters", "confidence", "look", "names", "phrases", "unwanted", "shown",
    "top.vv", "lead.vv", "fall.vv", "top.x", "lead.x", "fall.x", "top.mv", "lead.mv", "fall.mv",
    "top.fts", "lead.fts", "fall.fts", "found.fts",
    "overlap.vv.x", "overlap.vv.mv", "overlap.vv.fts", "overlap.mv.fts",
]  # fmt: skip
QUERY_FEATURES: Final[tuple[QueryFeature, ...]] = get_args(QueryFeature)
NEAR: Final = 10
DEEP: Final = 50
FLAT: Final = 1e-4
"""Scores no further apart are alike: of what rounding left, nobody leads."""
_PAIRS: Final = (
    (Axis.VV, Axis.X),
    (Axis.VV, Axis.MV),
    (Axis.VV, Axis.FTS),
    (Axis.MV, Axis.FTS),
)


def query_features(plan: Plan, found: Found, look: float) -> dict[str, float]:
    """The features of a question by name, finite; `look` (0-1) is how much it is about look."""
    question = plan.question
    words = question.wanted.split()
    told = {
        "words": math.log2(1 + len(words)),
        "letters": sum(map(len, words)) / len(words) if words else 0.0,
        "confidence": question.confidence,
        "look": look,
        "names": float(bool(question.names)),
        "phrases": float(bool(question.text is not None and question.text.phrases)),
        "unwanted": float(bool(question.unwanted)),
        "shown": float(plan.by_example),
    }
    firsts: dict[Axis, frozenset[str]] = {}
    for axis, ranking in found.rankings.items():
        first = ranking.scored[:DEEP]
        firsts[axis] = frozenset(asset_id for asset_id, _ in first[:NEAR])
        scores = [score for _, score in first]
        told |= _of_scores(axis.value, scores)
        if axis is Axis.FTS:
            told["found.fts"] = len(scores) / DEEP
    for one, other in _PAIRS:
        if one in firsts and other in firsts:
            told[f"overlap.{one.value}.{other.value}"] = len(firsts[one] & firsts[other]) / NEAR
    return told


def _of_scores(axis: str, scores: list[float]) -> Mapping[str, float]:
    """Of scores that never rise, DEEP at most. Nothing found, or all alike: nobody leads."""
    if not scores:
        return {f"top.{axis}": 0.0, f"lead.{axis}": 0.0, f"fall.{axis}": 0.0}
    top, spread = scores[0], scores[0] - scores[-1]
    second, tenth = scores[min(1, len(scores) - 1)], scores[min(NEAR, len(scores)) - 1]
    return {
        f"top.{axis}": top,
        f"lead.{axis}": (top - second) / spread if spread > FLAT else 0.0,
        f"fall.{axis}": (top - tenth) / spread if spread > FLAT else 0.0,
    }


def missing(plan: Plan, found: Found) -> tuple[Axis, ...]:
    """Axes that the question asks and that did not answer: what they would have told is unknown."""
    return tuple(axis for axis in plan.question.axes if axis not in found.rankings)
