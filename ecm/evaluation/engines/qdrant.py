"""qdrant-edge as a second engine: the same texts and vectors, its own search and its own fusion.

    text          BM25 (k 1.2, b 0.75) over all words of an asset in one field
    vv, mv        nearest neighbours of the query's vectors; words that a bridge brings into the
                  visual space are compared with the vectors around the tenant's mean
    fused by      its reciprocal rank fusion, weights and k of the file

Knows qdrant-edge and the index; knows no model: query vectors come from what is passed in, and
making them is part of an answer's latency, as it is of our own engine's. Equal scores are in order
of asset id.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.measured import EngineFacts
from ecm.evaluation.engines.base import EngineTrouble, Reply, Scored
from ecm.evaluation.engines.config import OpenSourceConfig
from ecm.evaluation.engines.qdrant_index import (
    PACKAGE,
    TEXT,
    package_version,
    qdrant_package,
)
from ecm.evaluation.engines.vectors import Corpus, QueryVectors, VectorField

_WEIGHT_OF: Final[dict[VectorField, Literal["vv", "mv"]]] = {
    VectorField.VV: "vv",
    VectorField.VV_CENTRED: "vv",
    VectorField.MV: "mv",
}


class QdrantEngine:
    """A `Backend` on an opened `EdgeShard`. Several threads may ask.

    Args:
        facts: name, description and price; version, snapshot and fingerprints are filled in.
        shard: of `qdrant_index.open_index`; closed with this.
        corpus: what it was built from.
        vectors: those of queries.
        config: candidates, weights and k of the fusion.
    """

    def __init__(
        self,
        facts: EngineFacts,
        shard: Any,
        corpus: Corpus,
        vectors: QueryVectors,
        config: OpenSourceConfig,
    ) -> None:
        self._package = qdrant_package()
        self._shard = shard
        self._ids = corpus.ids
        self._vectors = vectors
        self._config = config
        self.facts = facts.model_copy(
            update={
                "version": f"{PACKAGE} {package_version()}",
                "snapshot_id": corpus.snapshot_id,
                "fingerprints": dict(corpus.fingerprints),
                "assets": len(corpus.ids),
            }
        )

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        qdrant = self._package
        lists, weights = self._lists(query, depth)
        if not lists:
            return Reply()
        fusion = qdrant.Fusion.Rrf(k=self._config.rrf_k, weights=weights)
        wanted = qdrant.QueryRequest(
            limit=depth + 1,  # the shown asset may be among them
            prefetches=lists,
            query=fusion,
        )
        try:
            points = self._shard.query(wanted)
        except Exception as error:  # the package raises nothing narrower
            raise EngineTrouble(f"qdrant-edge: {error}") from error
        found = [(self._ids[int(point.id)], float(point.score)) for point in points]
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return Reply(tuple(Scored(asset_id, score) for asset_id, score in found))

    def close(self) -> None:
        self._shard.close()

    def _lists(self, query: EvaluationQuery, depth: int) -> tuple[list[Any], list[float]]:
        """What is fused, and how much each list counts."""
        qdrant = self._package
        limit = max(self._config.candidates, depth + 1)
        lists, weights = [], []
        of_words = self._config.weights.get("text", 1.0)
        if query.query_text is not None and of_words > 0:
            words = qdrant.TextQuery(TEXT, query.query_text)
            lists.append(qdrant.Prefetch(limit=limit, query=words))
            weights.append(of_words)
        for field, vector in self._vectors(query).items():
            weight = self._config.weights.get(_WEIGHT_OF[field], 1.0)
            if weight > 0:
                near = qdrant.Query.Nearest(vector.tolist(), using=field.value)
                lists.append(qdrant.Prefetch(limit=limit, query=near))
                weights.append(weight)
        return lists, weights
