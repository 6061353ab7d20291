"""How hard a query is, told without asking any engine.

    kind                        easy                      medium         hard
    in words (class, caption,   most of what it says is   some of it     little of it is stored
    known item, log, mixed)     stored of its answers
    shows an asset              10 others or more         4 to 9         3 or fewer
    look                        one condition             two            three or more

What is stored are the words of an asset's evidence. A word counts by its rarity, ln(1 + n / (1 +
assets that say it)), so that common ones tell little; the share is the mean over the answers, and
`most` is two thirds of it, `little` under one third. A query of things and look is one step harder
than its things alone. Of a query without answers the best that any asset stores of it counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from ecm.contracts.evaluation import Difficulty, QueryKind
from ecm.evaluation.datasets.drafts import Draft
from ecm.evaluation.datasets.known import KnownAssets
from ecm.evaluation.datasets.words import content_words

_ORDER: Final = tuple(Difficulty)
_MANY, _SOME = 10, 4
_MOST, _LITTLE = 2 / 3, 1 / 3
_SAMPLE: Final = 50
"""Answers whose words are looked at."""


def difficulty_of(draft: Draft, known: KnownAssets) -> Difficulty:
    """How hard a draft is among the assets that are known."""
    match draft.kind:
        case QueryKind.LAYOUT:
            return _ORDER[min(max(draft.demands, 1), 3) - 1]
        case QueryKind.IMAGE:
            return _by_answers(len(draft.answered_by))
        case QueryKind.MIXED:
            plain = by_words(draft, known) if draft.about else Difficulty.EASY
            return _ORDER[min(_ORDER.index(plain) + 1, len(_ORDER) - 1)]
        case _:
            return by_words(draft, known)


def by_words(draft: Draft, known: KnownAssets) -> Difficulty:
    """By how much of what the query says is stored of its answers."""
    words = content_words(draft.about)
    answers = sorted(draft.answered_by & known.by_id.keys())[:_SAMPLE]
    if answers:
        shares = [stored_share(words, asset_id, known) for asset_id in answers]
        share = math.fsum(shares) / len(shares)
    else:
        share = max((_share(words, one.words, known) for one in known.by_id.values()), default=0)
    if share >= _MOST:
        return Difficulty.EASY
    return Difficulty.HARD if share < _LITTLE else Difficulty.MEDIUM


def stored_share(words: Iterable[str], asset_id: str, known: KnownAssets) -> float:
    """The part of what words say that is stored of an asset, 0-1, each by its rarity.

    File names count as stored.
    """
    asset = known.by_id[asset_id]
    return _share(tuple(words), asset.words | set(content_words(asset.file_name)), known)


def _share(words: tuple[str, ...], stored: frozenset[str], known: KnownAssets) -> float:
    total = math.fsum(known.rarity(word) for word in words)
    if not total:
        return 0.0
    return math.fsum(known.rarity(word) for word in words if word in stored) / total


def _by_answers(answers: int) -> Difficulty:
    if answers >= _MANY:
        return Difficulty.EASY
    return Difficulty.MEDIUM if answers >= _SOME else Difficulty.HARD
