"""Our own engine in this process as a back end of an evaluation, and query vectors for others.

Knows both `ecm.search` and `ecm.evaluation.engines`, which do not know each other. What may be
shared is: the opened snapshot, which never changes, and the models. Each engine has its own ranking
profile, caches and threads, so that several can be compared in one process.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

from ecm.client.where import made
from ecm.contracts.evaluation import EvaluationQuery
from ecm.contracts.identity import TenantId
from ecm.contracts.measured import EngineFacts, EngineProblem
from ecm.contracts.search import Axis, SearchRequest
from ecm.errors import EcmError, ImageError, QueryError, StoreUnavailable
from ecm.evaluation.engines.base import EngineTrouble, Reply
from ecm.evaluation.engines.internal import check_page, check_same, reply_of
from ecm.evaluation.engines.vectors import Vector, VectorField
from ecm.evidence.reader import SnapshotReader
from ecm.search.encoders import EncodedQuery, EncodingRequest, QueryEncoder
from ecm.search.engine import SearchEngine
from ecm.search.opening import (
    SearchParts,
    open_encoder,
    open_ranking,
    open_reranker,
    open_snapshot,
    structure_of,
)

FORGETFUL: Final = 1
"""Rankings that an engine remembers: the fewest there may be, so that no round, unless of one
query, is answered from memory."""


class Bench:
    """The opened snapshot and the query models, once for all that need them. Thread-safe.

    Raises what `ecm.search.opening` does, when first asked for each.
    """

    def __init__(self, parts: SearchParts) -> None:
        search = parts.search.model_copy(update={"remembered_rankings": FORGETFUL})
        self._parts = replace(parts, search=search)
        self._lock = threading.RLock()

    @property
    def reader(self) -> SnapshotReader:
        with self._lock:
            return self._reader

    @property
    def encoder(self) -> QueryEncoder:
        with self._lock:
            return self._encoder

    def engine(self, ranking: str | None) -> SearchEngine:
        """A new engine, with another ranking profile than the parts name where one is named."""
        parts = self._parts
        if ranking is not None:
            parts = replace(parts, search=parts.search.model_copy(update={"ranking": ranking}))
        return SearchEngine(
            self.reader,
            self.encoder,
            open_ranking(parts),
            parts.search,
            reranker=open_reranker(parts),
            structure=structure_of(parts),
        )

    @cached_property
    def _reader(self) -> SnapshotReader:
        return open_snapshot(self._parts)

    @cached_property
    def _encoder(self) -> QueryEncoder:
        return open_encoder(self._parts)


class InProcess:
    """A `Backend` on an engine of this process, which it closes."""

    def __init__(self, facts: EngineFacts, engine: SearchEngine, tenant_id: TenantId) -> None:
        self._engine = engine
        self._tenant_id = tenant_id
        ref = engine.reader.ref
        self.facts = facts.model_copy(
            update={
                "snapshot_id": ref.snapshot_id,
                "ranking_profile": engine.ranking.version,
                "ranking_digest": engine.ranking.digest(),
                "fingerprints": {
                    axis.value: ",".join(marks) for axis, marks in ref.transforms.items()
                },
                "assets": ref.tenants.get(tenant_id, 0),
            }
        )

    def ask(self, query: EvaluationQuery, depth: int, seconds: float) -> Reply:
        check_page(depth)
        said = {
            "tenant_id": self._tenant_id,
            "text": query.query_text,
            "asset_id": query.shown_asset_id,
            "limit": depth,
        }
        try:
            response = self._engine.search(made(SearchRequest, said))
        except EcmError as error:
            raise EngineTrouble(str(error), _problem_of(error)) from error
        check_same(self.facts, response)
        return reply_of(response)

    def close(self) -> None:
        self._engine.__exit__(None, None, None)


class SameVectors:
    """`QueryVectors` of the models and the snapshot that our own engine uses.

    Words bring mv and, through the bridge or a model of both, vv; a shown asset brings what is
    stored of it: vv, and without words mv. The models are opened here, not by the first query.
    """

    def __init__(self, bench: Bench, tenant_id: TenantId) -> None:
        self._reader = bench.reader
        self._encoder = bench.encoder
        self._tenant_id = tenant_id

    def __call__(self, query: EvaluationQuery) -> Mapping[VectorField, Vector]:
        found: dict[VectorField, Vector] = {}
        if query.query_text is not None:
            found |= self._said(query.query_text)
        if query.shown_asset_id is not None:
            found |= self._shown(query.shown_asset_id, words=query.query_text)
        return found

    def _said(self, text: str) -> dict[VectorField, Vector]:
        stored = self._reader.ref.transforms
        encoded = self._encoded(text)
        found: dict[VectorField, Vector] = {}
        for axis, vector in encoded.vectors.items():
            if axis in self._reader.broken:
                continue
            if vector.transform not in stored.get(axis, ()):
                raise EngineTrouble(
                    f"the query model of {axis.value} is not the one the snapshot was made with"
                )
            if axis is Axis.MV:
                found[VectorField.MV] = vector.values
            elif axis is Axis.VV:
                where = VectorField.VV_CENTRED if vector.centred else VectorField.VV
                found[where] = vector.values
        return found

    def _encoded(self, text: str) -> EncodedQuery:
        request = EncodingRequest(frozenset({Axis.VV, Axis.MV}), text=text)
        try:
            return self._encoder.encode([request])[0]
        except EcmError as error:
            raise EngineTrouble(str(error), _problem_of(error)) from error

    def _shown(self, asset_id: str, words: str | None) -> dict[VectorField, Vector]:
        reader = self._reader
        axes = (Axis.VV,) if words is not None else (Axis.VV, Axis.MV)
        if asset_id not in reader.known(self._tenant_id, [asset_id]):
            raise EngineTrouble(f"no asset {asset_id} in this snapshot", EngineProblem.REFUSED)
        found: dict[VectorField, Vector] = {}
        for axis in axes:
            if axis in reader.broken:
                continue
            own = reader.vectors_of(self._tenant_id, axis, [asset_id]).get(asset_id)
            if own is not None:
                found[VectorField(axis.value)] = own
        return found


def _problem_of(error: EcmError) -> EngineProblem:
    match error:
        case QueryError() | ImageError():
            return EngineProblem.REFUSED
        case StoreUnavailable():
            return EngineProblem.UNREACHABLE
        case _:
            return EngineProblem.FAILED
