"""Which bytes are analysed and which are linked to what is known of them already.

Bytes are linked when their evidence is committed, or when somebody is analysing the same bytes by
the same transform right now. Knows ledger and store; reads no image and commits nothing.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from ecm.contracts.identity import evidence_key
from ecm.contracts.task import TaskType
from ecm.evidence.config import EvidenceConfig
from ecm.ledger.ledger import Ledger
from ecm.ledger.states import COMMITTED, HELD, TaskState
from ecm.models.meaning import meaning_text
from ecm.stages.prepare import AdmitDecision, AdmitRequest

if TYPE_CHECKING:
    from ecm.evidence.statement import AssetTexts
    from ecm.evidence.store import EvidenceStore

ALIVE = HELD | COMMITTED | {TaskState.REPORTED}
"""States in which a task's evidence is there or on its way."""


class Admission:
    """Decides for everybody who works on one store, so there is one of it at a time. Thread-safe.

    What is in flight is known here alone and lost with the process: then the same bytes may be
    analysed twice, and the store keeps the first evidence.
    """

    def __init__(self, ledger: Ledger, evidence: EvidenceConfig) -> None:
        self._ledger = ledger
        self._config = evidence
        self._store: EvidenceStore | None = None
        self._lock = threading.Lock()
        self._in_flight: dict[str, str] = {}

    def admit(
        self,
        requests: Sequence[AdmitRequest],
        vision_transform: str | None,
        ocr_transform: str | None = None,
    ) -> list[AdmitDecision]:
        """Link tasks whose bytes were already analysed by their transform, or are right now.

        `vision_transform` and `ocr_transform` are the fingerprints whose texts a meaning vector
        embeds, if the plan of the caller has them. Raises LedgerUnavailable, StoreUnavailable.
        """
        keys = {
            task_id: evidence_key(request.tenant_id, request.content_hash, kind.value, transform)
            for request in requests
            for task_id, kind, transform in request.tasks
        }
        done = self._ledger.done_evidence(set(keys.values()))
        ended = self._ended(set(keys.values()) - done)
        with self._lock:
            linked = [self._linked(request, keys, done, ended) for request in requests]
        seen = self._stored(requests, linked, TaskType.VISION, vision_transform)
        read = self._stored(requests, linked, TaskType.OCR, ocr_transform)
        return [
            _decision(
                links,
                seen.get((request.tenant_id, request.content_hash)),
                read.get((request.tenant_id, request.content_hash)),
                ocr_transform,
            )
            for request, links in zip(requests, linked, strict=True)
        ]

    def settled(self, ended: Iterable[tuple[str, str]]) -> None:
        """These (evidence key, task id) are not being analysed any more."""
        with self._lock:
            for key, task_id in ended:
                if self._in_flight.get(key) == task_id:
                    del self._in_flight[key]

    def in_flight(self, keys: Collection[str]) -> frozenset[str]:
        """Those of the evidence keys that somebody is working on. Raises LedgerUnavailable."""
        ended = self._ended(keys)
        with self._lock:
            return frozenset(
                key for key in keys if key in self._in_flight and self._in_flight[key] not in ended
            )

    def sweep(self) -> None:
        """Forget analyses whose worker is gone. Raises LedgerUnavailable."""
        with self._lock:
            keys = tuple(self._in_flight)
        ended = self._ended(keys)
        with self._lock:
            for key in keys:
                if self._in_flight.get(key) in ended:
                    del self._in_flight[key]

    def _ended(self, keys: Collection[str]) -> frozenset[str]:
        """Tasks noted for these keys that nobody works on any more and that left no evidence."""
        with self._lock:
            noted = {self._in_flight[key] for key in keys if key in self._in_flight}
        if not noted:
            return frozenset()
        standing = self._ledger.standing(noted)
        return frozenset(
            task_id
            for task_id in noted
            if task_id not in standing or standing[task_id].state not in ALIVE
        )

    def _linked(
        self,
        request: AdmitRequest,
        keys: Mapping[str, str],
        done: Collection[str],
        ended: Collection[str],
    ) -> frozenset[str]:
        """Tasks of a request that others have done or are doing; the rest are in flight now."""
        linked = set()
        for task_id, _, _ in request.tasks:
            key = keys[task_id]
            first = self._in_flight.get(key, task_id)
            if key in done or (first != task_id and first not in ended):
                linked.add(task_id)
            else:
                self._in_flight[key] = task_id
        return frozenset(linked)

    def _stored(
        self,
        requests: Sequence[AdmitRequest],
        linked: Sequence[frozenset[str]],
        kind: TaskType,
        transform: str | None,
    ) -> dict[tuple[str, str], AssetTexts]:
        """What a transform said earlier, by (tenant, asset), where a meaning vector is made without
        its being asked again. What is quarantined is not taken for said: it is asked again.
        """
        wanted: dict[str, list[str]] = defaultdict(list)
        for request, links in zip(requests, linked, strict=True):
            running = {asked for task_id, asked, _ in request.tasks if task_id not in links}
            if TaskType.MV_EMBED in running and kind not in running:
                wanted[request.tenant_id].append(request.content_hash)
        if not wanted or transform is None:
            return {}
        store = self._opened()
        doubtful = self._doubtful(store)
        return {
            (tenant_id, asset_id): said
            for tenant_id, asset_ids in wanted.items()
            for asset_id, said in store.texts_of(tenant_id, asset_ids, transform).items()
            if evidence_key(tenant_id, asset_id, kind.value, transform) not in doubtful
        }

    def _doubtful(self, store: EvidenceStore) -> frozenset[str]:
        from ecm.evidence.quarantine import shut_out  # as below

        return frozenset(shut_out(store).keys["evidence_key"].to_pylist())

    def _opened(self) -> EvidenceStore:
        if self._store is None:
            from ecm.evidence.store import EvidenceStore  # Lance takes seconds; few runs need it.

            self._store = EvidenceStore.open(self._config)
        return self._store


def _decision(
    linked: frozenset[str],
    seen: AssetTexts | None,
    read: AssetTexts | None,
    ocr_transform: str | None,
) -> AdmitDecision:
    """`seen` and `read` are what vision and OCR said before, the latter by `ocr_transform`."""
    text = None
    if seen is not None:
        text = meaning_text(seen.caption, seen.tags, seen.classification, ())
    lines = [line.text for said in (seen, read) if said is not None for line in said.ocr]
    known = read is not None or ocr_transform is None
    return AdmitDecision(linked, text, " ".join(lines) if known else None)
