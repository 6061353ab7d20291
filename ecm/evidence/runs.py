"""Runs on record: which transforms, which settings, which code, when, and what came of it.

A run leaves a row when it begins and another when it ends; rows are never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Self

import pyarrow as pa
from pydantic import Field

from ecm.contracts.identity import Contract, Digest, TenantId, digest
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.schema import ANALYSIS_RUNS, fixed_schema
from ecm.evidence.store import EvidenceStore


class RunState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class RunRecord(Contract):
    """One execution of a job. Times are Unix seconds (UTC)."""

    run_id: str = Field(min_length=1, max_length=128)
    tenant_id: TenantId
    job_id: str = Field(min_length=1, max_length=128)
    state: RunState = RunState.RUNNING
    transforms: tuple[Digest, ...] = ()
    config_digest: Digest
    code_version: str = Field(min_length=1, max_length=64)
    started_at: float
    finished_at: float | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    telemetry: dict[str, float] = Field(default_factory=dict)

    def finished(
        self,
        finished_at: float,
        summary: Mapping[str, object],
        state: RunState = RunState.FINISHED,
    ) -> Self:
        """The record at the end: whole numbers of the summary become counts, others telemetry."""
        numbers = {
            name: value
            for name, value in summary.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        return self.model_copy(
            update={
                "state": state,
                "finished_at": finished_at,
                "counts": {n: v for n, v in numbers.items() if isinstance(v, int)},
                "telemetry": {n: v for n, v in numbers.items() if isinstance(v, float)},
            }
        )


def record_run(store: EvidenceStore, record: RunRecord) -> None:
    """Add the row of a run in its present state, once. Raises as `EvidenceCommitter.append`."""
    key = digest(["run", record.run_id, record.state.value])
    row = record.model_dump(mode="json") | {
        "run_key": key,
        "recorded_at": record.finished_at or record.started_at,
        "counts": [{"name": n, "value": v} for n, v in sorted(record.counts.items())],
        "telemetry": [{"name": n, "value": v} for n, v in sorted(record.telemetry.items())],
    }
    table = pa.Table.from_pylist([row], schema=fixed_schema(ANALYSIS_RUNS))
    EvidenceCommitter(store).append_rows(ANALYSIS_RUNS, table, f"run-{key}")


def runs_of(store: EvidenceStore) -> tuple[RunRecord, ...]:
    """Every run in its last recorded state, newest first."""
    if not store.has_table(ANALYSIS_RUNS):
        return ()
    last: dict[str, RunRecord] = {}
    columns = [*RunRecord.model_fields, "recorded_at"]
    rows = store.read(ANALYSIS_RUNS, columns).to_pylist()
    for row in sorted(rows, key=lambda row: (row.pop("recorded_at"), row["state"] != "running")):
        row["counts"] = {pair["name"]: pair["value"] for pair in row["counts"]}
        row["telemetry"] = {pair["name"]: pair["value"] for pair in row["telemetry"]}
        last[row["run_id"]] = RunRecord.model_validate(row)
    return tuple(sorted(last.values(), key=lambda run: (-run.started_at, run.run_id)))
