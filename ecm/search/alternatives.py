"""Where hits would be without one kind of evidence, or without one axis.

Pure arithmetic on a pool: nothing is searched again. What cannot be taken out of numbers that are
there stays in: tags were also read by the meaning model, and by a reranker that reads.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from ecm.contracts.search import Axis, Counterfactual
from ecm.search.fusion import distribution_shares
from ecm.search.pool import Pool, Scores
from ecm.search.rerank import Reranked
from ecm.search.signals import Signals

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tags": ("bm25.tags", "tag_overlap", "label_match"),
    "caption": ("bm25.caption",),
    "classification": ("bm25.classification", "class_match"),
    "ocr": ("bm25.ocr", "ocr_hit"),
}
"""Kinds of evidence in words, and the features that are made of them."""
_OF_WORDS: Final = ("ocr_hit", "name_match")
_LEFT: Final = 1e-6
"""BM25 below this is what rounding left."""


class Alternatives:
    """Orders of a pool that leave something out, each made when it is first asked for.

    Args:
        pool: the candidates, as they were ranked.
        signals: theirs.
        reranked: contributions of the first of them; None: fusion has the last word.
        weights: of the axes, for this query.
        boosts: of the text fields.
        k: of reciprocal ranks.
        shown: places of those that are hits, on any page.
    """

    def __init__(
        self,
        pool: Pool,
        signals: Signals,
        reranked: Reranked | None,
        weights: Mapping[Axis, float],
        boosts: Mapping[str, float],
        k: int,
        shown: Iterable[int],
    ) -> None:
        self._pool, self._signals, self._reranked = pool, signals, reranked
        self._weights, self._boosts, self._k = weights, boosts, k
        self._shown = np.zeros(len(pool.fused), np.bool_)
        self._shown[list(shown)] = True
        ids = pool.asset_ids
        self._by_id = np.empty(len(ids), np.intp)
        self._by_id[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
        self._summands = {
            axis: np.array([one.summands.get(axis, 0.0) for one in pool.fused])
            for axis in pool.scores
        }
        self._ranks: dict[str, list[int]] = {}

    def of(self, place: int) -> tuple[Counterfactual, ...]:
        """What the hit at a place of the pool would be without whatever speaks for it."""
        return tuple(
            Counterfactual(without=name, rank=self._ranks_without(name)[place] or None)
            for name, speaks in self._speaking
            if speaks[place]
        )

    @functools.cached_property
    def _speaking(self) -> list[tuple[str, list[bool]]]:
        """Kinds of evidence and axes, each with whether it speaks for a place."""
        fields, overlap = self._signals.fields, self._signals.spoken.overlap > 0
        silent = np.zeros(len(overlap), np.bool_)
        kinds = {kind: fields[kind] > 0 if kind in fields else silent for kind in KINDS}
        kinds["tags"] = kinds["tags"] | overlap
        axes = {axis.value: self._summands[axis] > 0 for axis in Axis if axis in self._summands}
        return [(name, speaks.tolist()) for name, speaks in (kinds | axes).items()]

    def _ranks_without(self, name: str) -> list[int]:
        ranks = self._ranks.get(name)
        if ranks is None:
            ranks = self._ranks[name] = self._ranked(name).tolist()
        return ranks

    def _ranked(self, without: str) -> npt.NDArray[np.intp]:
        """Rank of every hit by place, intp (n,); 0: nothing brings it, or it is no hit."""
        summands = dict(self._summands)
        dropped = set(KINDS.get(without, ()))
        words: Scores | None = None
        if without in KINDS:
            words = self._without_field(without)
            if words is not None:
                summands[Axis.FTS] = self._fused_again(words)
        else:
            del summands[Axis(without)]
            dropped |= {f"{self._pool.fusion}.{without}", f"sim.{without}"}
            if without == Axis.FTS:
                dropped |= {f"bm25.{name}" for name in self._signals.fields} | set(_OF_WORDS)
        fused = np.sum(list(summands.values()), axis=0) if summands else self._pool.demotions * 0
        scores = fused - self._pool.demotions
        block = np.ones(len(scores))
        if self._reranked is not None:
            count = len(self._reranked.contributions)
            block[:count] = 0
            scores[:count] = self._reranked_again(self._reranked, dropped, words, summands)
        order = np.lexsort((self._by_id, -scores, block))
        order = order[self._shown[order] & (fused[order] > 0)]
        ranks = np.zeros(len(scores), np.intp)
        ranks[order] = np.arange(1, len(order) + 1)
        return ranks

    def _without_field(self, kind: str) -> Scores | None:
        """BM25 over the other fields, float64 (n,); None where no words were asked."""
        if Axis.FTS not in self._pool.scores or kind not in self._signals.fields:
            return None
        own = self._boosts.get(kind, 0.0) * self._signals.fields[kind]
        left = np.nan_to_num(self._pool.scores[Axis.FTS]) - own
        return np.where(left > _LEFT, left, 0.0)

    def _fused_again(self, words: Scores) -> Scores:
        """What the words of other fields add to the fused score: float64 (n,)."""
        weight = self._weights.get(Axis.FTS, 0.0)
        found = np.flatnonzero(words > 0)
        summands = np.zeros(len(words))
        if self._pool.fusion == "dbsf":
            summands[found] = weight * distribution_shares(words[found])
            return summands
        order = found[np.lexsort((self._by_id[found], -words[found]))]
        summands[order] = weight / (self._k + np.arange(1, len(order) + 1))
        return summands

    def _reranked_again(
        self,
        reranked: Reranked,
        dropped: set[str],
        words: Scores | None,
        summands: Mapping[Axis, Scores],
    ) -> Scores:
        """Sums of the contributions that are left, those of words made again: float64 (depth,)."""
        columns = []
        count = len(reranked.contributions)
        for number, name in enumerate(reranked.names):
            values, raw = reranked.contributions[:, number], reranked.raw[:, number]
            if name in dropped:
                continue
            if words is not None and name == f"{self._pool.fusion}.{Axis.FTS.value}":
                values = _factor(values, raw) * summands[Axis.FTS][:count]
            elif words is not None and name == "sim.fts":
                values = _factor(values, raw) * words[:count] / max(float(words.max()), _LEFT)
            columns.append(values)
        return np.sum(columns, axis=0) if columns else np.zeros(count)


def _factor(values: Scores, raw: Scores) -> float:
    """What a feature was multiplied with; 0 where nobody had it."""
    place = int(np.argmax(np.abs(raw))) if len(raw) else 0
    return float(values[place] / raw[place]) if len(raw) and raw[place] else 0.0
