"""Upkeep of the evidence tables: nothing is lost, nobody is disturbed, nothing is left lying."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from ecm.contracts.identity import digest
from ecm.delivery.maintaining import Maintained, maintain, plan_maintenance
from ecm.errors import LeaseLost
from ecm.evidence.committer import EvidenceCommitter, unquestioned
from ecm.evidence.compaction import FEWEST, fragments_of
from ecm.evidence.config import EvidenceConfig, MaintenanceConfig
from ecm.evidence.known import TableKeys
from ecm.evidence.maintenance import TableUpkeep
from ecm.evidence.schema import ASSETS, EVIDENCE_TEXT
from ecm.evidence.store import EvidenceStore
from tests.evidence_envelopes import START, everything, vision
from tests.object_server import ObjectServer

BATCHES = 12
AT_ONCE = MaintenanceConfig(versions_seconds=0, orphans_seconds=0)


def store_at(folder: Path, maintenance: MaintenanceConfig = AT_ONCE) -> EvidenceStore:
    config = EvidenceConfig(uri=str(folder), maintenance=maintenance)
    return EvidenceStore.create(config, START)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled") / "store"
    committer = EvidenceCommitter(store_at(folder))
    for number in range(BATCHES):
        committer.append(f"b{number}", everything(number, "dog", f"word{number}"))
    return folder


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> EvidenceStore:
    """A copy, with the times of its files: age counts."""
    return store_at(shutil.copytree(filled, tmp_path / "store"))


def maintained(store: EvidenceStore, spool: Path | None = None, now: float = 0.0) -> Maintained:
    folder = spool or Path("/nonexistent")
    now = now or time.time() + 1
    return maintain(store, folder, unquestioned, now, lambda _: None, lambda: False)


def contents(store: EvidenceStore) -> dict[str, str]:
    """A digest of every row of every table, in an order of its own."""
    return {
        name: digest(sorted(map(repr, store.dataset(name).to_table().to_pylist())))
        for name in store.tables()
    }


def untracked(store: EvidenceStore) -> set[str]:
    """Files below the tables that Lance's own lists do not have."""
    left: set[str] = set()
    for name in store.tables():
        dataset = store.dataset(name)
        tracked = set(dataset.tracked_files().read_all()["path"].to_pylist())
        root = Path(dataset.uri)
        lying = {str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()}
        left |= {
            f"{name}/{path}"
            for path in lying - tracked
            if not path.startswith(("_refs", "_versions/latest"))
        }
    return left


def test_rows_stay_and_everything_else_becomes_less(store: EvidenceStore, tmp_path: Path) -> None:
    before = contents(store)
    done = maintained(store)
    assert contents(store) == before
    assert done.complete
    assert done.problems == []
    assert [t.fragments for t in done.before] == [BATCHES] * len(store.tables())
    for table in done.after:
        assert (table.fragments, table.versions, table.mergeable) == (1, 1, 0)
        assert table.indexed in (None, 1.0)
    assert done.fragments_merged == BATCHES * len(store.tables())
    assert done.bytes_freed > 0
    assert sum(t.bytes for t in done.after) < sum(t.bytes for t in done.before)
    assert untracked(store) == set()


def test_a_second_maintenance_has_nothing_to_do(store: EvidenceStore) -> None:
    maintained(store)
    versions = store.versions()
    again = maintained(store)
    assert store.versions() == versions
    assert (again.fragments_merged, again.versions_removed, again.bytes_freed) == (0, 0, 0)


def test_a_dry_run_tells_it_all_and_changes_nothing(store: EvidenceStore, tmp_path: Path) -> None:
    (Path(store.config.uri) / "tables" / "assets.lance" / "data" / ".tmpX").write_bytes(b"xx")
    before = {f: f.stat().st_mtime_ns for f in Path(store.config.uri).rglob("*")}
    plan = plan_maintenance(store, tmp_path / "spool", time.time() + 1)
    assert {f: f.stat().st_mtime_ns for f in Path(store.config.uri).rglob("*")} == before
    assert plan.fragments_merged == BATCHES * len(store.tables())
    assert plan.versions_removed == BATCHES * len(store.tables())
    assert plan.orphans_removed == 1


def test_batches_are_recognised_after_everything_has_been_cleaned_away(
    store: EvidenceStore,
) -> None:
    maintained(store)
    before = contents(store)
    for committer in (EvidenceCommitter(store), EvidenceCommitter(store)):
        for number in range(BATCHES):
            committer.append(f"b{number}", everything(number, "dog", f"word{number}"))
    assert contents(store) == before


def test_a_read_goes_on_while_its_version_is_within_the_window(
    filled: Path, tmp_path: Path
) -> None:
    lasting = MaintenanceConfig(versions_seconds=3600, orphans_seconds=0)
    store = store_at(shutil.copytree(filled, tmp_path / "store"), lasting)
    reading = store.dataset(EVIDENCE_TEXT).to_batches(batch_size=1)
    rows = next(reading).num_rows
    done = maintained(store)
    assert (done.versions_removed, done.fragments_merged > 0) == (0, True)
    assert rows + sum(batch.num_rows for batch in reading) == store.counts()[EVIDENCE_TEXT]


def test_a_tagged_version_stays(store: EvidenceStore) -> None:
    dataset = store.dataset(ASSETS)
    dataset.tags.create("mine", 5)
    rows = dataset.checkout_version(5).count_rows()
    maintained(store)
    assert lance.dataset(dataset.uri, version="mine").to_table().num_rows == rows
    assert untracked(store) == set()


def test_keys_follow_a_compaction_without_being_read_again(store: EvidenceStore) -> None:
    keys = TableKeys()
    dataset = store.dataset(ASSETS)
    before = set(keys.of(ASSETS, dataset).keys.prefixes())
    upkeep = TableUpkeep(store, ASSETS, unquestioned)
    assert upkeep.compact_some().added == 1
    EvidenceCommitter(store).fence()
    for file in (Path(dataset.uri) / "data").iterdir():
        file.write_bytes(b"nobody reads this")
    compacted = store.dataset(ASSETS)
    assert compacted.version > dataset.version
    known = keys.of(ASSETS, compacted)
    assert known.version == compacted.version
    assert set(known.keys.prefixes()) == before


def test_of_what_others_added_only_the_new_is_read(store: EvidenceStore) -> None:
    keys = TableKeys()
    dataset = store.dataset(ASSETS)
    known = len(keys.of(ASSETS, dataset).keys)
    old = list((Path(dataset.uri) / "data").iterdir())
    EvidenceCommitter(store).append("more", everything("more", "cat"))
    for file in old:
        file.write_bytes(b"nobody reads this")
    assert len(keys.of(ASSETS, store.dataset(ASSETS)).keys) == known + 1


def test_after_a_deletion_keys_are_those_that_are_left(store: EvidenceStore) -> None:
    keys = TableKeys()
    known = len(keys.of(ASSETS, store.dataset(ASSETS)).keys)
    one = store.read(ASSETS, ["asset_key"])["asset_key"][0].as_py()
    store.dataset(ASSETS).delete(f"asset_key = '{one}'")
    assert len(keys.of(ASSETS, store.dataset(ASSETS)).keys) == known - 1


Change = Callable[[Any], object]
SLEEPERS: dict[str, Change] = {
    "append": lambda dataset: lance.LanceDataset.commit(
        dataset.uri,
        lance.Transaction(
            read_version=dataset.version,
            operation=lance.LanceOperation.Append(
                lance.fragment.write_fragments(
                    dataset.to_table().slice(0, 1), dataset.uri, schema=dataset.schema
                )
            ),
        ),
    ),
    "deletion": lambda dataset: dataset.delete("true", conflict_retries=0),
}


@pytest.mark.parametrize("change", sorted(SLEEPERS))
@pytest.mark.parametrize("batches_since", [0, 3])
def test_who_slept_through_a_clean_up_changes_nothing(
    store: EvidenceStore, change: str, batches_since: int
) -> None:
    """Lance itself lets a deletion pass that began on a version that is gone."""
    sleeper = store.dataset(ASSETS)
    sleeper.count_rows()
    maintained(store)
    for number in range(batches_since):
        EvidenceCommitter(store).append(f"since-{number}", everything(("since", number), "cat"))
    TableUpkeep(store, ASSETS, unquestioned).clean()
    before = contents(store)
    with pytest.raises((OSError, RuntimeError, ValueError)):
        SLEEPERS[change](sleeper)
    assert contents(store) == before


def test_a_committer_that_slept_through_it_says_that_the_right_is_gone(
    store: EvidenceStore,
) -> None:
    asked = 0

    def taken_over() -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise LeaseLost("taken")
        maintained(store)

    before = contents(store)
    with pytest.raises(LeaseLost):
        EvidenceCommitter(store).append("late", [vision("late", "a cat", ("cat",))], taken_over)
    assert contents(store) == before


def test_who_has_lost_the_right_commits_and_removes_nothing(store: EvidenceStore) -> None:
    def lost() -> None:
        raise LeaseLost("taken")

    upkeep = TableUpkeep(store, ASSETS, lost)
    versions = store.versions()
    for step in (upkeep.compact_some, lambda: upkeep.compact_run(upkeep.runs()[0]), upkeep.index,
                 upkeep.clean, upkeep.bar):  # fmt: skip
        with pytest.raises(LeaseLost):
            step()
    assert store.versions() == versions


def aged(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds, time.time() - seconds))
    return path


def test_only_what_is_old_and_unreferenced_is_swept(tmp_path: Path) -> None:
    hour = 3600.0
    store = store_at(tmp_path / "store", MaintenanceConfig(orphans_seconds=24 * hour))
    EvidenceCommitter(store).append("b0", everything("a", "dog"))
    root, spool = tmp_path / "store", tmp_path / "spool"
    data = root / "tables" / "assets.lance" / "data"
    rows = store.dataset(ASSETS).to_table()
    for _ in range(2):  # a stage that died, and one that is at work
        lance.fragment.write_fragments(rows, str(data.parent), schema=rows.schema)
    staged = [f for f in data.iterdir() if f"data/{f.name}" not in _tracked(store)]
    spool.mkdir()
    old, young = [aged(staged[0], 25 * hour)], [staged[1]]
    for age, kept in ((25 * hour, old), (23 * hour, young)):
        made = root / "aside" / f"table-{age}.lance"
        (made / "data").mkdir(parents=True)
        kept += [aged(made / "data", age), aged(made, age)]
        for folder in (data, root, root / "snapshots" / "s1", spool):
            folder.mkdir(parents=True, exist_ok=True)
            name = f".tmp{age:.0f}" if folder == data else f".writing-{age:.0f}"
            (folder / name).write_bytes(b"half")
            kept.append(aged(folder / name, age))
    for file in (root / "tables").rglob("*.lance"):
        if file.is_file() and file not in staged:
            aged(file, 100 * hour)
    done = maintained(store, spool, time.time())
    assert [path for path in old if path.exists()] == []
    assert [path for path in young if not path.exists()] == []
    assert done.orphans_removed == len(old) - 1, "the folder in the making counts once"
    assert store.dataset(ASSETS).to_table().equals(rows)


def test_a_stage_whose_writer_wakes_up_at_the_last_moment_is_not_swept(
    store: EvidenceStore,
) -> None:
    """After the sweep has looked, and before the fence that would refuse it."""
    maintained(store)
    sleeper = store.dataset(ASSETS)
    rows = sleeper.count_rows()
    staged = lance.fragment.write_fragments(sleeper.to_table(), sleeper, schema=sleeper.schema)

    def awake() -> None:
        if staged:
            operation = lance.LanceOperation.Append(list(staged))
            transaction = lance.Transaction(read_version=sleeper.version, operation=operation)
            lance.LanceDataset.commit(sleeper, transaction)
            staged.clear()

    patient = MaintenanceConfig(versions_seconds=3600, orphans_seconds=0)
    again = store_at(Path(store.config.uri), patient)
    upkeep = TableUpkeep(again, ASSETS, awake)
    assert len(upkeep.leftovers(time.time() + 1)) == 1
    upkeep.bar()
    assert upkeep.leftovers(time.time() + 1) == []
    assert store.dataset(ASSETS).to_table().num_rows == 2 * rows


def _tracked(store: EvidenceStore) -> set[str]:
    return set(store.dataset(ASSETS).tracked_files().read_all()["path"].to_pylist())


def test_a_damaged_table_is_left_alone_and_named_and_the_others_are_kept_in_order(
    store: EvidenceStore,
) -> None:
    data = Path(store.dataset(ASSETS).uri) / "data"
    for file in data.iterdir():
        file.write_bytes(b"damaged")
    done = maintained(store)
    assert [problem.partition(":")[0] for problem in done.problems] == [ASSETS]
    fragments = {table.table: table.fragments for table in done.after}
    assert fragments.pop(ASSETS) == BATCHES
    assert set(fragments.values()) == {1}


def test_holes_are_closed(store: EvidenceStore) -> None:
    maintained(store)
    rows = store.counts()[EVIDENCE_TEXT]
    EvidenceCommitter(store).append("b2", everything("x", "cat"))
    for number in range(3, 6):
        EvidenceCommitter(store).delete_batch(f"b{number}")
    assert sum(f.deleted for f in fragments_of(store.dataset(EVIDENCE_TEXT))) > 0
    before = contents(store)
    done = maintained(store)
    text = next(table for table in done.after if table.table == EVIDENCE_TEXT)
    assert (text.deleted_rows, text.fragments, text.indexed) == (0, 1, 1.0)
    assert contents(store) == before
    assert rows > 0


def test_what_a_merge_wrote_can_be_read_as_arrow_of_the_same_schema(store: EvidenceStore) -> None:
    schemas = {name: store.dataset(name).schema for name in store.tables()}
    maintained(store)
    for name, schema in schemas.items():
        table: pa.Table = store.dataset(name).to_table()
        assert table.schema.equals(schema, check_metadata=True)


def test_a_store_on_s3_is_put_in_order_just_so(object_server: ObjectServer) -> None:
    store = EvidenceStore.create(object_server.config(maintenance=AT_ONCE), START)
    committer = EvidenceCommitter(store)
    for number in range(FEWEST):
        committer.append(f"b{number}", everything(number, "dog"))
    before = contents(store)
    dataset = store.dataset(ASSETS)
    lance.fragment.write_fragments(dataset.to_table(), dataset, schema=dataset.schema)
    assert TableUpkeep(store, EVIDENCE_TEXT, unquestioned).compact_some().removed == FEWEST
    done = maintained(store)
    assert done.problems == []
    assert done.orphans_removed == 1
    assert {(table.fragments, table.versions) for table in done.after} == {(1, 1)}
    assert contents(store) == before
    for number in range(FEWEST):
        committer.append(f"again-{number}", everything(number, "dog"))
    assert contents(store) == before
    for name in store.tables():
        dataset = store.dataset(name)
        lying = set(dataset.all_files().read_all()["path"].to_pylist())
        tracked = set(dataset.tracked_files().read_all()["path"].to_pylist())
        assert {path for path in lying - tracked if not path.startswith("_refs")} == set()


def test_rows_keep_their_numbers_and_the_versions_they_came_with(store: EvidenceStore) -> None:
    """By them a snapshot knows what is new since the one before."""
    columns = ["evidence_id", "_rowid", "_row_created_at_version"]

    def marks() -> list[dict[str, Any]]:
        table: pa.Table = store.dataset(EVIDENCE_TEXT).to_table(columns=columns)
        return sorted(table.to_pylist(), key=lambda row: str(row["evidence_id"]))

    before = marks()
    TableUpkeep(store, EVIDENCE_TEXT, unquestioned).compact_some()
    assert marks() == before
    maintained(store)
    EvidenceCommitter(store).fence()
    assert marks() == before
