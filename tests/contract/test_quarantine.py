"""Quarantined evidence leaves the next snapshot, texts and vectors; the rest stays as it was."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ecm.contracts.identity import evidence_key
from ecm.contracts.quarantine import Drift, QuarantineNotice
from ecm.contracts.result import Space
from ecm.contracts.task import TaskType
from ecm.delivery.admission import Admission
from ecm.delivery.exporting import ExportSettings, export_bundle
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.bundle import BundleFormat
from ecm.evidence.quarantine import (
    QuarantineState,
    Redone,
    Release,
    mark_redone,
    open_quarantines,
    quarantine,
    quarantine_of,
    quarantines,
    release,
    shut_out,
)
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.schema import EVIDENCE_TEXT, vector_table
from ecm.evidence.sql import ALL_TENANTS, answer
from ecm.ledger.ledger import open_ledger
from ecm.stages.prepare import AdmitRequest
from tests.factories import Indexer, fake_profile, gallery

DRIFT = Drift(probe="red.png", measured=0.91, needed=0.999, said="red.png has cosine 0.91")
WHY = Release(at=2.0, by="ann", why="the probe was wrong")


@pytest.fixture
def made(tmp_path: Path) -> Indexer:
    return Indexer(fake_profile(tmp_path))


def notice(
    made: Indexer,
    assets: Iterable[str],
    kinds: Iterable[TaskType],
    run_id: str = "run-1",
    tenant: str = "t",
) -> QuarantineNotice:
    transforms = {kind: made.plan.by_type[kind].fingerprint for kind in kinds}
    keys = [
        evidence_key(tenant, asset, kind.value, mark)
        for asset in assets
        for kind, mark in transforms.items()
    ]
    return QuarantineNotice(
        tenant_id=tenant,
        manifest="fake-image",
        transforms=tuple(transforms.values()),
        run_id=run_id,
        worker_id="w",
        drift=DRIFT,
        since=1.0,
        until=made.now,
        keys=tuple(sorted(keys)),
    )


def shown(made: Indexer, ref: SnapshotRef) -> dict[str, dict[str, object]]:
    table = made.store.open_lance(ref.table, ref.version).to_table(
        columns=["asset_id", "caption", "vv_evidence", "x_evidence", "mv_evidence"]
    )
    return {row["asset_id"]: row for row in table.to_pylist()}


def test_every_kind_of_evidence_leaves_and_the_rest_stays(made: Indexer) -> None:
    assets = made.add(gallery(2))
    before = shown(made, made.publish())
    some = assets[:3]
    seen = (TaskType.VISION, TaskType.VV_EMBED, TaskType.MV_EMBED)
    name = quarantine(made.store, notice(made, some, seen))
    ref = made.publish()
    after = shown(made, ref)
    assert ref.quarantines == (name,)
    assert ref.measurements.quarantined >= 3 * len(some)
    assert ref.lineage.reason == "other evidence is quarantined than before"
    for asset in assets:
        if asset not in some:
            assert after[asset] == before[asset]
            continue
        said = after[asset]
        assert said["caption"] is said["vv_evidence"] is said["mv_evidence"] is None
        assert said["x_evidence"] == before[asset]["x_evidence"]


def test_rows_that_come_later_are_covered_and_those_of_another_run_are_not(made: Indexer) -> None:
    pictures = gallery(2)
    made.add(pictures)
    made.publish()
    late = {"late.png": gallery(3)["red-2.png"]}
    (asset,) = made.add(late, run_id="run-2", without=list(TaskType))
    quarantine(made.store, notice(made, [asset], [TaskType.VV_EMBED], "run-2"))
    built = made.publish()
    made.add(late, run_id="run-2")
    ref = made.publish()
    assert ref.lineage.base == built.snapshot_id  # a step, since the quarantines are the same
    assert shown(made, ref)[asset]["vv_evidence"] is None
    other = {"other.png": gallery(4)["red-3.png"]}
    (again,) = made.add(other, run_id="run-3")
    quarantine(made.store, notice(made, [again], [TaskType.VV_EMBED], "run-2"))
    assert shown(made, made.publish())[again]["vv_evidence"] is not None


def test_another_tenants_notice_shuts_out_nothing(made: Indexer) -> None:
    (asset, *_) = made.add(gallery(1))
    theirs = notice(made, [asset], [TaskType.VV_EMBED])
    quarantine(made.store, theirs.model_copy(update={"tenant_id": "other"}))
    ref = made.publish()
    assert ref.measurements.quarantined == 0
    assert shown(made, ref)[asset]["vv_evidence"] is not None
    assert open_quarantines(made.store, "t") == ()
    assert len(open_quarantines(made.store, None)) == 1


def test_what_is_released_is_seen_again(made: Indexer) -> None:
    (asset, *_) = made.add(gallery(1))
    name = quarantine(made.store, notice(made, [asset], [TaskType.VV_EMBED]))
    made.publish()
    one = release(made.store, quarantine_of(made.store, name), WHY)
    again = release(made.store, one, WHY.model_copy(update={"by": "bob"}))
    assert again.released == WHY
    ref = made.publish()
    assert ref.quarantines == ()
    assert shown(made, ref)[asset]["vv_evidence"] is not None


def test_what_is_redone_is_not_released(made: Indexer) -> None:
    (asset, *_) = made.add(gallery(1))
    name = quarantine(made.store, notice(made, [asset], [TaskType.VV_EMBED]))
    one = mark_redone(made.store, quarantine_of(made.store, name), Redone(at=3.0, rows=1, tasks=1))
    assert one.state is QuarantineState.REDONE
    assert shut_out(made.store).ids == (name,)  # a batch that was on its way may still arrive
    with pytest.raises(ConfigError, match="nothing to release"):
        release(made.store, one, WHY)


def test_saying_it_twice_makes_one_and_damage_is_told(made: Indexer) -> None:
    (asset, *_) = made.add(gallery(1))
    told = notice(made, [asset], [TaskType.VV_EMBED])
    assert quarantine(made.store, told) == quarantine(made.store, told)
    (one,) = quarantines(made.store)
    assert one.notice == told
    made.store.storage.put(f"quarantines/{one.quarantine_id}/notice.json", b"{")
    with pytest.raises(StoreCorrupt, match="damaged"):
        made.publish()
    with pytest.raises(ConfigError, match="no quarantine"):
        quarantine_of(made.store, "../x")


def test_one_query_tells_what_is_quarantined(made: Indexer) -> None:
    assets = made.add(gallery(1))
    made.add(gallery(1), tenant="other")
    name = quarantine(made.store, notice(made, assets[:2], [TaskType.VISION]))
    quarantine(made.store, notice(made, assets, [TaskType.VISION], tenant="other"))
    query = (
        "SELECT DISTINCT asset_id, quarantine_id, state, probe FROM evidence_text "
        "JOIN quarantined USING (tenant_id, evidence_key, run_id) ORDER BY asset_id"
    )
    rows = answer(made.store, query, "t").table.to_pylist()
    assert [row["asset_id"] for row in rows] == sorted(assets[:2])
    assert {(r["quarantine_id"], r["state"], r["probe"]) for r in rows} == {
        (name, "open", "red.png")
    }
    counted = answer(made.store, "SELECT count(*) AS n FROM quarantined", ALL_TENANTS)
    assert counted.table.to_pylist() == [{"n": 2 + len(assets)}]


def test_a_meaning_vector_is_not_made_of_quarantined_words(made: Indexer) -> None:
    (asset, *_) = made.add(gallery(1), without=[TaskType.MV_EMBED])
    plan = made.plan.by_type
    mark = plan[TaskType.MV_EMBED].fingerprint
    request = AdmitRequest("t", asset, (("f" * 64, TaskType.MV_EMBED, mark),))
    with open_ledger(made.profile.ledger) as ledger:
        admission = Admission(ledger, made.profile.evidence)
        vision = plan[TaskType.VISION].fingerprint
        (before,) = admission.admit([request], vision)
        assert before.known_text
        quarantine(made.store, notice(made, [asset], [TaskType.VISION]))
        (after,) = admission.admit([request], vision)
        assert after.known_text is None


def test_a_bundle_carries_no_quarantined_evidence(made: Indexer, tmp_path: Path) -> None:
    assets = made.add(gallery(1))
    quarantine(made.store, notice(made, assets[:2], [TaskType.VISION, TaskType.X_EMBED]))
    settings = ExportSettings(("t",), BundleFormat.PARQUET, frozenset(), None, {}, "0")
    export_bundle(made.store, list, settings, tmp_path / "bundle", made.now, lambda *_: None)
    mark = made.plan.by_type[TaskType.X_EMBED].fingerprint
    for table in (EVIDENCE_TEXT, vector_table(Space.X, mark)):
        rows = pq.read_table(tmp_path / "bundle" / "tables" / f"{table}.parquet")
        assert set(rows["asset_id"].to_pylist()) == set(assets[2:])
