"""Chooses weights of the second stage on one half of the queries and judges them on the other.

    python benchmarks/tune_ranking.py --home HOME [--tenant T] [--profile L1] [--root DIR]
                                      [--every N]

HOME has been indexed from ROOT/photos. The features of the first 200 candidates of every N-th query
of ROOT/queries.jsonl are gathered once. Weights start at what fusion said alone; a weight changes
while that raises nDCG@10 (linear gain, mean over kinds) in both quarters of the half it is chosen
on. Queries about one photo are in one half. Prints the weights each half chooses, and per kind the
single axes, fused, the profile's weights, and those chosen on the other half. The same data give
the same figures. Exit code 1 when the profile's weights are worse than fusion, as a mean of kinds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt

from ecm.config import load_profile
from ecm.contracts.search import QueryType, SearchRequest
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine
from ecm.search.rerank import FeatureReranker, RerankQuestion
from ecm.search.weights import Depth

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
DEPTH = 200
TUNED = ("label_match", "class_match", "tag_overlap", "sim.vv", "sim.mv", "sim.fts", "bm25.tags")
STEPS = (0.0, 0.5, 0.75, 1.33, 2.0)
ADDED = (0.25, 0.5, 1.0)
PRIOR = 4.0
LEAST_GAIN = 4e-4
Order = Callable[["Asked"], Sequence[str]]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Asked:
    """A query with its candidates: `columns` float64 (n, 1 + f) are fusion and tuned features."""

    kind: str
    relevant: frozenset[str]
    ids: tuple[str, ...]
    axes: dict[str, tuple[str, ...]]
    question: RerankQuestion
    columns: npt.NDArray[np.float64]

    def place(self, salt: str) -> int:
        """0 or 1, by the first photo that answers."""
        return hashlib.sha256((salt + min(self.relevant)).encode()).digest()[0] % 2

    @property
    def group(self) -> str:
        kind = self.question.query_type
        return "semantic" if kind is QueryType.SEMANTIC else "keyword"


def ndcg(ranking: Sequence[str], relevant: frozenset[str]) -> float:
    """Järvelin and Kekäläinen 2002, gain 1 or 0, first ten."""
    gains = [1 / math.log2(i + 2) for i, one in enumerate(ranking[:10]) if one in relevant]
    return sum(gains) / sum(1 / math.log2(i + 2) for i in range(min(len(relevant), 10)))


def gathered(engine: SearchEngine, tenant: str, rows: Sequence[dict[str, object]]) -> list[Asked]:
    """Every query with its candidates and their features."""
    found = []
    for row in rows:
        plan = engine.plan(SearchRequest(tenant_id=tenant, text=row["text"]))
        known = engine.gather(plan, engine._encoder.encode(plan.encodings))
        question, pool = known.rerank, known.pool
        assert question is not None
        assert pool is not None
        names = question.features.names
        tuned = [
            question.features.values[:, names.index(name)]
            if name in names
            else np.zeros(len(question.asset_ids))
            for name in TUNED
        ]
        fusion = question.summands.sum(axis=1) / question.most
        axes = {axis.value: tuple(r.asset_ids()) for axis, r in known.found.rankings.items()}
        found.append(
            Asked(
                str(row["kind"]), frozenset(row["relevant"]), tuple(pool.asset_ids), axes,  # type: ignore[arg-type]
                question, np.stack([fusion, *tuned], axis=1),
            )
        )  # fmt: skip
    return found


def by_weights(asked: Asked, scores: npt.NDArray[np.float64]) -> tuple[str, ...]:
    order = np.argsort(-scores, kind="stable")
    return (*(asked.ids[place] for place in order), *asked.ids[len(scores) :])


def by_kind(queries: Sequence[Asked], order: Order) -> dict[str, float]:
    """Mean nDCG@10 of each kind."""
    found: dict[str, list[float]] = defaultdict(list)
    for asked in queries:
        found[asked.kind].append(ndcg(order(asked), asked.relevant))
    return {kind: fmean(scores) for kind, scores in sorted(found.items())}


def chosen(queries: Sequence[Asked]) -> Weights:
    """Weights by coordinate ascent; a step counts when neither quarter loses by it."""
    quarters = [[one for one in queries if one.place("quarter") == number] for number in (0, 1)]

    def judged(weights: Weights) -> Weights:
        means = [
            fmean(by_kind(part, lambda a: by_weights(a, a.columns @ weights)).values())
            for part in quarters
        ]
        return np.array(means)

    weights = np.array([PRIOR, *(0.0 for _ in TUNED)])
    best, moved = judged(weights), True
    while moved:
        moved = False
        for place in range(1, len(weights)):
            own = weights[place]
            for value in sorted({own * step for step in STEPS} | {own + more for more in ADDED}):
                trial = weights.copy()
                trial[place] = value
                found = judged(trial)
                if (found >= best - 1e-9).all() and found.mean() > best.mean() + LEAST_GAIN:
                    best, weights, moved = found, trial, True
    return weights


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    profile = load_profile(
        options.profile,
        home=options.home,
        overrides=["search.time_ceiling_ms=60000"],
        environ=os.environ,
    )
    photos = [json.loads(line) for line in (options.root / "photos.jsonl").open()]
    asset_of = {photo["path"]: photo["sha256"] for photo in photos}
    rows = [json.loads(line) for line in (options.root / "queries.jsonl").open()]
    rows = [row | {"relevant": [asset_of[path] for path in row["relevant"]]} for row in rows]
    with open_engine(profile) as engine:
        own = engine.ranking
        assert own.rerank is not None, "the profile reranks nothing"
        deep = own.rerank.model_copy(update={"depth": Depth(least=DEPTH, most=DEPTH)})
        engine.ranking = own.model_copy(update={"rerank": deep})
        queries = gathered(engine, options.tenant or profile.tenant, rows[:: options.every])
    reranker = FeatureReranker(own)
    tuned: dict[tuple[str, int], Weights] = {}
    for group in ("keyword", "semantic"):
        for half in (0, 1):
            part = [a for a in queries if a.group == group and a.place("half") == half]
            tuned[group, half] = chosen(part)
            named = dict(zip(("rrf", *TUNED), tuned[group, half].round(2).tolist(), strict=True))
            print(f"{group}, half {half}:", {name: w for name, w in named.items() if w})
    systems: dict[str, Order] = {
        **{axis: (lambda a, x=axis: a.axes.get(x, ())) for axis in ("vv", "mv", "fts")},  # type: ignore[misc]
        "fused": lambda a: a.ids,
        "profile": lambda a: by_weights(
            a, np.array([math.fsum(r) for r in reranker.rerank(a.question).contributions])
        ),
        "other half": lambda a: by_weights(
            a, a.columns @ tuned[a.group, 1 - a.place("half")]
        ),
    }  # fmt: skip
    found = {name: by_kind(queries, order) for name, order in systems.items()}
    print(f"{'nDCG@10':<15}", *(f"{name:>11}" for name in systems), sep="")
    for kind in found["fused"]:
        print(f"{kind:<15}", *(f"{found[name][kind]:>11.4f}" for name in systems), sep="")
    means = {name: fmean(scores.values()) for name, scores in found.items()}
    print(f"{'mean of kinds':<15}", *(f"{mean:>11.4f}" for mean in means.values()), sep="")
    return 0 if means["profile"] >= means["fused"] else 1


if __name__ == "__main__":
    sys.exit(main())
