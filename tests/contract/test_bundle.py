"""Bundles: what goes in comes out, in both formats, under any tenant, any number of times."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecm.delivery.exporting import export_bundle, pinned
from ecm.delivery.importing import planned
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.bundle import BundleFormat, BundleManifest
from ecm.evidence.bundle_order import in_order, order_columns
from ecm.evidence.bundle_reading import Bundle
from ecm.evidence.bundle_writing import About, write_bundle
from ecm.evidence.codec import tables_of
from ecm.evidence.committer import EvidenceCommitter
from ecm.evidence.config import EvidenceConfig
from ecm.evidence.inventory import doubled_rows
from ecm.evidence.policy import SnapshotPolicy, TenantPolicy
from ecm.evidence.refs import SnapshotRef
from ecm.evidence.schema import EVIDENCE_TEXT
from ecm.evidence.snapshot import SnapshotStore
from ecm.evidence.store import EvidenceStore
from tests.bundles import (
    LATER,
    NOBODY,
    exported,
    filled,
    imported,
    quiet,
    said_by,
    settings_of,
    store_at,
)
from tests.evidence_envelopes import START, embedded, everything, vision


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> EvidenceStore:
    return filled(store_at(tmp_path_factory.mktemp("source") / "store"))


@pytest.mark.parametrize("file_format", list(BundleFormat))
def test_what_is_exported_comes_back_and_again(
    source: EvidenceStore, tmp_path: Path, file_format: BundleFormat
) -> None:
    first = exported(source, tmp_path / "one", file_format=file_format)
    assert {name: rows for name, (rows, _) in said_by(first).items()} == source.counts()
    other = store_at(tmp_path / "store")
    assert imported(tmp_path / "one", other) == source.counts()
    second = exported(other, tmp_path / "two", file_format=file_format)
    assert said_by(second) == said_by(first)
    for name in source.tables():
        assert statements(other, name) == statements(source, name)
    assert sum(imported(tmp_path / "one", other).values()) == 0


def statements(store: EvidenceStore, name: str) -> list[str]:
    """Every row of a table without the batch that brought it, in an order of its own."""
    rows = store.dataset(name).to_table().to_pylist()
    return sorted(repr({k: v for k, v in row.items() if k != "batch_id"}) for row in rows)


def test_a_bundle_is_compact_sorted_and_without_deleted_rows(
    source: EvidenceStore, tmp_path: Path
) -> None:
    manifest = exported(source, tmp_path / "b", file_format=BundleFormat.PARQUET)
    for table in manifest.tables:
        (file,) = table.files
        rows = pq.read_table(tmp_path / "b" / file.name)
        assert rows.num_rows == table.rows
        assert [c.name for c in table.columns] == rows.column_names
        assert hashlib.sha256((tmp_path / "b" / file.name).read_bytes()).hexdigest() == file.sha256
        if "asset_id" in rows.column_names:
            order = list(
                zip(*(rows[c].to_pylist() for c in ("tenant_id", "asset_id")), strict=True)
            )
            assert order == sorted(order)


def test_one_tenant_and_no_thumbnails(source: EvidenceStore, tmp_path: Path) -> None:
    left_out = frozenset({"thumbnails"})
    manifest = exported(source, tmp_path / "b", tenants=("u",), tables_left_out=left_out)
    assert manifest.tenants == {"u": 1}
    assert manifest.table("thumbnails") is None
    other = store_at(tmp_path / "store")
    imported(tmp_path / "b", other)
    assert {
        row for name in other.tables() for row in other.read(name, ["tenant_id"])[0].to_pylist()
    } == {"u"}


def test_a_bundle_of_one_tenant_tells_nothing_of_others(tmp_path: Path) -> None:
    source = filled(store_at(tmp_path / "store"))
    theirs = {"t": TenantPolicy(min_confidence=0.1), "u": TenantPolicy(min_confidence=0.9)}
    policy = SnapshotPolicy(transforms={}, tenants=theirs)
    ref = SnapshotStore(source).build(policy, START)
    assert set(ref.tenants) == {"t", "u"}
    exported(source, tmp_path / "b", tenants=("u",), snapshot=ref)
    told = SnapshotRef.model_validate_json((tmp_path / "b" / "snapshot.json").read_bytes())
    assert (told.tenants, told.assets) == ({"u": 1}, 1)
    assert told.policy.tenants == {"u": theirs["u"]}
    assert told.evidence == {}


def test_batches_that_are_under_way_are_left_out(source: EvidenceStore, tmp_path: Path) -> None:
    manifest = export_bundle(
        source, lambda: ["b1", "b2"], settings_of(), tmp_path / "b", LATER, quiet
    )
    assert manifest.tenants == {"t": 0, "u": 1}
    assert all(t.rows <= 6 for t in manifest.tables)


def test_another_tenant_gets_the_same_under_ids_of_its_own(
    source: EvidenceStore, tmp_path: Path
) -> None:
    """Twice over: what the ids follow from is checked by the second export's import."""
    exported(source, tmp_path / "one", tenants=("t",), file_format=BundleFormat.LANCE)
    other = store_at(tmp_path / "store")
    added = imported(tmp_path / "one", other, "other")
    assert imported(tmp_path / "one", other) == added  # beside it, under its own name
    assert doubled_rows(other, 5).rows == 0
    back = exported(other, tmp_path / "two", tenants=("other",))
    assert back.tenants == {"other": 9}
    third = store_at(tmp_path / "third")
    imported(tmp_path / "two", third, "t")
    again = exported(third, tmp_path / "three", tenants=("t",))
    assert said_by(again) == said_by(read(tmp_path / "one"))


def read(folder: Path) -> BundleManifest:
    return Bundle.open(folder).manifest


def test_several_tenants_cannot_become_one(source: EvidenceStore, tmp_path: Path) -> None:
    exported(source, tmp_path / "b")
    with pytest.raises(ConfigError, match="2 tenants"):
        planned(Bundle.open(tmp_path / "b"), NOBODY, "x")


def test_a_destination_in_use_is_left_alone(source: EvidenceStore, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        exported(source, tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    with pytest.raises(ConfigError, match="nothing of tenant nobody"):
        exported(source, tmp_path / "c", tenants=("nobody",))


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seeds=st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["t", "u", "v"]), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    file_format=st.sampled_from(list(BundleFormat)),
)
def test_digests_survive_any_number_of_journeys(
    seeds: list[tuple[int, str, bool]],
    file_format: BundleFormat,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("journey")
    store = store_at(folder / "store")
    for number, (seed, tenant, text) in enumerate(seeds):
        said = (
            vision(seed, "words", ("a", "b"), tenant=tenant)
            if text
            else embedded(seed, tenant=tenant)
        )
        EvidenceCommitter(store).append(f"b{number}", [said])
    first = exported(store, folder / "one", file_format=file_format)
    other = store_at(folder / "other")
    imported(folder / "one", other)
    assert said_by(exported(other, folder / "two", file_format=file_format)) == said_by(first)
    shutil.rmtree(folder)


def test_versions_are_held_while_they_are_read_and_let_go(
    source: EvidenceStore, tmp_path: Path
) -> None:
    """A killed export leaves a tag, which the next one takes away when its time is over."""
    seen: list[set[str]] = []

    def look(*_: object) -> None:
        seen.append(set(source.dataset("assets").tags.list()))

    source.dataset("assets").tags.create(f"held-{int(LATER) - 1}-00000000", 1)
    source.dataset("assets").tags.create(f"held-{int(LATER) + 9}-00000000", 1)
    export_bundle(source, lambda: (), settings_of(), tmp_path / "b", LATER, look)
    assert all(len(tags) == 2 for tags in seen)
    assert set(source.dataset("assets").tags.list()) == {f"held-{int(LATER) + 9}-00000000"}


def test_a_store_on_any_storage_can_be_exported_and_filled(
    evidence_config: Callable[..., EvidenceConfig], tmp_path: Path
) -> None:
    store = EvidenceStore.create(evidence_config("one"), LATER)
    EvidenceCommitter(store).append("b1", [vision(1, "x", ("red",)), embedded(1), embedded(2)])
    exported(store, tmp_path / "one", file_format=BundleFormat.LANCE)
    other = EvidenceStore.create(evidence_config("other"), LATER)
    assert imported(tmp_path / "one", other) == store.counts()
    assert sum(imported(tmp_path / "one", other).values()) == 0


def test_a_damaged_row_is_not_exported(tmp_path: Path) -> None:
    store = filled(store_at(tmp_path / "store"))
    store.dataset(EVIDENCE_TEXT).update({"confidence": "1.5"}, where="ordinal = 1")
    with pytest.raises(
        StoreCorrupt, match=r"table evidence_text, row \d+: its confidence"
    ) as caught:
        exported(store, tmp_path / "b", file_format=BundleFormat.LANCE)
    assert caught.value.code == "export.damaged"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("looks_until_done", [0, 1, 2])
def test_a_batch_that_is_being_appended_is_there_whole_or_not_at_all(
    tmp_path: Path, looks_until_done: int
) -> None:
    """Half of it is there at first; the rest comes while the export looks at the store."""
    store = store_at(tmp_path / "store")
    committer = EvidenceCommitter(store)
    committer.append("b0", everything(0, "red"))
    tables = list(tables_of(everything(1, "red"), "b1").items())
    under_way, looks = ["b1"], 0
    for name, rows in tables[:3]:
        committer.append_rows(name, rows, "b1")

    def look() -> list[str]:
        nonlocal looks
        if looks < looks_until_done:
            for name, rows in tables[3 + looks : 5 + looks if looks == 0 else None]:
                committer.append_rows(name, rows, "b1")
            if looks == 1:
                under_way.clear()
        looks += 1
        return list(under_way)

    contents = pinned(store, look, settings_of())
    seen: dict[str, set[str]] = {}
    for name, version in contents.versions.items():
        dataset = store.dataset(name, version)
        for rows in in_order(name, dataset, "t", contents.without_batches):
            for batch in rows["batch_id"].to_pylist():
                seen.setdefault(batch, set()).add(name)
    assert set(seen) == ({"b0", "b1"} if looks_until_done == 2 else {"b0"})
    assert all(names == seen["b0"] for names in seen.values())


@pytest.mark.parametrize("portion_keys", [1, 3, 1000])
def test_rows_come_in_one_order_however_many_are_sorted_at_a_time(
    source: EvidenceStore, portion_keys: int
) -> None:
    for name in source.tables():
        parts = list(in_order(name, source.dataset(name), "t", (), portion_keys))
        rows = pa.concat_tables(parts)
        expected = rows.sort_by([(column, "ascending") for column in order_columns(name)])
        assert rows.equals(expected)
        assert rows.num_rows == source.dataset(name).count_rows("tenant_id = 't'")


def test_a_large_table_lies_in_several_files(source: EvidenceStore, tmp_path: Path) -> None:
    contents = replace(pinned(source, lambda: (), settings_of()), file_bytes=1)
    about = About("test", LATER, exported(source, tmp_path / "plain").transforms)
    manifest = write_bundle(source, contents, about, BundleFormat.LANCE, tmp_path / "b", quiet)
    table = manifest.table(EVIDENCE_TEXT)
    assert table is not None
    assert len([f for f in table.files if "/data/" in f.name]) > 1
    other = store_at(tmp_path / "store")
    assert imported(tmp_path / "b", other) == source.counts()
