"""Learns factors per query: how far its own features move the weights that its type has.

Knows `PerQuery`'s formula and its gradient; knows no engine and no file. Coefficients of features
of equal spread are drawn to 0, where the weights of the type stay as they are: loss + λ Σ c².
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ecm.search.per_query import Factor, PerQuery, Scaling
from ecm.search.query_features import QUERY_FEATURES
from ecm.tuning.examples import WEIGHTS, Floats
from ecm.tuning.objective import Batch
from ecm.tuning.rows import absolute, backwards, mixed

MOST: Final = 4.0
MARGIN: Final = 0.1
"""Of the range that a feature was seen in; so far beyond it still counts as known."""
DIGITS: Final = 4
_FLAT: Final = 1e-9
_ITERATIONS: Final = 200


@dataclass(frozen=True, eq=False)
class Spread:
    """Mean, scale and bounds of every query feature: float64 (j,), NaN where it never was there."""

    mean: Floats
    scale: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, told: Floats) -> Spread:
        """Of features (q, j). One that never varies has scale 1 and is no help; its bounds are."""
        there = ~np.isnan(told)
        columns = [told[there[:, j], j] for j in range(told.shape[1])]
        stats = [
            (c.mean(), c.std() if c.std() > _FLAT else 1.0, c.min(), c.max())
            if len(c)
            else (np.nan,) * 4
            for c in columns
        ]
        mean, scale, low, high = (
            np.array([round_to(x) for x in one]) for one in zip(*stats, strict=True)
        )
        margin = MARGIN * (high - low)
        return cls(mean, scale, low - margin, high + margin)

    def standardised(self, told: Floats) -> Floats:
        """As z (q, j + 1): in units of scale around the mean, 0 where not there; then a 1."""
        z = np.nan_to_num((told - self.mean) / self.scale, nan=0.0, posinf=0.0, neginf=0.0)
        return np.concatenate([z, np.ones((len(z), 1))], axis=1)


def factors(coefficients: Floats, z: Floats) -> Floats:
    """Factors (q, p) in [1/MOST, MOST] by coefficients (p, j + 1)."""
    limit = math.log(MOST)
    found: Floats = np.exp(limit * np.tanh(np.einsum("qj,pj->qp", z, coefficients) / limit))
    return found


def learned_factors(batch: Batch, rows: Floats, spread: Spread, regulariser: float) -> Floats:
    """Coefficients float64 (p, j + 1), the bias last, that a batch asks for beside rows (r, p)."""
    from scipy.optimize import minimize

    z, weights, limit = spread.standardised(batch.told), mixed(batch.mixture, rows), math.log(MOST)
    shape = (len(WEIGHTS), z.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        own = flat.reshape(shape)
        bent = np.tanh(np.einsum("qj,pj->qp", z, own) / limit)
        moved = weights * np.exp(limit * bent)
        value, gradient = batch.loss(absolute(moved, batch.answering))
        by_raw = backwards(gradient, moved, batch.answering) * moved * (1.0 - bent**2)
        by_own = np.einsum("qp,qj->pj", by_raw, z) + 2.0 * regulariser * own
        return value + regulariser * float(np.sum(own**2)), by_own.ravel()

    found = minimize(
        loss,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS},
    )
    coefficients: Floats = found.x.reshape(shape)
    return coefficients


def section_of(coefficients: Floats, spread: Spread) -> PerQuery:
    """The `per_query` section of a profile, of rounded numbers; those that are 0 are left out."""
    rounded = np.array([[round(c, DIGITS) + 0.0 for c in row] for row in coefficients.tolist()])
    names = list(QUERY_FEATURES)
    seen = [j for j in range(len(names)) if not np.isnan(spread.mean[j])]
    return PerQuery(
        most=MOST,
        features={
            names[j]: Scaling(
                mean=float(spread.mean[j]),
                scale=float(spread.scale[j]),
                low=round_to(float(spread.low[j])),
                high=round_to(float(spread.high[j])),
            )
            for j in seen
        },
        factors={
            name: Factor(bias=row[-1], of={names[j]: row[j] for j in seen if row[j]})
            for name, row in zip(WEIGHTS, rounded.tolist(), strict=True)
            if any(row)
        },
    )


def round_to(value: float, digits: int = 6) -> float:
    """To so many significant digits: what a file holds, and what a last bit cannot change.

    >>> round_to(0.000123456789), round_to(1234567.8)
    (0.000123457, 1234570.0)
    """
    return float(f"{value:.{digits}g}")
