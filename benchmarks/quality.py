"""Is the fused ranking better than the best single axis, and the reranked one than the fused?

    python -m benchmarks.quality --home HOME [--tenant T] [--profile L1] [--root DIR] [--kind class]
    python -m benchmarks.quality --compositions [--folder FOLDER]

HOME has been indexed from ROOT/photos. Every query of ROOT/queries.jsonl is asked through the
engine, on each axis alone, fused, and reranked; and reranked without x, which words of look bring
by themselves. Prints nDCG@10 (linear gain) and Recall@50 per kind with the interval (bootstrap,
95 %) of what each step gains, and whether ir_measures finds the same numbers. Exit code 1 when on
all queries fused is not better than the best axis or reranked not better than fused, when x costs
more than a point, or when queries by class name or synonym are below 0.88.

`--compositions` indexes drawn pictures and asks for their look: exit code 1 when x does not reach
twice the nDCG@10 of vv, or what is fused and reranked is below it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecm.config import Profile, load_profile
from ecm.contracts.search import Axis, SearchRequest
from ecm.errors import AxisUnavailable
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine
from tests.compositions import compositions, look_questions

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
DEPTH = 50
NAMED = "class, any name"
"""Queries by the name of a class or a synonym of it, together."""
LEAST_NAMED = 0.88
MOST_LOST = 0.01
BOOTSTRAPS = 10_000
LOOK_GAIN = 2.0


@dataclass(frozen=True)
class Asked:
    """A way to ask: on which axes (None: those that fit), and whether reranked."""

    axes: tuple[Axis, ...] | None
    rerank: str


SINGLE = {axis.value: Asked((axis,), "off") for axis in (Axis.VV, Axis.MV, Axis.FTS)}
WORDS = (Axis.VV, Axis.MV, Axis.FTS)
WAYS = {
    **SINGLE,
    "fused": Asked(None, "off"),
    "reranked": Asked(None, "auto"),
    "without x": Asked(WORDS, "auto"),
}
LOOKS = {
    "vv": Asked((Axis.VV,), "off"),
    "x": Asked((Axis.X,), "off"),
    "fused": Asked(None, "off"),
    "reranked": Asked(None, "auto"),
}
Runs = dict[str, dict[str, list[str]]]


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


def ask(engine: SearchEngine, tenant: str, text: str, way: Asked) -> list[str]:
    """Asset ids in order. An axis that the text does not speak on finds nothing."""
    fields = {"tenant_id": tenant, "text": text, "limit": DEPTH, "explain": False}
    request = SearchRequest.model_validate({**fields, "axes": way.axes, "rerank": way.rerank})
    try:
        return [hit.asset_id for hit in engine.search(request).hits]
    except AxisUnavailable as error:
        sys.exit(f"quality: {error}")


def asked_all(profile: Profile, queries: Sequence[Query], ways: Mapping[str, Asked]) -> Runs:
    runs: Runs = {}
    with open_engine(profile) as engine:
        engine.warm(profile.tenant)
        print(f"snapshot {engine.reader.ref.snapshot_id}, ranking {engine.ranking.version}")
        for name, way in ways.items():
            started = time.perf_counter()
            runs[name] = {q.qid: ask(engine, profile.tenant, q.text, way) for q in queries}
            each = 1000 * (time.perf_counter() - started) / len(queries)
            print(f"{name}: {each:.1f} ms per query")
    return runs


def table(queries: Sequence[Query], runs: Runs) -> None:
    """Print nDCG@10 and Recall@50 of every kind and way."""
    kinds: dict[str, list[Query]] = defaultdict(list)
    for query in queries:
        kinds[query.kind].append(query)
        if query.kind in ("class", "class-synonym"):
            kinds[NAMED].append(query)
    kinds["all"] = list(queries)
    print(f"{'kind':<18}{'queries':>8}", *(f"{name:>16}" for name in runs), sep="")
    print(f"{'':<26}", *(f"{'nDCG@10  R@50':>16}" for _ in runs), sep="")
    for kind, asked in kinds.items():
        cells = [
            f"{mean(asked, run):>10.4f}"
            f"{math.fsum(recall(run[q.qid], q.relevant) for q in asked) / len(asked):>6.3f}"
            for run in runs.values()
        ]
        print(f"{kind:<18}{len(asked):>8}", *cells, sep="")


def mean(queries: Sequence[Query], run: Mapping[str, Sequence[str]]) -> float:
    """Mean nDCG@10."""
    return math.fsum(ndcg(run[q.qid], q.relevant) for q in queries) / len(queries)


def gain(name: str, queries: Sequence[Query], better: str, worse: str, runs: Runs) -> float:
    """Print and return the mean difference in nDCG@10, with a paired bootstrap interval."""
    each = np.array(
        [
            ndcg(runs[better][q.qid], q.relevant) - ndcg(runs[worse][q.qid], q.relevant)
            for q in queries
        ]
    )
    drawn = np.random.default_rng(0).integers(0, len(each), (BOOTSTRAPS, len(each)))
    low, high = np.percentile(each[drawn].mean(axis=1), (2.5, 97.5))
    print(f"{name}: {each.mean():+.4f} ({low:+.4f} to {high:+.4f})")
    return float(each.mean())


def same_as_ir_measures(queries: Sequence[Query], run: dict[str, list[str]]) -> str:
    """Compare the numbers of a run with ir_measures, on strictly decreasing scores."""
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


def photos(profile: Profile, root: Path, kinds: Sequence[str]) -> bool:
    """The questions about photographs; whether all goals are met."""
    queries = load_queries(root, kinds)
    runs = asked_all(profile, queries, WAYS)
    table(queries, runs)
    best = max(SINGLE, key=lambda name: mean(queries, runs[name]))
    gained = gain(f"fused over {best}", queries, "fused", best, runs)
    ordered = gain("reranked over fused", queries, "reranked", "fused", runs)
    looked = gain("x brought by words of look", queries, "reranked", "without x", runs)
    print(same_as_ir_measures(queries, runs["reranked"]))
    named = [q for q in queries if q.kind in ("class", "class-synonym")]
    good = not named or mean(named, runs["reranked"]) >= LEAST_NAMED
    return good and gained > 0 and ordered > 0 and looked >= -MOST_LOST


def looks(folder: Path) -> bool:
    """Questions about the look of drawn pictures, indexed for it; whether the goal is met."""
    source = folder / "pictures"
    source.mkdir(parents=True, exist_ok=True)
    drawn = compositions()
    names = {}
    for picture in drawn:
        data = picture.png()
        (source / f"{picture.name}.png").write_bytes(data)
        names[picture.name] = hashlib.sha256(data).hexdigest()
    command = [sys.executable, "-m", "jobs.cli", "index", str(source), "--home", str(folder / "h")]
    subprocess.run([*command, "--json"], check=True, stdout=subprocess.DEVNULL)
    queries = [
        Query(
            question.text,
            "look",
            question.text,
            frozenset(names[one.name] for one in drawn if question.answered_by(one)),
        )
        for question in look_questions()
    ]
    profile = load_profile(None, home=folder / "h", overrides=[], environ={})
    runs = asked_all(profile, queries, LOOKS)
    table(queries, runs)
    scores = {name: mean(queries, run) for name, run in runs.items()}
    print(f"x / vv: {scores['x'] / scores['vv']:.2f}, reranked / vv: "
          f"{scores['reranked'] / scores['vv']:.2f} (goal {LOOK_GAIN})")  # fmt: skip
    least = LOOK_GAIN * scores["vv"]
    return scores["x"] >= least and scores["reranked"] >= least


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home")
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--profile", default="L1")
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--compositions", action="store_true")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.compositions:
        with tempfile.TemporaryDirectory(prefix="ecm-quality-") as made:
            return 0 if looks(options.folder or Path(made)) else 1
    if options.home is None:
        parser.error("--home of an indexed store, or --compositions")
    overrides = [*options.set, *([f"tenant={options.tenant}"] if options.tenant else [])]
    profile = load_profile(
        options.profile, home=options.home, overrides=overrides, environ=os.environ
    )
    return 0 if photos(profile, options.root, options.kind) else 1


if __name__ == "__main__":
    sys.exit(main())
