"""Envelopes to evidence tables. Pure: no I/O, no clock, no Lance.

Knows which rows an envelope leaves and how they are keyed. Does not know what is stored already.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ecm.contracts.identity import digest, evidence_id, evidence_key
from ecm.contracts.result import EnvelopeStatus, ResultEnvelope, VectorStatement
from ecm.contracts.tidy import MAX_LABEL, MAX_TEXT, tidy_line, tidy_lines
from ecm.errors import ContractError
from ecm.evidence.schema import (
    ASSET_VERSIONS,
    ASSET_WORDS,
    ASSETS,
    EVIDENCE_MEASURES,
    EVIDENCE_REGIONS,
    EVIDENCE_TEXT,
    THUMBNAILS,
    TextKind,
    fixed_schema,
    vector_schema,
    vector_table,
)

Row = dict[str, Any]
Words = tuple[str, float | None, str, bool]
"""Text, confidence, scheme and whether it is composed."""

_EMPTY_KIND: Final = {"vision": TextKind.CAPTION, "ocr": TextKind.OCR}
_NOT_QUANTIZED: Final = "none"
_schema_of = lru_cache(maxsize=256)(vector_schema)


def tables_of(envelopes: Sequence[ResultEnvelope], batch_id: str) -> dict[str, pa.Table]:
    """The rows a batch leaves, by table name; tables without rows are absent.

    Every envelope whose bytes were read gives a version row, and an asset row when it was decoded.
    Statements come from successful and partial envelopes that are not linked, once per evidence key
    (success before partial); such an envelope leaves at least one row, an empty text if need be. A
    failed envelope makes no statement: its task may still succeed under the same evidence key.

    Texts are stored tidy (see `ecm.contracts.tidy`).

    Raises ContractError when vectors of one table differ in dimension (`contract.dim`) or in their
    transform (`contract.collision`: two fingerprints that begin alike).
    """
    return dict(each_table(envelopes, batch_id))


def each_table(
    envelopes: Sequence[ResultEnvelope], batch_id: str
) -> Iterator[tuple[str, pa.Table]]:
    """The same one by one, so that the first can be on its way while the next is made."""
    read = [e for e in envelopes if e.resource_fingerprint.content_hash is not None]
    own = [e for e in read if not e.linked]
    spoken = list(_one_per_key(own).items())
    decoded = _first_of_each((e for e in own if e.image), _content)
    yield from _table(ASSETS, [_asset(e, batch_id) for e in decoded])
    places = _first_of_each(read, _place)
    yield from _table(ASSET_VERSIONS, [_version(e, batch_id) for e in places])
    told = _first_of_each((e for e in own if e.image and e.image.written), _content)
    yield from _table(ASSET_WORDS, [row for e in told for row in _words(e, batch_id)])
    pictures = _first_of_each((e for e in own if e.outputs.thumbnail), _content)
    yield from _table(THUMBNAILS, [_thumbnail(e, batch_id) for e in pictures])
    yield from _vector_tables(spoken, batch_id)
    texts = [row for key, e in spoken for row in _text_rows(key, e, batch_id)]
    yield from _statements(EVIDENCE_TEXT, texts)
    regions = [row for key, e in spoken if e.outputs.ocr for row in _region_rows(key, e, batch_id)]
    yield from _statements(EVIDENCE_REGIONS, regions)
    measured = [
        row for key, e in spoken if e.outputs.measures for row in _measure_rows(key, e, batch_id)
    ]
    yield from _statements(EVIDENCE_MEASURES, measured)


def key_of(envelope: ResultEnvelope) -> str:
    """The evidence key of an envelope whose bytes were read; ContractError for one without."""
    content = envelope.resource_fingerprint.content_hash
    if content is None:
        raise ContractError(f"task {envelope.task_id} has no content hash, so no evidence key")
    return evidence_key(envelope.tenant_id, content, envelope.task_type, envelope.transform)


def asset_key(tenant_id: str, asset_id: str) -> str:
    """Digest that names an asset across tenants."""
    return digest(["asset", tenant_id, asset_id])


def version_key(
    tenant_id: str, asset_id: str, uri: str, size: int, mtime_ns: int | None, etag: str | None
) -> str:
    """Digest that names content seen at a place in one version of it."""
    return digest(["version", tenant_id, asset_id, uri, size, mtime_ns, etag])


def words_key(
    tenant_id: str,
    asset_id: str,
    kind: str,
    source: str,
    ordinal: int,
    text: str,
    taken_at: float | None,
) -> str:
    """Digest that names what stands at a place in a file: its words belong to it."""
    return digest(["words", tenant_id, asset_id, kind, source, ordinal, text, taken_at])


def _one_per_key(envelopes: Iterable[ResultEnvelope]) -> dict[str, ResultEnvelope]:
    chosen: dict[str, ResultEnvelope] = {}
    for envelope in envelopes:
        if envelope.status is EnvelopeStatus.FAILED:
            continue
        key = key_of(envelope)
        if key not in chosen or chosen[key].status is EnvelopeStatus.PARTIAL:
            chosen[key] = envelope
    return chosen


def _origin(envelope: ResultEnvelope, batch_id: str) -> Row:
    return {
        "tenant_id": envelope.tenant_id,
        "asset_id": envelope.resource_fingerprint.content_hash,
        "run_id": envelope.run_id,
        "transform": envelope.transform,
        "batch_id": batch_id,
        "observed_at": envelope.observed_at,
    }


def _asset(envelope: ResultEnvelope, batch_id: str) -> Row:
    origin = _origin(envelope, batch_id)
    facts = envelope.image.model_dump(exclude={"written"}) if envelope.image else {}
    key = asset_key(origin["tenant_id"], origin["asset_id"])
    return {"asset_key": key, **origin, "size": envelope.resource_fingerprint.size, **facts}


def _version(envelope: ResultEnvelope, batch_id: str) -> Row:
    origin = _origin(envelope, batch_id)
    seen = envelope.resource_fingerprint
    where = {"uri": seen.uri, "size": seen.size, "mtime_ns": seen.mtime_ns, "etag": seen.etag}
    key = version_key(
        origin["tenant_id"], origin["asset_id"], seen.uri, seen.size, seen.mtime_ns, seen.etag
    )
    return {"version_id": key, **origin, **where}


def _words(envelope: ResultEnvelope, batch_id: str) -> Iterator[Row]:
    """A row for each thing that is written in the file, numbered by kind and source."""
    origin = _origin(envelope, batch_id)
    tenant_id, asset_id = origin["tenant_id"], origin["asset_id"]
    del origin["transform"]  # no model had a part in it
    places: Counter[tuple[str, str]] = Counter()
    for said in envelope.image.written if envelope.image else ():
        kind, source = said.kind.value, said.source.value
        place = places[kind, source]
        places[kind, source] += 1
        key = words_key(tenant_id, asset_id, kind, source, place, said.text, said.taken_at)
        where = {"kind": kind, "source": source, "ordinal": place}
        yield {"words_id": key, **origin, **where, "text": said.text, "taken_at": said.taken_at}


def _thumbnail(envelope: ResultEnvelope, batch_id: str) -> Row:
    origin = _origin(envelope, batch_id)
    key = asset_key(origin["tenant_id"], origin["asset_id"])
    return {"asset_key": key, **origin, "jpeg": envelope.outputs.thumbnail}


def _common(key: str, envelope: ResultEnvelope, batch_id: str) -> tuple[Any, ...]:
    """What follows the id in every statement of an envelope, up to its place."""
    return (key, *_origin(envelope, batch_id).values(), envelope.task_type)


def _texts(envelope: ResultEnvelope) -> Iterator[tuple[TextKind, int, Words]]:
    """Texts as they are stored: tidy, and what is empty then was not said.

    A statement keeps its place among its kind, and so its id, whatever becomes of those before it.
    """
    said = envelope.outputs
    spoken = 0
    for kind, place, words in _stated(envelope):
        if words[0]:
            spoken += 1
            yield kind, place, words
    if not (spoken or said.vectors or said.measures):
        nothing = _EMPTY_KIND.get(envelope.task_type, TextKind.NOTHING)
        yield nothing, 0, ("", None, "", False)


def _stated(envelope: ResultEnvelope) -> Iterator[tuple[TextKind, int, Words]]:
    said = envelope.outputs
    if (caption := said.caption) is not None:
        text = tidy_line(caption.text, MAX_TEXT)
        yield TextKind.CAPTION, 0, (text, caption.confidence, caption.scheme, caption.composed)
    for place, line in enumerate(said.ocr):
        text = tidy_lines(line.text, MAX_TEXT)
        yield TextKind.OCR, place, (text, line.confidence, line.scheme, line.composed)
    labels = [(TextKind.TAG, said.tags), (TextKind.CLASSIFICATION, said.classification)]
    for kind, statements in labels:
        for place, label in enumerate(statements):
            text = tidy_line(label.label, MAX_LABEL)
            yield kind, place, (text, label.confidence, label.scheme, False)


def _text_rows(key: str, envelope: ResultEnvelope, batch_id: str) -> Iterator[tuple[Any, ...]]:
    texts = list(_texts(envelope))
    common = _common(key, envelope, batch_id) if texts else ()
    for kind, place, words in texts:
        name = kind.value
        yield (evidence_id(key, name, place), *common, place, name, *words)


def _region_rows(key: str, envelope: ResultEnvelope, batch_id: str) -> Iterator[tuple[Any, ...]]:
    """A row for each stored line of text that says where it stands, under the line's own id."""
    common = _common(key, envelope, batch_id)
    name = TextKind.OCR.value
    for place, line in enumerate(envelope.outputs.ocr):
        if line.box is not None and tidy_lines(line.text, MAX_TEXT):
            sides = tuple(line.box.model_dump().values())
            yield (evidence_id(key, name, place), *common, place, name, *sides)


def _measure_rows(key: str, envelope: ResultEnvelope, batch_id: str) -> Iterator[tuple[Any, ...]]:
    common = _common(key, envelope, batch_id)
    for place, (name, value) in enumerate(sorted(envelope.outputs.measures.items())):
        yield (evidence_id(key, "measure", place), *common, place, name, value)


def _vector_tables(
    spoken: Iterable[tuple[str, ResultEnvelope]], batch_id: str
) -> Iterator[tuple[str, pa.Table]]:
    schemas: dict[str, pa.Schema] = {}
    rows: dict[str, list[tuple[Any, ...]]] = {}
    marks: dict[str, list[tuple[Any, ...]]] = {}
    data: dict[str, list[bytes]] = {}
    for key, envelope in spoken:
        common = _common(key, envelope, batch_id) if envelope.outputs.vectors else ()
        for place, vector in enumerate(envelope.outputs.vectors):
            name = vector_table(vector.space, envelope.transform)
            schema = _schema_of(vector.space, envelope.transform, vector.dim)
            known = schemas.setdefault(name, schema)
            if known is not schema:
                raise _misfit(name, known, schema)
            row = (evidence_id(key, vector.space.value, place), *common, place)
            rows.setdefault(name, []).append(row)
            marks.setdefault(name, []).append(_marks(vector))
            data.setdefault(name, []).append(vector.data)
    for name, schema in schemas.items():
        yield name, _vector_table(schema, rows[name], data[name], marks[name])


def _misfit(name: str, known: pa.Schema, other: pa.Schema) -> ContractError:
    marks = [schema.metadata[b"ecm.transform"].decode() for schema in (known, other)]
    if marks[0] != marks[1]:
        return ContractError(
            f"{name}: transforms {marks[0]} and {marks[1]} begin alike",
            code="contract.collision",
            hint="change the manifest of the newer model, such as its name",
        )
    dims = [schema.field("vector").type.list_size for schema in (known, other)]
    return ContractError(
        f"{name}: a vector of dimension {dims[1]} among others of {dims[0]}", code="contract.dim"
    )


def _marks(vector: VectorStatement) -> tuple[Any, ...]:
    """What follows the vector itself."""
    return vector.norm, _NOT_QUANTIZED, hashlib.sha256(vector.data).hexdigest()


def _vector_table(
    schema: pa.Schema,
    rows: list[tuple[Any, ...]],
    data: list[bytes],
    marks: list[tuple[Any, ...]],
) -> pa.Table:
    values = pa.array(np.frombuffer(b"".join(data), dtype="<f4"))
    vectors = pa.FixedSizeListArray.from_arrays(values, schema.field("vector").type.list_size)
    place = schema.get_field_index("vector")
    before = _columns(list(schema)[:place], rows)
    return pa.Table.from_arrays(
        [*before, vectors, *_columns(list(schema)[place + 1 :], marks)], schema=schema
    )


def _columns(fields: list[pa.Field], rows: list[tuple[Any, ...]]) -> list[pa.Array]:
    """Columns of rows whose values stand in the order of the fields."""
    columns = zip(fields, zip(*rows, strict=True), strict=True)
    return [pa.array(values, type=field.type) for field, values in columns]


def _first_of_each(
    envelopes: Iterable[ResultEnvelope], subject: Callable[[ResultEnvelope], Hashable]
) -> list[ResultEnvelope]:
    """The tasks of one image tell its facts again and again: one of them is enough."""
    kept: dict[Hashable, ResultEnvelope] = {}
    for envelope in envelopes:
        kept.setdefault(subject(envelope), envelope)
    return list(kept.values())


def _content(envelope: ResultEnvelope) -> Hashable:
    return envelope.tenant_id, envelope.resource_fingerprint.content_hash


def _place(envelope: ResultEnvelope) -> Hashable:
    seen = envelope.resource_fingerprint
    return envelope.tenant_id, seen.content_hash, seen.uri, seen.size, seen.mtime_ns, seen.etag


def _table(name: str, rows: list[Row]) -> Iterator[tuple[str, pa.Table]]:
    if rows:
        yield name, pa.Table.from_pylist(rows, schema=fixed_schema(name))


def _statements(name: str, rows: list[tuple[Any, ...]]) -> Iterator[tuple[str, pa.Table]]:
    """Statements come by the thousand: their values stand in the order of the schema."""
    if rows:
        schema = fixed_schema(name)
        yield name, pa.Table.from_arrays(_columns(list(schema), rows), schema=schema)
