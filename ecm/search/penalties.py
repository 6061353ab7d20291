"""What speaks against a candidate, whatever speaks for it: numbers between 0 and 1 by name.

Pure arithmetic on signals. Knows no weights. What is not known speaks against nothing.

    conflict         runs and transforms contradict each other: agreement below half
    low_confidence   most of what is said of the asset is said without confidence
    spam             very many tags, or mostly tags that nearly everything of the tenant has
    unwanted         it says, or looks like, what the query does not want
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import numpy as np

from ecm.search.features import Features
from ecm.search.pool import Pool, Scores
from ecm.search.signals import Signals

PenaltyName = Literal["conflict", "low_confidence", "spam", "unwanted"]
PENALTIES: Final = get_args(PenaltyName)
HALF: Final = 0.5
MANY_TAGS: Final = 100
"""Tags of one asset that are still plausible; at twice as many all credit is gone."""
COMMON: Final = 0.8
"""Share of the tenant's assets that have a tag which tells nothing."""
_FEW_ASSETS: Final = 20
"""A tenant of fewer has no common tags: everything may be of one thing there."""


def penalties_of(pool: Pool, signals: Signals, depth: int) -> Features:
    """The penalties of the first `depth` candidates, in the order of PENALTIES."""
    agreement = signals.known(signals.facts.agreement, 1.0)
    low = signals.known(signals.facts.low_share, 0.0)
    columns = (
        (HALF - agreement) / HALF,
        (low - HALF) / HALF,
        _spam(signals),
        pool.strengths,
    )
    values = np.stack([column[:depth] for column in columns], axis=1)
    return Features(PENALTIES, np.clip(values, 0.0, 1.0))


def _spam(signals: Signals) -> Scores:
    tags, known = signals.facts.tags, np.flatnonzero(signals.places >= 0)
    spam = np.zeros(len(signals.places))
    if not len(known):
        return spam
    rows = signals.places[known]
    counts = (tags.offsets[rows + 1] - tags.offsets[rows]).astype(np.float64)
    spam[known] = np.clip(counts / MANY_TAGS - 1.0, 0.0, 1.0)
    if signals.whole and len(tags) >= _FEW_ASSETS:
        common = np.diff(tags.starts) > COMMON * len(tags)
        if common.any():
            owners = np.repeat(np.arange(len(rows)), counts.astype(np.intp))
            telling = np.bincount(
                owners, ~common[tags.codes[tags.entries_of(rows)]], minlength=len(rows)
            )
            mostly = np.where(counts > 0, 1.0 - telling / np.maximum(counts, 1.0), 0.0)
            spam[known] = np.maximum(spam[known], np.clip((mostly - HALF) / HALF, 0.0, 1.0))
    return spam
