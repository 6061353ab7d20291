"""What can be told of each candidate beyond its places: numbers between 0 and 1, one per feature.

Pure arithmetic on what the pool and its signals hold. Knows no weights and no index.

    sim.vv, sim.x, sim.mv  standard deviations above what the tenant's assets score at random, of
                           MOST_HEIGHT; a fitting layout counts as it fits
    sim.fts, bm25.FIELD    BM25, as a share of the best candidate's
    ocr_hit, name_match    a word of the query is read in the picture; its file is called as asked
    tag_overlap            share of the query that tags say, as surely as they do
    label_match            how sure a tag is that is the query, word for word
    class_match            how sure a class is that is: what was recognised, not what it implies
    style_match            how well look and style are as words ask for them
    confidence, run_freshness, evidence_consistency   of the evidence, whatever the query
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal, get_args
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis
from ecm.search.pool import Pool, Scores
from ecm.search.signals import FIELDS, VECTOR_AXES, Signals
from ecm.search.style import style_match

Matrix = npt.NDArray[np.float64]
FeatureName = Literal[
    "rrf",
    "sim.vv",
    "sim.x",
    "sim.mv",
    "sim.fts",
    "bm25.caption",
    "bm25.tags",
    "bm25.classification",
    "bm25.ocr",
    "bm25.name",
    "bm25.path",
    "bm25.user",
    "ocr_hit",
    "tag_overlap",
    "label_match",
    "class_match",
    "name_match",
    "style_match",
    "confidence",
    "run_freshness",
    "evidence_consistency",
]
FEATURES: Final = tuple(name for name in get_args(FeatureName) if name != "rrf")
MOST_HEIGHT: Final = 10.0
UNKNOWN_CONFIDENCE: Final = 0.5


@dataclass(frozen=True, eq=False)
class Features:
    """Values float64 (n, f), finite and in [0, 1], of the first n candidates of a pool."""

    names: tuple[str, ...]
    values: Matrix


def features_of(pool: Pool, signals: Signals, depth: int) -> Features:
    """The features of the first `depth` candidates; those that nothing is known for are left out.

    BM25 is calibrated per query over the whole pool, so that depth changes no value.
    """
    columns: dict[str, Scores] = {}
    for axis in VECTOR_AXES:
        if axis in pool.scores:
            columns[f"sim.{axis.value}"] = _similarity(axis, pool.scores[axis], signals)
    if Axis.FTS in pool.scores:
        columns["sim.fts"] = _share_of_best(np.nan_to_num(pool.scores[Axis.FTS]))
    for name in FIELDS:
        if name in signals.fields:
            columns[f"bm25.{name}"] = _share_of_best(signals.fields[name])
    columns |= {name: feature(pool, signals) for name, feature in _OF_FACTS.items()}
    count = min(depth, len(pool.fused))
    values = np.stack([column[:count] for column in columns.values()], axis=1)
    return Features(tuple(columns), np.clip(values, 0.0, 1.0))


def _similarity(axis: Axis, scores: Scores, signals: Signals) -> Scores:
    if axis is Axis.X and signals.by_layout:
        return np.nan_to_num(scores)
    return signals.heights(axis, scores) / MOST_HEIGHT


def _share_of_best(scores: Scores) -> Scores:
    best = float(scores.max(initial=0.0))
    return scores / best if best > 0 else np.zeros(len(scores))


def _ocr_hit(pool: Pool, signals: Signals) -> Scores:
    read = signals.fields.get("ocr", np.zeros(len(pool.fused)))
    return (read > 0).astype(np.float64)


def _name_match(pool: Pool, signals: Signals) -> Scores:
    """1 for a file that has the very name that is asked for, with or without its extension."""
    matches = np.zeros(len(pool.fused))
    asked = frozenset(_bare(name) for name in signals.question.names)
    if asked:
        for row in np.flatnonzero(signals.places >= 0):
            uris = signals.facts.uris[int(signals.places[row])].as_py() or ()
            if any(_bare(uri) in asked for uri in uris):
                matches[row] = 1.0
    return matches


def _bare(name: str) -> str:
    """A file name without folders, extension, case and percent-encoding, as it is indexed."""
    return PurePosixPath(unquote(name).casefold()).stem


def _run_freshness(pool: Pool, signals: Signals) -> Scores:
    """When the asset was last spoken of, between the tenant's oldest (0) and newest evidence."""
    said = signals.facts.said_at
    known = said[~np.isnan(said)]
    first, last = (known.min(), known.max()) if len(known) else (0.0, 0.0)
    if last <= first:
        return np.zeros(len(pool.fused))
    return (signals.known(said, first) - first) / (last - first)


_OF_FACTS: Final[Mapping[str, Callable[[Pool, Signals], Scores]]] = {
    "ocr_hit": _ocr_hit,
    "tag_overlap": lambda pool, signals: signals.spoken.overlap,
    "label_match": lambda pool, signals: signals.spoken.exact,
    "class_match": lambda pool, signals: signals.spoken.named,
    "name_match": _name_match,
    "style_match": style_match,
    "confidence": lambda pool, signals: signals.known(signals.facts.confidence, UNKNOWN_CONFIDENCE),
    "run_freshness": _run_freshness,
    "evidence_consistency": lambda pool, signals: signals.known(signals.facts.agreement, 1.0),
}
