"""Claimed tasks as the block that enters the stages. Knows the ledger's records and the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ecm.ledger.records import ClaimedTask
from ecm.stages.columns import CLAIM_SCHEMA


def block_of(claimed: Sequence[ClaimedTask]) -> pa.Table:
    """CLAIM_SCHEMA: one row per resource with all its claimed tasks, in claiming order."""
    rows: dict[str, dict[str, Any]] = {}
    for task in claimed:
        row = rows.setdefault(
            task.resource_key,
            {
                "resource_key": task.resource_key,
                "tenant_id": task.tenant_id,
                "uri": task.identity.uri,
                "size": task.identity.size,
                "mtime_ns": task.identity.mtime_ns,
                "etag": task.identity.etag,
                "tasks": [],
            },
        )
        row["tasks"].append(
            {
                "task_id": task.task_id,
                "task_type": task.task_type.value,
                "transform": task.transform,
                "attempt": task.attempt,
                "fence": task.fence,
            }
        )
    return pa.Table.from_pylist(list(rows.values()), schema=CLAIM_SCHEMA)
