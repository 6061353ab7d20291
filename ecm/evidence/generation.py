"""Writing a generation: the table `search_materialized` of one snapshot, and its indices.

Knows the columns searchers read and how they are filled from chosen evidence. Chooses nothing and
publishes nothing.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecm.contracts.search import Axis
from ecm.evidence.choice import Choice
from ecm.evidence.faults import lance_errors
from ecm.evidence.refs import LATER_TEXT_COLUMNS, TEXT_COLUMNS, VECTOR_AXES
from ecm.evidence.store import EvidenceStore

FTS_OPTIONS: Final = {
    "base_tokenizer": "simple",
    "language": "English",
    "lower_case": True,
    "stem": True,
    "remove_stop_words": True,
    "ascii_folding": True,
    "with_position": True,
}

FOLDERS_IN_NAME: Final = 2
"""How many folders above a file lend their words to its name."""
_ROWS_PER_DELETE: Final = 5_000

_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
_EXTENSION: Final = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_STATEMENT: Final = pa.struct(
    [
        ("evidence_id", pa.string()),
        ("kind", pa.string()),
        ("ordinal", pa.int32()),
        ("run_id", pa.string()),
        ("transform", pa.string()),
        ("confidence", pa.float64()),
        ("text", pa.string()),
        ("scheme", pa.string()),
        ("composed", pa.bool_()),
    ]
)
_VECTOR_EVIDENCE: Final = pa.struct(
    [("evidence_id", pa.string()), ("run_id", pa.string()), ("transform", pa.string())]
)
_Columns = dict[str, pa.Array]


def search_schema(dims: Mapping[Axis, int]) -> pa.Schema:
    """Schema of `search_materialized`; an axis without vectors has no columns.

    `vv`, `x`, `mv` are fixed_size_list<float32>[dim], L2-normalised, null where an asset has none.
    `size` is in bytes. Times are Unix seconds (UTC): `taken_at` as the file itself says,
    `modified_at` of the newest file that holds the content now, `added_at` when it was first
    decoded, `said_at` of the newest evidence chosen for it. `agreement` (0-1) is the mean Jaccard
    overlap of the labels that different transforms gave it, null when no two spoke of the same
    kind. `path` are the words of all its folders, `user` what people wrote into the file.
    """
    fields = [
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("asset_id", pa.string(), nullable=False),
        pa.field("uris", pa.list_(pa.string()), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("taken_at", pa.float64()),
        pa.field("modified_at", pa.float64()),
        pa.field("added_at", pa.float64()),
        pa.field("said_at", pa.float64()),
        pa.field("agreement", pa.float64()),
        pa.field("caption", pa.string()),
        pa.field("caption_composed", pa.bool_(), nullable=False),
        pa.field("tags", pa.string()),
        pa.field("classification", pa.string()),
        pa.field("ocr", pa.string()),
        pa.field("path", pa.string()),
        pa.field("user", pa.string()),
        pa.field("statements", pa.list_(_STATEMENT), nullable=False),
    ]
    for axis in (axis for axis in VECTOR_AXES if axis in dims):
        fields.append(pa.field(axis.value, pa.list_(pa.float32(), dims[axis])))
        fields.append(pa.field(f"{axis.value}_evidence", _VECTOR_EVIDENCE))
    return pa.schema(fields)


def name_words(uris: Sequence[str]) -> str:
    """Searchable words of file names and their folders' names, each once, in order of appearance.

    >>> name_words(["file:///photos/Summer%202024/beach/goldenRetriever_01.jpg"])
    'Summer 2024 beach golden Retriever 01'
    """
    words: dict[str, str] = {}
    for uri in uris:
        *folders, name = _parts_of(uri)
        for part in (*folders[-FOLDERS_IN_NAME:], _EXTENSION.sub("", name)):
            _add_words(words, part)
    return " ".join(words.values())


def path_words(uris: Sequence[str]) -> str | None:
    """Searchable words of all folders (of an object, its bucket too), or None when there are none.

    >>> path_words(["s3://photos/Trips/2024/beach/goldenRetriever_01.jpg"])
    'photos Trips 2024 beach'
    """
    words: dict[str, str] = {}
    for uri in uris:
        for part in _parts_of(uri)[:-1]:
            _add_words(words, part)
    return " ".join(words.values()) or None


def _parts_of(uri: str) -> list[str]:
    return unquote(uri.split("://")[-1]).split("/")


def _add_words(words: dict[str, str], part: str) -> None:
    """The words of a name as they are first written, by their case-folded form."""
    spaced = _HUMP.sub(" ", unicodedata.normalize("NFKC", part))
    for word in _WORD.findall(spaced):
        words.setdefault(word.casefold(), word)


def write_generation(
    store: EvidenceStore, location: str, choice: Choice, vectors: Mapping[Axis, Any]
) -> Any:
    """Write the chosen evidence as a new Lance table at a name in the store; its dataset.

    Streams: no more than a batch of vectors is in memory. Raises as `lance_errors` does.
    """
    return _write(store, location, choice, vectors, "create")


def reduce_generation(
    store: EvidenceStore, location: str, version: int, assets: pa.Table
) -> dict[str, int]:
    """Take some assets out of a generation as it was at a version; the rows taken, by tenant.

    What a build that died left behind that version is undone first. `assets` has the columns
    tenant_id and asset_id. Raises as `lance_errors` does.
    """
    dataset = store.open_lance(location)
    with lance_errors(f"cannot take rows out of {location}"):
        if int(dataset.version) != version:
            store.open_lance(location, version).restore()
            dataset = store.open_lance(location)
        doomed = dataset.to_table(
            columns=["tenant_id", "asset_id"],
            filter=pc.field("asset_id").isin(pc.unique(assets["asset_id"])),
            with_row_id=True,
        ).join(assets, keys=["tenant_id", "asset_id"], join_type="left semi")
        rows = doomed["_rowid"].to_pylist()
        for first in range(0, len(rows), _ROWS_PER_DELETE):
            chosen = ", ".join(map(str, rows[first : first + _ROWS_PER_DELETE]))
            dataset.delete(f"_rowid IN ({chosen})", conflict_retries=0)
    return dict(Counter(doomed["tenant_id"].to_pylist()))


def extend_generation(
    store: EvidenceStore, location: str, choice: Choice, vectors: Mapping[Axis, Any]
) -> None:
    """Append the chosen evidence, of at least one asset. Raises as `lance_errors` does."""
    _write(store, location, choice, vectors, "append")


def extend_indices(dataset: Any) -> None:
    """Index rows that are in no index yet, beside what is indexed. Raises as `lance_errors` does.

    Each index has at most two parts: that of the rows written anew, and one of all added since,
    which is made again each time; with a part for every step a search in words took 3.5 times as
    long after 16. Scores are those of one index over all rows, taken out or not; an IVF index keeps
    its partitions.
    """
    with lance_errors("cannot index what is new in the snapshot"):
        parts: dict[int, list[str]] = {}
        for index in dataset.describe_indices():
            parts.setdefault(len(index.segments), []).append(index.name)
        for number, names in parts.items():
            dataset.optimize.optimize_indices(num_indices_to_merge=number - 1, index_names=names)


def tag_version(dataset: Any, snapshot_id: str) -> None:
    """Keep the version of a generation from being cleaned up, by the name of its snapshot."""
    with lance_errors(f"cannot tag snapshot {snapshot_id}"):
        if snapshot_id in dataset.tags.list():
            dataset.tags.update(snapshot_id, int(dataset.version))
        else:
            dataset.tags.create(snapshot_id, int(dataset.version))


def create_indices(dataset: Any, axes: Sequence[Axis], vector_index_rows: int) -> None:
    """Full text per column, a bitmap of tenants, a BTREE of assets; IVF_FLAT (cosine) if large.

    IVF_FLAT, since PQ and HNSW builds take minutes on a CPU and lose recall; with sqrt(n) / 2.5
    partitions 20 probes found all of the top 10 of 100,000 when measured.
    """
    with lance_errors("cannot index the snapshot"):
        rows = dataset.count_rows()
        if not rows:
            return
        for column in (*TEXT_COLUMNS, *LATER_TEXT_COLUMNS):
            dataset.create_scalar_index(column, "INVERTED", name=column, **FTS_OPTIONS)
        dataset.create_scalar_index("tenant_id", "BITMAP", name="tenant_id")
        dataset.create_scalar_index("asset_id", "BTREE", name="asset_id")
        if rows >= vector_index_rows:
            partitions = max(2, int(math.sqrt(rows) / 2.5))
            for axis in axes:
                dataset.create_index(
                    axis.value,
                    "IVF_FLAT",
                    name=axis.value,
                    metric="cosine",
                    num_partitions=partitions,
                )


def dim_of(dataset: Any) -> int:
    """Dimension of a vector table."""
    return int(dataset.schema.field("vector").type.list_size)


def _write(
    store: EvidenceStore,
    location: str,
    choice: Choice,
    vectors: Mapping[Axis, Any],
    mode: Literal["create", "append"],
) -> Any:
    schema = search_schema({axis: dim_of(vectors[axis]) for axis in choice.axes})

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in choice.batches():
            columns = _filled(batch, vectors, choice.axes)
            arrays = [columns[field.name].cast(field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    options = store.storage.lance_options
    with lance_errors(f"cannot write {location}"):
        return lance.write_dataset(
            pa.RecordBatchReader.from_batches(schema, batches()),
            store.storage.location(location),
            schema=schema,
            mode=mode,
            storage_options=None if options is None else dict(options),
        )


def _filled(batch: pa.RecordBatch, vectors: Mapping[Axis, Any], axes: Sequence[Axis]) -> _Columns:
    columns: _Columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    uris = columns["uris"].to_pylist()
    columns["name"] = pa.array([name_words(each) for each in uris], pa.string())
    columns["path"] = pa.array([path_words(each) for each in uris], pa.string())
    for axis in axes:
        columns[axis.value] = _vectors_at(vectors[axis], columns[f"{axis.value}_place"])
    return columns


def _vectors_at(dataset: Any, places: pa.Array) -> pa.Array:
    """The vectors at row offsets of a vector table, null where the offset is; order is kept."""
    dim = dim_of(dataset)
    missing = places.is_null().to_numpy(zero_copy_only=False)
    filled = np.zeros((len(places), dim), dtype=np.float32)
    wanted = places.drop_null().to_numpy().astype(np.int64)
    if len(wanted):
        order = np.argsort(wanted, kind="stable")
        column = dataset.take(wanted[order].tolist(), columns=["vector"])["vector"]
        values = np.empty((len(wanted), dim), dtype=np.float32)
        values[order] = column.combine_chunks().flatten().to_numpy().reshape(-1, dim)
        filled[~missing] = values
    return pa.FixedSizeListArray.from_arrays(pa.array(filled.ravel()), dim, mask=pa.array(missing))
