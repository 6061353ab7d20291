"""A model of weights per query: features of a question and factors of weights, in plain Python.

Written to be read beside docs/ranking.md, as `search_model` is. It imports nothing of `ecm`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.search_model_words import Asked, Scores


def features(q: Asked, ranked: Mapping[str, Sequence[str]], every: Mapping[str, Scores]) -> Scores:
    """What is known of a question before its rankings are merged."""
    words = q.wanted.split()
    told = {
        "words": math.log2(1 + len(words)),
        "letters": sum(len(word) for word in words) / max(len(words), 1),
        "confidence": q.confidence,
        "look": q.look,
        "names": 0.0,
        "phrases": 1.0 if q.phrases else 0.0,
        "unwanted": 1.0 if q.absent else 0.0,
        "shown": 1.0 if q.by_example else 0.0,
    }
    for axis, ids in ranked.items():
        scores = [every[axis][a] for a in ids[:50]]
        top = scores[0] if scores else 0.0
        spread = top - scores[-1] if scores else 0.0
        told[f"top.{axis}"] = top
        told[f"lead.{axis}"] = (top - scores[1]) / spread if spread > 1e-4 else 0.0
        told[f"fall.{axis}"] = (top - scores[:10][-1]) / spread if spread > 1e-4 else 0.0
        if axis == "fts":
            told["found.fts"] = len(scores) / 50
    for one, other in (("vv", "x"), ("vv", "mv"), ("vv", "fts"), ("mv", "fts")):
        if one in ranked and other in ranked:
            same = set(ranked[one][:10]) & set(ranked[other][:10])
            told[f"overlap.{one}.{other}"] = len(same) / 10
    return told


def factors(section: Mapping[str, Any] | None, q: Asked, told: Scores) -> Scores:
    """What weights are multiplied with; nothing where a query is unlike those learned from."""
    if section is None or not q.whole:
        return {}
    z = {}
    for name, of in section["features"].items():
        if name in told:
            if not of["low"] <= told[name] <= of["high"]:
                return {}
            z[name] = (told[name] - of["mean"]) / of["scale"]
    limit = math.log(section["most"])
    found = {}
    for name, factor in section["factors"].items():
        total = factor["bias"] + sum(c * z.get(n, 0.0) for n, c in factor["of"].items())
        found[name] = section["most"] ** math.tanh(total / limit)
    return found
