"""When a snapshot is built on another one, and when anew; its files; what is measured of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest
from lance.query import MatchQuery

from ecm.contracts.identity import digest
from ecm.contracts.result import Space
from ecm.contracts.search import Axis
from ecm.errors import LeaseLost, SnapshotRejected, StoreCorrupt
from ecm.evidence import building
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.generation import reduce_generation
from ecm.evidence.policy import SnapshotLimits, SnapshotPolicy
from ecm.evidence.publication import publish_despite_measurements
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.refs import SnapshotRef, read_ref
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.snapshot_files import check_file, files_of, read_files
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import (
    MV,
    OCR,
    START,
    VISION,
    VV,
    X,
    content_of,
    embedded,
    everything,
    vector_of,
    vision,
)

OTHER_VV = digest("other vv")
POLICY = SnapshotPolicy(
    transforms={
        Axis.FTS: (VISION, OCR),
        Axis.VV: (OTHER_VV, VV),
        Axis.X: (X,),
        Axis.MV: (MV,),
    }
)
INDEXED = {"vector_index_rows": 256, "exact_search_rows": 256}
Configs = Callable[..., EvidenceConfig]


def rows_of(dataset: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = dataset.to_table().to_pylist()
    return sorted(rows, key=lambda row: row["asset_id"])


def _store(config: EvidenceConfig, assets: int = 1) -> tuple[EvidenceStore, SnapshotRef]:
    store = EvidenceStore.create(config, START)
    batch = [said for seed in range(assets) for said in everything(seed, "dog")]
    EvidenceCommitter(store).append("b1", batch)
    return store, SnapshotStore(store).build(POLICY, START)


def test_building_on_gives_what_building_anew_does_wherever_the_store_lies(
    evidence_config: Configs, tmp_path: Path
) -> None:
    store, first = _store(evidence_config(), 6)
    EvidenceCommitter(store).append("b2", [*everything(9, "sea"), vision(2, "", ("cat",))])
    # A build that died had taken rows out of the generation.
    half = pa.table({"tenant_id": ["t", "t"], "asset_id": [content_of(0), content_of(2)]})
    assert reduce_generation(store, first.table, first.version, half) == {"t": 2}
    second = SnapshotStore(store).build(POLICY, START + 1)
    assert second.lineage.base == first.snapshot_id
    anew = SnapshotStore(store).build_anew(POLICY, START + 2)
    assert anew.lineage.reason == "it was asked for"
    made, wanted = (store.open_lance(ref.table, ref.version) for ref in (second, anew))
    assert rows_of(made) == rows_of(wanted)

    # The listed files are all there is to it: a copy of them opens and answers.
    for ref in (first, second):
        copy = tmp_path / ref.snapshot_id
        for file in files_of(store, ref).values():
            check_file(store, file)
            (copy / file.name).parent.mkdir(parents=True, exist_ok=True)
            (copy / file.name).write_bytes(store.storage.read(file.name) or b"")
        copied = lance.dataset(str(copy / ref.table), version=ref.version)
        assert rows_of(copied) == rows_of(store.open_lance(ref.table, ref.version))
        for word in ("dog", "sea", "cat"):
            query = MatchQuery(word, "tags")
            theirs = store.open_lance(ref.table, ref.version)
            mine, original = (
                t.to_table(columns=["asset_id", "_score"], full_text_query=query)
                for t in (copied, theirs)
            )
            assert mine.to_pylist() == original.to_pylist()


@pytest.fixture
def config(tmp_path: Path) -> EvidenceConfig:
    return EvidenceConfig(uri=str(tmp_path / "store"))


def _reason(store: EvidenceStore, policy: SnapshotPolicy = POLICY) -> str:
    now = START + len(SnapshotStore(store).list())
    ref = SnapshotStore(store).build(policy, now)
    assert ref.lineage.base is None
    assert SnapshotReader.open(store, ref).ref == ref
    return ref.lineage.reason


def test_rows_that_have_gone_are_noticed(config: EvidenceConfig) -> None:
    store, _ = _store(config, 3)
    EvidenceCommitter(store).append("b2", [vision(7, "", ("sea",))])
    SnapshotStore(store).build(POLICY, START + 1)
    EvidenceCommitter(store).delete_batch("b2")
    EvidenceCommitter(store).append("b3", [vision(8, "", ("sea",)), vision(9, "", ("sea",))])
    assert "2 rows of table evidence_text have gone" in _reason(store)


def test_another_table_of_the_same_name_is_noticed(config: EvidenceConfig) -> None:
    store, _ = _store(config)
    store.storage.remove("tables/assets.lance")
    again = EvidenceStore.open(config)
    EvidenceCommitter(again).append("b2", [*everything(0, "dog"), *everything(1, "dog")])
    assert _reason(again) == "table assets is another one"


def test_a_new_preferred_transform_is_for_all_assets(config: EvidenceConfig) -> None:
    store, _ = _store(config, 3)
    EvidenceCommitter(store).append("b2", [embedded(0, Space.VV, OTHER_VV)])
    assert _reason(store) == "an axis has another transform than before"


def test_an_empty_snapshot_is_not_built_on(config: EvidenceConfig) -> None:
    store = EvidenceStore.create(config, START)
    SnapshotStore(store).build(POLICY, START)
    EvidenceCommitter(store).append("b1", everything("a", "dog"))
    assert _reason(store) == "the snapshot before is empty"


def test_many_changes_and_many_steps_are_built_anew(
    config: EvidenceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "MOST_STEPS", 3)
    store, _ = _store(config, 3)
    for number in range(building.MOST_STEPS):
        EvidenceCommitter(store).append(f"more{number}", [vision(10 + number, "", ("sea",))])
        ref = SnapshotStore(store).build(POLICY, START + 1 + number)
        assert ref.lineage.steps == number + 1
    answers = SnapshotReader.open(store, ref).search_text("t", "sea", {"tags": 1.0}, 50)
    assert {asset for asset, _ in answers} == {
        content_of(10 + number) for number in range(building.MOST_STEPS)
    }
    EvidenceCommitter(store).append("last", [vision(99, "", ("sea",))])
    assert _reason(store) == "3 snapshots have been built on one another"
    monkeypatch.setattr(building, "FEW_ASSETS", 2)
    EvidenceCommitter(store).append("many", [vision(200 + n, "", ("sea",)) for n in range(9)])
    assert _reason(store) == "9 assets of 7 are to be looked at again"


def test_a_damaged_snapshot_is_not_built_on_but_replaced(config: EvidenceConfig) -> None:
    store, first = _store(config, 3)
    for data in (Path(store.storage.location(first.table)) / "data").iterdir():
        data.write_bytes(data.read_bytes()[:40])
    data_file = next(file for name, file in files_of(store, first).items() if "/data/" in name)
    with pytest.raises(StoreCorrupt, match=r"data/.* is damaged"):
        check_file(store, data_file)
    EvidenceCommitter(store).append("b2", everything(9, "sea"))
    assert _reason(store).startswith(f"{first.snapshot_id} could not be built on: ")
    for manifest in (Path(store.storage.location(first.table)) / "_versions").iterdir():
        manifest.unlink()
    assert SnapshotStore(store).build(POLICY, START + 9).assets == 4


def test_a_damaged_list_of_files_is_refused(config: EvidenceConfig) -> None:
    store, ref = _store(config)
    listed = Path(store.storage.location(f"snapshots/{ref.snapshot_id}/files.json"))
    whole = listed.read_bytes()
    for damage in (whole.replace(b"0", b"1", 1), b"{}"):
        listed.write_bytes(damage)
        with pytest.raises(StoreCorrupt, match=r"list of files .* is damaged"):
            read_files(store, ref)
    listed.unlink()
    with pytest.raises(StoreCorrupt, match=r"list of files .* is missing"):
        read_files(store, ref)
    assert read_files(store, ref.model_copy(update={"files_sha256": None})) is None


def test_an_index_that_is_extended_finds_what_one_built_anew_does(tmp_path: Path) -> None:
    config = EvidenceConfig(uri=str(tmp_path / "store"), **INDEXED)
    store, _ = _store(config, 300)
    batch = [said for seed in range(300, 330) for said in everything(seed, "sea")]
    batch += [embedded(seed, vector=vector_of(Space.VV, "x"), tenant="u") for seed in range(9)]
    EvidenceCommitter(store).append("b2", batch)
    step = SnapshotStore(store).build(POLICY, START + 1)
    anew = SnapshotStore(store).build_anew(POLICY, START + 2)
    assert (step.lineage.steps, anew.lineage.steps) == (1, 0)
    assert step.measurements.indexed_rows == anew.measurements.indexed_rows
    assert step.measurements.neighbours == {"vv": 1.0, "x": 1.0, "mv": 1.0}
    ours, theirs = (SnapshotReader.open(store, ref) for ref in (step, anew))
    for seed in range(12):
        query = vector_of(Space.VV, ("query", seed))
        mine = ours.search_vectors("t", Axis.VV, query, 20)
        assert mine == theirs.search_vectors("t", Axis.VV, query, 20)
    for word in ("dog", "sea"):
        mine = ours.search_text("t", word, {"tags": 1.0}, 400)
        assert dict(mine) == pytest.approx(dict(theirs.search_text("t", word, {"tags": 1.0}, 400)))


def test_a_snapshot_beyond_a_limit_is_kept_but_not_published(config: EvidenceConfig) -> None:
    store, first = _store(config, 20)
    snapshots = SnapshotStore(store)
    snapshots.publish(first.snapshot_id, START)
    assert (first.measurements.shortfalls, first.measurements.coverage["vv"]) == ((), 1.0)
    asked = ("caption", "tags", "classification", "name", "path")
    assert first.measurements.queries == dict.fromkeys(asked, 1.0)
    EvidenceCommitter(store).append("b2", [vision(100 + n, "", ("sea",)) for n in range(21)])
    second = snapshots.build(POLICY, START + 1)
    assert [s.measurement for s in second.measurements.shortfalls] == [
        "coverage.vv",
        "coverage.x",
        "coverage.mv",
    ]
    with pytest.raises(SnapshotRejected, match=r"vv covers 48\.8% of the assets, 100\.0% in"):
        snapshots.publish(second.snapshot_id, START + 2)
    assert snapshots.published() == first
    assert read_ref(store, second.snapshot_id) == second

    lenient = SnapshotLimits(max_lost_coverage=0.6)
    third = snapshots.build(POLICY, START + 3, lenient)
    assert (third.table, third.version) == (second.table, second.version)
    assert snapshots.publish(third.snapshot_id, START + 4) == third
    assert snapshots.build(POLICY, START + 5, lenient) == third
    assert publish_despite_measurements(store, second.snapshot_id, START + 6) == second


def test_who_lost_the_right_to_commit_refers_to_nothing(config: EvidenceConfig) -> None:
    store, first = _store(config)
    EvidenceCommitter(store).append("b2", everything(1, "dog"))

    def lost() -> None:
        raise LeaseLost("another has it")

    with pytest.raises(LeaseLost):
        SnapshotStore(store).build(POLICY, START + 1, still_mine=lost)
    assert SnapshotStore(store).list() == (first,)
    assert SnapshotStore(store).build(POLICY, START + 1).lineage.base == first.snapshot_id
