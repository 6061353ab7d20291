"""Rows kept in memory as columns are those that were read, whatever they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecm.contracts.search import Axis
from ecm.evidence.kept_rows import KeptRows, columns_of
from ecm.evidence.reader import SnapshotReader
from ecm.evidence.snapshot_row import row_of
from ecm.opening import open_engine
from tests.factories import Indexer, fake_profile, gallery

AXES = (Axis.VV, Axis.MV)
words = st.sampled_from(["", "a dog", "sea", "Zürich", "🐶 puppy"])
statement = st.fixed_dictionaries(
    {
        "evidence_id": st.sampled_from(["e1", "e2", "e3"]),
        "kind": st.sampled_from(["caption", "tag", "classification", "ocr"]),
        "ordinal": st.integers(0, 9),
        "run_id": st.sampled_from(["r1", "r2"]),
        "transform": st.sampled_from(["t1", "t2"]),
        "confidence": st.none() | st.floats(0, 1),
        "text": words,
        "scheme": st.sampled_from(["", "imagenet"]),
        "composed": st.booleans(),
    }
)
origin = st.none() | st.fixed_dictionaries(
    {name: st.sampled_from(["1", "2"]) for name in ("evidence_id", "run_id", "transform")}
)
row = st.fixed_dictionaries(
    {
        "uris": st.lists(words, max_size=3),
        "name": words,
        "width": st.none() | st.integers(1, 9000),
        "height": st.none() | st.integers(1, 9000),
        "format": st.none() | st.just("jpeg"),
        "caption": st.none() | words,
        "caption_composed": st.booleans(),
        "tags": words,
        "classification": words,
        "ocr": st.none() | words,
        "statements": st.lists(statement, max_size=4),
        **{f"{axis}_evidence": origin for axis in AXES},
    }
)
TEXT = pa.string()
SAID = pa.struct(
    [
        ("evidence_id", TEXT), ("kind", TEXT), ("ordinal", pa.int32()), ("run_id", TEXT),
        ("transform", TEXT), ("confidence", pa.float64()), ("text", TEXT), ("scheme", TEXT),
        ("composed", pa.bool_()),
    ]
)  # fmt: skip
ORIGIN = pa.struct([("evidence_id", TEXT), ("run_id", TEXT), ("transform", TEXT)])
SCHEMA = pa.schema(
    [
        ("asset_id", TEXT), ("uris", pa.list_(TEXT)), ("name", TEXT), ("width", pa.int32()),
        ("height", pa.int32()), ("format", TEXT), ("caption", TEXT),
        ("caption_composed", pa.bool_()), ("tags", TEXT), ("classification", TEXT), ("ocr", TEXT),
        ("statements", pa.list_(SAID)), *((f"{axis}_evidence", ORIGIN) for axis in AXES),
    ]
)  # fmt: skip


@given(rows=st.lists(row, max_size=12), split=st.integers(1, 5), data=st.data())
def test_rows_in_memory_are_those_that_were_read(
    rows: list[dict[str, Any]], split: int, data: st.DataObject
) -> None:
    ids = data.draw(st.permutations([f"{number:02d}" for number in range(len(rows))]))
    read = [{**one, "asset_id": asset_id} for one, asset_id in zip(rows, ids, strict=True)]
    table = pa.Table.from_pylist(read, SCHEMA).select(columns_of(AXES))
    kept = KeptRows("t", AXES, table.to_batches(max_chunksize=split))
    by_id = {one["asset_id"]: row_of("t", one, AXES) for one in read}
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    assert kept.rows(places) == [by_id[sorted(ids)[place]] for place in places]
    assert len(kept) == len(rows)


@pytest.mark.parametrize("bound", [0, 512 << 20])
def test_a_reader_gives_the_same_rows_from_memory_and_from_the_table(
    tmp_path: Path, bound: int
) -> None:
    profile = fake_profile(tmp_path, f"evidence.rows_cache_bytes={bound}")
    indexer = Indexer(profile)
    indexer.add(gallery(2))
    indexer.publish()
    with open_engine(profile) as engine:
        engine.warm("t")
        reader: SnapshotReader = engine.reader
        ids = reader.tenant_table("t", ["asset_id"])["asset_id"].to_pylist()
        asked = [*reversed(ids), "f" * 64]
        found = reader.rows("t", asked)
        assert [one.asset_id for one in found] == asked[:-1]
        assert all(one.statements and one.vectors.keys() >= {Axis.VV, Axis.MV} for one in found)
        assert {one.tenant_id for one in found} == {"t"}
        assert reader.rows("another", ids) == []
