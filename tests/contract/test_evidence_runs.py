"""Runs on record: two tenants, rows of former releases, and runs that were never heard of again."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from ecm.contracts.identity import digest
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.runs import (
    RunRecord,
    RunState,
    ShownState,
    former_run_key,
    record_run,
    runs_of,
    shown_runs,
)
from ecm.evidence.schema import ANALYSIS_RUNS, fixed_schema
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import START, VISION, vision


@pytest.fixture
def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore.create(EvidenceConfig(uri=str(tmp_path / "store")), START)


def _run(tenant: str = "t", run_id: str = "run-1", started_at: float = START) -> RunRecord:
    return RunRecord(
        run_id=run_id,
        tenant_id=tenant,
        job_id="job",
        transforms=(VISION,),
        config_digest=digest("config"),
        code_version="0.1.0",
        started_at=started_at,
    )


def test_two_tenants_may_have_runs_of_one_id(store: EvidenceStore) -> None:
    for tenant in ("t", "u"):
        record_run(store, _run(tenant))
        record_run(store, _run(tenant))
    ended = _run("u").finished(START + 9, {"committed": 3})
    record_run(store, ended)
    assert runs_of(store) == (_run("t"), ended)
    assert runs_of(store, "u") == (ended,)
    assert store.counts()[ANALYSIS_RUNS] == 3


def test_a_row_of_a_former_release_is_known_again(store: EvidenceStore) -> None:
    run = _run()
    row = run.model_dump(mode="json") | {
        "run_key": former_run_key(run.run_id, run.state),
        "recorded_at": START,
        "counts": [],
        "telemetry": [],
    }
    rows = pa.Table.from_pylist([row], schema=fixed_schema(ANALYSIS_RUNS))
    EvidenceCommitter(store).append_rows(ANALYSIS_RUNS, rows, "run-former")
    record_run(store, run)
    assert store.counts()[ANALYSIS_RUNS] == 1
    record_run(store, _run("u"))
    record_run(store, run.finished(START + 1, {}))
    assert {(r.tenant_id, r.state) for r in runs_of(store)} == {
        ("t", RunState.FINISHED),
        ("u", RunState.RUNNING),
    }


def test_a_run_that_has_long_been_silent_is_shown_as_interrupted(store: EvidenceStore) -> None:
    for name, start in (("killed", START), ("talks", START), ("young", START + 3000)):
        record_run(store, _run(run_id=name, started_at=start))
    done = _run(run_id="done").finished(START + 5, {})
    record_run(store, done)
    record_run(store, _run("u", "talks"))
    EvidenceCommitter(store).append(
        "b1", [vision(1, "a dog", ("dog",), run_id="talks", observed_at=START + 2500)]
    )

    def states(now: float, tenant: str = "t") -> dict[str, ShownState]:
        return {run.record.run_id: run.state for run in shown_runs(store, now, tenant)}

    assert states(START + 60)["killed"] is ShownState.RUNNING
    assert states(START + 5000) == {
        "young": ShownState.RUNNING,
        "killed": ShownState.INTERRUPTED,
        "talks": ShownState.RUNNING,
        "done": ShownState.FINISHED,
    }
    assert states(START + 5000, "u") == {"talks": ShownState.INTERRUPTED}
    signs = {run.record.run_id: run.last_sign for run in shown_runs(store, START + 5000, "t")}
    assert signs["talks"] == START + 2500
    assert signs["done"] == START + 5
    assert states(START + 20_000)["talks"] is ShownState.INTERRUPTED
    assert runs_of(store, "t")[0].state is RunState.RUNNING
