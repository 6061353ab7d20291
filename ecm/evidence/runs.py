"""Runs on record: which transforms, which settings, which code, when, and what came of it.

A run leaves a row when it begins and another when it ends; rows are never changed. One that was
killed leaves only the first: it is told from one that goes on by how long nothing was heard of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from ecm.contracts.identity import Contract, Digest, TenantId, digest
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.schema import ANALYSIS_RUNS, ASSET_VERSIONS, fixed_schema, is_evidence_table
from ecm.evidence.store import EvidenceStore, of_tenant

SILENCE: Final = 3600.0
"""Seconds without a word after which a run that has no end is taken for interrupted."""


class RunState(StrEnum):
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ShownState(StrEnum):
    """The state of a run as a reader sees it.

    `interrupted`: it began, has no end and has long been silent. It was killed, hangs, or is a
    worker that has had no work since; of which of these the store knows nothing.
    """

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


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


def run_key(tenant_id: str, run_id: str, state: str) -> str:
    """The id of the row that a run leaves in a state: once, however often it is told."""
    return digest(["run", tenant_id, run_id, str(state)])


def former_run_key(run_id: str, state: str) -> str:
    """The id that such a row had when runs were taken to be named across tenants."""
    return digest(["run", run_id, str(state)])


def record_of(row: Mapping[str, Any]) -> RunRecord:
    """The record that a row of `analysis_runs` holds. Raises pydantic's ValidationError."""
    pairs = {
        name: {pair["name"]: pair["value"] for pair in row[name] or ()}
        for name in ("counts", "telemetry")
    }
    return RunRecord.model_validate({name: row[name] for name in RunRecord.model_fields} | pairs)


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run in its last recorded state, and what that means by now.

    `last_sign` is when it was last heard of: its end, else the newest statement it made, else its
    beginning (Unix seconds).
    """

    record: RunRecord
    state: ShownState
    last_sign: float


def record_run(store: EvidenceStore, record: RunRecord) -> None:
    """Add the row of a run in its present state, once. Raises as `EvidenceCommitter.append`.

    Two tenants may have runs of one id. Rows of before had a key without the tenant: where such a
    row of this tenant is there, it is this one.
    """
    if _has_row(store, former_run_key(record.run_id, record.state), record.tenant_id):
        return
    key = run_key(record.tenant_id, record.run_id, record.state)
    row = record.model_dump(mode="json") | {
        "run_key": key,
        "recorded_at": record.finished_at or record.started_at,
        "counts": [{"name": n, "value": v} for n, v in sorted(record.counts.items())],
        "telemetry": [{"name": n, "value": v} for n, v in sorted(record.telemetry.items())],
    }
    table = pa.Table.from_pylist([row], schema=fixed_schema(ANALYSIS_RUNS))
    EvidenceCommitter(store).append_rows(ANALYSIS_RUNS, table, f"run-{key}")


def runs_of(store: EvidenceStore, tenant_id: str | None = None) -> tuple[RunRecord, ...]:
    """Every run, or those of one tenant, in its last recorded state, newest first."""
    if not store.has_table(ANALYSIS_RUNS):
        return ()
    last: dict[tuple[str, str], RunRecord] = {}
    columns = [*RunRecord.model_fields, "recorded_at"]
    where = None if tenant_id is None else of_tenant(tenant_id)
    rows = store.read(ANALYSIS_RUNS, columns, where).to_pylist()
    for row in sorted(rows, key=lambda row: (row["recorded_at"], row["state"] != "running")):
        last[row["tenant_id"], row["run_id"]] = record_of(row)
    return tuple(sorted(last.values(), key=lambda r: (-r.started_at, r.run_id, r.tenant_id)))


def shown_runs(
    store: EvidenceStore, now: float, tenant_id: str | None = None, silence: float = SILENCE
) -> tuple[ShownRun, ...]:
    """Every run, or those of one tenant, as seen at `now`, newest first.

    A run without an end that was not heard of for `silence` seconds is shown as interrupted.
    """
    runs = runs_of(store, tenant_id)
    quiet = [r for r in runs if r.state is RunState.RUNNING and r.started_at < now - silence]
    heard = _last_signs(store, {run.run_id for run in quiet}) if quiet else {}
    return tuple(_shown(run, heard, now - silence) for run in runs)


def _shown(run: RunRecord, heard: Mapping[tuple[str, str], float], since: float) -> ShownRun:
    if run.state is not RunState.RUNNING:
        return ShownRun(run, ShownState(run.state), run.finished_at or run.started_at)
    sign = max(run.started_at, heard.get((run.tenant_id, run.run_id), run.started_at))
    return ShownRun(run, ShownState.INTERRUPTED if sign < since else ShownState.RUNNING, sign)


def _last_signs(store: EvidenceStore, run_ids: Collection[str]) -> dict[tuple[str, str], float]:
    """The newest statement of each of some runs, by tenant and run."""
    columns = ["tenant_id", "run_id", "observed_at"]
    where = pc.field("run_id").isin(sorted(run_ids))
    newest: dict[tuple[str, str], float] = {}
    for name in store.tables():
        if not (is_evidence_table(name) or name == ASSET_VERSIONS):
            continue
        rows = store.read(name, columns, where).group_by(columns[:2])
        for row in rows.aggregate([("observed_at", "max")]).to_pylist():
            run = row["tenant_id"], row["run_id"]
            newest[run] = max(newest.get(run, 0.0), row["observed_at_max"])
    return newest


def _has_row(store: EvidenceStore, key: str, tenant_id: str) -> bool:
    if not store.has_table(ANALYSIS_RUNS):
        return False
    where = of_tenant(tenant_id) & (pc.field("run_key") == key)
    return bool(store.read(ANALYSIS_RUNS, ["run_key"], where).num_rows)
