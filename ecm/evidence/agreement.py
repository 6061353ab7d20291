"""How far two speakers agree: arithmetic on words, labels and rankings. No I/O, no clock, no store.

Every share is in [0, 1] and symmetric in its two sides unless it says otherwise.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from pydantic import Field

from ecm.contracts.identity import Contract

_WORD: Final = re.compile(r"[^\W_]+")


class Distribution(Contract):
    """Some numbers in short: how many, their mean, extremes and percentiles (linear between)."""

    count: int = Field(ge=1)
    mean: float
    lowest: float
    p10: float
    median: float
    p90: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Of finite numbers; None of none.

        >>> Distribution.of([1.0, 2.0, 6.0]).median
        2.0
        """
        numbers = np.fromiter(values, dtype=np.float64)
        if not len(numbers):
            return None
        low, p10, median, p90, high = np.percentile(numbers, [0, 10, 50, 90, 100]).tolist()
        # Rounding may carry a mean of equal numbers past them.
        mean = min(max(math.fsum(numbers) / len(numbers), low), high)
        return cls(
            count=len(numbers), mean=mean, lowest=low, p10=p10, median=median, p90=p90, highest=high
        )


def words(text: str) -> frozenset[str]:
    """The distinct words of a text, without regard to case (NFKC, case folded).

    >>> sorted(words("A dog, a DOG!"))
    ['a', 'dog']
    """
    return frozenset(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def jaccard(left: Set[str], right: Set[str]) -> float:
    """Share of what either said that both said (Jaccard 1912); 1 when neither said anything.

    >>> jaccard({"dog", "cat"}, {"dog"})
    0.5
    """
    if not left and not right:
        return 1.0
    return len(left & right) / len(left | right)


def edit_distance(left: str, right: str) -> int:
    """Insertions, deletions and replacements of characters between two texts.

    The bit-parallel algorithm of Myers (1999) as put by Hyyrö (2003): one step per character of
    `right` on integers of as many bits as `left` has characters.

    >>> edit_distance("kitten", "sitting")
    3
    """
    if not left or not right:
        return len(left) + len(right)
    places: dict[str, int] = {}
    for place, character in enumerate(left):
        places[character] = places.get(character, 0) | 1 << place
    last, ones = 1 << (len(left) - 1), (1 << len(left)) - 1
    rises, falls, distance = ones, 0, len(left)
    for character in right:
        equal = places.get(character, 0)
        down = equal | falls
        across = (((equal & rises) + rises) ^ rises) | equal
        more, less = (falls | ~(across | rises)) & ones, rises & across
        distance += bool(more & last) - bool(less & last)
        more, less = (more << 1 | 1) & ones, less << 1 & ones
        rises, falls = (less | ~(down | more)) & ones, more & down
    return distance


def similarity(left: str, right: str, edits: int) -> float:
    """1 − `edits` (their edit distance) / length of the longer text; 1 for two empty ones."""
    longest = max(len(left), len(right))
    return 1.0 - edits / longest if longest else 1.0


def overlap(left: Collection[int], right: Collection[int]) -> float:
    """Share of two neighbourhoods of the same size that they have in common; 1 for empty ones.

    >>> overlap([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    size = max(len(left), len(right))
    return len(set(left) & set(right)) / size if size else 1.0


@dataclass(slots=True)
class LabelAgreement:
    """Two raters naming one class each, item after item.

    `categories` are the classes that either has used, which is what chance is reckoned from: a
    vocabulary of a thousand of which five occur has five here.
    """

    items: int = 0
    agreed: int = 0
    left: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def add(self, left: str, right: str) -> None:
        self.items += 1
        self.agreed += left == right
        self.left[left] += 1
        self.right[right] += 1

    @property
    def categories(self) -> int:
        return len(self.left.keys() | self.right.keys())

    def share(self) -> float | None:
        """Observed agreement; None without items."""
        return self.agreed / self.items if self.items else None

    def kappa(self) -> float | None:
        """Cohen (1960): agreement beyond what the two marginals give by chance, in [-1, 1].

        None when chance alone is sure, such as one class only: then it is undefined, and near it
        it is unstable (the paradox of Feinstein and Cicchetti 1990); see `ac1`.
        """
        if not self.items:
            return None
        both = self.left.keys() & self.right.keys()
        chance = math.fsum(self.left[c] * self.right[c] for c in both) / self.items**2
        return None if chance >= 1 else (self.agreed / self.items - chance) / (1 - chance)

    def ac1(self) -> float | None:
        """Gwet (2008): chance from the mean of the marginals; 1 when one class is all there is."""
        return self._beyond(self._gwet_chance())

    def pabak(self) -> float | None:
        """Byrt, Bishop and Carlin (1993): every class as likely by chance as any other."""
        return self._beyond(1 / self.categories if self.items else 0.0)

    def _gwet_chance(self) -> float:
        if self.categories < 2:
            return 0.0
        means = [
            (self.left[c] + self.right[c]) / (2 * self.items)
            for c in self.left.keys() | self.right.keys()
        ]
        return math.fsum(p * (1 - p) for p in means) / (self.categories - 1)

    def _beyond(self, chance: float) -> float | None:
        if not self.items:
            return None
        if chance >= 1:
            return 1.0
        return (self.agreed / self.items - chance) / (1 - chance)
