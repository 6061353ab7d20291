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
        self, requests: Sequence[AdmitRequest], vision_transform: str | None
    ) -> list[AdmitDecision]:
        """Link tasks whose bytes were already analysed by their transform, or are right now.

        `vision_transform` is the fingerprint whose texts a meaning vector embeds, if the plan of
        the caller has one. Raises LedgerUnavailable, StoreUnavailable.
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
        texts = self._stored_texts(requests, linked, vision_transform)
        return [
            AdmitDecision(links, texts.get((request.tenant_id, request.content_hash)))
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

    def _stored_texts(
        self,
        requests: Sequence[AdmitRequest],
        linked: Sequence[frozenset[str]],
        vision_transform: str | None,
    ) -> dict[tuple[str, str], str]:
        """What vision said earlier, by (tenant, asset), where only the meaning vector is made."""
        wanted: dict[str, list[str]] = defaultdict(list)
        for request, links in zip(requests, linked, strict=True):
            running = {kind for task_id, kind, _ in request.tasks if task_id not in links}
            if TaskType.MV_EMBED in running and TaskType.VISION not in running:
                wanted[request.tenant_id].append(request.content_hash)
        if not wanted or vision_transform is None:
            return {}
        store = self._opened()
        return {
            (tenant_id, asset_id): meaning_text(
                said.caption, said.tags, said.classification, said.ocr
            )
            for tenant_id, asset_ids in wanted.items()
            for asset_id, said in store.texts_of(tenant_id, asset_ids, vision_transform).items()
        }

    def _opened(self) -> EvidenceStore:
        if self._store is None:
            from ecm.evidence.store import EvidenceStore  # Lance takes seconds; few runs need it.

            self._store = EvidenceStore.open(self._config)
        return self._store
