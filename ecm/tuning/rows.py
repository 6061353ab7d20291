"""Learns rows of weights: one for all queries alike, or one per type.

Knows what a row of a ranking profile does to a score; knows no engine and no file. Axes are learned
as logarithms, features as they are, both drawn to where they come from:

    loss + λ Σ over rows of (Σ axes (ln w - ln prior)² + Σ features ((w - prior) / SPREAD)²)

What fusion gives is always RAISED times a share of the most it could, so that only what axes count
beside each other, and features beside fusion, is learned.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import numpy as np

from ecm.tuning.examples import AXES, WEIGHTS, Floats
from ecm.tuning.objective import Batch

RAISED: Final = 4.0
"""The weight of fusion among those of features (`rrf`): it only sets the scale of the others."""
SPREAD: Final = 0.5
LEAST: Final = 0.01
"""What an axis without weight starts from: a logarithm needs something."""
MOST_OF_FEATURE: Final = 10.0
_MOST_LOG: Final = float(np.log(50.0))
_ITERATIONS: Final = 200
_COUNT: Final = len(AXES)


def absolute(weights: Floats, answering: Floats) -> Floats:
    """What one unit adds to a score, (q, p), by weights (q, p) and the axes that answered (q, a).

    Fusion is a share of the highest score it could give: axes that answer sum to RAISED.
    """
    axes = weights[:, :_COUNT] * answering
    total = np.maximum(axes.sum(axis=1, keepdims=True), 1e-12)
    return np.concatenate([RAISED * axes / total, weights[:, _COUNT:]], axis=1)


def backwards(gradient: Floats, weights: Floats, answering: Floats) -> Floats:
    """The gradient by weights of a gradient by `absolute` ones: both (q, p)."""
    axes = weights[:, :_COUNT] * answering
    total = np.maximum(axes.sum(axis=1, keepdims=True), 1e-12)
    own = gradient[:, :_COUNT]
    mean = (own * axes).sum(axis=1, keepdims=True) / total
    return np.concatenate([RAISED * (own - mean) * answering / total, gradient[:, _COUNT:]], axis=1)


def mixed(mixture: Floats, rows: Floats) -> Floats:
    """Weights of queries (q, p): rows (r, p) as they are mixed in each, (q, r)."""
    found: Floats = np.einsum("qr,rp->qp", mixture, rows)
    return found


def learned_rows(
    batch: Batch,
    mixture: Floats,
    prior: Floats,
    regulariser: float,
    free: Collection[int] | None = None,
) -> Floats:
    """Rows (r, p) that a batch asks for; a row that none of its queries has stays as it was.

    Args:
        batch: what is learned from.
        mixture: float64 (q, r), ones (q, 1) where there is one row for all.
        prior: float64 (r, p), what weights are drawn to.
        regulariser: λ above.
        free: places of the rows that may move; None: all.
    """
    from scipy.optimize import minimize

    start = np.concatenate([np.log(np.maximum(prior[:, :_COUNT], LEAST)), prior[:, _COUNT:]], 1)
    spread = np.array([*([1.0] * _COUNT), *([SPREAD] * (len(WEIGHTS) - _COUNT))])

    def rows_of(flat: Floats) -> Floats:
        own = flat.reshape(start.shape)
        return np.concatenate([np.exp(own[:, :_COUNT]), own[:, _COUNT:]], axis=1)

    def loss(flat: Floats) -> tuple[float, Floats]:
        rows = rows_of(flat)
        weights = mixed(mixture, rows)
        value, gradient = batch.loss(absolute(weights, batch.answering))
        by_weight = backwards(gradient, weights, batch.answering)
        by_row = np.einsum("qr,qp->rp", mixture, by_weight)
        by_row[:, :_COUNT] *= rows[:, :_COUNT]
        moved = (flat.reshape(start.shape) - start) / spread
        total = value + regulariser * float(np.sum(moved**2))
        return total, (by_row + 2.0 * regulariser * moved / spread).ravel()

    low, high = start - _MOST_LOG, start + _MOST_LOG
    low[:, _COUNT:], high[:, _COUNT:] = 0.0, MOST_OF_FEATURE
    held = [place for place in range(len(start)) if free is not None and place not in free]
    low[held], high[held] = start[held], start[held]
    found = minimize(
        loss,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(low.ravel(), high.ravel(), strict=True)),
        options={"maxiter": _ITERATIONS},
    )
    return rows_of(found.x)
