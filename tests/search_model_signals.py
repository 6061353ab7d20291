"""What the model of searching knows of candidates beyond their places: features and relevance.

Written from what docs/ranking.md says of each; imports nothing of `ecm`. See tests/search_model.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.search_model_words import FIELDS, SINGULAR, Asked, Asset, Scores

VECTORS = ("vv", "x", "mv")
FUNCTION = {"the", "on"}
Labels = Sequence[tuple[str, float | None]]


@dataclass
class Signals:
    """The candidates of a pool, in its order.

    `at` are their scores by axis, NaN: none; `every` the scores of all assets of the tenant;
    `by_field` BM25 by text field; `strength` how much each is unwanted.
    """

    q: Asked
    own: Mapping[str, Asset]
    pool: Sequence[str]
    at: Mapping[str, list[float]]
    every: Mapping[str, Scores]
    by_field: Mapping[str, Scores]
    strength: Scores

    def __post_init__(self) -> None:
        self.words = list(
            dict.fromkeys(SINGULAR.get(w, w) for w in self.q.words if w not in FUNCTION)
        )
        drawn = self.q.fits is not None
        self.fit = np.nan_to_num(self.at["x"]) if drawn and "x" in self.at else None
        self.heights = {
            axis: self._heights(axis)
            for axis in VECTORS
            if axis in self.at and not (axis == "x" and drawn)
        }
        self.tags = [self._by_word(self.own[a].tags) for a in self.pool]
        self.rarity = self._rarity()

    def _heights(self, axis: str) -> np.ndarray:
        usual = np.array(list(self.every[axis].values()) or [0.0])
        mean, deviation = round(float(usual.mean()), 6), round(float(usual.std()), 6)
        if deviation < 1e-6:
            return np.zeros(len(self.pool))
        return np.nan_to_num((np.array(self.at[axis]) - mean) / deviation)

    def _by_word(self, labels: Labels) -> list[float]:
        """How surely the surest label says each word; 0: none does."""
        return [
            max((c for label, c in surest(labels).items() if word in singular(label)), default=0.0)
            for word in self.words
        ]

    def _whole(self, labels: Labels) -> float:
        """How sure the surest label is that is the query, word for word."""
        same = [c for label, c in surest(labels).items() if singular(label) == set(self.words)]
        return max(same, default=0.0) if self.words else 0.0

    def _rarity(self) -> list[float]:
        """What share of the query each word is: the rarer its commonest tag, the more."""
        having: dict[str, int] = {}
        for one in self.own.values():
            for label in {label.casefold() for label, _ in one.tags}:
                having[label] = having.get(label, 0) + 1
        here = {label.casefold() for a in self.pool for label, _ in self.own[a].tags}
        rare, n = [], len(self.own)
        for word in self.words:
            most = max((having[one] for one in here if word in singular(one)), default=0)
            rare.append(math.log1p((n - most + 0.5) / (most + 0.5)))
        return [one / sum(rare) for one in rare]

    @property
    def overlap(self) -> np.ndarray:
        said = [sum(s * r for s, r in zip(own, self.rarity, strict=True)) for own in self.tags]
        return np.clip(said, 0.0, 1.0)

    def features(self) -> dict[str, np.ndarray]:
        said = [one.said_at for one in self.own.values()]
        first, last = min(said), max(said)
        own = [self.own[a] for a in self.pool]
        found = {f"sim.{axis}": heights / 10.0 for axis, heights in self.heights.items()}
        if self.fit is not None:
            found["sim.x"] = found["style_match"] = self.fit
        if "fts" in self.at:
            found["sim.fts"] = share_of_best(np.nan_to_num(self.at["fts"]))
            columns = {n: [self.by_field[n].get(a, 0.0) for a in self.pool] for n in FIELDS}
            found |= {f"bm25.{name}": share_of_best(np.array(c)) for name, c in columns.items()}
            found["ocr_hit"] = (np.array(columns["ocr"]) > 0) * 1.0
        found |= {
            "tag_overlap": self.overlap,
            "label_match": np.array([self._whole(one.tags) for one in own]),
            "class_match": np.array([self._whole(one.classes) for one in own]),
            "confidence": np.array([confidence(one) for one in own]),
            "run_freshness": np.array([(o.said_at - first) / (last - first or 1) for o in own]),
            "evidence_consistency": np.array([agreement(one) for one in own]),
        }
        return {name: np.clip(values, 0.0, 1.0) for name, values in found.items()}

    def penalties(self) -> dict[str, np.ndarray]:
        own = [self.own[a] for a in self.pool]
        counts: dict[str, int] = {}
        for one in self.own.values():
            for label in {label.casefold() for label, _ in one.tags}:
                counts[label] = counts.get(label, 0) + 1
        common = {label for label, count in counts.items() if count > 0.8 * len(self.own)}
        spam = []
        for one in own:
            labels = {label.casefold() for label, _ in one.tags}
            many = len(self.own) >= 20 and labels
            spam.append((len(labels & common) / len(labels) - 0.5) / 0.5 if many else 0.0)
        against = {
            "conflict": [(0.5 - agreement(one)) / 0.5 for one in own],
            "low_confidence": [(low_share(one) - 0.5) / 0.5 for one in own],
            "spam": spam,
            "unwanted": [self.strength[a] for a in self.pool],
        }
        return {name: np.clip(values, 0.0, 1.0) for name, values in against.items()}

    def relevance(
        self, cutoff: Mapping[str, Any], ranked: Mapping[str, list[str]]
    ) -> tuple[Scores, float | None]:
        """Of each candidate, and the least that a request asks for."""
        asked = self.q.min_relevance
        if not self.pool:
            return {}, None if asked is None else 0.5
        by_chance = math.sqrt(2 * math.log(max(len(self.own), 2)))
        above = [float(own.max()) - by_chance for own in self.heights.values()]
        evidence = 2.0 * sum(above) / len(above) if above else 0.0
        evidence += 3.0 * self.q.by_example
        words = np.nan_to_num(self.at.get("fts", [0.0]))
        evidence += 2.0 * bool(words.max() > 0)
        evidence += 2.0 * max(self._covered(), default=0.0)
        first = [set(ranked[axis][:20]) for axis in self.heights]
        pairs = [len(a & b) / 20 for i, a in enumerate(first) for b in first[i + 1 :]]
        evidence += 2.0 * max(pairs, default=0.0)
        said = sum((np.maximum(own, 0.0) for own in self.heights.values()), np.zeros(1))
        said = said / (float(said.max()) or 1.0) + self.overlap
        if self.fit is not None:
            evidence += 3.0 * float(self.fit.max())
            said = said + self.fit
        if "fts" in self.at and not self.heights:
            said = said + share_of_best(words)
        answered = 1 / (1 + math.exp((cutoff["gate"] - evidence) / cutoff["spread"]))
        shares = share_of_best(said) * (1 - np.array([self.strength[a] for a in self.pool]))
        relevance = dict(zip(self.pool, (answered * shares).tolist(), strict=True))
        if asked != "auto":
            return relevance, asked  # type: ignore[return-value]
        surely = max(float(self.overlap.max()), 1.0 if self.q.by_example else 0.25)
        least = max(relevance.values()) * cutoff["share"] * surely
        return relevance, least if answered >= 0.5 else 0.5

    def _covered(self) -> list[float]:
        found = []
        for a, tags in zip(self.pool, self.tags, strict=True):
            caption = singular(self.own[a].texts["caption"] or "")
            said = [tag > 0 or w in caption for tag, w in zip(tags, self.words, strict=True)]
            found.append(sum(r for r, told in zip(self.rarity, said, strict=True) if told))
        return found


def surest(labels: Labels) -> dict[str, float]:
    """How surely each label is said where anybody says how surely; else 1."""
    known: dict[str, list[float]] = {}
    for label, confidence in labels:
        known.setdefault(label.casefold(), []).extend(() if confidence is None else (confidence,))
    return {label: max(said, default=1.0) for label, said in known.items()}


def singular(text: str) -> set[str]:
    return {SINGULAR.get(word, word) for word in text.casefold().split()} - FUNCTION


def share_of_best(scores: np.ndarray) -> np.ndarray:
    best = float(scores.max(initial=0.0))
    return scores / best if best > 0 else np.zeros(len(scores))


def agreement(one: Asset) -> float:
    return 1.0 if one.agreement is None else one.agreement


def confidence(one: Asset) -> float:
    known = [c for _, c in (*one.tags, *one.classes) if c is not None]
    return max(known, default=0.5)


def low_share(one: Asset) -> float:
    known = [c for _, c in (*one.tags, *one.classes) if c is not None]
    return sum(c < 0.3 for c in known) / len(known) if known else 0.0
