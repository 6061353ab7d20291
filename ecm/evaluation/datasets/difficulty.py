"""How hard a query is, told without asking any engine.

Of the queries of one type and kind that could be asked, the easiest 30 % are easy, the hardest 30 %
hard. How easy one is (0-1) follows from what is stored of assets, not from how they are ranked:

    in words     the part of what it says that is stored of its answers, by the share that they are
                 of all assets of which as much is stored: s * n / (n + others)
    an image     the same of the name of what it shows, by the part that is stored of the image
    look         n / (1 + n) / 2 ** conditions, n pictures that are so
    things of    the ease of the things in words (of a shown one, whose name is not said, 1 / 4), by
    some look    the share of their assets that are so, / 2 ** conditions

What is stored are the words of an asset's evidence and of its file name. A word counts by its
rarity, ln(1 + assets / (1 + assets that say it)); the part is the mean over the answers. Of a query
that nobody has answered yet it is that of the asset that says most of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from ecm.contracts.evaluation import Difficulty, QueryKind
from ecm.contracts.search import QueryType
from ecm.evaluation.datasets.chance import drawn
from ecm.evaluation.datasets.drafts import Draft, Graded
from ecm.evaluation.datasets.known import KnownAsset, KnownAssets
from ecm.evaluation.datasets.words import content_words

EASIEST, HARDEST = 0.3, 0.7
"""Borders among queries in order of ease, the easiest first."""
_SAMPLE: Final = 2_000
"""Assets that are looked at for words that others say as well."""
_ANSWERS: Final = 50
_NOT_SAID: Final = 0.25
_LEAST: Final = 1e-9
"""Shares that are closer than this are the same."""


def graded(drafts: Iterable[Draft], known: KnownAssets) -> list[Graded]:
    """Each draft with its difficulty, in the order they came; equally easy ones are as hard as
    each other.
    """
    stored = _Stored(known)
    ease = [(draft, ease_of(draft, stored)) for draft in drafts]
    pools: dict[tuple[QueryType, QueryKind], list[float]] = defaultdict(list)
    for draft, value in ease:
        pools[draft.query_type, draft.kind].append(value)
    for values in pools.values():
        values.sort()
    return [
        Graded(draft, _placed(value, pools[draft.query_type, draft.kind])) for draft, value in ease
    ]


def _placed(value: float, ascending: list[float]) -> Difficulty:
    """By the place in the middle of those that are as easy, from the easiest."""
    middle = (bisect_left(ascending, value) + bisect_right(ascending, value)) / 2
    place = 1 - middle / len(ascending)
    if place < EASIEST:
        return Difficulty.EASY
    return Difficulty.HARD if place > HARDEST else Difficulty.MEDIUM


class _Stored:
    """What is stored of assets in words, each asset's once, and of a sample by word."""

    def __init__(self, known: KnownAssets) -> None:
        self.known = known
        self.sample = sorted(known.by_id, key=lambda one: drawn(0, "sample", one))[:_SAMPLE]
        self._place = {asset_id: place for place, asset_id in enumerate(self.sample)}
        places: dict[str, list[int]] = defaultdict(list)
        for place, asset_id in enumerate(self.sample):
            for word in _words_of(known.by_id[asset_id]):
                places[word].append(place)
        self._says = {word: np.array(those, np.intp) for word, those in places.items()}
        self._none = np.zeros(0, np.intp)

    def ease(self, words: tuple[str, ...], answers: frozenset[str]) -> float:
        """How easy words are whose answers are some assets; by the table above."""
        weights = {word: self.known.rarity(word) for word in words}
        total = math.fsum(weights.values())
        if not total:
            return 0.0
        shares = np.zeros(len(self.sample))
        for word, weight in weights.items():
            shares[self._says.get(word, self._none)] += weight / total
        those = sorted(answers & self.known.by_id.keys())
        if some := those[:_ANSWERS]:
            said = math.fsum(self._share(asset_id, weights) for asset_id in some) / total
            said /= len(some)
        else:
            said = float(shares.max(initial=0.0))
        if said < _LEAST:
            return 0.0
        equal = shares >= said - _LEAST
        for asset_id in those:
            if (place := self._place.get(asset_id)) is not None:
                equal[place] = False
        others = int(equal.sum()) * len(self.known) / len(self.sample)
        return said * max(1, len(those)) / (max(1, len(those)) + others)

    def share(self, words: tuple[str, ...], asset_id: str) -> float:
        """The part of words that is stored of an asset, 0-1; 0 of one that is not known."""
        weights = {word: self.known.rarity(word) for word in words}
        if asset_id not in self.known.by_id or not weights:
            return 0.0
        return self._share(asset_id, weights) / math.fsum(weights.values())

    def _share(self, asset_id: str, weights: Mapping[str, float]) -> float:
        own = _words_of(self.known.by_id[asset_id])
        return math.fsum(weight for word, weight in weights.items() if word in own)


def ease_of(draft: Draft, stored: _Stored) -> float:
    """How easy a draft is, 0-1, by the table above."""
    answers, words = draft.answered_by, content_words(draft.about)
    match draft.kind:
        case QueryKind.LAYOUT:
            return float(len(answers) / (1 + len(answers)) * 0.5**draft.demands)
        case QueryKind.IMAGE:
            return stored.ease(words, answers) * stored.share(words, draft.shown or "")
        case QueryKind.MIXED:
            plain = stored.ease(words, draft.among) if draft.shown is None else _NOT_SAID
            part = len(answers) / max(1, len(draft.among))
            return float(plain * part * 0.5**draft.demands)
        case _:
            return stored.ease(words, answers)


def _words_of(asset: KnownAsset) -> frozenset[str]:
    return asset.words | frozenset(content_words(asset.file_name))
