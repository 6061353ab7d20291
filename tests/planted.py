"""Training examples with a truth: which axis answers a query hangs on what is known of it.

Knows the arrays of `ecm.tuning.examples`; asks no engine.
"""

from __future__ import annotations

import numpy as np

from ecm.search.query_features import QUERY_FEATURES
from ecm.tuning.examples import AXES, ROWS, WEIGHTS, Example
from ecm.tuning.objective import dcg

CANDIDATES = 20
TELLING = "lead.vv"


def planted(queries: int, seed: int, *, per_group: int = 1, tells: float = 1.0) -> list[Example]:
    """Half of the queries are answered by vv and half by fts, whose other halves are noise.

    `tells` is how surely TELLING says which: 1 always, 0 not at all. Nothing else says it.
    """
    rng = np.random.default_rng(seed)
    return [_planted(rng, number, f"g{number // per_group}", tells) for number in range(queries)]


def _planted(rng: np.random.Generator, number: int, group: str, tells: float) -> Example:
    by_look = bool(rng.random() < 0.5)
    gains = np.zeros(CANDIDATES)
    gains[rng.choice(CANDIDATES, 2, replace=False)] = (2.0, 1.0)
    raised = np.zeros((CANDIDATES, len(WEIGHTS)))
    for axis in ("vv", "mv", "fts"):
        true = axis == ("vv" if by_look else "fts")
        liking = rng.normal(size=CANDIDATES) + (3.0 * (gains > 0) if true else 0.0)
        rank = np.argsort(np.argsort(-liking)) + 1
        raised[:, AXES.index(axis)] = 61 / (60 + rank)
    raised[:, len(AXES) :] = 0.05 * rng.random((CANDIDATES, len(WEIGHTS) - len(AXES)))
    told = rng.random(len(QUERY_FEATURES))
    said = by_look if rng.random() < (1 + tells) / 2 else not by_look
    told[QUERY_FEATURES.index(TELLING)] = rng.normal(1.0 if said else -1.0, 0.3)
    told[QUERY_FEATURES.index("top.x")] = np.nan
    mixture = np.zeros(len(ROWS))
    mixture[ROWS.index("keyword")] = 1.0
    return Example(
        query_id=f"q{number}",
        group=group,
        raised=raised,
        against=np.zeros(CANDIDATES),
        gains=gains,
        ideal=dcg(np.array([2.0, 1.0])),
        answering=np.array([1.0, 0.0, 1.0, 1.0]),
        mixture=mixture,
        told=told,
    )
