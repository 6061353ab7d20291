"""Is the fused ranking at least as good as the best single axis, per kind of query?

    python benchmarks/quality.py --home HOME [--tenant T] [--profile L1] [--root DIR] [--kind class]

HOME has been indexed from ROOT/photos. Every query of ROOT/queries.jsonl is asked through the
engine, on each axis alone and fused. Prints nDCG@10 (linear gain) and Recall@50 per kind, the ratio
of fused to the best single axis, and whether ir_measures finds the same numbers. Exit code 1 when
fused is worse than the best axis on queries by class name or synonym, or below 0.88 there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecm.config import load_profile
from ecm.contracts.search import Axis, SearchRequest
from ecm.errors import AxisUnavailable
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
SYSTEMS: dict[str, tuple[Axis, ...] | None] = {
    "vv": (Axis.VV,),
    "mv": (Axis.MV,),
    "fts": (Axis.FTS,),
    "fused": None,
}
DEPTH = 50
NAMED = "class, any name"
"""Queries by the name of a class or a synonym of it, together: what the exit code judges."""

TARGET = 0.88


@dataclass(frozen=True)
class Query:
    qid: str
    kind: str
    text: str
    relevant: frozenset[str]


def ndcg(ranking: Sequence[str], relevant: frozenset[str], cutoff: int = 10) -> float:
    """Normalised discounted cumulative gain, Järvelin and Kekäläinen 2002, gain 1 or 0.

    >>> ndcg(["a", "x"], frozenset({"a"})), round(ndcg(["x", "a"], frozenset({"a"})), 4)
    (1.0, 0.6309)
    """
    gains = [1 / math.log2(i + 2) for i, one in enumerate(ranking[:cutoff]) if one in relevant]
    ideal = [1 / math.log2(i + 2) for i in range(min(len(relevant), cutoff))]
    return math.fsum(gains) / math.fsum(ideal)


def recall(ranking: Sequence[str], relevant: frozenset[str], cutoff: int = DEPTH) -> float:
    return len(relevant & set(ranking[:cutoff])) / len(relevant)


def load_queries(root: Path, kinds: Sequence[str]) -> list[Query]:
    """Queries with the asset ids (sha256 of the photos) that answer them."""
    photos = [json.loads(line) for line in (root / "photos.jsonl").open()]
    asset_of = {photo["path"]: photo["sha256"] for photo in photos}
    rows = [json.loads(line) for line in (root / "queries.jsonl").open()]
    return [
        Query(
            row["qid"],
            row["kind"],
            row["text"],
            frozenset(asset_of[path] for path in row["relevant"]),
        )
        for row in rows
        if not kinds or row["kind"] in kinds
    ]


def ask(engine: SearchEngine, tenant: str, text: str, axes: tuple[Axis, ...] | None) -> list[str]:
    """Asset ids in order. An axis that cannot answer at all finds nothing."""
    request = SearchRequest(tenant_id=tenant, text=text, limit=DEPTH, axes=axes, explain=False)
    try:
        return [hit.asset_id for hit in engine.search(request).hits]
    except AxisUnavailable as error:
        sys.exit(f"quality: {error}")


def report(queries: Sequence[Query], runs: dict[str, dict[str, list[str]]]) -> bool:
    """Print a line per kind; True when the class queries are good enough."""
    kinds: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        kinds[query.kind].append(query)
        if query.kind in ("class", "class-synonym"):
            kinds[NAMED].append(query)
    print(f"{'kind':<18}{'queries':>8}", *(f"{name:>16}" for name in runs), f"{'ratio':>8}", sep="")
    print(f"{'':<26}", *(f"{'nDCG@10  R@50':>16}" for _ in runs), sep="")
    good = True
    for kind, asked in kinds.items():
        scores = {}
        cells = []
        for name, run in runs.items():
            found = [(run[q.qid], q.relevant) for q in asked]
            scores[name] = math.fsum(ndcg(*pair) for pair in found) / len(found)
            whole = math.fsum(recall(*pair) for pair in found) / len(found)
            cells.append(f"{scores[name]:>10.4f}{whole:>6.3f}")
        best = max(score for name, score in scores.items() if name != "fused")
        print(f"{kind:<18}{len(asked):>8}", *cells, f"{scores['fused'] / best:>8.3f}", sep="")
        if kind == NAMED:
            good = scores["fused"] >= max(best, TARGET)
    return good


def same_as_ir_measures(queries: Sequence[Query], run: dict[str, list[str]]) -> str:
    """Compare the fused numbers with ir_measures, on strictly decreasing scores."""
    try:
        import ir_measures
    except ModuleNotFoundError:
        return "ir_measures is not installed: not compared"
    qrels = {q.qid: dict.fromkeys(q.relevant, 1) for q in queries}
    scored = {qid: {one: -float(i) for i, one in enumerate(ids)} for qid, ids in run.items()}
    measures = [ir_measures.nDCG @ 10, ir_measures.R @ DEPTH]
    theirs = ir_measures.calc_aggregate(measures, qrels, {q: r for q, r in scored.items() if r})
    ours = [
        math.fsum(measure(run[q.qid], q.relevant) for q in queries) / len(queries)
        for measure in (ndcg, recall)
    ]
    gap = max(abs(theirs[m] - own) for m, own in zip(measures, ours, strict=True))
    return f"largest difference to ir_measures over all {len(queries)} queries: {gap:.1e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    options = parser.parse_args()
    overrides = [*options.set, *([f"tenant={options.tenant}"] if options.tenant else [])]
    profile = load_profile(
        options.profile, home=options.home, overrides=overrides, environ=os.environ
    )
    queries = load_queries(options.root, options.kind)
    runs: dict[str, dict[str, list[str]]] = {}
    with open_engine(profile) as engine:
        print(f"snapshot {engine.reader.ref.snapshot_id}, ranking {engine.ranking.version}")
        for name, axes in SYSTEMS.items():
            started = time.perf_counter()
            runs[name] = {q.qid: ask(engine, profile.tenant, q.text, axes) for q in queries}
            each = 1000 * (time.perf_counter() - started) / len(queries)
            print(f"{name}: {each:.1f} ms per query")
    good = report(queries, runs)
    print(same_as_ir_measures(queries, runs["fused"]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
