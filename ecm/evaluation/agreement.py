"""How far labelers agree beyond chance. Arithmetic only; knows no label set and no file.

| coefficient | chance agreement | source |
|---|---|---|
| Cohen's kappa | product of either labeler's own shares of categories | Cohen 1960 |
| Fleiss' kappa | squares of the shares of categories over all labels | Fleiss 1971 |
| AC1 | sum of p (1 - p) / (q - 1) over q categories | Gwet 2008 |
| PABAK | 1 / q | Byrt et al. 1993; Brennan, Prediger 1981 for q > 2 |

Kappa is low, even negative, at 99 % raw agreement when one category prevails (Feinstein, Cicchetti
1990); AC1 and PABAK stand beside it for that. Where all labels are of one category chance agreement
is 1 and kappa is 0/0: None, while raw agreement, AC1 and PABAK are 1.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ecm.errors import ContractError

CATEGORIES: Final = (0, 1, 2)
"""Relevances."""
TARGET_KAPPA: Final = 0.6
"""From here on labels are good enough."""
Ratings = Sequence[Sequence[int]]
"""For each item the categories that its labelers gave it; two labelers or more, in any number."""


@dataclass(frozen=True)
class Agreement:
    """Everything about one set of ratings; `reason` says why a coefficient is None."""

    items: int
    raw: float | None
    cohen: float | None
    fleiss: float | None
    ac1: float | None
    pabak: float | None
    reason: str = ""


def agreement(ratings: Ratings, categories: Sequence[int] = CATEGORIES) -> Agreement:
    """All coefficients. Items with less than two labels are left out, and not counted.

    Cohen's kappa is of the first labeler against the second, where every item has just two.
    Raises ContractError for a category that is none of `categories`.
    """
    several = [one for one in ratings if len(one) > 1]
    _check(several, categories)
    if not several:
        return Agreement(0, None, None, None, None, None, "no item has two labels")
    pairs = all(len(one) == 2 for one in several)
    cohen = cohen_kappa([one[0] for one in several], [one[1] for one in several]) if pairs else None
    used = {category for one in several for category in one}
    reasons = []
    if len(used) == 1:
        reasons.append(f"every label is {used.pop()}: kappa cannot tell agreement from chance")
    if not pairs:
        reasons.append("Cohen's kappa is of two labelers")
    return Agreement(
        items=len(several),
        raw=raw_agreement(several),
        cohen=cohen,
        fleiss=fleiss_kappa(several, categories),
        ac1=gwet_ac1(several, categories),
        pabak=pabak(several, categories),
        reason="; ".join(reasons),
    )


def raw_agreement(ratings: Ratings) -> float | None:
    """Mean over items of the share of pairs of labels that are alike; None without items."""
    several = [one for one in ratings if len(one) > 1]
    if not several:
        return None
    return math.fsum(_alike(one) for one in several) / len(several)


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Kappa of two labelers over the same n items, unweighted.

    None without items, or where both gave all items one and the same category. Raises ContractError
    where they are not of the same length.

    >>> round(cohen_kappa([0, 0, 1, 1], [0, 1, 1, 1]), 4)
    0.5
    """
    if len(first) != len(second):
        raise ContractError(f"{len(first)} labels against {len(second)}")
    count = len(first)
    ones, others = Counter(first), Counter(second)
    chance = sum(ones[category] * others[category] for category in ones)
    if not count or chance == count * count:
        return None
    same = sum(one == other for one, other in zip(first, second, strict=True))
    return (same * count - chance) / (count * count - chance)


def fleiss_kappa(ratings: Ratings, categories: Sequence[int] = CATEGORIES) -> float | None:
    """Kappa of any labelers; items may have different numbers of labels (Gwet 2014).

    Items with less than two labels are left out. None without items, or where every label is the
    same category.
    """
    shares, raw = _shares(ratings, categories)
    if raw is None or max(shares) == 1.0:
        return None
    chance = math.fsum(share * share for share in shares)
    return (raw - chance) / (1 - chance)


def gwet_ac1(ratings: Ratings, categories: Sequence[int] = CATEGORIES) -> float | None:
    """AC1 of any labelers. None without items, or with one category to choose from."""
    shares, raw = _shares(ratings, categories)
    if raw is None or len(categories) < 2:
        return None
    chance = math.fsum(share * (1 - share) for share in shares) / (len(categories) - 1)
    return (raw - chance) / (1 - chance)


def pabak(ratings: Ratings, categories: Sequence[int] = CATEGORIES) -> float | None:
    """Prevalence- and bias-adjusted kappa. None without items, or with one category."""
    _, raw = _shares(ratings, categories)
    if raw is None or len(categories) < 2:
        return None
    return (len(categories) * raw - 1) / (len(categories) - 1)


def _shares(ratings: Ratings, categories: Sequence[int]) -> tuple[list[float], float | None]:
    """Mean share of each category over items, and raw agreement."""
    several = [one for one in ratings if len(one) > 1]
    _check(several, categories)
    if not several:
        return [], None
    shares = [
        math.fsum(list(one).count(category) / len(one) for one in several) / len(several)
        for category in categories
    ]
    return shares, raw_agreement(several)


def _alike(labels: Sequence[int]) -> float:
    """Share of pairs of labels that are alike."""
    count = len(labels)
    alike = sum(times * (times - 1) for times in Counter(labels).values())
    return alike / (count * (count - 1))


def _check(ratings: Ratings, categories: Sequence[int]) -> None:
    strange = {category for one in ratings for category in one} - set(categories)
    if strange:
        raise ContractError(f"category {min(strange)} is none of {tuple(categories)}")
