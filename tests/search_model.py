"""A model of searching: what a question finds, in plain Python and numpy, from the documents.

Written to be read beside docs/search.md and docs/ranking.md: every axis by brute force, BM25
counted from the texts, then filter, fusion, what is not wanted, features, penalties, relevance and
order. It imports nothing of `ecm`. Given to it, since they are tables of words or of pixels and no
ranking: query vectors, the type of a question, and how well a layout fits each asset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.search_model_queries import factors, features
from tests.search_model_signals import Signals
from tests.search_model_words import FIELDS, SPOKEN, STEMS, Asked, Asset, Scores, Words, holds

AXES = ("vv", "x", "mv", "fts")


@dataclass(frozen=True)
class Answer:
    """Asset ids in order with score and summands by name; relevance of each; how many are cut; what
    the axes counted.
    """

    hits: list[tuple[str, float, dict[str, float]]]
    relevance: Scores
    cut: int
    reranked: int
    weights: dict[str, float]


def best(scores: Mapping[str, float], limit: int) -> list[str]:
    return sorted(scores, key=lambda a: (-scores[a], a))[:limit]


class Model:
    """Answers questions on the rows of one snapshot by one ranking profile, as YAML has it."""

    def __init__(self, assets: Sequence[Asset], profile: Mapping[str, Any]) -> None:
        self.words, self.profile = Words(assets), profile
        self.all = assets

    def answer(self, q: Asked) -> Answer:
        rows = {a.asset_id: row for row, a in enumerate(self.all) if a.tenant == q.tenant}
        own = {asset_id: self.all[row] for asset_id, row in rows.items()}
        allowed = {a for a in own if q.filter is None or holds(q.filter, own[a])} - q.shown
        stems = list(dict.fromkeys(s for w in q.words if (s := STEMS[w])))
        fuzzy = len(q.words) == 1 and not q.phrases and len(q.words[0]) > 4 and q.words[0].isalpha()
        boosts = {c: b for c, b in self.profile["text_boosts"].items() if b}
        said_in = {
            c: {a: s for a, row in rows.items() if (s := column[row])}
            for c in FIELDS
            if (column := self.words.scores(c, stems, fuzzy))
        }
        every: dict[str, Scores] = {}
        for axis in q.axes:
            if axis == "fts":
                found = {a for c in boosts for a in said_in[c]}
                found -= {
                    a for a in found for p in q.phrases
                    if not self.words.standing(p, list(boosts), rows[a])
                }  # fmt: skip
                found -= {a for a in found if self._says(q, rows[a])}
                every[axis] = {
                    a: round(math.fsum(b * said_in[c].get(a, 0.0) for c, b in boosts.items()), 6)
                    for a in found
                }
            elif axis == "x" and q.fits is not None:
                every[axis] = {a: round(s, 6) for a, s in q.fits.items() if a in own}
            else:
                every[axis] = cosines(axis, own, *q.vectors[axis])
        ranked = {
            axis: best({a: s for a, s in scores.items() if a in allowed and eligible(axis, s, q)},
                       q.candidates)
            for axis, scores in every.items()
        }  # fmt: skip
        own_factors = factors(self.profile.get("per_query"), q, features(q, ranked, every))
        weights = {a: w * own_factors.get(a, 1.0) for a, w in self._weights(q).items()}
        row = {n: w * own_factors.get(n, 1.0) for n, w in self._features(q).items()}
        summands = self._fused(ranked, every, weights)
        fused = {a: math.fsum(parts.values()) for a, parts in summands.items()}
        pool = best(fused, len(fused))
        strength = self._unwanted(q, pool, own, rows, ranked)
        top = max(fused.values(), default=0.0)
        left = {a: fused[a] - strength[a] * top for a in pool}
        pool = best(left, len(left))
        at = {axis: [pad(axis, every[axis].get(a)) for a in pool] for axis in q.axes}
        signals = Signals(q, own, pool, at, every, said_in, strength)
        scores, parts = {}, {}
        depth = self._depth(q, pool, ranked)
        most = math.fsum(weights[axis] for axis in q.axes)
        most = most if self.profile["fusion"] == "dbsf" else most / (self.profile["k"] + 1)
        for place, a in enumerate(pool[:depth]):
            said = {f"{self.profile['fusion']}.{axis}": row.get("rrf", 0) / most * s
                    for axis, s in summands[a].items()} if most else {}  # fmt: skip
            said |= {n: row.get(n, 0.0) * v[place] for n, v in signals.features().items()}
            against = self.profile["rerank"]["penalties"]
            said |= {f"penalty.{n}": -against.get(n, 0.0) * v[place]
                     for n, v in signals.penalties().items()}  # fmt: skip
            parts[a], scores[a] = said, math.fsum(said.values())
        order = best(scores, depth)
        back = min(0.0, scores[order[-1]] - left[pool[depth]]) if order and pool[depth:] else 0.0
        for a in pool[depth:]:
            parts[a] = {f"{self.profile['fusion']}.{x}": s for x, s in summands[a].items()}
            parts[a] |= {"penalty.unwanted": -strength[a] * top, "beyond.rerank": back}
            scores[a] = math.fsum(parts[a].values())
            order.append(a)
        relevance, least = signals.relevance(self.profile["cutoff"], ranked)
        kept = [a for a in order if least is None or relevance[a] >= least]
        return Answer(
            [(a, scores[a], {n: v for n, v in parts[a].items() if v}) for a in kept],
            relevance, len(order) - len(kept), depth, weights,
        )  # fmt: skip

    def _says(self, q: Asked, row: int) -> bool:
        return any(self.words.standing(phrase, SPOKEN, row) for phrase in q.absent)

    def _weights(self, q: Asked) -> dict[str, float]:
        if q.by_example:
            weights = self.profile["shown"]["with_text" if q.words else "alone"]
            return {axis: float(weights[axis]) for axis in AXES}
        return between(self.profile["weights"], q)

    def _features(self, q: Asked) -> dict[str, float]:
        table = self.profile["rerank"]["weights"]
        return table["with_text" if q.words else "alone"] if q.by_example else between(table, q)

    def _fused(
        self, ranked: Mapping[str, list[str]], every: Mapping[str, Scores], weights: Scores
    ) -> dict[str, dict[str, float]]:
        summands: dict[str, dict[str, float]] = {}
        for axis, ids in ranked.items():
            values = np.array([every[axis][a] for a in ids])
            deviation = values.std(ddof=1) if len(values) > 1 and np.ptp(values) else 0.0
            for rank, a in enumerate(ids, 1):
                share = 1 / (self.profile["k"] + rank)
                if self.profile["fusion"] == "dbsf":
                    height = (values[rank - 1] - values.mean()) / deviation if deviation else 0.0
                    share = min(1.0, max(0.0, 0.5 + height / 6))
                if weights[axis]:
                    summands.setdefault(a, {})[axis] = weights[axis] * share
        return summands

    def _unwanted(
        self, q: Asked, pool: list[str], own: Mapping[str, Asset], rows: Mapping[str, int],
        ranked: Mapping[str, list[str]],
    ) -> Scores:  # fmt: skip
        strength = dict.fromkeys(pool, 0.0)
        for axis, vectors in q.unwanted.items():
            if axis not in ranked or not vectors:
                continue
            each = [cosines(axis, own, *vector) for vector in vectors]
            nearest = {a: max(one[a] for one in each) for a in pool if a in each[0]}
            first = np.array([nearest[a] for a in pool[:50] if a in nearest])
            if len(first) >= 8 and first.std() > 1e-6:
                for a, score in nearest.items():
                    height = (score - first.mean()) / first.std()
                    share = min(1.0, max(0.0, (height - 1) / 2))
                    strength[a] = max(strength[a], 0.6 * share)
        return {a: 1.0 if self._says(q, rows[a]) else s for a, s in strength.items()}

    def _depth(self, q: Asked, pool: list[str], ranked: Mapping[str, list[str]]) -> int:
        if not q.rerank or not pool:
            return 0
        least, most = (self.profile["rerank"]["depth"][name] for name in ("least", "most"))
        first = pool[:20]
        agreed = sum(sum(a in ids[:least] for ids in ranked.values()) > 1 for a in first)
        difficulty = 1.0 - q.confidence * agreed / len(first)
        return min(round(least + difficulty * (most - least)), len(pool))


def eligible(axis: str, score: float, q: Asked) -> bool:
    """A layout that does not fit at all finds nothing; a cosine may be below 0."""
    return axis != "x" or q.fits is None or score > 0


def pad(axis: str, score: float | None) -> float:
    return (0.0 if axis == "fts" else math.nan) if score is None else score


def between(table: Mapping[str, Mapping[str, float]], q: Asked) -> dict[str, float]:
    """The row of the type, drawn towards `mixed` by what confidence is missing, and the outcome
    towards `visual` as far as the question is about look.
    """
    own, mixed, c = table[q.query_type], table["mixed"], q.confidence
    row = {n: c * own.get(n, 0.0) + (1 - c) * mixed.get(n, 0.0) for n in {**own, **mixed}}
    look = table["visual"]
    return {n: (1 - q.look) * row.get(n, 0) + q.look * look.get(n, 0) for n in {**row, **look}}


def cosines(axis: str, own: Mapping[str, Asset], query: np.ndarray, centred: bool) -> Scores:
    """Of every asset of a tenant with a vector, to 6 digits; around their mean where asked."""
    there = [a for a in sorted(own) if axis in own[a].vectors]
    if not there:
        return {}
    q64 = query.astype(np.float64)
    if not centred:
        q64 = (query / np.linalg.norm(q64)).astype(np.float32).astype(np.float64)
    stored = np.stack([own[a].vectors[axis] for a in there]).astype(np.float64)
    if centred:
        stored = stored - stored.mean(axis=0).astype(np.float32)
        stored = stored / np.maximum(np.linalg.norm(stored, axis=1), 1e-6)[:, None]
    return dict(zip(there, (stored @ q64).round(6).tolist(), strict=True))
