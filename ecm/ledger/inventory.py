"""What an audit asks by name: which resources, batches and evidence there are. Only reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator

from ecm.contracts.identity import ContentIdentity, TenantId
from ecm.ledger.duty import json_list
from ecm.ledger.existing import Existing
from ecm.ledger.records import Committed, Place, ShortResource
from ecm.ledger.states import BatchState


class Inventory(Existing):
    """The words in which an imbalance is told."""

    def resource_uri(self, tenant_id: str, identity_key: str) -> str | None:
        """Where a tenant's resource lies, or None when the ledger has no row of it."""
        wanted = {"tenant_id": self._tenant(tenant_id), "identity_key": identity_key}
        with self._db.read() as session:
            row = session.one("find_resource", wanted)
        return row["uri"] if row else None

    def short_resources(self, job_id: str) -> Iterator[ShortResource]:
        """Resources of a job that have fewer tasks than the job has transforms."""
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            transforms = len(json.loads(job["transforms"]))
            wanted = {"job_seq": job["job_seq"], "transforms": transforms}
            for row in session.stream("stream_short", wanted):
                yield ShortResource(row["uri"], row["identity_key"], row["tasks"], transforms)

    def places(self, job_id: str, evidence_keys: Collection[str]) -> Iterator[Place]:
        """Where a job saw what these evidence keys are about; a key may have many places."""
        with self._db.read() as session:
            job = self._job_row(session, job_id)
            wanted = {"job_seq": job["job_seq"], "keys": json_list(evidence_keys)}
            for row in session.stream("stream_places", wanted):
                yield Place(row["evidence_key"], row["task_id"], row["uri"], row["task_type"])

    def committed(self, tenant_id: TenantId | None = None) -> Iterator[Committed]:
        """Every committed task of one tenant, or of all this ledger may see, in no order."""
        with self._db.read() as session:
            for row in session.stream("stream_committed", {"tenant_id": self._tenant(tenant_id)}):
                place = {name: row[name] for name in ("uri", "size", "mtime_ns", "etag")}
                yield Committed(
                    row["tenant_id"],
                    row["task_id"],
                    row["task_type"],
                    row["transform"],
                    row["asset_id"],
                    row["evidence_key"],
                    ContentIdentity(**place),
                    row["persisted_at"],
                )

    def batch_states(self, batch_ids: Collection[str]) -> dict[str, BatchState]:
        """How batches stand, by id; without those that were never reported here. For operators."""
        self._operator("batch_states")
        with self._db.read() as session:
            rows = session.all("find_batches", {"batch_ids": json_list(batch_ids)})
        return {row["batch_id"]: BatchState(row["state"]) for row in rows}
