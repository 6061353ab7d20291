"""What does it cost to say why? At most 5 % of a search, or the exit code is 1.

    python benchmarks/explain.py --home HOME [--tenant T] [--root DIR] [--queries 60] [--rounds 5]

HOME has been indexed, from ROOT/photos or by benchmarks/bulk.py. Queries of ROOT/queries.jsonl are
searched in this process, 50 hits each: what comes before the answer is timed once, the answer with
and without `explain` in turn, ROUNDS times each. Prints the median of whole searches without and
with it, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ecm.config import load_profile
from ecm.contracts.search import SearchRequest
from ecm.opening import open_engine
from ecm.search.engine import SearchEngine
from ecm.search.ordered import Gathered
from ecm.search.plan import Plan
from ecm.search.rerank import FeatureReranker, Reranked

ROOT = Path(os.environ.get("ECM_SHARED", Path(__file__).resolve().parents[2] / "shared")) / "data"
LIMIT = 50
MOST = 1.05
Answer = TypeVar("Answer")


def timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    """What `work` gives, and its milliseconds."""
    started = time.perf_counter()
    answer = work()
    return answer, (time.perf_counter() - started) * 1000.0


def one_query(engine: SearchEngine, tenant: str, text: str, rounds: int) -> tuple[float, float]:
    """Milliseconds of a search without and with explanations, the least of some rounds each."""
    plain = SearchRequest(tenant_id=tenant, text=text, limit=LIMIT, explain=False)
    asked = (plain, plain.model_copy(update={"explain": True}))
    reranker = FeatureReranker(engine.ranking)

    def before() -> tuple[Plan, Gathered, Reranked | None]:
        plan = engine.plan(plain)
        gathered = engine.gather(plan, engine._encoder.encode(plan.encodings))
        question = gathered.rerank
        return plan, gathered, reranker.rerank(question) if question is not None else None

    (plan, gathered, reranked), shared = timed(before)
    plans = [_for(plan, request) for request in asked]
    least = [float("inf")] * 2
    for _ in range(rounds):
        for turn in (0, 1):
            _, took = timed(lambda: engine.answer(plans[turn], gathered, reranked))  # noqa: B023
            least[turn] = min(least[turn], took)
    return shared + least[0], shared + least[1]


def _for(plan: Plan, request: SearchRequest) -> Plan:
    """The same plan for a request that differs in what is shown only."""
    return replace(plan, request=request)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", required=True)
    parser.add_argument("--tenant", default=None)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    profile = load_profile("L1", home=options.home, overrides=[], environ=os.environ)
    tenant = options.tenant or profile.tenant
    rows = [json.loads(line) for line in (options.root / "queries.jsonl").open()]
    texts = [row["text"] for row in rows[:: max(1, len(rows) // options.queries)]]
    with open_engine(profile) as engine:
        one_query(engine, tenant, texts[0], 1)
        times = [one_query(engine, tenant, text, options.rounds) for text in texts]
    plain, explained = (statistics.median(column) for column in zip(*times, strict=True))
    extra = statistics.median(with_it - without for without, with_it in times)
    print(f"{len(times)} queries, {LIMIT} hits, least of {options.rounds} answers each")
    print(f"without explanations {plain:.2f} ms, with {explained:.2f} ms (medians)")
    ratio = 1.0 + extra / plain
    print(f"explain adds {extra:.2f} ms: ratio {ratio:.3f}, at most {MOST}")
    return 0 if ratio <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
