"""What the model of searching knows of assets and questions, and how it counts words.

Texts by the vocabulary of its corpora, BM25 and phrases by reading every text, filters by looking
at every asset. Imports nothing of `ecm`. See tests/search_model.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

AXES = ("vv", "x", "mv", "fts")
SPOKEN = ("caption", "tags", "classification", "ocr", "user")
FIELDS = ("caption", "tags", "classification", "ocr", "name", "path", "user")
STEMS: dict[str, str | None] = {
    **{"dog": "dog", "dogs": "dog", "cat": "cat", "running": "run", "runs": "run", "the": None},
    **{"house": "hous", "houses": "hous", "horse": "hors", "tiger": "tiger", "tigers": "tiger"},
    **{"lemon": "lemon", "melons": "melon", "café": "cafe", "bear": "bear", "xq7": "xq7"},
    **{"red": "red", "on": None, "left": "left", "bright": "bright", "symmetrical": "symmetr"},
}
"""The vocabulary as the index keeps it: Snowball stems, None for a stop word."""
SINGULAR = {"dogs": "dog", "runs": "run", "houses": "house", "tigers": "tiger", "melons": "melon"}
"""The same words as features compare them: without plural endings only."""

Scores = dict[str, float]


@dataclass(frozen=True)
class Asset:
    """A row of a snapshot: texts by column, labels as (text, confidence), vectors by axis."""

    tenant: str
    asset_id: str
    texts: Mapping[str, str | None]
    tags: Sequence[tuple[str, float | None]]
    classes: Sequence[tuple[str, float | None]]
    vectors: Mapping[str, np.ndarray]
    width: int
    height: int
    said_at: float
    agreement: float | None


@dataclass(frozen=True)
class Asked:
    """A question taken apart: `vectors` and `unwanted` are (vector, centred) by axis; `fits` is how
    well the layout that it describes fits assets, and `look` how much it is about that. `wanted`
    are all its words; `whole`: every axis that it calls for answers.
    """

    tenant: str
    axes: tuple[str, ...]
    words: tuple[str, ...] = ()
    phrases: tuple[tuple[str, ...], ...] = ()
    absent: tuple[tuple[str, ...], ...] = ()
    vectors: Mapping[str, tuple[np.ndarray, bool]] = field(default_factory=dict)
    unwanted: Mapping[str, list[tuple[np.ndarray, bool]]] = field(default_factory=dict)
    fits: Mapping[str, float] | None = None
    look: float = 0.0
    shown: frozenset[str] = frozenset()
    by_example: bool = False
    query_type: str = "mixed"
    confidence: float = 1.0
    filter: Mapping[str, Any] | None = None
    candidates: int = 200
    rerank: bool = True
    min_relevance: float | str | None = None
    wanted: str = ""
    whole: bool = True


def holds(node: Mapping[str, Any], one: Asset) -> bool:
    """Whether a filter, as JSON has it, holds for an asset."""
    if "field" not in node:
        return (
            all(holds(each, one) for each in node.get("must", ()))
            and (not node.get("should") or any(holds(each, one) for each in node["should"]))
            and not any(holds(each, one) for each in node.get("must_not", ()))
        )
    if node["field"] == "tags":
        sure: dict[str, float] = {}
        for label, confidence in one.tags:
            known = confidence if confidence is not None else -1.0
            sure[label.casefold()] = max(sure.get(label.casefold(), -1.0), known)
        least = node.get("min_confidence", 0.0)
        has = {label for label, surest in sure.items() if not least or surest >= least}
        asked = node.get("any", ())
        return has.issuperset(node.get("all", ())) and (not asked or bool(has & set(asked)))
    if node["field"] == "width":
        return node.get("gte", 0) <= one.width <= node.get("lte", math.inf)
    if node["field"] == "has":
        return bool(one.texts["ocr"])
    return one.asset_id in node["any"]


class Words:
    """BM25 (k1 1.2, b 0.75) of columns over all rows of a snapshot, whose tenant whoever asks."""

    def __init__(self, assets: Sequence[Asset]) -> None:
        self.assets = assets
        self.tokens = {
            column: [
                [STEMS[w.lower()] for w in (one.texts[column] or "").split()] for one in assets
            ]
            for column in FIELDS
        }

    def scores(self, column: str, stems: Sequence[str], fuzzy: bool) -> list[float]:
        """Of every row. Words one edit away count half, and so does the word itself once more."""
        texts = [[token for token in one if token] for one in self.tokens[column]]
        told = [one for one in texts if one]
        weights = dict.fromkeys(stems, 1.0)
        if fuzzy:
            for token in {token for one in told for token in one}:
                if any(len(stem) > 2 and edits(stem, token) <= 1 for stem in stems):
                    weights[token] = weights.get(token, 0.0) + 0.5
        usual = sum(map(len, told)) / max(1, len(told))
        found = [0.0] * len(texts)
        for stem, weight in weights.items():
            having = sum(stem in one for one in told)
            rare = math.log(1 + (len(told) - having + 0.5) / (having + 0.5))
            for row, one in enumerate(texts):
                often = one.count(stem)
                if often:
                    length = 1.2 * (0.25 + 0.75 * len(one) / usual)
                    found[row] += weight * rare * 2.2 * often / (often + length)
        return found

    def standing(self, phrase: Sequence[str], columns: Sequence[str], row: int) -> bool:
        """Whether the words stand one after the other in one of some columns of a row.

        For a stop word between them any word may stand; at the ends it does not count.
        """
        wanted = [(place, stem) for place, word in enumerate(phrase) if (stem := STEMS[word])]
        first = wanted[0][0] if wanted else 0
        return bool(wanted) and any(
            all(
                text[start + place - first : start + place - first + 1] == [s]
                for place, s in wanted
            )
            for column in columns
            for text in (self.tokens[column][row],)
            for start in range(len(text))
        )


def edits(one: str, other: str) -> int:
    """Letters to put in, leave out or change (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row, before = [i], row
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]
