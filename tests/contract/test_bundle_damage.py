"""A bundle is checked before anything is written: damage is named, forgeries are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecm.contracts.identity import KeyDigest, digest, evidence_id, evidence_key
from ecm.delivery.importing import check_bundle
from ecm.errors import ConfigError, StoreCorrupt
from ecm.evidence.bundle import MANIFEST, BundleFormat
from ecm.evidence.bundle_order import row_id_column
from ecm.evidence.bundle_reading import Bundle
from ecm.evidence.codec import words_key
from tests.bundles import exported, filled, quiet, store_at
from tests.evidence_envelopes import START

TEXT = "tables/evidence_text.parquet"


@pytest.fixture(scope="module", params=list(BundleFormat))
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    exported(filled(store_at(folder / "store")), folder / "bundle", file_format=request.param)
    return folder / "bundle"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of Parquet files, whose rows can be forged."""
    folder = tmp_path_factory.mktemp("tables")
    exported(filled(store_at(folder / "store")), folder / "bundle")
    return folder / "bundle"


def refused(folder: Path) -> str:
    with pytest.raises(StoreCorrupt) as caught:
        check_bundle(Bundle.open(folder), quiet)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def copied(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "copy")


def a_file(bundle: Path) -> str:
    """The name of the largest file of captions and tags."""
    table = Bundle.open(bundle).manifest.table("evidence_text")
    assert table is not None
    return max(table.files, key=lambda file: file.size).name


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "does not have the checksum"),
        (lambda path: os.truncate(path, 100), "has 100 bytes instead of"),
        (lambda path: path.unlink(), "is missing"),
        (link, "is not a regular file"),
    ],
)
def test_a_damaged_file_is_named(
    whole: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    copy = copied(whole, tmp_path)
    name = a_file(copy)
    damage(copy / name)
    assert f"{name} {said}" in refused(copy)


def test_files_that_nobody_named_are_refused(whole: Path, tmp_path: Path) -> None:
    copy = copied(whole, tmp_path)
    (copy / "tables" / "more.parquet").write_bytes(b"PAR1")
    assert "tables/more.parquet is not in its manifest" in refused(copy)


def test_a_folder_without_a_manifest_is_no_bundle(whole: Path, tmp_path: Path) -> None:
    copy = copied(whole, tmp_path)
    (copy / MANIFEST).unlink()
    with pytest.raises(ConfigError, match="is not a bundle"):
        Bundle.open(copy)


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The bundle with another manifest, which names itself as it should."""
    tree = json.loads((folder / MANIFEST).read_text())
    change(tree)
    tree["bundle_id"] = digest({name: value for name, value in tree.items() if name != "bundle_id"})
    (folder / MANIFEST).write_text(json.dumps(tree))
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: tree.update(format_version=2), "of version 2, this release reads"),
        (lambda tree: tree.update(schema_version=9), "schema version 9"),
        (lambda tree: tree.update(pickle="yes"), "pickle"),
        (
            lambda tree: tree["tables"][0]["files"][0].update(name="../../etc/passwd"),
            "files.0.name",
        ),
        (lambda tree: tree["tables"][0]["files"][0].update(name="/etc/passwd"), "files.0.name"),
        (lambda tree: tree["tables"][0]["files"][0].update(name="tables/x"), "is not a place for"),
        (lambda tree: tree["tables"][0].update(name="passwords"), "it has a table passwords"),
        (lambda tree: tree["tables"].append(tree["tables"][0]), "twice"),
        (lambda tree: tree["tables"][0].update(rows=3), "instead of 3"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    tables: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    assert said in refused(rewritten(copied(tables, tmp_path), change))


def test_a_manifest_that_was_touched_is_noticed(tables: Path, tmp_path: Path) -> None:
    copy = copied(tables, tmp_path)
    text = (copy / MANIFEST).read_text()
    (copy / MANIFEST).write_text(text.replace('"store_id": "', '"store_id": "0'))
    assert "does not have the digest it states" in refused(copy)


def forged(
    bundle: Path, tmp_path: Path, table: str, change: Callable[[list[dict[str, Any]]], None]
) -> Path:
    """A bundle with other rows in one table, whose manifest agrees with them in everything."""
    copy = copied(bundle, tmp_path)
    name = f"tables/{table}.parquet"
    found = pq.read_table(copy / name)
    rows = found.to_pylist()
    change(rows)
    schema = pa.schema([field.with_nullable(True) for field in found.schema], found.schema.metadata)
    new = pa.Table.from_pylist(rows, schema=schema).cast(found.schema, safe=True)
    pq.write_table(new, copy / name, use_compliant_nested_type=False)
    data = (copy / name).read_bytes()

    def agree(tree: dict[str, Any]) -> None:
        (entry,) = [each for each in tree["tables"] if each["name"] == table]
        keys = KeyDigest(row[row_id_column(table)] for row in rows)
        entry.update(rows=len(rows), key_digest=f"{keys.count}:{keys}")
        entry["files"][0].update(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    return rewritten(copy, agree)


def first(**values: Any) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[0].update(values)


def another_asset(rows: list[dict[str, Any]]) -> None:
    """The evidence key is right, the place among its kind is not."""
    rows[0]["ordinal"] += 1


def a_stranger(rows: list[dict[str, Any]]) -> None:
    """Every id follows, but the transform is none that the manifest names."""
    row = rows[0]
    row["transform"] = "0" * 64
    key = evidence_key(row["tenant_id"], row["asset_id"], row["task_type"], row["transform"])
    row.update(evidence_key=key, evidence_id=evidence_id(key, row["kind"], row["ordinal"]))


def overlong_words(rows: list[dict[str, Any]]) -> None:
    """Every id follows, but nothing that long is ever read from a file."""
    row = rows[0] | {"text": "x" * 2_001}
    names = ("tenant_id", "asset_id", "kind", "source", "ordinal", "text", "taken_at")
    rows[0] = row | {"words_id": words_key(*(row[name] for name in names))}


def scaled(rows: list[dict[str, Any]]) -> None:
    values = np.array(rows[0]["vector"], "<f4") * 2
    rows[0].update(vector=values.tolist(), checksum=hashlib.sha256(values.tobytes()).hexdigest())


VECTORS = "evidence_vectors_vv_97e5287f9ce9"


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("evidence_text", first(asset_id="0" * 64), "row 0: its ids do not follow"),
        ("evidence_text", another_asset, "row 0: its ids do not follow"),
        ("evidence_text", a_stranger, "is not in the manifest"),
        ("evidence_text", first(tenant_id="x"), "row 0"),
        ("evidence_text", first(confidence=1.5), "row 0: its confidence"),
        ("evidence_text", first(text="x" * 20_001), "row 0: its text"),
        ("evidence_text", first(observed_at=START + 1e8), "row 0: observed_at is in the future"),
        ("evidence_text", first(observed_at=float("nan")), "row 0: a value is missing"),
        ("evidence_text", lambda rows: rows.reverse(), "out of order"),
        ("evidence_text", lambda rows: rows.append(rows[-1]), "there twice"),
        ("assets", first(width=0), "row 0: a value is missing or impossible"),
        ("asset_versions", first(uri="file:///etc/passwd"), "row 0: its ids do not follow"),
        ("asset_words", first(text="else"), "row 0: its ids do not follow"),
        ("asset_words", first(kind="poem"), "row 0: its text"),
        ("asset_words", overlong_words, "row 0: its text is too long"),
        ("thumbnails", first(jpeg=b"<html>"), "row 0: a value is missing or impossible"),
        ("asset_sightings", first(state="stolen"), "row 0: its ids do not follow"),
        ("analysis_runs", first(run_id="run-9"), "row 0: its ids do not follow"),
        ("analysis_runs", first(config_digest="x"), "row 0: config_digest is no digest"),
        (VECTORS, scaled, "row 0: its vector is not finite or not of unit length"),
        (VECTORS, first(checksum="0" * 64), "row 0: its vector does not have its checksum"),
        (VECTORS, first(norm=-1.0), "row 0: its norm"),
    ],
)
def test_rows_that_no_run_can_have_left_are_refused(
    tables: Path,
    tmp_path: Path,
    table: str,
    change: Callable[[list[dict[str, Any]]], None],
    said: str,
) -> None:
    assert said in refused(forged(tables, tmp_path, table, change))


def test_columns_of_other_types_are_refused(tables: Path, tmp_path: Path) -> None:
    copy = copied(tables, tmp_path)
    found = pq.read_table(copy / TEXT).drop_columns(["scheme"])
    pq.write_table(found, copy / TEXT)
    data = (copy / TEXT).read_bytes()

    def agree(tree: dict[str, Any]) -> None:
        (entry,) = [each for each in tree["tables"] if each["name"] == "evidence_text"]
        entry["files"][0].update(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    assert "other columns" in refused(rewritten(copy, agree))


def test_a_table_that_is_no_table_is_refused(tables: Path, tmp_path: Path) -> None:
    copy = copied(tables, tmp_path)
    (copy / TEXT).write_bytes(b"not Parquet at all")
    data = (copy / TEXT).read_bytes()

    def agree(tree: dict[str, Any]) -> None:
        (entry,) = [each for each in tree["tables"] if each["name"] == "evidence_text"]
        entry["files"][0].update(size=len(data), sha256=hashlib.sha256(data).hexdigest())

    assert "evidence_text" in refused(rewritten(copy, agree))


def test_tables_of_other_places_are_refused(tmp_path: Path) -> None:
    """A Lance table may refer to files outside its folder, which its checksums do not cover."""
    folder = tmp_path / "bundle"
    exported(filled(store_at(tmp_path / "store")), folder, file_format=BundleFormat.LANCE)
    place = folder / "tables" / "assets.lance"
    shutil.move(place, tmp_path / "outside.lance")
    outside = lance.dataset(str(tmp_path / "outside.lance"))
    outside.tags.create("here", 1)
    outside.shallow_clone(str(place), "here")
    files = [path for path in place.rglob("*") if path.is_file()]

    def agree(tree: dict[str, Any]) -> None:
        (entry,) = [each for each in tree["tables"] if each["name"] == "assets"]
        entry["files"] = [
            {
                "name": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in files
        ]

    assert "outside" in refused(rewritten(folder, agree))
