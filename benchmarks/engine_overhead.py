"""What does it cost that an engine is asked through an evaluation's adapter?

    python -m benchmarks.engine_overhead --home HOME [--rounds 5]

On the published snapshot of a home, queries that were not asked before: our engine itself beside
the same engine through `InProcess` and `Patient`, and the recorded contract itself beside the way
to it over a socket. Prints p50 of each and the ratio, medians over rounds, asked in turns. Exits 1
when the adapter of our own engine costs more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecm.config import conf_folder, load_profile
from ecm.contracts.evaluation import (
    Difficulty,
    EvaluationQuery,
    QueryKind,
    QuerySource,
    Split,
)
from ecm.contracts.measured import EngineFacts, EngineKind
from ecm.contracts.search import QueryType, SearchRequest
from ecm.evaluation.engines.azure_contract import AzureContract, ContractRequest
from ecm.evaluation.engines.config import CommercialConfig, load_config
from ecm.evaluation.engines.exact import ExactIndex
from ecm.evaluation.engines.patient import Patient
from ecm.evaluation.engines.rest import Place, RestEngine
from ecm.evaluation.engines.vectors import read_corpus
from ecm.opening import search_parts
from jobs.engine_in_process import Bench, InProcess
from jobs.loopback import Loopback

DEPTH = 50
MOST = 1.05
KEY = "of-this-run"
INDEX = "ecm-assets"
FACTS = EngineFacts(engine_id="e", kind=EngineKind.INTERNAL, description="")
Asked = Callable[[str], object]


@dataclass(frozen=True)
class Pair:
    """The same work, by itself and through the adapter."""

    name: str
    alone: Asked
    through: Asked


def query(text: str) -> EvaluationQuery:
    return EvaluationQuery(
        query_id="q",
        query_text=text,
        query_type=QueryType.SEMANTIC,
        kind=QueryKind.CAPTION,
        source=QuerySource.WRITTEN,
        created_at=0.0,
        difficulty=Difficulty.EASY,
        split=Split.HELD_OUT,
        group="g",
    )


def timed(work: Asked, text: str) -> float:
    started = time.perf_counter()
    work(text)
    return (time.perf_counter() - started) * 1000.0


def compared(pair: Pair, texts: list[str], rounds: int) -> float:
    """Median over rounds of the ratio of medians; each text is asked both ways, in turns."""
    ratios, alone, through = [], [], []
    for number in range(rounds):
        chooser = random.Random(number)
        own: list[float] = []
        its: list[float] = []
        for text in chooser.sample(texts, len(texts)):
            ways = [(pair.alone, own), (pair.through, its)]
            chooser.shuffle(ways)
            for way, samples in ways:
                samples.append(timed(way, text))
        alone.append(statistics.median(own))
        through.append(statistics.median(its))
        ratios.append(through[-1] / alone[-1])
    ratio = statistics.median(ratios)
    print(
        f"{pair.name:<9} alone p50 {statistics.median(alone):7.2f} ms, through the adapter "
        f"{statistics.median(through):7.2f} ms, ratio {ratio:.3f}"
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=60)
    options = parser.parse_args()
    profile = load_profile("L1", home=options.home, tenant=options.tenant, environ={})
    bench = Bench(search_parts(profile))
    corpus = read_corpus(bench.reader, profile.tenant)
    texts = sorted({" ".join(text.split()[:6]) for text in corpus.texts if text})
    texts = random.Random(0).sample(texts, min(options.queries, len(texts)))

    alone, asked = bench.engine(None), bench.engine(None)
    ours = Patient(InProcess(FACTS, asked, profile.tenant))
    contract = AzureContract(ExactIndex(corpus), INDEX, KEY)
    folder = conf_folder({}) / "engines"
    config = load_config(folder / "commercial.yaml", folder)
    assert isinstance(config, CommercialConfig)

    def search(text: str) -> object:
        return alone.search(SearchRequest(tenant_id=profile.tenant, text=text, limit=DEPTH))

    def documented(text: str) -> object:
        body = json.dumps({"search": text, "select": "asset_id", "top": DEPTH}).encode()
        where = f"/indexes('{INDEX}')/docs/search.post.search"
        headers = {"api-key": KEY, "content-type": "application/json"}
        version = {"api-version": "2024-07-01"}
        return contract.answer(ContractRequest("POST", where, version, headers, body))

    with alone, Loopback(contract) as server:
        place = Place(server.url, KEY, {"index": INDEX})
        there = Patient(RestEngine(FACTS, config, place, lambda _: {}))
        pairs = [
            Pair("internal", search, lambda text: ours.answer(query(text), DEPTH)),
            Pair("contract", documented, lambda text: there.answer(query(text), DEPTH)),
        ]
        for pair in pairs:
            for text in texts[:10]:
                pair.alone(text), pair.through(text)
        internal, _ = (compared(pair, texts, options.rounds) for pair in pairs)
        there.close()
    ours.close()
    return 0 if internal <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
