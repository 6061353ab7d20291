"""Is an axis of the snapshot as good and as fast as engines that do nothing else?

    pip install --no-deps --target PEERS qdrant-edge-py==0.9.0 tantivy==0.27.0
    PYTHONPATH=PEERS python -m benchmarks.search_peers [--assets 50000] [--rounds 5] [--folder F]

One store with a tenant of most assets and a neighbour. The mv axis (384 dimensions, exact for such
a tenant) is asked beside LanceDB with IVF_HNSW_SQ, its probes and refinement tuned, and qdrant-edge
with HNSW (m 16), all filtered by tenant: recall@50 against numpy, and p50 in the same rounds. Full
text is asked beside tantivy with the same analyser over the same texts: nDCG@10 of known items, and
p50. Prints ratios; exit code 1 when recall is below 0.99 or nDCG differs by more than 0.005.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import qdrant_edge as qdrant
import tantivy

from benchmarks.bulk import Corpus, make
from ecm.config import load_profile
from ecm.contracts.search import Axis
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.store import EvidenceStore

TENANT, NEIGHBOUR = "t", "next"
LIMIT = 50
JUDGED = 1000
"""Questions to the full text whose answers are judged."""
LEAST_RECALL, MOST_GAP = 0.99, 0.005
_WORD = re.compile(r"[a-z]{3,}")
Asked = Callable[[np.ndarray], Sequence[str]]


class Glosses(Corpus):
    """Assets whose captions are sentences: what WordNet says of two classes."""

    def caption(self, pair: Sequence[int]) -> str:
        return ". ".join(self.classes[place].gloss for place in pair)


def lancedb_engine(folder: Path, ids: list[str], tenants: list[str], vectors: np.ndarray) -> Asked:
    """LanceDB with an index, probes without a bound under the filter, and exact refinement."""
    table = pa.table(
        {
            "id": ids,
            "tenant": tenants,
            "vector": pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.ravel()), vectors.shape[1]
            ),
        }
    )
    made = lancedb.connect(str(folder / "lancedb")).create_table("peers", table)
    made.create_index(metric="cosine", index_type="IVF_HNSW_SQ", num_partitions=32)
    made.create_scalar_index("tenant", index_type="BITMAP")

    def ask(query: np.ndarray) -> Sequence[str]:
        found = made.search(query).where(f"tenant = '{TENANT}'", prefilter=True)
        found = found.minimum_nprobes(20).maximum_nprobes(0).refine_factor(3).limit(LIMIT)
        names: list[str] = found.select(["id", "_distance"]).to_arrow()["id"].to_pylist()
        return names

    return ask


def qdrant_engine(folder: Path, ids: list[str], tenants: list[str], vectors: np.ndarray) -> Asked:
    """qdrant-edge with HNSW and a keyword index of tenants."""
    (folder / "qdrant").mkdir()
    graph = qdrant.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000)
    params = qdrant.EdgeVectorParams(size=vectors.shape[1], distance=qdrant.Distance.Cosine)
    shard = qdrant.EdgeShard.create(
        str(folder / "qdrant"), qdrant.EdgeConfig(vectors=params, hnsw_config=graph)
    )
    for first in range(0, len(ids), 1000):
        points = [
            qdrant.Point(place, vectors[place].tolist(), {"tenant": tenants[place]})
            for place in range(first, min(first + 1000, len(ids)))
        ]
        shard.update(qdrant.UpdateOperation.upsert_points(points))
    shard.update(
        qdrant.UpdateOperation.create_field_index("tenant", qdrant.PayloadSchemaType.Keyword)
    )
    shard.optimize()
    only = qdrant.Filter(must=[qdrant.FieldCondition("tenant", match=qdrant.MatchValue(TENANT))])

    def ask(query: np.ndarray) -> Sequence[str]:
        wanted = qdrant.Query.Nearest(query.tolist())
        request = qdrant.QueryRequest(limit=LIMIT, query=wanted, filter=only)
        return [ids[int(point.id)] for point in shard.query(request)]

    return ask


def tantivy_engine(ids: list[str], texts: list[str]) -> Callable[[str], Sequence[str]]:
    """Tantivy with lower case, ASCII folding, English stop words and stems, in memory."""
    analyser = (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(40))
        .filter(tantivy.Filter.lowercase())
        .filter(tantivy.Filter.stemmer("English"))
        .filter(tantivy.Filter.stopword("English"))
        .filter(tantivy.Filter.ascii_fold())
        .build()
    )
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("id", stored=True, tokenizer_name="raw")
    schema.add_text_field("text", stored=False, tokenizer_name="ecm")
    index = tantivy.Index(schema.build())
    index.register_tokenizer("ecm", analyser)
    writer = index.writer(200_000_000)
    for name, text in zip(ids, texts, strict=True):
        writer.add_document(tantivy.Document(id=name, text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def ask(text: str) -> Sequence[str]:
        found = searcher.search(index.parse_query(text, ["text"]), LIMIT).hits
        return [searcher.doc(address)["id"][0] for _, address in found]

    return ask


def timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000.0


def compared(name: str, ways: dict[str, Callable[[int], object]], count: int, rounds: int) -> None:
    """Print p50 of each way and the ratio of ours to it, medians over rounds.

    Every round asks `count` questions that were not asked before.
    """
    tables: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        first = number * count
        order = [(way, place) for place in range(first, first + count) for way in ways]
        random.Random(number).shuffle(order)
        samples: dict[str, list[float]] = {way: [] for way in ways}
        for way, place in order:
            samples[way].append(timed(lambda w=way, p=place: ways[w](p)))  # type: ignore[misc]
        for way, own in samples.items():
            tables[way].append(statistics.median(own))
    for way, own in tables.items():
        ratio = statistics.median(
            ours / theirs for ours, theirs in zip(tables["ecm"], own, strict=True)
        )
        print(f"{name} {way:<10} p50 {statistics.median(own):8.2f} ms, ecm / it {ratio:.2f}")


def vectors_compared(reader: SnapshotReader, folder: Path, options: argparse.Namespace) -> bool:
    parts = {tenant: reader.tenant_matrix(tenant, Axis.MV) for tenant in (TENANT, NEIGHBOUR)}
    ids = [a for part in parts.values() for a in part.asset_ids]
    tenants = [tenant for tenant, part in parts.items() for _ in part.asset_ids]
    vectors = np.concatenate([part.vectors for part in parts.values()])
    own = parts[TENANT]
    rng = np.random.default_rng(3)
    queries = own.vectors[rng.integers(0, len(own.asset_ids), options.queries * options.rounds)]
    queries = queries + rng.normal(0, 0.3 / math.sqrt(queries.shape[1]), queries.shape)
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    exact = [set(np.argsort(-(own.vectors @ q), kind="stable")[:LIMIT].tolist()) for q in queries]
    truth = [{own.asset_ids[place] for place in places} for places in exact]
    engines: dict[str, Asked] = {
        "ecm": lambda q: [a for a, _ in reader.search_vectors(TENANT, Axis.MV, q, LIMIT)],
        "lancedb": lancedb_engine(folder, ids, tenants, vectors),
        "qdrant": qdrant_engine(folder, ids, tenants, vectors),
    }
    recalls = {
        name: statistics.fmean(
            len(truth[i] & set(ask(query))) / LIMIT for i, query in enumerate(queries)
        )
        for name, ask in engines.items()
    }
    print("vector recall@50:", {name: round(recall, 4) for name, recall in recalls.items()})
    ways = {name: (lambda i, a=ask: a(queries[i])) for name, ask in engines.items()}
    compared("vector", ways, options.queries, options.rounds)  # type: ignore[arg-type]
    return recalls["ecm"] >= LEAST_RECALL


def texts_compared(reader: SnapshotReader, options: argparse.Namespace) -> bool:
    table = reader.tenant_table(TENANT, ["asset_id", "caption"])
    ids, texts = table["asset_id"].to_pylist(), table["caption"].to_pylist()
    chooser = random.Random(5)
    asked: list[tuple[str, str]] = []
    while len(asked) < options.queries * options.rounds + JUDGED:
        place = chooser.randrange(len(ids))
        words = list(dict.fromkeys(_WORD.findall(texts[place].lower())))
        if len(words) >= 6:
            asked.append((ids[place], " ".join(chooser.sample(words, 6))))
    theirs = tantivy_engine(ids, texts)

    def ours(text: str) -> Sequence[str]:
        return [a for a, _ in reader.search_text(TENANT, text, {"caption": 1.0}, LIMIT)]

    ways = {"ecm": lambda i: ours(asked[i][1]), "tantivy": lambda i: theirs(asked[i][1])}
    compared("text", ways, options.queries, options.rounds)
    gains = {
        name: statistics.fmean(_gain(ask(text), answer) for answer, text in asked[-JUDGED:])
        for name, ask in (("ecm", ours), ("tantivy", theirs))
    }
    print("text nDCG@10 of known items:", {name: round(gain, 4) for name, gain in gains.items()})
    return gains["ecm"] >= gains["tantivy"] - MOST_GAP


def _gain(found: Sequence[str], answer: str) -> float:
    """nDCG@10 (linear gain) where one item is right."""
    place = next((i for i, name in enumerate(found[:10]) if name == answer), None)
    return 0.0 if place is None else 1 / math.log2(place + 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--assets", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="ecm-peers-"))
    profile = load_profile("L1", home=folder / "home", overrides=[], environ={})
    sizes = {TENANT: options.assets, NEIGHBOUR: max(options.assets // 5, 1)}
    ref = make(profile, sizes, kind=Glosses)
    reader = SnapshotReader.open(EvidenceStore.open(profile.evidence), ref)
    good = vectors_compared(reader, folder, options)
    return 0 if texts_compared(reader, options) and good else 1


if __name__ == "__main__":
    sys.exit(main())
